//! The one form of every answer: `{"success", "status_code", "tracking", "response"}`.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{Refused, refuse, tracking};
use super::ROOT;
use super::view::User;
use crate::error::{self, Error};

/// What every answer is wrapped in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Envelope<T> {
    /// Whether what was asked for was done.
    success: bool,
    /// Status of the answer.
    #[schema(minimum = 200, maximum = 599)]
    status_code: u16,
    /// ID of the request, which is also in the header X-Request-Id and in the server's log.
    tracking: String,
    /// What was asked for, or why it was not done.
    response: T,
}

impl<T: Serialize> Envelope<T> {
    fn new(status: StatusCode, response: T) -> Self {
        let (success, tracking) = (status.is_success(), tracking::current());
        Self { success, status_code: status.as_u16(), tracking, response }
    }
}

/// Why something was not done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Failure {
    /// For programs; `docs/errors.md` lists all.
    #[schema(example = "BAD_USER_INPUT")]
    code: &'static str,
    /// For people.
    message: String,
    /// For BAD_USER_INPUT everything that is wrong with the input; otherwise empty.
    problems: Vec<Problem>,
    /// For RATE_LIMITED when to try again; also in the header Retry-After.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after_seconds: Option<u64>,
    /// For a job that another person has checked out: who.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<User>)]
    claimed_by: Option<serde_json::Value>,
}

/// One thing that is wrong with an input.
#[derive(Debug, Serialize, ToSchema)]
struct Problem {
    /// Where: a JSON Pointer into the body; for a parameter a slash and its name; empty for the request as a whole.
    #[schema(example = "/input_content/uri")]
    path: String,
    /// For programs.
    #[schema(example = "FOREIGN_URI")]
    code: String,
    /// What is wrong and what would be right, for people.
    message: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let problem = |found: &error::Problem| {
            let error::Problem { path, code, message } = found.clone();
            Problem { path, code, message }
        };
        let (problems, retry_after_seconds) = match error {
            Error::Invalid(problems) => (problems.iter().map(problem).collect(), None),
            Error::RateLimited(seconds) => (Vec::new(), Some(*seconds)),
            _ => (Vec::new(), None),
        };
        let claimed_by = match error {
            Error::Conflict { details, .. } => details.get("claimedBy").filter(|by| by.is_object()).cloned(),
            _ => None,
        };
        let message = match problems.len() {
            0 | 1 => error.message(),
            many => format!("The input has {many} problems."),
        };
        Self { code: error.code().as_str(), message, problems, retry_after_seconds, claimed_by }
    }
}

/// The answer where something was done.
pub(super) fn done<T: Serialize>(status: StatusCode, response: T) -> Response {
    (status, Json(Envelope::new(status, response))).into_response()
}

/// [`envelope`] gives it its form.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        refuse(&self)
    }
}

/// Puts every refusal under the façade's root, wherever it comes from, into its envelope.
pub(in crate::http) async fn envelope(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let ours = path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let response = next.run(request).await;
    let refused = response.extensions().get::<Refused>().filter(|_| ours);
    let Some(Refused(error)) = refused else { return response };
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
