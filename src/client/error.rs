//! What goes wrong between this program and a server, told to the person at the terminal.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

/// The result of everything in the client.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// What was asked for cannot be done, and why; nothing was sent.
    #[error("{0}")]
    Input(String),
    /// No answer came: no connection, a broken one, or silence.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable {
        /// The server's address.
        server: String,
        /// What happened.
        cause: String,
    },
    /// An answer that is not of this API: of a proxy, or of another program.
    #[error("the server answered {status}: {answer}")]
    Status {
        /// HTTP status.
        status: StatusCode,
        /// The beginning of the body, or where a redirect points.
        answer: String,
    },
    /// The server refused; one entry or more.
    #[error("{}", Listed(.0))]
    Api(Vec<ApiError>),
    /// The server closed a WebSocket for good.
    #[error("the server closed the connection with code {code}: {reason}")]
    Closed {
        /// Close code, of RFC 6455 or of graphql-transport-ws.
        code: u16,
        /// What the server says of it.
        reason: String,
    },
    /// A subscription that broke off again and again.
    #[error("gave up after {attempts} attempts to go on: {cause}")]
    Lost {
        /// Attempts made in a row.
        attempts: u32,
        /// Why the last one failed.
        cause: Box<ClientError>,
    },
    /// The server's answer is not what the API promises.
    #[error("the server's answer is not understood: {0}")]
    Protocol(String),
    /// A file of this machine.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The terminal or pipe that is written to.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// One error of a GraphQL answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(default)]
    pub extensions: Extensions,
}

/// What a server says of an error besides its message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Extensions {
    /// One of the API's error codes, such as `BAD_USER_INPUT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Everything that is wrong with the input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// ID of the request, which the server's log has too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking: Option<String>,
    /// When to try again, where the server limits the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// JSON Pointer (RFC 6901) into the input.
    pub path: String,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

impl ClientError {
    /// Whether the same might work a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Api(errors) => errors.iter().any(|error| {
                matches!(error.extensions.code.as_deref(), Some("UNAVAILABLE" | "TIMEOUT" | "RATE_LIMITED"))
            }),
            // graphql-transport-ws closes with 4400 to 4499 where the client is to blame, of which only 4408, an
            // initialisation that took too long, may go better the next time; 1002, 1003, 1007 to 1010 (RFC 6455,
            // section 7.4.1) are about what was sent, too.
            Self::Closed { code, .. } => {
                *code == 4408 || !matches!(code, 1002 | 1003 | 1007..=1010 | 4400..=4499)
            }
            _ => false,
        }
    }

    /// Whether the server is out of reach or not able to work, so that nobody knows what it would say.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Lost { .. }) || self.is_transient()
    }

    /// What the server said, where it is what failed.
    pub fn api_errors(&self) -> &[ApiError] {
        match self {
            Self::Api(errors) => errors,
            Self::Lost { cause, .. } => cause.api_errors(),
            _ => &[],
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = &self.extensions;
        if let Some(code) = &said.code {
            write!(f, "{}: ", printable(code))?;
        }
        f.write_str(&printable(&self.message))?;
        // A single problem is often the message, too.
        let not_said_yet =
            |problem: &&Problem| said.problems.len() > 1 || !self.message.contains(&problem.message);
        for Problem { path, code, message } in said.problems.iter().filter(not_said_yet) {
            write!(f, "\n  {}: {} ({})", printable(path), printable(message), printable(code))?;
        }
        if let Some(seconds) = said.retry_after_seconds {
            write!(f, "\n  try again in {seconds} s")?;
        }
        if let Some(tracking) = &said.tracking {
            write!(f, "\n  tracking ID {}", printable(tracking))?;
        }
        Ok(())
    }
}

struct Listed<'e>(&'e [ApiError]);

impl fmt::Display for Listed<'_> {
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

/// An error with its causes, outermost first. Many libraries leave them out of their messages.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Text of others on one line, without control characters: those could steer the terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
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
    fn a_single_problem_is_not_said_twice() {
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
    fn only_what_may_pass_is_transient() {
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
