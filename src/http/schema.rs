//! `GET /schema.graphql`: the schema in the schema definition language, for code generators and editors.

use std::sync::LazyLock;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::refusal::not_found;
use super::{Server, documents};
use crate::config::Switch;

/// The schema and its entity tag, which are constant in one build.
static SCHEMA: LazyLock<(String, String)> = LazyLock::new(|| {
    let sdl = crate::graphql::sdl();
    let tag = format!("\"{}\"", &hex::encode(Sha256::digest(&sdl))[..32]);
    (sdl, tag)
});

/// Returns the schema, or NOT_FOUND if introspection is off.
pub(super) async fn schema(State(server): State<Server>, headers: HeaderMap) -> Response {
    if server.app.config.graphql.introspection == Switch::Off {
        return not_found().await;
    }
    let (sdl, tag) = &*SCHEMA;
    let cached = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    if documents::matches_etag(&headers, header::IF_NONE_MATCH, tag) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    (cached, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], sdl.as_str()).into_response()
}
