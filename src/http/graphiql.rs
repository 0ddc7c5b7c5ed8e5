//! GraphiQL, served from the binary: no other host is asked for anything.

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::{Server, refuse, rejected};
use crate::error::Error;

/// What `web/` builds. Without Node there is nothing to embed, and the page says so.
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Page;

/// The page's own policy, which its tests run under too.
const POLICY: &str = include_str!("../../web/csp.txt");

const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Docket – GraphiQL</title>\
<body><h1>GraphiQL is not in this build</h1><p>This binary was built without its page. Install Node.js 20 or newer, run \
<code>make web</code>, and build again. The API itself works: send operations to <code>/graphql</code>.</p></body></html>";

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/graphiql", get(|| async { file("index.html") }))
        .route("/graphiql/", get(|| async { file("index.html") }))
        .route("/graphiql/{*path}", get(asset))
}

async fn asset(path: Result<Path<String>, PathRejection>) -> Response {
    match path {
        Ok(Path(path)) => file(&path),
        Err(rejection) => rejected(rejection.status(), "PATH", rejection.body_text()),
    }
}

fn file(path: &str) -> Response {
    let policy = (header::CONTENT_SECURITY_POLICY, POLICY.trim());
    let referrer = (HeaderName::from_static("referrer-policy"), "no-referrer");
    match Page::get(path) {
        Some(found) => {
            let lasting =
                if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
            let media_type = found.metadata.mimetype().to_owned();
            let headers = [policy, referrer, (header::CACHE_CONTROL, lasting)];
            (headers, [(header::CONTENT_TYPE, media_type)], found.data.into_owned()).into_response()
        }
        None if path == "index.html" => {
            let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
            (StatusCode::SERVICE_UNAVAILABLE, [policy, referrer], html, MISSING).into_response()
        }
        None => refuse(&Error::not_found("page")),
    }
}
