//! What a step of a built-in job type asks for, and what it gets.
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

/// Names of contents.
pub mod role {
    /// The document of the job.
    pub const INPUT: &str = "input";
    /// [`TextDocument`](crate::document::TextDocument).
    pub const TEXT: &str = "text-json";
    /// [`PagesMeta`](crate::document::PagesMeta).
    pub const PAGES_META: &str = "zoning-pagesmeta-json";
    /// [`Zones`](crate::document::Zones).
    pub const ZONES: &str = "zoning-json";
    /// The taxonomy of `data-point-extraction` as it was when the job was created.
    pub const MAPPING_TAXONOMY: &str = "mapping-taxonomy-json";
    /// The values that were found.
    pub const MAPPING: &str = "mapping-json";
    /// The taxonomy of `indexing` as it was when the job was created.
    pub const INDEXING_TAXONOMY: &str = "indexing-taxonomy-json";
    /// The keywords that were found.
    pub const INDEXING: &str = "indexing-json";
    /// The XML.
    pub const OUTPUT: &str = "output";
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Finds the text of a document and where it stands.
    Text(Text),
    /// Finds what belongs together on the pages.
    Zoning {
        /// Zones of less confidence are for a person to look at; from 1 on all are, at 0 none.
        threshold: f64,
    },
    /// Finds the values of a taxonomy.
    Mapping {
        /// Values of less confidence are for a person to look at; from 1 on all are, at 0 none.
        threshold: f64,
    },
    /// Finds keywords.
    Indexing {
        /// Keywords of less confidence are for a person to look at; from 1 on all are, at 0 none.
        threshold: f64,
    },
    /// Writes the XML.
    Output(Output),
}

/// How to find the text of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// MIME type, as [`sniff::check`](crate::sniff::check) returns it.
    pub mime: String,
    /// Whether pages without text are read from their pictures.
    pub ocr: bool,
    /// Languages of the document for that, ISO 639-1, the most likely first; may be empty.
    pub languages: Vec<String>,
    /// Least height in pixels of the pictures that pages are read from. Pages are rendered at 300 dpi where that is
    /// more, since small print cannot be read from less.
    pub image_height: u32,
}

/// What the XML says besides what was found. What is not known stays out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// File name of the document.
    pub name: String,
    /// Hash of the document, 64 hexadecimal digits in lower case.
    pub sha256: Option<String>,
    /// Identifier of the job.
    pub job: Option<String>,
    /// The time now, as RFC 3339.
    pub created_at: Option<String>,
}

impl Operation {
    /// The roles of the contents that it reads. Where a role is missing it may do without, or fail.
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

    /// The roles of the contents that it writes.
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

/// What a step made.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// In the order of [`Operation::outputs`].
    pub outputs: Vec<Content>,
    /// Set where a person should look at one of them.
    pub review: Option<Review>,
    /// How sure the step is of what it found; `None` where it finds nothing that people are asked about.
    pub scored: Option<Scored>,
}

/// How sure a step is of everything that it found in a content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// Role of the content.
    pub content_role: String,
    /// Counts for each confidence.
    pub scores: Vec<Score>,
}

/// A content that a step made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// See [`role`].
    pub role: &'static str,
    /// Where it is; the caller's to move or delete.
    pub path: PathBuf,
    /// MIME type.
    pub mime: &'static str,
    /// File name for people who download it.
    pub name: &'static str,
}

impl Content {
    /// MIME type and file name of a role that a step writes.
    pub(crate) fn kind_of(role: &str) -> (&'static str, &'static str) {
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

/// JSON Schema (2020-12) of a content of the built-in job types that people correct; `None` for other roles.
pub fn schema(role: &str) -> Option<&'static str> {
    match role {
        role::ZONES => Some(include_str!("../schema/zoning-json.schema.json")),
        role::MAPPING => Some(include_str!("../schema/mapping-json.schema.json")),
        role::INDEXING => Some(include_str!("../schema/indexing-json.schema.json")),
        _ => None,
    }
}

/// A request that a person look at a content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// Why, for people.
    pub reason: String,
    /// Role of the content.
    pub content_role: String,
    /// What in it.
    pub items: Vec<ReviewItem>,
}
