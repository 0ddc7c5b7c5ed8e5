//! GraphiQL and the page of the REST façade. The binary contains the pages, which load nothing from other hosts.

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::{Server, refuse, refuse_request};
use crate::error::Error;

/// The output of the build in `web/`. A build without Node embeds no files, and [`page`] returns [`MISSING`].
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Page;

/// Content security policy of the pages. The tests of the pages use it too.
const POLICY: &str = include_str!("../../web/csp.txt");

const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Docket</title>\
<body><h1>This page is not in this build</h1><p>This binary was built without its pages. Install Node.js 20 or newer, run \
<code>make web</code>, and build again. The APIs work: send operations to <code>/graphql</code>, or read \
<code>/v1.1/openapi.json</code>.</p></body></html>";

pub(super) fn routes() -> Router<Server> {
    Router::new().route("/graphiql", get(async || page("index.html"))).route("/graphiql/{*path}", get(asset))
}

async fn asset(path: Result<Path<String>, PathRejection>) -> Response {
    match path {
        Ok(Path(path)) => file(&path).unwrap_or_else(|| refuse(&Error::not_found("page"))),
        Err(rejection) => refuse_request(rejection.status(), "PATH", rejection.body_text()),
    }
}

/// Returns a page, or [`MISSING`] if the build has no pages.
pub(super) fn page(path: &str) -> Response {
    file(path).unwrap_or_else(|| {
        let html = (header::CONTENT_TYPE, "text/html; charset=utf-8");
        (StatusCode::SERVICE_UNAVAILABLE, [policy(), REFERRER, html], MISSING).into_response()
    })
}

const REFERRER: (HeaderName, &str) = (HeaderName::from_static("referrer-policy"), "no-referrer");

fn policy() -> (HeaderName, &'static str) {
    (header::CONTENT_SECURITY_POLICY, POLICY.trim())
}

fn file(path: &str) -> Option<Response> {
    let found = Page::get(path)?;
    let cache_control =
        if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let media_type = found.metadata.mimetype().to_owned();
    let headers = [policy(), REFERRER, (header::CACHE_CONTROL, cache_control)];
    Some((headers, [(header::CONTENT_TYPE, media_type)], found.data.into_owned()).into_response())
}
