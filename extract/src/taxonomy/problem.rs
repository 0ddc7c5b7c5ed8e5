//! Problems of a definition.

use serde::{Deserialize, Serialize};

/// A problem of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Problem {
    /// JSON Pointer (RFC 6901) into the definition.
    pub path: String,
    /// `REQUIRED`, `WRONG_TYPE`, `EMPTY`, `UNKNOWN_VALUE`, `INVALID_FORMAT`, `INVALID_PATTERN`, `DUPLICATE`, `TOO_LONG`
    /// or `TOO_MANY`.
    pub code: &'static str,
    /// The problem, and what would be right.
    pub message: String,
}
