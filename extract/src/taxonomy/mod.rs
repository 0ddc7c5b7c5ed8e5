//! The definition of a taxonomy: which values or keywords a document should yield, and how they are recognised.
//!
//! [`Taxonomy::parse`] is the only way to make one, so that whatever holds a taxonomy holds a sound one: types known,
//! patterns compiled, names unique, sizes within [`Limits`]. Keys that are not known here are left alone.

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod parse;
mod pattern;
#[cfg(test)]
mod tests;

/// What to look for in a document.
#[derive(Debug, Clone)]
pub struct Taxonomy {
    /// What jobs call it by.
    pub name: String,
    /// The author's own version, as written.
    pub version: Option<String>,
    /// How dates and numbers are printed.
    pub options: Options,
    /// Values to find, for `data-point-extraction`.
    pub data_points: Vec<DataPoint>,
    /// Terms to recognise, for `indexing`.
    pub keywords: Vec<KeywordEntry>,
}

/// How the documents of a taxonomy print dates and numbers. What is not given is inferred from the document.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `.` or `,`.
    pub decimal_separator: Option<char>,
    /// In order of preference, as `%d.%m.%Y` or `DD.MM.YYYY`.
    pub date_formats: Vec<String>,
    /// ISO 639-1 codes in lower case, the most likely first.
    pub languages: Vec<String>,
    /// ISO 4217 code of amounts printed without one.
    pub currency: Option<String>,
}

/// One value to find.
#[derive(Debug, Clone)]
pub struct DataPoint {
    /// Unique; dots make a hierarchy.
    pub name: String,
    /// How it is read and normalized.
    pub kind: Kind,
    /// Missing, it still stands in the result, and asks for a review.
    pub required: bool,
    /// One value per occurrence rather than the best one.
    pub multiple: bool,
    /// What is printed beside or above the value.
    pub labels: Vec<String>,
    /// Where the value is in the text of a page.
    pub patterns: Vec<Pattern>,
    /// What an `enum` may be.
    pub values: Vec<String>,
}

/// The type of a data point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Free text.
    String,
    /// An identifier: numbers, references, IBANs. White space in it means nothing.
    Code,
    /// A number without a currency.
    Number,
    /// A sum of money.
    Amount,
    /// A calendar date.
    Date,
    /// Yes or no.
    Boolean,
    /// One of `values`.
    Enum,
}

impl Kind {
    /// Every type with its name in a definition.
    pub const ALL: [(&'static str, Self); 7] = [
        ("string", Self::String),
        ("code", Self::Code),
        ("number", Self::Number),
        ("amount", Self::Amount),
        ("date", Self::Date),
        ("boolean", Self::Boolean),
        ("enum", Self::Enum),
    ];
}

/// A regular expression that finds a value: its group where it has one, else the whole match.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Compiled within [`Limits::pattern_memory`].
    pub regex: Regex,
    /// The same with any width of gap where `regex` counts white space, since how many spaces a gap between columns is
    /// depends on who laid out the text. None where `regex` counts none.
    pub relaxed: Option<Regex>,
    /// Whether the value is the group, with context around it.
    pub grouped: bool,
    /// Whether it matches nothing but a few fixed texts, such as `EUR|USD`: a match then says much.
    pub literal: bool,
}

/// A term of the taxonomy's own vocabulary.
#[derive(Debug, Clone)]
pub struct KeywordEntry {
    /// What the keyword is called in the result.
    pub term: String,
    /// Other words for it.
    pub synonyms: Vec<String>,
}

/// How large a taxonomy may be. The defaults are far above what people write by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Data points of a taxonomy.
    pub data_points: usize,
    /// Labels of a data point.
    pub labels: usize,
    /// Patterns of a data point.
    pub patterns: usize,
    /// Values of a data point.
    pub values: usize,
    /// Keywords of a taxonomy.
    pub keywords: usize,
    /// Synonyms of a keyword.
    pub synonyms: usize,
    /// Entries of each list in the options.
    pub options: usize,
    /// Characters of a name, label, value, term or option.
    pub text_chars: usize,
    /// Characters of a pattern.
    pub pattern_chars: usize,
    /// Bytes that a compiled pattern may take. Classes such as `\w` are large, for they hold the letters of all scripts.
    pub pattern_memory: usize,
    /// Bytes that all compiled patterns of a taxonomy may take together.
    pub patterns_memory: usize,
    /// Levels of nesting in a pattern.
    pub pattern_nesting: u32,
    /// Problems that are reported at most.
    pub problems: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            data_points: 500,
            labels: 100,
            patterns: 50,
            values: 1_000,
            keywords: 5_000,
            synonyms: 100,
            options: 50,
            text_chars: 200,
            pattern_chars: 2_000,
            pattern_memory: 8 << 20,
            patterns_memory: 128 << 20,
            pattern_nesting: 50,
            problems: 100,
        }
    }
}

/// What is wrong with a definition, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Problem {
    /// JSON Pointer (RFC 6901) into the definition.
    pub path: String,
    /// `REQUIRED`, `WRONG_TYPE`, `EMPTY`, `UNKNOWN_VALUE`, `INVALID_FORMAT`, `INVALID_PATTERN`, `DUPLICATE`, `TOO_LONG`
    /// or `TOO_MANY`.
    pub code: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Taxonomy {
    /// Reads a definition within the default [`Limits`]. The error lists every problem at once, in the definition's order.
    pub fn parse(definition: &Value) -> Result<Self, Vec<Problem>> {
        Self::parse_within(definition, &Limits::default())
    }

    /// Reads a definition within `limits`.
    pub fn parse_within(definition: &Value, limits: &Limits) -> Result<Self, Vec<Problem>> {
        parse::taxonomy(definition, limits)
    }

    /// The data point of this name.
    pub fn data_point(&self, name: &str) -> Option<&DataPoint> {
        self.data_points.iter().find(|point| point.name == name)
    }
}
