//! Every request has an ID: in its answer, in its errors, and in every log line that it causes.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::telemetry::{HTTP_ACTIVE, HTTP_SECONDS, trace};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of an ID that a client may choose.
const LONGEST: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The ID of the request that this code runs for; empty outside of one.
pub(crate) fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Runs code of a task of its own for the request that is current here.
pub(crate) fn within<F: Future>(tracking: String, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(tracking, work)
}

/// Takes a sane ID from the client, or makes one; logs, measures and traces the request.
pub(super) async fn track(request: Request, next: Next) -> Response {
    let given = request.headers().get(&HEADER).and_then(|value| value.to_str().ok()).filter(|id| sane(id));
    let id = given.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let span = trace::request(&id, method, route.as_deref(), request.uri().path(), request.headers());
    let active = Active::new(method);
    let began = Instant::now();
    let mut response = CURRENT.scope(id.clone(), next.run(request)).instrument(span.clone()).await;
    drop(active);
    let (seconds, status) = (began.elapsed().as_secs_f64(), response.status().as_u16());
    let mut labels = vec![
        ("http_request_method", method.to_owned()),
        ("http_response_status_code", status.to_string()),
        ("url_scheme", SCHEME.to_owned()),
    ];
    // Paths that nothing answers are not counted apart: clients make them up.
    labels.extend(route.map(|route| ("http_route", route)));
    metrics::histogram!(HTTP_SECONDS, &labels).record(seconds);
    trace::answered(&span, status);
    span.in_scope(|| tracing::debug!(status, seconds, "request answered"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// The server itself speaks plain HTTP, whatever a proxy in front of it speaks.
const SCHEME: &str = "http";

/// Counts a request for as long as it is being answered, also where its client goes away meanwhile.
struct Active(&'static str);

impl Active {
    fn new(method: &'static str) -> Self {
        metrics::gauge!(HTTP_ACTIVE, "http_request_method" => method, "url_scheme" => SCHEME).increment(1.0);
        Self(method)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        metrics::gauge!(HTTP_ACTIVE, "http_request_method" => self.0, "url_scheme" => SCHEME).decrement(1.0);
    }
}

/// What a request is counted under. Clients make methods up, and each would be a series of its own for ever.
fn known(method: &Method) -> &'static str {
    let known = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
    ];
    known.iter().find(|(one, _)| one == method).map_or(trace::OTHER_METHOD, |(_, name)| name)
}

fn sane(id: &str) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_clients_make_up_are_one() {
        assert_eq!(known(&Method::GET), "GET");
        for made_up in ["BREW", "get", "GETT"] {
            assert_eq!(known(&Method::from_bytes(made_up.as_bytes()).unwrap()), "_OTHER");
        }
    }

    #[test]
    fn only_plain_ids_are_taken() {
        assert!(sane("a-1_b.c:d"));
        for bad in ["", "a b", "a\nb", "é", &"x".repeat(129), "{}"] {
            assert!(!sane(bad), "{bad:?}");
        }
    }
}
