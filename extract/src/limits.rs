//! How much of a machine one document may use.

use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure};

/// What one document may need. Past a limit the document is refused with
/// [`Code::DocumentTooComplex`], never cut short.
///
/// These limits are about memory and output; the time that a document takes is bounded by the process that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Pages of a PDF, virtual pages of other formats. Default 10,000.
    pub pages: u32,
    /// Characters of text in the whole document. Default 50 million.
    pub chars: usize,
    /// Glyphs drawn on one page of a PDF; a dense newspaper page has 30,000. Default 200,000.
    pub glyphs_per_page: usize,
    /// Bytes that one compressed stream of a PDF may inflate to, pictures aside. Default 64 MiB.
    pub stream_bytes: u64,
    /// Forms and pictures that drawing one form of a PDF draws in turn, all levels together. Default 100,000.
    pub nested_drawings: u64,
    /// Pixels of a rendered page, and of each picture that has to be decoded for it. Default 64 million.
    pub pixels: u64,
    /// Entries of an ePub's zip archive. Default 10,000.
    pub archive_entries: usize,
    /// Bytes that all entries of an ePub may inflate to together. Default 256 MiB.
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
    /// Checks the size of a file that is decoded as a whole.
    pub(crate) fn check_markup(&self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() <= self.markup_bytes {
            return Ok(());
        }
        Err(Failure::new(
            Code::DocumentTooComplex,
            format!(
                "The text has {} MiB; {} MiB are the most that can be read at once. Split it and upload the parts.",
                bytes.len() >> 20,
                self.markup_bytes >> 20
            ),
        ))
    }
}
