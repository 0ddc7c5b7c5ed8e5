//! Prints the keywords of a document: `keywords_of FILE [TAXONOMY]`. The file extension tells PDF, ePub, HTML or plain
//! text.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use docket_extract::limits::Limits;
use docket_extract::taxonomy::Taxonomy;
use docket_extract::{epub, html, keywords, pdf, plain};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let path = arguments.next().ok_or("usage: keywords_of FILE [TAXONOMY]")?;
    let definition = match arguments.next() {
        Some(taxonomy) => serde_json::from_slice(&std::fs::read(taxonomy)?)?,
        None => serde_json::json!({"name": "none"}),
    };
    let taxonomy = Taxonomy::parse(&definition).map_err(|problems| format!("{problems:#?}"))?;
    let bytes = Arc::new(std::fs::read(&path)?);
    let limits = Limits::default();
    let layout = match path.extension().and_then(|extension| extension.to_str()) {
        Some("pdf") => pdf::read(bytes, &limits, &mut |_| {})?.layout,
        Some("epub") => epub::read(bytes, &limits, &mut |_| {})?,
        Some("html" | "htm") => html::read(&bytes, &limits)?,
        _ => plain::read(&bytes, &limits)?,
    };
    for keyword in keywords::extract_keywords(&layout.document, &taxonomy).keywords {
        let entry = keyword.entry.unwrap_or_default();
        println!(
            "{:.2} {:.2} {:>5}  {} [{entry}]",
            keyword.weight, keyword.confidence, keyword.count, keyword.term
        );
    }
    Ok(())
}
