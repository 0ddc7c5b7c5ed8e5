//! The job types that come with Docket; their definitions are data.

use super::JobType;
use crate::config::Switch;
use crate::error::{Error, Result};

/// PDF, ePub, HTML or text in, values mapped onto a taxonomy out.
pub const DATA_POINT_EXTRACTION: &str = "data-point-extraction";
/// The same documents in, keywords out.
pub const INDEXING: &str = "indexing";
/// Three steps that do nothing.
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
    fn definitions_are_sound() {
        for job_type in all(Switch::On).unwrap() {
            assert!(jsonschema::draft202012::meta::is_valid(&job_type.metadata_schema), "{}", job_type.id);
            assert!(!job_type.steps.is_empty());
        }
    }
}
