//! Files of a multipart request. They are stored before the operation runs, and the variables refer to them by index.

use std::sync::{Mutex, PoisonError};

use crate::document::Staged;

/// Prefix of the variable that stands for a file; the index of the file follows. A client that sends it directly
/// reaches only the files of its own request.
pub(super) const PLACE: &str = "upload:";

/// The files of one request.
#[derive(Debug, Default)]
pub struct Uploads(Mutex<Vec<Option<Staged>>>);

impl Uploads {
    /// Creates the collection from these files.
    pub fn new(files: Vec<Staged>) -> Self {
        Self(Mutex::new(files.into_iter().map(Some).collect()))
    }

    /// Returns the variable that stands for the file at an index.
    pub fn variable(place: usize) -> String {
        format!("{PLACE}{place}")
    }

    /// Removes and returns a file. The caller then owns its bytes.
    pub(super) fn take(&self, place: usize) -> Option<Staged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place)?.take()
    }

    /// Returns the files that no resolver has taken.
    pub fn rest(&self) -> Vec<Staged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().filter_map(Option::take).collect()
    }
}
