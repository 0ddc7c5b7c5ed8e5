//! The REST façade under `/v1.1`: snake_case JSON in one envelope, over the same commands that GraphQL's resolvers use.

mod answer;
mod document;
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

pub(super) use answer::envelope;

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
/// The address of the same façade for older clients.
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
        .layer(CompressionLayer::new().compress_when(super::texts()));
    let bytes = OpenApiRouter::new().routes(routes!(job::contents)).routes(routes!(document::contents));
    let signed_in = json.merge(bytes).layer(from_fn_with_state(server.clone(), auth::authenticate));
    let open = OpenApiRouter::new().routes(routes!(status::status));
    let login = OpenApiRouter::new()
        .routes(routes!(session::login))
        .layer(from_fn_with_state(server.clone(), auth::ignore_credential));
    let all = OpenApiRouter::with_openapi(openapi::head()).nest(ROOT, signed_in.merge(login).merge(open));
    let (router, described) = all.split_for_parts();
    let described = axum::Json(openapi::complete(&described, &server.app.config.limits));
    let texts = Router::new()
        .route(&format!("{ROOT}/openapi.json"), get(async move || described))
        .route(&format!("{ROOT}/docs"), get(async || graphiql::page("rest.html")))
        .layer(CompressionLayer::new().compress_when(super::texts()));
    router.merge(texts)
}

/// Runs a read within the time limit of requests.
async fn in_time<T>(server: &Server, work: impl Future<Output = Result<T>>) -> Result<T> {
    let seconds = server.app.config.http.execution_seconds;
    let late = || {
        Error::TimedOut(format!("It took longer than {seconds} s and was given up. Ask for less at once."))
    };
    tokio::time::timeout(Duration::from_secs(seconds), work).await.unwrap_or_else(|_| Err(late()))
}

/// Runs a change to its end, even if the client disconnects.
async fn to_the_end<T: Send + 'static>(
    server: &Server,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let seconds = server.app.config.http.execution_seconds;
    let work = tracking::within(tracking::current(), work.in_current_span());
    let late = || {
        Error::TimedOut(format!(
            "It takes longer than {seconds} s and goes on to its end: look at what changed before you send it again."
        ))
    };
    match tokio::time::timeout(Duration::from_secs(seconds), server.app.tasks.spawn(work)).await {
        Ok(done) => done.map_err(Error::internal)?,
        Err(_) => Err(late()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::app::tests::open;

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_and_a_change_goes_on() {
        let (app, _dir) = open(|config| config.http.execution_seconds = 1).await;
        let server = super::super::tests::server(app.clone());
        let read = in_time(&server, std::future::pending::<Result<()>>());
        let read = tokio::time::timeout(Duration::from_secs(60), read).await;
        assert!(matches!(read, Ok(Err(Error::TimedOut(_)))));
        let (go_on, waiting) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let change = async move {
            waiting.await.map_err(Error::internal)?;
            done.send(()).map_err(|()| Error::internal("nobody listens"))
        };
        let changed = tokio::time::timeout(Duration::from_secs(60), to_the_end(&server, change)).await;
        assert!(matches!(changed, Ok(Err(Error::TimedOut(_)))));
        go_on.send(()).unwrap();
        assert_eq!(ended.await, Ok(()));
    }
}
