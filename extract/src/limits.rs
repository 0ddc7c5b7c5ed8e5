//! Limits of one document.

use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure};

/// Resources that one document may use. A document that exceeds a limit is refused with [`Code::DocumentTooComplex`],
/// never cut short.
///
/// These limits bound memory and output; the child process bounds the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Pages of a PDF, or virtual pages of another format. Default 10,000.
    pub pages: u32,
    /// Characters of text in the whole document. Default 50 million.
    pub chars: usize,
    /// Glyphs on one page of a PDF; a dense newspaper page has 30,000. Default 200,000.
    pub glyphs_per_page: usize,
    /// Inflated bytes of one compressed stream of a PDF, except images. Default 64 MiB.
    pub stream_bytes: u64,
    /// Forms and images that one form of a PDF draws, all levels together. Default 100,000.
    pub nested_drawings: u64,
    /// Pixels of a rendered page, and of each image on it. Default 64 million.
    pub pixels: u64,
    /// Entries of an ePub's zip archive. Default 10,000.
    pub archive_entries: usize,
    /// Inflated bytes of all entries of an ePub together. Default 256 MiB.
    pub archive_bytes: u64,
    /// Bytes of one HTML or plain text file, or of one chapter of an ePub. Default 64 MiB.
    pub markup_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pages: 10_000,
            chars: 50_000_000,
            glyphs_per_page: 200_000,
            stream_bytes: 64 << 20,
            nested_drawings: 100_000,
            pixels: 64_000_000,
            archive_entries: 10_000,
            archive_bytes: 256 << 20,
            markup_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// Checks the size of a file that is decoded at once.
    pub(crate) fn check_markup_size(&self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() <= self.markup_bytes {
            return Ok(());
        }
        Err(Failure::new(
            Code::DocumentTooComplex,
            format!(
                "The text has {} MiB; the limit is {} MiB. Split it and upload the parts.",
                bytes.len() >> 20,
                self.markup_bytes >> 20
            ),
        ))
    }
}
