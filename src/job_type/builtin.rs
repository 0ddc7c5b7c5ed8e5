//! The built-in job types. Their definitions are JSON files.

use crate::config::Switch;

/// Maps values of a PDF, ePub, HTML or text document onto a taxonomy.
pub const DATA_POINT_EXTRACTION: &str = "data-point-extraction";
/// Finds the keywords of a PDF, ePub, HTML or text document.
pub const INDEXING: &str = "indexing";
/// Has three steps that do nothing.
pub const NOOP: &str = "noop";

/// Returns the definitions, as JSON.
pub(super) fn definitions(noop: Switch) -> Vec<&'static str> {
    let mut definitions = vec![include_str!("data-point-extraction.json"), include_str!("indexing.json")];
    if noop == Switch::On {
        definitions.push(include_str!("noop.json"));
    }
    definitions
}
