//! Contents as files: read with clear errors, written as they grow.

use std::io::{self, BufWriter, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::inside::Files;
use crate::document::{Page, PagesMeta, TextDocument};
use crate::failure::{Code, Failure};
use crate::layout::Hints;
use crate::mapping::{self, Finding};
use crate::taxonomy::Taxonomy;

/// `text-json` with what later steps make use of. A person may have made it, so that only the pages are sure to be there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Text {
    pub(super) pages: Vec<Page>,
    #[serde(default)]
    pub(super) hints: Hints,
    #[serde(default)]
    pub(super) meta: Option<PagesMeta>,
}

/// `mapping-json` with what the machine had found before a person changed it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mapping {
    data_points: Vec<Finding>,
    #[serde(default)]
    found: Option<Vec<Finding>>,
}

impl Mapping {
    /// What the machine found.
    pub(super) fn found(mapping: mapping::Mapping) -> Self {
        Self { found: Some(mapping.data_points.clone()), data_points: mapping.data_points }
    }

    /// Whether a person changed what the machine found.
    pub(super) fn is_corrected(&self) -> bool {
        self.found.as_ref().is_some_and(|found| *found != self.data_points)
    }

    /// The values as they are now, normalized again where a person changed them.
    pub(super) fn settled(self, taxonomy: &Taxonomy, document: &TextDocument) -> mapping::Mapping {
        let mut now = mapping::Mapping { data_points: self.data_points };
        if let Some(found) = self.found {
            mapping::settle(&mapping::Mapping { data_points: found }, &mut now, taxonomy, document);
        }
        now
    }
}

/// Reads the JSON content of a role.
pub(super) fn read_json<T: DeserializeOwned>(files: &mut Files, role: &str) -> Result<T, Failure> {
    let bytes = files.read(role)?;
    // Reviewers' editors may write a byte order mark.
    let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    serde_json::from_slice(json).map_err(|error| {
        Failure::new(
            Code::DocumentDamaged,
            format!("The content {role} does not have the form that it must have: {error}."),
        )
    })
}

/// Reads the JSON content of a role that a step can do without.
pub(super) fn read_json_if_any<T: DeserializeOwned>(
    files: &mut Files,
    role: &str,
) -> Result<Option<T>, Failure> {
    if files.has(role) { read_json(files, role).map(Some) } else { Ok(None) }
}

/// Writes the JSON content of a role.
pub(super) fn write_json<T: Serialize>(files: &mut Files, role: &str, content: &T) -> Result<(), Failure> {
    let mut file = BufWriter::new(files.output(role)?);
    serde_json::to_writer(&mut file, content).map_err(|error| disk(&error.into()))?;
    file.flush().map_err(|error| disk(&error))
}

/// Writes the content of a role.
pub(super) fn write(files: &mut Files, role: &str, content: &[u8]) -> Result<(), Failure> {
    files.output(role)?.write_all(content).map_err(|error| disk(&error))
}

/// A failure of the disk rather than of the document.
pub(super) fn disk(error: &io::Error) -> Failure {
    Failure::new(Code::Internal, format!("A content could not be read or written: {}.", error.kind()))
}
