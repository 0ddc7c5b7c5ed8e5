//! The operations of the built-in job types, with their inputs and results.
//!
//! | operation | reads | writes |
//! |---|---|---|
//! | [`Text`](Operation::Text) | `input` | `text-json` |
//! | [`Zoning`](Operation::Zoning) | `text-json` | `zoning-json`, `zoning-pagesmeta-json` |
//! | [`Mapping`](Operation::Mapping) | `text-json`, `zoning-json`, `mapping-taxonomy-json` | `mapping-json` |
//! | [`Indexing`](Operation::Indexing) | `text-json`, `zoning-json`, `indexing-taxonomy-json` | `indexing-json` |
//! | [`Output`](Operation::Output) | `mapping-json` or `indexing-json`, their taxonomy, `text-json` | `output` |

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::review::{ReviewItem, Score};

/// Names of roles.
pub mod role {
    /// The document of the job.
    pub const INPUT: &str = "input";
    /// [`TextDocument`](crate::document::TextDocument).
    pub const TEXT: &str = "text-json";
    /// [`PagesMeta`](crate::document::PagesMeta).
    pub const PAGES_META: &str = "zoning-pagesmeta-json";
    /// [`Zones`](crate::document::Zones).
    pub const ZONES: &str = "zoning-json";
    /// The taxonomy of `data-point-extraction` at the time when the job was created.
    pub const MAPPING_TAXONOMY: &str = "mapping-taxonomy-json";
    /// The values found.
    pub const MAPPING: &str = "mapping-json";
    /// The taxonomy of `indexing` at the time when the job was created.
    pub const INDEXING_TAXONOMY: &str = "indexing-taxonomy-json";
    /// The keywords found.
    pub const INDEXING: &str = "indexing-json";
    /// The XML output.
    pub const OUTPUT: &str = "output";
}

/// The operation of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Extracts the text of a document with its positions.
    Text(Text),
    /// Finds the zones of the pages.
    Zoning {
        /// Zones with a lower confidence need a review. At 1 or more all do, at 0 none.
        threshold: f64,
    },
    /// Finds the values of a taxonomy.
    Mapping {
        /// Values with a lower confidence need a review. At 1 or more all do, at 0 none.
        threshold: f64,
    },
    /// Finds keywords.
    Indexing {
        /// Keywords with a lower confidence need a review. At 1 or more all do, at 0 none.
        threshold: f64,
    },
    /// Writes the XML output.
    Output(Output),
}

/// Options of the text extraction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// MIME type, as [`sniff::check_media_type`](crate::sniff::check_media_type) returns it.
    pub mime: String,
    /// Whether OCR reads pages without text.
    pub ocr: bool,
    /// Languages for OCR, ISO 639-1, the most likely first; may be empty.
    pub languages: Vec<String>,
    /// Least height in pixels of the page images for OCR. Pages are rendered at 300 dpi if that is higher, because OCR
    /// cannot read small print at less.
    pub image_height: u32,
}

/// Facts about the job for the XML output. Unknown ones are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// File name of the document.
    pub name: String,
    /// SHA-256 of the document, 64 hexadecimal digits in lower case.
    pub sha256: Option<String>,
    /// Identifier of the job.
    pub job: Option<String>,
    /// The present time, as RFC 3339.
    pub created_at: Option<String>,
}

impl Operation {
    /// Returns the roles that the operation reads. If one is missing, the operation does without it or fails.
    pub fn inputs(&self) -> &'static [&'static str] {
        match self {
            Self::Text(_) => &[role::INPUT],
            Self::Zoning { .. } => &[role::TEXT],
            Self::Mapping { .. } => &[role::TEXT, role::ZONES, role::MAPPING_TAXONOMY],
            Self::Indexing { .. } => &[role::TEXT, role::ZONES, role::INDEXING_TAXONOMY],
            Self::Output(_) => &[
                role::MAPPING,
                role::INDEXING,
                role::MAPPING_TAXONOMY,
                role::INDEXING_TAXONOMY,
                role::PAGES_META,
                role::TEXT,
            ],
        }
    }

    /// Returns the roles that the operation writes.
    pub fn outputs(&self) -> &'static [&'static str] {
        match self {
            Self::Text(_) => &[role::TEXT],
            Self::Zoning { .. } => &[role::ZONES, role::PAGES_META],
            Self::Mapping { .. } => &[role::MAPPING],
            Self::Indexing { .. } => &[role::INDEXING],
            Self::Output(_) => &[role::OUTPUT],
        }
    }
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// In the order of [`Operation::outputs`].
    pub outputs: Vec<Content>,
    /// The review that one of the outputs needs.
    pub review: Option<Review>,
    /// Confidences of everything that the step found; `None` for steps whose results are never reviewed.
    pub scored: Option<ContentScores>,
}

/// Counts of everything that a step found in a content, by confidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentScores {
    /// Role of the content.
    pub content_role: String,
    /// One entry for each confidence.
    pub scores: Vec<Score>,
}

/// A content that a step wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// See [`role`].
    pub role: &'static str,
    /// The file, which the caller may move or delete.
    pub path: PathBuf,
    /// MIME type.
    pub mime: &'static str,
    /// File name for downloads.
    pub name: &'static str,
}

impl Content {
    /// Returns the MIME type and the file name of a role.
    pub(crate) fn type_and_file_name(role: &str) -> (&'static str, &'static str) {
        const JSON: &str = "application/json";
        match role {
            role::TEXT => (JSON, "text.json"),
            role::PAGES_META => (JSON, "pages.json"),
            role::ZONES => (JSON, "zones.json"),
            role::MAPPING => (JSON, "mapping.json"),
            role::INDEXING => (JSON, "indexing.json"),
            role::OUTPUT => ("application/xml", "output.xml"),
            _ => ("application/octet-stream", "content"),
        }
    }
}

/// Returns the JSON Schema (2020-12) of a content that reviewers may correct; `None` for other roles.
pub fn schema(role: &str) -> Option<&'static str> {
    match role {
        role::ZONES => Some(include_str!("../schema/zoning-json.schema.json")),
        role::MAPPING => Some(include_str!("../schema/mapping-json.schema.json")),
        role::INDEXING => Some(include_str!("../schema/indexing-json.schema.json")),
        _ => None,
    }
}

/// A request to review a content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// The reason, for reviewers.
    pub reason: String,
    /// Role of the content.
    pub content_role: String,
    /// The items that need a decision.
    pub items: Vec<ReviewItem>,
}
