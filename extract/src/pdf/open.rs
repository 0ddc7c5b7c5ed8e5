//! Opens PDFs within limits.

use std::sync::Arc;

use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};

use super::streams;
use crate::failure::{Code, Failure};
use crate::limits::Limits;

/// Opens a PDF and checks its limits.
pub(super) fn open_pdf(bytes: Arc<Vec<u8>>, limits: &Limits) -> Result<Pdf, Failure> {
    /// Readers accept the header within this many bytes (ISO 32000-1, annex H.3, note 13).
    const HEADER_BYTES: usize = 1024;
    if bytes.is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, "The file is empty."));
    }
    let has_header = bytes.windows(5).take(HEADER_BYTES).any(|window| window == b"%PDF-");
    let pdf = Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => Failure::new(
            Code::DocumentEncrypted,
            "The PDF is protected by a password. Remove the password and upload the document again.",
        ),
        LoadPdfError::Decryption(DecryptionError::UnsupportedAlgorithm) => Failure::new(
            Code::DocumentEncrypted,
            "The PDF uses an unsupported encryption. Save it without encryption and upload it again.",
        ),
        LoadPdfError::Decryption(_) => {
            Failure::damaged("The PDF cannot be opened, because its encryption is damaged.")
        }
        LoadPdfError::Invalid if has_header => {
            Failure::damaged("The PDF is damaged: no pages can be found in it. Export or scan it again.")
        }
        LoadPdfError::Invalid => {
            Failure::new(Code::DocumentTypeUnsupported, "The file is declared as a PDF but is not one.")
        }
    })?;
    let pages = pdf.pages().len();
    if pages == 0 {
        return Err(Failure::damaged("The PDF is damaged: it has no pages. Export or scan it again."));
    }
    if pages > limits.pages as usize {
        return Err(Failure::too_complex(format!(
            "The PDF has {pages} pages; the limit is {}. Split it and upload the parts.",
            limits.pages
        )));
    }
    streams::check_streams(&pdf, limits)?;
    Ok(pdf)
}
