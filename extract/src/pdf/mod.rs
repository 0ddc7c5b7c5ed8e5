//! Reads the positioned text of PDFs, and renders their pages as images for OCR.
//!
//! `hayro` handles syntax, fonts and the graphics state; this module records what it draws. Only [`render_page`]
//! paints.

use std::sync::Arc;

use hayro_interpret::InterpreterCache;

use crate::document::{PagesMeta, PdfType, TextDocument};
use crate::failure::Failure;
use crate::layout::{self, DocumentLayout, Hints};
use crate::limits::Limits;

mod device;
mod forms;
mod glyphs;
mod graphics;
mod open;
mod render;
mod streams;
#[cfg(test)]
mod tests;
mod unicode;

use device::{PageRecorder, record_page};
use open::open_pdf;
pub use render::render_page;

/// The text of a PDF.
#[derive(Debug, Clone, PartialEq)]
pub struct PdfText {
    /// Text with positions and hints.
    pub layout: DocumentLayout,
    /// Type of the PDF and number of pages.
    pub meta: PagesMeta,
    /// Numbers, from 1, of the pages that have images or drawings but no text, which OCR could read.
    pub image_only_pages: Vec<u32>,
}

/// Reads the text of a PDF. `progress` receives the share of finished pages, 0 to 1.
///
/// # Errors
/// `DOCUMENT_EMPTY`, `DOCUMENT_ENCRYPTED`, `DOCUMENT_DAMAGED`, `DOCUMENT_TYPE_UNSUPPORTED` and `DOCUMENT_TOO_COMPLEX`.
/// A document without text is not an error; see [`PdfText::image_only_pages`].
pub fn read(bytes: Arc<Vec<u8>>, limits: &Limits, progress: &mut dyn FnMut(f32)) -> Result<PdfText, Failure> {
    let pdf = open_pdf(bytes, limits)?;
    let cache = InterpreterCache::new();
    let total = pdf.pages().len();
    let mut document = TextDocument { pages: Vec::with_capacity(total) };
    let mut hints = Hints::default();
    let mut image_only_pages = Vec::new();
    let mut chars = 0;
    for (i, page) in pdf.pages().iter().enumerate() {
        let number = i as u32 + 1;
        let (width, height) = page.render_dimensions();
        let mut recorder = PageRecorder::new(f64::from(width), f64::from(height), limits.glyphs_per_page);
        record_page(&pdf, page, &cache, &mut recorder);
        if recorder.exceeded_limit() {
            return Err(Failure::too_complex(format!(
                "Page {number} has more than {} characters; split the document or export it again.",
                limits.glyphs_per_page
            )));
        }
        let (mut page, mut page_hints) = layout::lay_out_page(number, width, height, recorder.glyphs());
        (page_hints.images, page_hints.rules) = recorder.graphics(width, height);
        if page.words.is_empty() {
            page.text.clear();
            if !page_hints.images.is_empty() {
                image_only_pages.push(number);
            }
        }
        chars += page.text.len();
        if chars > limits.chars {
            return Err(Failure::too_complex(format!(
                "The document has more than {} characters of text.",
                limits.chars
            )));
        }
        document.pages.push(page);
        hints.pages.push(page_hints);
        progress(number as f32 / total as f32);
    }
    let with_text = document.pages.iter().any(|page| !page.words.is_empty());
    let pdf_type = match (with_text, image_only_pages.is_empty()) {
        (true, true) => PdfType::Text,
        (true, false) => PdfType::Mixed,
        (false, _) => PdfType::Scan,
    };
    let meta = PagesMeta { pdf_type: Some(pdf_type), total_pages: total as u32 };
    Ok(PdfText { layout: DocumentLayout { document, hints }, meta, image_only_pages })
}
