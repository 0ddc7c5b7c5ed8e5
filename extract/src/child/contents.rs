//! Reads and writes the contents of a task.

use std::io::{BufWriter, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::files::{TaskFiles, storage_failure};
use crate::document::{Page, PagesMeta, TextDocument};
use crate::failure::{Code, Failure};
use crate::layout::Hints;
use crate::mapping::{self, Finding};
use crate::taxonomy::Taxonomy;

/// `text-json` with what later steps need. A person may have written it, so only the pages are required.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Text {
    pub(super) pages: Vec<Page>,
    #[serde(default)]
    pub(super) hints: Hints,
    #[serde(default)]
    pub(super) meta: Option<PagesMeta>,
}

/// `mapping-json` with the original findings, which show what a reviewer changed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mapping {
    data_points: Vec<Finding>,
    #[serde(default)]
    found: Option<Vec<Finding>>,
}

impl Mapping {
    /// Wraps the findings of the mapping step.
    pub(super) fn from_findings(mapping: mapping::Mapping) -> Self {
        Self { found: Some(mapping.data_points.clone()), data_points: mapping.data_points }
    }

    /// Whether a reviewer changed a finding.
    pub(super) fn is_corrected(&self) -> bool {
        self.found.as_ref().is_some_and(|found| *found != self.data_points)
    }

    /// Returns the present values, with corrected ones normalized again.
    pub(super) fn into_corrected(self, taxonomy: &Taxonomy, document: &TextDocument) -> mapping::Mapping {
        let mut corrected = mapping::Mapping { data_points: self.data_points };
        if let Some(found) = self.found {
            mapping::normalize_corrections(
                &mapping::Mapping { data_points: found },
                &mut corrected,
                taxonomy,
                document,
            );
        }
        corrected
    }
}

/// Reads the JSON content of a role.
pub(super) fn read_json<T: DeserializeOwned>(files: &mut TaskFiles, role: &str) -> Result<T, Failure> {
    let bytes = files.read(role)?;
    // Reviewers' editors may write a byte order mark.
    let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    serde_json::from_slice(json).map_err(|error| {
        Failure::new(Code::DocumentDamaged, format!("The content {role} has an invalid structure: {error}."))
    })
}

/// Reads the JSON content of an optional role.
pub(super) fn read_optional_json<T: DeserializeOwned>(
    files: &mut TaskFiles,
    role: &str,
) -> Result<Option<T>, Failure> {
    if files.has(role) { read_json(files, role).map(Some) } else { Ok(None) }
}

/// Writes the JSON content of a role.
pub(super) fn write_json<T: Serialize>(
    files: &mut TaskFiles,
    role: &str,
    content: &T,
) -> Result<(), Failure> {
    let mut file = BufWriter::new(files.output(role)?);
    serde_json::to_writer(&mut file, content).map_err(|error| storage_failure(&error.into()))?;
    file.flush().map_err(|error| storage_failure(&error))
}

/// Writes the content of a role.
pub(super) fn write_bytes(files: &mut TaskFiles, role: &str, content: &[u8]) -> Result<(), Failure> {
    files.output(role)?.write_all(content).map_err(|error| storage_failure(&error))
}
