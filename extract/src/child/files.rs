//! Files of a task.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};

use super::protocol::Request;
use crate::failure::{Code, Failure};

/// The files of a task, opened before the process enters its sandbox.
#[derive(Debug)]
pub(super) struct TaskFiles {
    inputs: BTreeMap<String, (File, u64)>,
    outputs: BTreeMap<String, File>,
}

impl TaskFiles {
    pub(super) fn open(request: &Request) -> io::Result<Self> {
        let mut inputs = BTreeMap::new();
        for (role, path) in &request.inputs {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            inputs.insert(role.clone(), (file, size));
        }
        let mut outputs = BTreeMap::new();
        for (role, path) in &request.outputs {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
            outputs.insert(role.clone(), file);
        }
        Ok(Self { inputs, outputs })
    }

    pub(super) fn input_bytes(&self) -> u64 {
        self.inputs.values().map(|(_, size)| size).sum()
    }

    /// Whether the task has an input in the role.
    pub(super) fn has(&self, role: &str) -> bool {
        self.inputs.contains_key(role)
    }

    /// Reads the whole input of a role. Each input can be read once.
    pub(super) fn read(&mut self, role: &str) -> Result<Vec<u8>, Failure> {
        let (mut file, size) = self.inputs.remove(role).ok_or_else(|| {
            Failure::new(Code::Internal, format!("The step has no content in the role {role}."))
        })?;
        let mut bytes = Vec::with_capacity(size as usize);
        file.read_to_end(&mut bytes).map_err(|error| storage_failure(&error))?;
        Ok(bytes)
    }

    /// Returns the file for the output of a role. Each output can be taken once.
    pub(super) fn output(&mut self, role: &str) -> Result<File, Failure> {
        let no_file =
            || Failure::new(Code::Internal, format!("The step has no output file for the role {role}."));
        self.outputs.remove(role).ok_or_else(no_file)
    }
}

/// Returns a failure of the disk rather than of the document.
pub(super) fn storage_failure(error: &io::Error) -> Failure {
    Failure::new(Code::Internal, format!("A content could not be read or written: {}.", error.kind()))
}
