//! The shape of `indexing-json`.

use serde::{Deserialize, Serialize};

/// `indexing-json`: the keywords of a document, highest weight first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Keywords {
    /// Terms of the taxonomy that occur, and the best statistical keywords.
    pub keywords: Vec<Keyword>,
}

/// A keyword of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keyword {
    /// Printed form of the first occurrence.
    pub term: String,
    /// Importance for the document, 0 to 1; the most important keyword has 1.
    pub weight: f64,
    /// Number of occurrences, under any name.
    pub count: u32,
    /// The taxonomy's term; null if the taxonomy has none.
    pub entry: Option<String>,
    /// Estimated probability that the keyword belongs in an index of the document, 0 to 1.
    pub confidence: f64,
}

pub(super) fn round_to_thousandths(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
