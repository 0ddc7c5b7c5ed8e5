//! The error type of the domain. It has a variant for each way in which a client reacts; transports map it.

mod code;

use sea_orm::{DbErr, RuntimeErr, SqlErr};
use serde::Serialize;

pub use code::Code;

/// The result of fallible operations of the domain.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One problem with an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// JSON Pointer (RFC 6901) into the input.
    pub path: String,
    /// The code for programs, e.g. `REQUIRED`.
    pub code: String,
    /// The message for people: what is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// Creates a problem at a path of the input.
    pub fn new(path: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), code: code.into(), message: message.into() }
    }
}

/// The reason why an operation failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// It does not exist, or this viewer may not know that it does.
    NotFound(String),
    /// The viewer may see the object but not perform the operation.
    Forbidden(String),
    /// The request has no valid credential.
    Unauthenticated(String),
    /// The input is wrong.
    Invalid(Vec<Problem>),
    /// The operation conflicts with the current state.
    Conflict {
        /// The conflict.
        message: String,
        /// Details for programs, merged into the extensions of the error.
        details: serde_json::Map<String, serde_json::Value>,
    },
    /// The request has more bytes than allowed.
    TooLarge(String),
    /// The request has an unsupported media type.
    UnsupportedMedia(String),
    /// The rate limit was exceeded; retry after this number of seconds.
    RateLimited(u64),
    /// The operation exceeded its time limit.
    TimedOut(String),
    /// The server is overloaded or shutting down.
    Unavailable(String),
    /// A stored row has values that this version does not know. Clients see an internal error.
    Unreadable(String),
    /// A fault of the server. The text is for the log and is never sent to a client.
    Internal(String),
}

/// The wait before the retry of an [`Error::Unavailable`]: the overload of a moment.
const UNAVAILABLE_RETRY_SECONDS: u64 = 1;

impl Error {
    /// Creates an error for an object that does not exist for this viewer.
    pub(crate) fn not_found(noun: &str) -> Self {
        Self::NotFound(format!("There is no such {noun}."))
    }

    /// Creates an error with one problem of the input.
    pub fn invalid(path: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Problem::new(path, code, message)])
    }

    /// Creates a conflict without details.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict { message: message.into(), details: serde_json::Map::new() }
    }

    /// Creates a conflict with one detail for programs.
    pub(crate) fn conflict_with(
        message: impl Into<String>,
        key: &str,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        Self::Conflict {
            message: message.into(),
            details: [(key.to_owned(), value.into())].into_iter().collect(),
        }
    }

    /// Creates the error for a wait for the database that took too long.
    pub(crate) fn database_busy() -> Self {
        Self::Unavailable("The database is busy. Try again shortly.".into())
    }

    /// Creates an internal error with a cause for the log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }

    /// Returns whether the server refused the request: the object does not exist, or access is denied.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::Forbidden(_))
    }

    /// Returns whether the transaction has certainly been rolled back. After a database fault or a lost connection the
    /// commit may have succeeded.
    pub(crate) fn is_rolled_back(&self) -> bool {
        !matches!(self, Self::Internal(_) | Self::Unreadable(_) | Self::Unavailable(_) | Self::TimedOut(_))
    }

    /// Returns the seconds after which the client may retry; `None` if a retry needs another reason than time.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::RateLimited(seconds) => Some(*seconds),
            Self::Unavailable(_) => Some(UNAVAILABLE_RETRY_SECONDS),
            _ => None,
        }
    }

    /// Returns the error code for programs, which `docs/errors.md` describes.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound(_) => Code::NotFound,
            Self::Forbidden(_) => Code::Forbidden,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Invalid(_) => Code::BadInput,
            Self::Conflict { .. } => Code::Conflict,
            Self::TooLarge(_) => Code::TooLarge,
            Self::UnsupportedMedia(_) => Code::UnsupportedMedia,
            Self::RateLimited(_) => Code::RateLimited,
            Self::TimedOut(_) => Code::TimedOut,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Unreadable(_) | Self::Internal(_) => Code::Internal,
        }
    }

    /// Returns the message for clients. It does not reveal the cause of an internal error.
    pub fn message(&self) -> String {
        match self {
            Self::NotFound(m)
            | Self::Forbidden(m)
            | Self::Unauthenticated(m)
            | Self::TooLarge(m)
            | Self::UnsupportedMedia(m)
            | Self::TimedOut(m)
            | Self::Unavailable(m)
            | Self::Conflict { message: m, .. } => m.clone(),
            Self::Invalid(problems) => match problems.as_slice() {
                [one] if one.path.is_empty() => one.message.clone(),
                [one] => format!("{}: {}", one.path, one.message),
                many => format!("The input has {} problems; see extensions.problems.", many.len()),
            },
            Self::RateLimited(seconds) => format!("Too many requests. Try again in {seconds} s."),
            Self::Unreadable(_) | Self::Internal(_) => {
                "An internal server error occurred. The server's log has details under this tracking ID."
                    .into()
            }
        }
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match error {
            DbErr::ConnectionAcquire(_) => Self::database_busy(),
            other if is_serialization_failure(&other) => {
                tracing::warn!(error = %other, "the database aborted a transaction because of a conflict");
                Self::Unavailable("Concurrent update conflict. Retry the request.".into())
            }
            other if is_decoding_failure(&other) => Self::Unreadable(format!("database: {other}")),
            other => Self::Internal(format!("database: {other}")),
        }
    }
}

/// Returns whether a row was read but its values cannot be decoded, such as an unknown value of an enum.
fn is_decoding_failure(error: &DbErr) -> bool {
    match error {
        DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } => true,
        DbErr::Query(RuntimeErr::SqlxError(error)) => {
            matches!(**error, sea_orm::sqlx::Error::ColumnDecode { .. })
        }
        _ => false,
    }
}

/// Returns whether PostgreSQL aborted a transaction in favor of another (serialization_failure or deadlock_detected).
fn is_serialization_failure(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let code = error.as_database_error().and_then(sea_orm::sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Maps a violated unique constraint to a `Conflict` with this message, and any other error as usual.
pub fn unique_or(error: DbErr, message: &str) -> Error {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Error::conflict(message),
        _ => error.into(),
    }
}

/// For logs: unlike [`Error::message`], it includes the cause of an internal error.
impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(cause) | Self::Internal(cause) => write!(f, "INTERNAL_SERVER_ERROR: {cause}"),
            other => write!(f, "{}: {}", other.code(), other.message()),
        }
    }
}

impl std::error::Error for Error {}

/// Formats an error with its causes, outermost first. Many libraries omit the causes from their messages.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
