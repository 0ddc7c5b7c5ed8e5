//! Normalizes the path of a request before routing: removes a trailing slash, and replaces `/v1` by `/v1.1`.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::middleware::{Next, from_fn};
use axum::response::Response;

use super::rest;

/// Returns a router that normalizes paths and then calls `routes`.
pub(super) fn normalized(routes: Router) -> Router {
    Router::new().fallback_service(routes).layer(from_fn(rewrite))
}

async fn rewrite(mut request: Request, next: Next) -> Response {
    if let Some(uri) = normalize(request.uri()) {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

/// Returns the normalized URI, or `None` if the URI is normalized already.
fn normalize(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let trimmed = path.strip_suffix('/').filter(|trimmed| !trimmed.is_empty()).unwrap_or(path);
    let alias = trimmed.strip_prefix(rest::ALIAS).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let path = match alias {
        Some(rest) => format!("{}{rest}", rest::ROOT),
        None if trimmed.len() < path.len() => trimmed.to_owned(),
        None => return None,
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_slash_and_v1_are_rewritten() {
        let path = |text: &str| normalize(&text.parse().unwrap()).map(|uri| uri.to_string());
        for (given, expected) in [
            ("/graphql/", "/graphql"),
            ("/v1.1/jobs/?a=/&b=%2F", "/v1.1/jobs?a=/&b=%2F"),
            ("/v1/jobs", "/v1.1/jobs"),
            ("/v1/", "/v1.1"),
            ("/v1/jobs/x/contents/r/latest/", "/v1.1/jobs/x/contents/r/latest"),
            ("http://docket.example/healthz/", "http://docket.example/healthz"),
        ] {
            assert_eq!(path(given).as_deref(), Some(expected), "{given}");
        }
        for same in ["/", "/graphql", "/v1.1/jobs", "/v1.2/jobs", "/v10/jobs", "/documents/v1/contents"] {
            assert_eq!(path(same), None, "{same}");
        }
    }
}
