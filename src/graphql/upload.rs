//! Files of a multipart request. They are stored before the operation runs, and the variables refer to them by index.

use std::sync::{Mutex, PoisonError};

use crate::document::Staged;

/// Prefix of the value of a file variable; the index of the file follows. A client that sends it directly reaches only
/// the files of its own request.
pub(super) const FILE_VARIABLE_PREFIX: &str = "upload:";

/// The files of one request.
#[derive(Debug, Default)]
pub struct Uploads(Mutex<Vec<Option<Staged>>>);

impl Uploads {
    /// Creates a collection of the given files.
    pub fn new(files: Vec<Staged>) -> Self {
        Self(Mutex::new(files.into_iter().map(Some).collect()))
    }

    /// Returns the value of the variable for the file at an index.
    pub fn variable(index: usize) -> String {
        format!("{FILE_VARIABLE_PREFIX}{index}")
    }

    /// Removes and returns a file. The caller then owns its bytes.
    pub(super) fn take(&self, index: usize) -> Option<Staged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index)?.take()
    }

    /// Removes and returns the files that no resolver has taken.
    pub(crate) fn take_remaining(&self) -> Vec<Staged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().filter_map(Option::take).collect()
    }
}
