//! Errors between this program and a server, as messages for the terminal.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

/// The result of fallible operations of the client.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// The reason why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The input is not valid; no request was sent.
    #[error("{0}")]
    Input(String),
    /// The server did not respond: no connection, a broken connection, or a timeout.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable {
        /// The URL of the server.
        server: String,
        /// The cause.
        cause: String,
    },
    /// A response that is not of this API: it came from a proxy or another program.
    #[error("the server responded with {status}: {answer}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// The beginning of the body, or the target of a redirect.
        answer: String,
    },
    /// The errors of a GraphQL response; at least one.
    #[error("{}", ErrorList(.0))]
    Api(Vec<ApiError>),
    /// The server closed a WebSocket.
    #[error("the server closed the connection with code {code}: {reason}")]
    Closed {
        /// The close code, of RFC 6455 or of graphql-transport-ws.
        code: u16,
        /// The reason that the server gave.
        reason: String,
    },
    /// A subscription whose connection was lost repeatedly.
    #[error("gave up after {attempts} attempts to reconnect: {cause}")]
    Lost {
        /// Consecutive failed attempts.
        attempts: u32,
        /// The cause of the last failure.
        cause: Box<ClientError>,
    },
    /// The response does not follow the API.
    #[error("unexpected response from the server: {0}")]
    Protocol(String),
    /// A local file could not be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The terminal or pipe could not be written to.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// One error of a GraphQL response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The message for people.
    pub message: String,
    /// The details for programs.
    #[serde(default)]
    pub extensions: Extensions,
}

/// The extensions of an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Extensions {
    /// The error code of the API, such as `BAD_USER_INPUT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// All problems of the input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// The ID of the request, which the log of the server contains too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking: Option<String>,
    /// The seconds after which a retry may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

/// One problem of an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// JSON Pointer (RFC 6901) into the input.
    pub path: String,
    /// The code for programs.
    pub code: String,
    /// The message for people.
    pub message: String,
}

impl ClientError {
    /// Returns whether the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Api(errors) => errors.iter().any(|error| {
                matches!(error.extensions.code.as_deref(), Some("UNAVAILABLE" | "TIMEOUT" | "RATE_LIMITED"))
            }),
            // Codes 4400 to 4499 of graphql-transport-ws mean an error of the client. The exception is 4408, an
            // initialization that took too long. Codes 1002, 1003 and 1007 to 1010 (RFC 6455, section 7.4.1) reject
            // what the client sent.
            Self::Closed { code, .. } => {
                *code == 4408 || !matches!(code, 1002 | 1003 | 1007..=1010 | 4400..=4499)
            }
            _ => false,
        }
    }

    /// Returns whether the server cannot be reached or cannot work, so that its answer is unknown.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Lost { .. }) || self.is_transient()
    }

    /// Returns the errors of the GraphQL response, if one caused the failure.
    pub(crate) fn api_errors(&self) -> &[ApiError] {
        match self {
            Self::Api(errors) => errors,
            Self::Lost { cause, .. } => cause.api_errors(),
            _ => &[],
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extensions = &self.extensions;
        if let Some(code) = &extensions.code {
            write!(f, "{}: ", printable(code))?;
        }
        f.write_str(&printable(&self.message))?;
        // The message often contains a single problem already.
        let is_not_in_message =
            |problem: &&Problem| extensions.problems.len() > 1 || !self.message.contains(&problem.message);
        for Problem { path, code, message } in extensions.problems.iter().filter(is_not_in_message) {
            write!(f, "\n  {}: {} ({})", printable(path), printable(message), printable(code))?;
        }
        if let Some(seconds) = extensions.retry_after_seconds {
            write!(f, "\n  try again in {seconds} s")?;
        }
        if let Some(tracking) = &extensions.tracking {
            write!(f, "\n  tracking ID {}", printable(tracking))?;
        }
        Ok(())
    }
}

struct ErrorList<'e>(&'e [ApiError]);

impl fmt::Display for ErrorList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// Replaces control characters, which could control the terminal, with spaces. The result has one line.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.replace(char::is_control, " "))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(json: serde_json::Value) -> ClientError {
        ClientError::Api(vec![serde_json::from_value(json).unwrap()])
    }

    #[test]
    fn problems_are_listed_line_by_line() {
        let error = api(serde_json::json!({
            "message": "The input has 2 problems.",
            "extensions": {
                "code": "BAD_USER_INPUT",
                "tracking": "t-1",
                "problems": [
                    {"path": "/metadata/mapping", "code": "REQUIRED", "message": "is missing"},
                    {"path": "/priority", "code": "RANGE", "message": "is too large"},
                ],
            },
        }));
        assert_eq!(
            error.to_string(),
            "BAD_USER_INPUT: The input has 2 problems.\n  /metadata/mapping: is missing (REQUIRED)\n  \
             /priority: is too large (RANGE)\n  tracking ID t-1"
        );
        assert!(!error.is_transient() && !error.is_unreachable());
    }

    #[test]
    fn single_problem_is_not_repeated() {
        let error = api(serde_json::json!({
            "message": "/a: is missing",
            "extensions": {"code": "BAD_USER_INPUT", "problems": [{"path": "/a", "code": "REQUIRED", "message": "is missing"}]},
        }));
        assert_eq!(error.to_string(), "BAD_USER_INPUT: /a: is missing");
    }

    #[test]
    fn bare_errors_and_terminal_escapes_print() {
        let error = api(serde_json::json!({"message": "no\u{1b}[2Jpe\nnever"}));
        assert_eq!(error.to_string(), "no [2Jpe never");
    }

    #[test]
    fn only_temporary_errors_are_transient() {
        let code = |code: &str| api(serde_json::json!({"message": "m", "extensions": {"code": code}}));
        assert!(code("UNAVAILABLE").is_transient() && code("RATE_LIMITED").is_transient());
        assert!(!code("FORBIDDEN").is_transient() && !code("UNAUTHENTICATED").is_transient());
        let closed = |code| ClientError::Closed { code, reason: String::new() };
        for (given, transient) in [
            (1001, true),
            (1006, true),
            (1012, true),
            (4408, true),
            (4500, true),
            (4401, false),
            (4403, false),
            (1009, false),
        ] {
            assert_eq!(closed(given).is_transient(), transient, "{given}");
        }
    }
}
