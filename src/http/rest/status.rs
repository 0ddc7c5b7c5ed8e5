//! `/status`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{Server, health};
use super::envelope::{Envelope, Failure, success};
use crate::error::{Error, Result};

/// A server that is ready.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Works {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// Version of the program.
    version: &'static str,
}

/// Shows whether the server is ready
///
/// Needs no credential. The server checks database, migrations and storage, at most once a second.
#[utoipa::path(
    get,
    path = "/status",
    operation_id = "get_status",
    tag = "Server",
    security(()),
    responses(
        (status = 200, description = "The server is ready.", body = Envelope<Works>),
        (status = 503, description = "The server is not ready. The message names the parts that do not work.", body = Envelope<Failure>),
    )
)]
pub(super) async fn status(State(server): State<Server>) -> Result<Response> {
    let parts = health::parts(&server).await;
    let failing: Vec<_> = parts.iter().filter(|(_, works)| !works).map(|(part, _)| *part).collect();
    match failing.is_empty() {
        true => Ok(success(StatusCode::OK, Works { status: "ok", version: env!("CARGO_PKG_VERSION") })),
        false => Err(Error::Unavailable(format!(
            "The server is not ready. Failing parts: {}.",
            failing.join(", ")
        ))),
    }
}
