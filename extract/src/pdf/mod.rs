//! PDF: the text of its pages and where it stands; pictures of its pages for reading text from them.
//!
//! Syntax, fonts and the graphics state are `hayro`'s; this module listens to what it draws. Nothing here paints unless
//! [`render_page`] is asked to.

use std::sync::Arc;

use hayro_interpret::hayro_syntax::page::Page as PdfPage;
use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro_interpret::{
    Context, InterpreterCache, InterpreterSettings, TransformExt, interpret_page, kurbo::Rect,
};

use crate::document::{PagesMeta, PdfType, TextDocument};
use crate::failure::{Code, Failure};
use crate::layout::{self, Hints, Laid};
use crate::limits::Limits;

mod device;
mod forms;
mod glyphs;
mod marks;
mod render;
mod streams;
#[cfg(test)]
mod tests;
mod unicode;

use device::Listener;
pub use render::render_page;

/// What a PDF says.
#[derive(Debug, Clone, PartialEq)]
pub struct PdfText {
    /// Text, places and pictures.
    pub laid: Laid,
    /// Kind of document and number of pages.
    pub meta: PagesMeta,
    /// The pages (numbered from 1) that show pictures or drawings and have no text: what reading text from pictures is for.
    pub pictures_only: Vec<u32>,
}

/// Reads the text of a PDF. `progress` is told the share of pages that are done, 0 to 1.
///
/// # Errors
/// [`Code::DocumentEmpty`], [`Code::DocumentEncrypted`], [`Code::DocumentDamaged`], [`Code::DocumentTypeUnsupported`]
/// and [`Code::DocumentTooComplex`]. A document without text is no error here: see [`PdfText::pictures_only`].
pub fn read(bytes: Arc<Vec<u8>>, limits: &Limits, progress: &mut dyn FnMut(f32)) -> Result<PdfText, Failure> {
    let pdf = open(bytes, limits)?;
    let cache = InterpreterCache::new();
    let total = pdf.pages().len();
    let mut document = TextDocument { pages: Vec::with_capacity(total) };
    let mut hints = Hints::default();
    let mut pictures_only = Vec::new();
    let mut chars = 0;
    for (i, page) in pdf.pages().iter().enumerate() {
        let number = i as u32 + 1;
        let (width, height) = page.render_dimensions();
        let mut listener = Listener::new(f64::from(width), f64::from(height), limits.glyphs_per_page);
        listen(&pdf, page, &cache, &mut listener);
        if listener.overflowed() {
            return Err(too_complex(format!(
                "Page {number} has more than {} characters; split the document or print it anew.",
                limits.glyphs_per_page
            )));
        }
        let (mut page, mut page_hints) = layout::page(number, width, height, listener.glyphs());
        (page_hints.images, page_hints.rules) = listener.marks(width, height);
        if page.words.is_empty() {
            page.text.clear();
            if !page_hints.images.is_empty() {
                pictures_only.push(number);
            }
        }
        chars += page.text.len();
        if chars > limits.chars {
            return Err(too_complex(format!(
                "The document has more than {} characters of text.",
                limits.chars
            )));
        }
        document.pages.push(page);
        hints.pages.push(page_hints);
        progress(number as f32 / total as f32);
    }
    let with_text = document.pages.iter().any(|page| !page.words.is_empty());
    let pdf_type = match (with_text, pictures_only.is_empty()) {
        (true, true) => PdfType::Text,
        (true, false) => PdfType::Mixed,
        (false, _) => PdfType::Scan,
    };
    let meta = PagesMeta { pdf_type: Some(pdf_type), total_pages: total as u32 };
    Ok(PdfText { laid: Laid { document, hints }, meta, pictures_only })
}

/// Opens a PDF and checks that it is within limits.
fn open(bytes: Arc<Vec<u8>>, limits: &Limits) -> Result<Pdf, Failure> {
    /// Readers look for the header this far into the file (ISO 32000-1, annex H.3, note 13).
    const HEADER_WITHIN: usize = 1024;
    if bytes.is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, "The file is empty."));
    }
    let has_header = bytes.windows(5).take(HEADER_WITHIN).any(|window| window == b"%PDF-");
    let pdf = Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => Failure::new(
            Code::DocumentEncrypted,
            "The PDF is protected by a password. Remove the password and upload the document again.",
        ),
        LoadPdfError::Decryption(DecryptionError::UnsupportedAlgorithm) => Failure::new(
            Code::DocumentEncrypted,
            "The PDF is encrypted in a way that cannot be read here. Save it without encryption and upload it again.",
        ),
        LoadPdfError::Decryption(_) => damaged("The PDF's encryption is damaged, so that it cannot be opened."),
        LoadPdfError::Invalid if has_header => {
            damaged("The PDF is damaged: no pages can be found in it. Export or scan it again.")
        }
        LoadPdfError::Invalid => {
            Failure::new(Code::DocumentTypeUnsupported, "The file is not a PDF, though it is named one.")
        }
    })?;
    let pages = pdf.pages().len();
    if pages == 0 {
        return Err(damaged("The PDF is damaged: it has no pages. Export or scan it again."));
    }
    if pages > limits.pages as usize {
        return Err(too_complex(format!(
            "The PDF has {pages} pages; a document may have {}. Split it and upload the parts.",
            limits.pages
        )));
    }
    streams::check(&pdf, limits)?;
    Ok(pdf)
}

/// Lets a page draw to a listener.
fn listen<'a>(pdf: &'a Pdf, page: &PdfPage<'a>, cache: &InterpreterCache<'a>, listener: &mut Listener) {
    let (width, height) = page.render_dimensions();
    let mut context = Context::new(
        page.initial_transform(true).to_kurbo(),
        Rect::new(0.0, 0.0, f64::from(width), f64::from(height)),
        cache,
        pdf.xref(),
        InterpreterSettings::default(),
    );
    interpret_page(page, &mut context, listener);
}

fn damaged(message: &str) -> Failure {
    Failure::new(Code::DocumentDamaged, message)
}

fn too_complex(message: String) -> Failure {
    Failure::new(Code::DocumentTooComplex, message)
}
