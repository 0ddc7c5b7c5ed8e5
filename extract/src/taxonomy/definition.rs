//! The parts of a taxonomy.

use regex::Regex;
use serde::{Deserialize, Serialize};

/// The values and keywords to find in a document.
#[derive(Debug, Clone)]
pub struct Taxonomy {
    /// The name by which jobs refer to it.
    pub name: String,
    /// The author's version, as written.
    pub version: Option<String>,
    /// How the documents print dates and numbers.
    pub options: Options,
    /// Values to find, for `data-point-extraction`.
    pub data_points: Vec<DataPoint>,
    /// Terms to recognize, for `indexing`.
    pub keywords: Vec<KeywordEntry>,
}

/// How the documents of a taxonomy print dates and numbers. Missing options are inferred from each document.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `.` or `,`.
    pub decimal_separator: Option<char>,
    /// Formats such as `%d.%m.%Y` or `DD.MM.YYYY`, in order of preference.
    pub date_formats: Vec<String>,
    /// ISO 639-1 codes in lower case, the most likely first.
    pub languages: Vec<String>,
    /// ISO 4217 code of amounts that are printed without a currency.
    pub currency: Option<String>,
}

/// A value to find.
#[derive(Debug, Clone)]
pub struct DataPoint {
    /// Unique name; dots form a hierarchy.
    pub name: String,
    /// Type of the value.
    pub kind: Kind,
    /// Whether a missing value appears in the result and needs a review.
    pub required: bool,
    /// Whether to return every occurrence rather than the best one.
    pub multiple: bool,
    /// Texts printed beside or above the value.
    pub labels: Vec<String>,
    /// Patterns of the value in the text of a page.
    pub patterns: Vec<Pattern>,
    /// Allowed values of an `enum`.
    pub values: Vec<String>,
}

/// The type of a data point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Free text.
    String,
    /// An identifier, such as a reference or an IBAN, in which white space has no meaning.
    Code,
    /// A number without a currency.
    Number,
    /// An amount of money.
    Amount,
    /// A calendar date.
    Date,
    /// Yes or no.
    Boolean,
    /// One of `values`.
    Enum,
}

impl Kind {
    /// Every type with its name in definitions.
    pub(crate) const ALL: [(&'static str, Self); 7] = [
        ("string", Self::String),
        ("code", Self::Code),
        ("number", Self::Number),
        ("amount", Self::Amount),
        ("date", Self::Date),
        ("boolean", Self::Boolean),
        ("enum", Self::Enum),
    ];
}

/// A regular expression that finds a value: its group, or the whole match if it has none.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The regular expression, compiled within [`Limits::pattern_memory`](super::Limits::pattern_memory).
    pub regex: Regex,
    /// The same expression with gaps of any width instead of counted white space, because the layout decides the width
    /// of a gap. `None` if the expression counts no white space.
    pub relaxed: Option<Regex>,
    /// Whether the value is a group with context around it.
    pub grouped: bool,
    /// Whether the pattern matches only a few fixed texts, such as `EUR|USD`, so that a match is strong evidence.
    pub literal: bool,
}

/// A term of the taxonomy.
#[derive(Debug, Clone)]
pub struct KeywordEntry {
    /// Name of the keyword in the result.
    pub term: String,
    /// Other names of the term.
    pub synonyms: Vec<String>,
}

impl Taxonomy {
    /// Returns the data point with this name.
    pub(crate) fn data_point(&self, name: &str) -> Option<&DataPoint> {
        self.data_points.iter().find(|point| point.name == name)
    }
}
