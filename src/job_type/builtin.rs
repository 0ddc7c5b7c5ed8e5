//! The built-in job types. Their definitions are JSON files.

use super::JobType;
use crate::config::Switch;
use crate::error::{Error, Result};

/// Maps values of a PDF, ePub, HTML or text document onto a taxonomy.
pub const DATA_POINT_EXTRACTION: &str = "data-point-extraction";
/// Finds the keywords of a PDF, ePub, HTML or text document.
pub const INDEXING: &str = "indexing";
/// Has three steps that do nothing.
pub const NOOP: &str = "noop";

pub(super) fn all(noop: Switch) -> Result<Vec<JobType>> {
    let mut definitions = vec![include_str!("data-point-extraction.json"), include_str!("indexing.json")];
    if noop == Switch::On {
        definitions.push(include_str!("noop.json"));
    }
    definitions.into_iter().map(|text| serde_json::from_str(text).map_err(Error::internal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_valid() {
        for job_type in all(Switch::On).unwrap() {
            assert!(jsonschema::draft202012::meta::is_valid(&job_type.metadata_schema), "{}", job_type.id);
            assert!(!job_type.steps.is_empty());
        }
    }
}
