//! Files of a multipart request. They are in the store before the operation runs; its variables name them by place.

use std::sync::{Mutex, PoisonError};

use crate::document::Staged;

/// What stands in the variables for a file; the number of its place follows. A client that writes this itself finds
/// only the files of its own request.
pub(super) const PLACE: &str = "upload:";

/// The files of one request.
#[derive(Debug, Default)]
pub struct Uploads(Mutex<Vec<Option<Staged>>>);

impl Uploads {
    /// With these files.
    pub fn new(files: Vec<Staged>) -> Self {
        Self(Mutex::new(files.into_iter().map(Some).collect()))
    }

    /// What stands in the variables for the file at a place.
    pub fn variable(place: usize) -> String {
        format!("{PLACE}{place}")
    }

    /// Takes a file out; whoever takes it owns its bytes.
    pub(super) fn take(&self, place: usize) -> Option<Staged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place)?.take()
    }

    /// What nobody took.
    pub fn rest(&self) -> Vec<Staged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().filter_map(Option::take).collect()
    }
}
