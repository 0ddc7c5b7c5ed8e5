//! Why a document cannot be read.

use serde::{Deserialize, Serialize};

/// The end of an extraction that did not work: a code for programs and a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code:?})")]
pub struct Failure {
    /// What is wrong, for programs.
    pub code: Code,
    /// What is wrong and what would help, for people. Never holds paths, addresses or parser internals.
    pub message: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What is wrong with a document, or with the attempt to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The file has no bytes.
    DocumentEmpty,
    /// The file is damaged beyond what readers repair.
    DocumentDamaged,
    /// The file cannot be opened without a password.
    DocumentEncrypted,
    /// The bytes are not of a type that this job type reads, or not of the type that was declared.
    DocumentTypeUnsupported,
    /// There is no text to be found, and reading it from pictures was not asked for.
    NoText,
    /// Reading text from pictures was asked for and its program is not installed.
    OcrUnavailable,
    /// The document needs more memory, time, pages, nesting or output than one document may have.
    DocumentTooComplex,
    /// The parser ended in a way of its own (a crash); the file is most likely damaged.
    ParserCrashed,
    /// The job was cancelled or the server stopped meanwhile.
    Cancelled,
    /// Something here went wrong that is no fault of the document. Worth trying again.
    Internal,
}

impl Code {
    /// Returns the code as programs read it.
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

    /// Whether the same attempt may succeed later.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Internal)
    }
}
