//! The rule that a request has exactly one `Host` header. `connections` marks requests that break it.

use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::refuse_request;

/// Marks a request whose `Host` header is missing or ambiguous.
#[derive(Debug, Clone, Copy)]
pub(super) struct InvalidHost;

/// Refuses a marked request. A middleware does this, so that the response gets the headers of every response.
pub(super) async fn require_host(request: axum::extract::Request, next: Next) -> Response {
    if request.extensions().get::<InvalidHost>().is_some() {
        return refuse_request(
            StatusCode::BAD_REQUEST,
            "HOST",
            "A request of HTTP/1.1 must have exactly one Host header.",
        );
    }
    next.run(request).await
}
