//! Errors as HTTP responses.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::tracking;
use crate::error::Error;

/// Converts an error to an HTTP response with the code and message that GraphQL would return.
pub(crate) fn refuse(error: &Error) -> Response {
    crate::graphql::log_internal(error);
    let status = match error {
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::Invalid(_) => StatusCode::BAD_REQUEST,
        Error::Conflict { .. } => StatusCode::CONFLICT,
        Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        Error::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Unreadable(_) | Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut extensions = crate::graphql::extensions(error);
    extensions.set("tracking", tracking::current());
    let body = serde_json::json!({"errors": [{"message": error.message(), "extensions": extensions}]});
    let mut response = (status, axum::Json(body)).into_response();
    response.extensions_mut().insert(ResponseError(error.clone()));
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The error of a response, as an extension of the response. The REST façade wraps it in its own envelope.
#[derive(Debug, Clone)]
pub(super) struct ResponseError(pub(super) Error);

/// Returns the response to a request that its route cannot parse, with the given status.
pub(crate) fn refuse_request(status: StatusCode, code: &str, message: impl Into<String>) -> Response {
    let mut response = refuse(&Error::invalid("", code, message));
    *response.status_mut() = status;
    response
}

/// Truncates a text to a number of characters and marks the truncation with an ellipsis.
pub(super) fn truncate(text: &mut String, characters: usize) {
    if let Some((end, _)) = text.char_indices().nth(characters) {
        text.truncate(end);
        text.push('…');
    }
}

/// Refuses a request with an unsupported method. The router adds the header `Allow`.
pub(super) async fn refuse_method() -> Response {
    refuse_request(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD",
        "This path does not support this method. The header Allow lists the supported methods.",
    )
}

/// Refuses a request for an unknown path.
pub(super) async fn not_found() -> Response {
    refuse(&Error::NotFound("There is no resource at this path.".into()))
}

/// Returns the response to a request whose handler has panicked.
#[expect(clippy::needless_pass_by_value, reason = "the layer passes the panic by value")]
pub(super) fn panic_response(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    refuse(&Error::Internal(format!("a handler panicked: {text}")))
}
