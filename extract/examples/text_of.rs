//! Prints the text of a document: `text_of FILE`. The file extension tells PDF, ePub, HTML or plain text.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use docket_extract::limits::Limits;
use docket_extract::{epub, html, pdf, plain};

fn main() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: text_of FILE")?);
    let bytes = Arc::new(std::fs::read(&path)?);
    let limits = Limits::default();
    let layout = match path.extension().and_then(|extension| extension.to_str()) {
        Some("pdf") => pdf::read(bytes, &limits, &mut |_| {})?.layout,
        Some("epub") => epub::read(bytes, &limits, &mut |_| {})?,
        Some("html" | "htm") => html::read(&bytes, &limits)?,
        _ => plain::read(&bytes, &limits)?,
    };
    for page in &layout.document.pages {
        println!("--- page {} ({} x {} points)\n{}", page.number, page.width, page.height, page.text);
    }
    Ok(())
}
