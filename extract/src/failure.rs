//! Failures of documents.

use serde::{Deserialize, Serialize};

/// The failure of an extraction: a code for programs and a message for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code:?})")]
pub struct Failure {
    /// The cause, for programs.
    pub code: Code,
    /// The problem and its remedy, for users. Contains no paths, addresses or parser internals.
    pub message: String,
}

impl Failure {
    /// Creates a failure.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Returns a [`Code::DocumentTooComplex`] failure.
    pub(crate) fn too_complex(message: impl Into<String>) -> Self {
        Self::new(Code::DocumentTooComplex, message)
    }

    /// Returns a [`Code::DocumentDamaged`] failure.
    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self::new(Code::DocumentDamaged, message)
    }
}

/// The cause of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The file has no bytes.
    DocumentEmpty,
    /// The file is damaged beyond repair.
    DocumentDamaged,
    /// The file cannot be opened without a password.
    DocumentEncrypted,
    /// The file is not of its declared type, or not of a type that the job type reads.
    DocumentTypeUnsupported,
    /// The document has no text, and OCR was not requested or found none.
    NoText,
    /// OCR was requested, and its program is not installed.
    OcrUnavailable,
    /// The document exceeds a limit on memory, time, pages, nesting or output.
    DocumentTooComplex,
    /// The parser crashed; most likely the file is damaged.
    ParserCrashed,
    /// The job was cancelled, or the server stopped.
    Cancelled,
    /// A fault of the server rather than of the document. A retry may succeed.
    Internal,
}

impl Code {
    /// Returns the code as it appears in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DocumentEmpty => "DOCUMENT_EMPTY",
            Self::DocumentDamaged => "DOCUMENT_DAMAGED",
            Self::DocumentEncrypted => "DOCUMENT_ENCRYPTED",
            Self::DocumentTypeUnsupported => "DOCUMENT_TYPE_UNSUPPORTED",
            Self::NoText => "NO_TEXT",
            Self::OcrUnavailable => "OCR_UNAVAILABLE",
            Self::DocumentTooComplex => "DOCUMENT_TOO_COMPLEX",
            Self::ParserCrashed => "PARSER_CRASHED",
            Self::Cancelled => "CANCELLED",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether a retry may succeed.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Internal)
    }
}
