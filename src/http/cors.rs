//! Which pages of other sites may call this server: none, unless the configuration names them. No credentials of the
//! browser's own are taken, since there are none: a page sends its token itself.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long a browser may keep the answer to a preflight request.
const PREFLIGHT: Duration = Duration::from_secs(600);

/// The layer that answers preflight requests; `None` where no origin is allowed.
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
        .max_age(PREFLIGHT);
    Some(layer)
}

/// What is wrong with an origin of the configuration.
pub fn origin_problem(origin: &str) -> Option<String> {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let good = origin == "*"
        || host.is_some_and(|host| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        });
    (!good).then(|| {
        format!("{origin:?} is no origin; one is \"https://app.example.com\", without a path, or \"*\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_told_from_other_addresses() {
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
