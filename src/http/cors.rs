//! CORS: the origins whose pages may call this server, by default none. Cookies are not allowed, because the server has
//! none: a page sends its token itself.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long a browser may cache the response to a preflight request.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

/// Returns the layer that answers preflight requests, or `None` if no origin is allowed.
pub(super) fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let named = ["x-request-id", "ratelimit", "ratelimit-policy"].map(HeaderName::from_static);
    let exposed = [
        header::ACCEPT_RANGES,
        header::CONTENT_DISPOSITION,
        header::CONTENT_RANGE,
        header::ETAG,
        header::LOCATION,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
    ];
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(methods)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(named.into_iter().chain(exposed).collect::<Vec<_>>())
        .max_age(PREFLIGHT_MAX_AGE);
    Some(layer)
}

/// Returns the problem of an origin in the configuration, if it has one.
pub fn origin_problem(origin: &str) -> Option<String> {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let is_origin = origin == "*"
        || host.is_some_and(|host| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        });
    (!is_origin).then(|| {
        format!("{origin:?} is not an origin; use one such as \"https://app.example.com\", without a path, or \"*\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_without_a_path_are_valid() {
        for good in ["*", "https://app.example.com", "http://localhost:3000", "http://[::1]:8080"] {
            assert_eq!(origin_problem(good), None);
        }
        for bad in [
            "",
            "app.example.com",
            "https://",
            "https://a.example/",
            "https://a.example/b",
            "null",
            "https://a b",
        ] {
            assert!(origin_problem(bad).is_some(), "{bad}");
        }
    }
}
