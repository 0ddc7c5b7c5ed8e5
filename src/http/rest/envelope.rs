//! The envelope of every response: `{"success", "status_code", "tracking", "response"}`.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::refusal::{ResponseError, truncate};
use super::super::{refuse, tracking};
use super::base::ROOT;
use super::view::User;
use crate::error::{self, Error};

/// The envelope of every response.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Envelope<T> {
    /// Whether the request succeeded.
    success: bool,
    /// HTTP status code of the response.
    #[schema(minimum = 200, maximum = 599)]
    status_code: u16,
    /// ID of the request, which is also in the header X-Request-Id and in the server's log.
    tracking: String,
    /// Result of the request, or the reason for its failure.
    response: T,
}

impl<T: Serialize> Envelope<T> {
    fn new(status: StatusCode, response: T) -> Self {
        let (success, tracking) = (status.is_success(), tracking::current());
        Self { success, status_code: status.as_u16(), tracking, response }
    }
}

/// The reason for the failure of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Failure {
    /// Error code for programs; `docs/errors.md` lists all codes.
    #[schema(example = "BAD_USER_INPUT")]
    code: &'static str,
    /// Error message for people.
    message: String,
    /// All problems of the input, for BAD_USER_INPUT; otherwise empty.
    problems: Vec<Problem>,
    /// Seconds to wait before a retry, for RATE_LIMITED and UNAVAILABLE. The header Retry-After has the same value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after_seconds: Option<u64>,
    /// User who has checked the job out, if that is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<User>)]
    claimed_by: Option<serde_json::Value>,
}

/// One problem of an input.
#[derive(Debug, Serialize, ToSchema)]
struct Problem {
    /// JSON Pointer into the body; for a parameter, a slash and its name; empty for the whole request.
    #[schema(example = "/input_content/uri")]
    path: String,
    /// Problem code for programs.
    #[schema(example = "FOREIGN_URI")]
    code: String,
    /// Message that describes the problem and a valid input.
    message: String,
}

/// Maximum length of a message or path, both of which may quote the request.
const MAX_MESSAGE_CHARACTERS: usize = 1_000;

fn truncated(mut text: String) -> String {
    truncate(&mut text, MAX_MESSAGE_CHARACTERS);
    text
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let problem = |found: &error::Problem| {
            let error::Problem { path, code, message } = found.clone();
            Problem { path: truncated(path), code, message: truncated(message) }
        };
        let problems: Vec<_> = match error {
            Error::Invalid(problems) => problems.iter().map(problem).collect(),
            _ => Vec::new(),
        };
        let claimed_by = match error {
            Error::Conflict { details, .. } => details.get("claimedBy").filter(|by| by.is_object()).cloned(),
            _ => None,
        };
        let message = match problems.len() {
            0 | 1 => truncated(error.message()),
            count => format!("The input has {count} problems."),
        };
        let (code, retry_after_seconds) = (error.code().as_str(), error.retry_after_seconds());
        Self { code, message, problems, retry_after_seconds, claimed_by }
    }
}

/// Returns the response to a request that succeeded.
pub(super) fn success<T: Serialize>(status: StatusCode, response: T) -> Response {
    (status, Json(Envelope::new(status, response))).into_response()
}

/// Returns a failure, which [`wrap_errors`] puts into the envelope.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        refuse(&self)
    }
}

/// Puts every error response under the root of the façade into the envelope.
pub(in crate::http) async fn wrap_errors(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_in_facade = path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let response = next.run(request).await;
    let error = response.extensions().get::<ResponseError>().filter(|_| is_in_facade);
    let Some(ResponseError(error)) = error else { return response };
    let body = match serde_json::to_vec(&Envelope::new(response.status(), Failure::from(error))) {
        Ok(bytes) => Body::from(bytes),
        Err(error) => return refuse(&Error::internal(error)),
    };
    let (mut head, _) = response.into_parts();
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        head.headers.remove(name);
    }
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(head, body)
}
