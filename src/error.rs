//! The domain's one error. A variant exists only where a client acts differently; transports map it at their edge.

mod code;

use sea_orm::{DbErr, RuntimeErr, SqlErr};
use serde::Serialize;

pub use code::Code;

/// The result of everything in the domain.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// JSON Pointer (RFC 6901) into the input.
    pub path: String,
    /// For programs, e.g. `REQUIRED`.
    pub code: String,
    /// For people: what is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem at a place of the input.
    pub fn new(path: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), code: code.into(), message: message.into() }
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// It does not exist, or this viewer may not know that it does.
    NotFound(String),
    /// The viewer can see it but not do this.
    Forbidden(String),
    /// No valid credentials.
    Unauthenticated(String),
    /// The input is wrong.
    Invalid(Vec<Problem>),
    /// It collides with what is there.
    Conflict {
        /// What collides.
        message: String,
        /// For programs: merged into the error's extensions.
        details: serde_json::Map<String, serde_json::Value>,
    },
    /// More bytes than allowed.
    TooLarge(String),
    /// Bytes of a kind that is not taken here.
    UnsupportedMedia(String),
    /// Too often; try again after so many seconds.
    RateLimited(u64),
    /// It took longer than anybody is to wait for it.
    TimedOut(String),
    /// Not now: the server is overloaded or shutting down.
    Unavailable(String),
    /// A fault of ours. The text is for the log and is never sent to a client.
    Internal(String),
}

impl Error {
    /// Something that does not exist for this viewer, by its noun.
    pub fn not_found(noun: &str) -> Self {
        Self::NotFound(format!("There is no such {noun}."))
    }

    /// One problem with the input.
    pub fn invalid(path: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Problem::new(path, code, message)])
    }

    /// A collision without further details.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict { message: message.into(), details: serde_json::Map::new() }
    }

    /// A fault of ours, with what the log should say.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }

    /// Whether it is sure that nothing was written. After a fault of the database or a lost connection it is not: the
    /// commit may have gone through.
    pub fn nothing_written(&self) -> bool {
        !matches!(self, Self::Internal(_) | Self::Unavailable(_) | Self::TimedOut(_))
    }

    /// For programs: the code of section 9 of the contract.
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
            Self::Internal(_) => Code::Internal,
        }
    }

    /// What a client is told. An internal error says nothing of its cause.
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
            Self::Internal(_) => {
                "Something went wrong on the server. Its log knows more under this tracking ID.".into()
            }
        }
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match error {
            DbErr::ConnectionAcquire(_) => {
                Self::Unavailable("The database is busy. Try again shortly.".into())
            }
            other if is_rolled_back(&other) => {
                tracing::warn!(error = %other, "a transaction was given up for another");
                Self::Unavailable("Others were changing the same at this moment. Try again.".into())
            }
            other => Self::Internal(format!("database: {other}")),
        }
    }
}

/// Whether PostgreSQL ended a transaction so that another can go on: serialization_failure or deadlock_detected.
fn is_rolled_back(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let code = error.as_database_error().and_then(sea_orm::sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// Maps a violated unique constraint to `Conflict` at the place of the insert that names it.
pub fn unique_or(error: DbErr, message: &str) -> Error {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Error::conflict(message),
        _ => error.into(),
    }
}

/// For logs: unlike [`Error::message`], this names the cause of an internal error.
impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internal(cause) => write!(f, "INTERNAL_SERVER_ERROR: {cause}"),
            other => write!(f, "{}: {}", other.code(), other.message()),
        }
    }
}

impl std::error::Error for Error {}
