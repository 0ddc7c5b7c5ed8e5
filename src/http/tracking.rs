//! The ID of a request, which is in its response, its errors and its log lines.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::telemetry::{HTTP_ACTIVE, HTTP_SECONDS, trace};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of an ID from a client.
const MAX_ID_BYTES: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// Returns the ID of the current request; empty outside of a request.
pub(crate) fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Runs `work`, usually in another task, with the ID of a request as the current one.
pub(crate) fn with_id<F: Future>(tracking: String, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(tracking, work)
}

/// Takes a valid ID from the client or creates one, then logs, measures and traces the request.
pub(super) async fn track(request: Request, next: Next) -> Response {
    let given =
        request.headers().get(&HEADER).and_then(|value| value.to_str().ok()).filter(|id| is_valid(id));
    let id = given.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let span = trace::request_span(&id, method, route.as_deref(), request.uri().path(), request.headers());
    let active = ActiveRequest::new(method);
    let started_at = Instant::now();
    let mut response = CURRENT.scope(id.clone(), next.run(request)).instrument(span.clone()).await;
    drop(active);
    let (seconds, status) = (started_at.elapsed().as_secs_f64(), response.status().as_u16());
    let mut labels = vec![
        ("http_request_method", method.to_owned()),
        ("http_response_status_code", status.to_string()),
        ("url_scheme", SCHEME.to_owned()),
    ];
    // Paths without a route have no label of their own, because clients can invent any number of them.
    labels.extend(route.map(|route| ("http_route", route)));
    metrics::histogram!(HTTP_SECONDS, &labels).record(seconds);
    trace::record_response(&span, status);
    span.in_scope(|| tracing::debug!(status, seconds, "request answered"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// The server speaks plain HTTP, even behind a proxy with TLS.
const SCHEME: &str = "http";

/// Counts a request in the metrics until it is answered or its client disconnects.
struct ActiveRequest(&'static str);

impl ActiveRequest {
    fn new(method: &'static str) -> Self {
        metrics::gauge!(HTTP_ACTIVE, "http_request_method" => method, "url_scheme" => SCHEME).increment(1.0);
        Self(method)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        metrics::gauge!(HTTP_ACTIVE, "http_request_method" => self.0, "url_scheme" => SCHEME).decrement(1.0);
    }
}

/// Returns the label of a method. All unknown methods share one, because every label is a permanent series.
fn method_label(method: &Method) -> &'static str {
    let labels = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
    ];
    labels.iter().find(|(known, _)| known == method).map_or(trace::OTHER_METHOD, |(_, label)| label)
}

/// Returns whether the server takes an ID from a client.
fn is_valid(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_share_one_label() {
        assert_eq!(method_label(&Method::GET), "GET");
        for unknown in ["BREW", "get", "GETT"] {
            assert_eq!(method_label(&Method::from_bytes(unknown.as_bytes()).unwrap()), "_OTHER");
        }
    }

    #[test]
    fn only_short_ids_of_plain_characters_are_valid() {
        assert!(is_valid("a-1_b.c:d"));
        for bad in ["", "a b", "a\nb", "é", &"x".repeat(129), "{}"] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }
}
