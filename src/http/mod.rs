//! HTTP: routes, and what every request goes through. Thin: what is done is decided by the nouns.

mod auth;
mod documents;
mod graphiql;
mod graphql;
mod health;
mod multipart;
mod operation;
mod socket;
mod tracking;

pub mod graphql_ws;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;
use crate::error::Error;
use crate::graphql::Schema;

/// What routes share.
#[derive(Clone)]
pub(crate) struct Server {
    app: App,
    schema: Schema,
    metrics: PrometheusHandle,
    readiness: health::Readiness,
}

/// The whole HTTP service of an application.
pub fn service(app: App, metrics: PrometheusHandle) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    let server = Server {
        schema: crate::graphql::schema(app.clone()),
        app,
        metrics,
        readiness: health::Readiness::default(),
    };
    let texts = SizeAbove::new(256).and(NotForContentType::const_new("application/pdf"));
    let documents = Router::new()
        .route("/documents", post(documents::upload).layer(DefaultBodyLimit::disable()))
        .route("/documents/{id}/contents", get(documents::contents));
    let graphql = Router::new()
        .route("/graphql", get(graphql::get).post(graphql::post).layer(DefaultBodyLimit::disable()))
        .layer(CompressionLayer::new().compress_when(texts.clone()))
        .route("/graphql/ws", get(socket::upgrade));
    let authenticated =
        documents.merge(graphql).layer(from_fn_with_state(server.clone(), auth::authenticate));
    let page = graphiql::routes().layer(CompressionLayer::new().compress_when(texts));
    let routes = authenticated
        .merge(page)
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ))
        .layer(from_fn(tracking::track))
        .with_state(server);
    routes.into_make_service_with_connect_info()
}

/// An error as plain HTTP answers it: status, and the same code and message that GraphQL gives.
pub(crate) fn refuse(error: &Error) -> Response {
    crate::graphql::log_internal(error);
    let status = match error {
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::Invalid(_) => StatusCode::BAD_REQUEST,
        Error::Conflict { .. } => StatusCode::CONFLICT,
        Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut extensions = crate::graphql::extensions(error);
    extensions.set("tracking", tracking::current());
    let body = serde_json::json!({"errors": [{"message": error.message(), "extensions": extensions}]});
    let mut response = (status, axum::Json(body)).into_response();
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Error::RateLimited(seconds) = error {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
    }
    response
}

async fn not_found() -> Response {
    refuse(&Error::NotFound("There is nothing at this address.".into()))
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    refuse(&Error::Internal(format!("a handler panicked: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(error: &Error) -> serde_json::Value {
        let bytes = axum::body::to_bytes(refuse(error).into_body(), 10_000).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn plain_http_says_what_graphql_says() {
        let details = serde_json::Map::from_iter([("claimedBy".to_owned(), "ada".into())]);
        let conflict = Error::Conflict { message: "It is taken.".into(), details };
        let said = body(&conflict).await;
        assert_eq!(said["errors"][0]["message"], "It is taken.");
        assert_eq!(said["errors"][0]["extensions"]["claimedBy"], "ada");
        assert_eq!(body(&Error::RateLimited(7)).await["errors"][0]["extensions"]["retryAfterSeconds"], 7);
        let problems = body(&Error::invalid("/a", "RANGE", "no")).await;
        assert_eq!(problems["errors"][0]["extensions"]["problems"][0]["path"], "/a");
    }
}
