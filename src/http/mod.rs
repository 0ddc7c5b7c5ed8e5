//! HTTP routes and middleware. The domain modules decide what a request does.

mod auth;
mod body;
mod compression;
mod connections;
mod cors;
mod deadline;
mod documents;
mod file_name;
mod forwarded;
mod graphiql;
mod graphql;
mod health;
mod hidden_fields;
mod host;
mod layout;
mod log_throttle;
mod multipart;
mod negotiate;
mod operation;
mod parameters;
mod paths;
mod persisted;
mod quota;
mod rate_limits;
mod readiness;
mod refusal;
mod response;
mod rest;
mod schema;
mod server;
mod socket;
mod sse;
mod tracking;

pub(crate) mod graphql_ws;

pub use connections::serve;
pub use parameters::Parameters;
pub(crate) use refusal::{refuse, refuse_request};
pub(crate) use response::EncodedResponse;
pub(crate) use server::Server;

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Redirect;
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

use self::compression::compressible;
use crate::app::App;

/// Returns all routes of an application. The error names a trusted document that is invalid.
fn routes(app: App, metrics: PrometheusHandle) -> Result<Router, String> {
    let server = Server::new(app, metrics)?;
    let body_pause = Duration::from_secs(server.app.config.http.body_seconds);
    let documents = Router::new()
        .route("/documents", post(documents::upload).layer(DefaultBodyLimit::disable()))
        .route("/documents/{id}", get(documents::describe))
        .route("/documents/{id}/contents", get(documents::contents));
    let authenticate = from_fn_with_state(server.clone(), auth::authenticate);
    let operations = || get(graphql::get).post(graphql::post).layer(DefaultBodyLimit::disable());
    // Event streams are not compressed: the encoder would hold events back.
    let not_streamed = compressible().and(NotForContentType::SSE);
    let graphql = Router::new()
        .route("/graphql", operations())
        .layer(CompressionLayer::new().compress_when(not_streamed))
        .layer(authenticate.clone())
        .layer(from_fn(negotiate::negotiate_graphql));
    let stream = Router::new()
        .route("/graphql/stream", operations())
        .layer(authenticate.clone())
        .layer(from_fn(negotiate::negotiate_stream));
    let authenticated = documents.route("/graphql/ws", get(socket::upgrade)).layer(authenticate);
    let pages = graphiql::routes()
        .route("/", get(async || Redirect::temporary("/graphiql")))
        .route("/schema.graphql", get(schema::schema))
        .layer(CompressionLayer::new().compress_when(compressible()));
    let rest = rest::routes(&server);
    let routes = authenticated
        .merge(graphql)
        .merge(stream)
        .merge(pages)
        .merge(rest)
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(refusal::not_found)
        .method_not_allowed_fallback(refusal::refuse_method)
        .layer(RequestBodyTimeoutLayer::new(body_pause))
        .layer(CatchPanicLayer::custom(refusal::panic_response))
        .layer(from_fn(host::require_host))
        .layer(from_fn(rest::wrap_errors))
        .layer(SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ))
        .with_state(server.clone());
    let routes = match cors::layer(&server.app.config.http.cors_origins) {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    Ok(paths::normalized(routes.layer(from_fn(tracking::track))))
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode, header};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use serde_json::Value;

    use super::*;
    use crate::access::Actor;
    use crate::account::{NewKey, create_key};
    use crate::app::tests::{actor, open};
    use crate::audit::tests::Lines;
    use crate::error::Error;
    use crate::job::state::Mode;

    pub(crate) fn server(app: App) -> Server {
        Server::new(app, PrometheusBuilder::new().build_recorder().handle()).unwrap()
    }

    /// Creates an API key of the actor and returns it as a value of `Authorization`.
    pub(crate) async fn create_authorization(app: &App, actor: &Actor) -> String {
        let new = NewKey { name: "k".into(), mode: actor.mode, expires_at: None };
        let (secret, _) =
            create_key(&app.db, &app.clock, actor.user.id, new, &app.config.limits).await.unwrap();
        format!("Bearer {secret}")
    }

    /// Sends a request and returns the status, headers and JSON of its response.
    async fn send(app: &App, request: Request<Body>) -> (StatusCode, header::HeaderMap, Value) {
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let routes = TowerToHyperService::new(routes(app.clone(), metrics).unwrap());
        let response = routes.call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{}: {text:?}", head.status));
        (head.status, head.headers, json)
    }

    fn request(method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path)
    }

    #[tokio::test]
    async fn all_routes_return_errors_in_the_same_shape() {
        let (app, _dir) = open(|_| ()).await;
        for (method, path, status, code) in [
            ("GET", "/nowhere", 404, "NOT_FOUND"),
            ("PUT", "/graphql", 405, "BAD_USER_INPUT"),
            ("DELETE", "/documents", 405, "BAD_USER_INPUT"),
            ("POST", "/readyz", 405, "BAD_USER_INPUT"),
            ("GET", "/graphql/ws", 400, "BAD_USER_INPUT"),
            ("GET", "/graphql?query=a&query=b", 400, "BAD_USER_INPUT"),
            ("GET", "/documents/%ff/contents", 400, "BAD_USER_INPUT"),
            ("GET", "/documents/x/contents?expires=soon&signature=x", 400, "BAD_USER_INPUT"),
            ("GET", "/documents/%ff", 400, "BAD_USER_INPUT"),
            ("GET", "/graphiql/nothing.js", 404, "NOT_FOUND"),
            ("GET", "/graphiql/%ff", 400, "BAD_USER_INPUT"),
            ("POST", "/documents", 401, "UNAUTHENTICATED"),
        ] {
            let request = request(method, path).body(Body::empty()).unwrap();
            let (found, headers, json) = send(&app, request).await;
            assert_eq!(found.as_u16(), status, "{method} {path}: {json}");
            assert_eq!(json["errors"][0]["extensions"]["code"], code, "{method} {path}: {json}");
            assert_eq!(
                json["errors"][0]["extensions"]["tracking"],
                headers["x-request-id"].to_str().unwrap(),
                "{method} {path}"
            );
            assert_eq!(headers.contains_key(header::ALLOW), status == 405, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn uploaded_document_is_described_at_its_location_to_its_owner_only() {
        let (app, _dir) = open(|_| ()).await;
        let key = async |name: &str| create_authorization(&app, &actor(&app, name, Mode::Live).await).await;
        let (ada, bob) = (key("ada").await, key("bob").await);
        let bytes = request("POST", "/documents").header("authorization", &ada).header("x-name", "a.txt");
        let (status, headers, created) = send(&app, bytes.body(Body::from("a")).unwrap()).await;
        assert_eq!(status, 201, "{created}");
        let location = headers[header::LOCATION].to_str().unwrap();
        let describe = async |key: &str| {
            let request = request("GET", location).header("authorization", key).body(Body::empty()).unwrap();
            let (status, _, json) = send(&app, request).await;
            (status.as_u16(), json)
        };
        assert_eq!(describe(&ada).await, (200, created));
        assert_eq!(describe(&bob).await.0, 404);
    }

    #[tokio::test]
    async fn wrong_credential_is_audited_without_its_value() {
        let (lines, _guard) = Lines::capture("info");
        let (app, _dir) = open(|_| ()).await;
        for wrong in ["Bearer user-live-hush", "Bearer hush", "hush"] {
            let request = request("GET", "/documents/x").header("authorization", wrong);
            let (status, ..) = send(&app, request.body(Body::empty()).unwrap()).await;
            assert_eq!(status, 401);
        }
        let audit = lines.audit();
        let seen: Vec<_> =
            audit.iter().map(|(event, outcome, _)| (event.as_str(), outcome.as_str())).collect();
        assert_eq!(seen, [("credential", "refused"); 3]);
        assert!(!lines.text().contains("hush"));
    }

    async fn body(error: &Error) -> Value {
        let bytes = axum::body::to_bytes(refuse(error).into_body(), 10_000).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn plain_http_returns_codes_and_messages_of_graphql() {
        let details = serde_json::Map::from_iter([("claimedBy".to_owned(), "ada".into())]);
        let conflict = Error::Conflict { message: "It is taken.".into(), details };
        let json = body(&conflict).await;
        assert_eq!(json["errors"][0]["message"], "It is taken.");
        assert_eq!(json["errors"][0]["extensions"]["claimedBy"], "ada");
        for (error, seconds) in [(Error::RateLimited(7), 7), (Error::Unavailable("No.".into()), 1)] {
            assert_eq!(body(&error).await["errors"][0]["extensions"]["retryAfterSeconds"], seconds);
            assert_eq!(refuse(&error).headers()[header::RETRY_AFTER], seconds.to_string().as_str());
        }
        let problems = body(&Error::invalid("/a", "RANGE", "no")).await;
        assert_eq!(problems["errors"][0]["extensions"]["problems"][0]["path"], "/a");
    }
}
