//! The REST façade under `/v1.1`: snake_case JSON in one envelope, over the same commands that GraphQL's resolvers use.

mod document;
mod envelope;
mod input;
mod job;
mod job_input;
mod job_list;
mod job_type;
mod openapi;
mod review;
mod session;
mod status;
mod view;

pub(super) use envelope::wrap_errors;

use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use tracing::Instrument;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Server, auth, graphiql, tracking};
use crate::error::{Error, Result};

/// Root of the façade. The version is that of the original API.
pub(super) const ROOT: &str = "/v1.1";
/// Alternative root of the façade for older clients.
pub(super) const ALIAS: &str = "/v1";

/// Returns the routes and the OpenAPI document. Both come from one list, so they cannot differ.
pub(super) fn routes(server: &Server) -> Router<Server> {
    let json = OpenApiRouter::new()
        .routes(routes!(job::list, job::create))
        .routes(routes!(job::describe, job::update, job::delete))
        .routes(routes!(job::cancel))
        .routes(routes!(job::retry))
        .routes(routes!(job::rewind))
        .routes(routes!(review::checkout))
        .routes(routes!(review::release))
        .routes(routes!(review::unblock))
        .routes(routes!(review::put_content))
        .routes(routes!(session::me))
        .routes(routes!(job_type::list))
        .routes(routes!(job_type::describe))
        .routes(routes!(document::upload))
        .routes(routes!(document::describe))
        .layer(CompressionLayer::new().compress_when(super::compressible()));
    let bytes = OpenApiRouter::new().routes(routes!(job::contents)).routes(routes!(document::contents));
    let signed_in = json.merge(bytes).layer(from_fn_with_state(server.clone(), auth::authenticate));
    let open = OpenApiRouter::new().routes(routes!(status::status));
    let login = OpenApiRouter::new()
        .routes(routes!(session::login))
        .layer(from_fn_with_state(server.clone(), auth::ignore_credential));
    let all = OpenApiRouter::with_openapi(openapi::head()).nest(ROOT, signed_in.merge(login).merge(open));
    let (router, generated) = all.split_for_parts();
    let document = axum::Json(openapi::complete(&generated, &server.app.config.limits));
    let texts = Router::new()
        .route(&format!("{ROOT}/openapi.json"), get(async move || document))
        .route(&format!("{ROOT}/docs"), get(async || graphiql::page("rest.html")))
        .layer(CompressionLayer::new().compress_when(super::compressible()));
    router.merge(texts)
}

/// Runs a read within the time limit of requests.
async fn run_with_timeout<T>(server: &Server, work: impl Future<Output = Result<T>>) -> Result<T> {
    let seconds = server.app.config.http.execution_seconds;
    let timed_out = || {
        Error::TimedOut(format!(
            "The request took longer than {seconds} s and was canceled. Request less at once."
        ))
    };
    tokio::time::timeout(Duration::from_secs(seconds), work).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Runs a change to its end, even after the time limit or if the client disconnects.
async fn run_to_completion<T: Send + 'static>(
    server: &Server,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let seconds = server.app.config.http.execution_seconds;
    let work = tracking::with_id(tracking::current(), work.in_current_span());
    let timed_out = || {
        Error::TimedOut(format!(
            "Timed out after {seconds} s. The change continues in the background: check its effect before you send it \
             again."
        ))
    };
    match tokio::time::timeout(Duration::from_secs(seconds), server.app.tasks.spawn(work)).await {
        Ok(result) => result.map_err(Error::internal)?,
        Err(_) => Err(timed_out()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::app::tests::open;

    #[tokio::test]
    async fn slow_read_times_out_and_slow_change_continues_in_the_background() {
        let (app, _dir) = open(|config| config.http.execution_seconds = 1).await;
        let server = super::super::tests::server(app.clone());
        let read = run_with_timeout(&server, std::future::pending::<Result<()>>());
        let read = tokio::time::timeout(Duration::from_secs(60), read).await;
        assert!(matches!(read, Ok(Err(Error::TimedOut(_)))));
        let (resume, waiting) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let change = async move {
            waiting.await.map_err(Error::internal)?;
            done.send(()).map_err(|()| Error::internal("the receiver was dropped"))
        };
        let changed = tokio::time::timeout(Duration::from_secs(60), run_to_completion(&server, change)).await;
        assert!(matches!(changed, Ok(Err(Error::TimedOut(_)))));
        resume.send(()).unwrap();
        assert_eq!(ended.await, Ok(()));
    }
}
