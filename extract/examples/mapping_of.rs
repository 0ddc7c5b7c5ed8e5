//! Prints the values of a document: `mapping_of FILE TAXONOMY`. The file extension tells PDF, ePub, HTML or plain text.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use docket_extract::limits::Limits;
use docket_extract::taxonomy::Taxonomy;
use docket_extract::{epub, html, mapping, pdf, plain, zoning};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [path, taxonomy] = arguments.as_slice() else { return Err("usage: mapping_of FILE TAXONOMY".into()) };
    let definition = serde_json::from_slice(&std::fs::read(taxonomy)?)?;
    let taxonomy = Taxonomy::parse(&definition).map_err(|problems| format!("{problems:#?}"))?;
    let bytes = Arc::new(std::fs::read(path)?);
    let limits = Limits::default();
    let layout = match path.extension().and_then(|extension| extension.to_str()) {
        Some("pdf") => pdf::read(bytes, &limits, &mut |_| {})?.layout,
        Some("epub") => epub::read(bytes, &limits, &mut |_| {})?,
        Some("html" | "htm") => html::read(&bytes, &limits)?,
        _ => plain::read(&bytes, &limits)?,
    };
    let zones = zoning::find_zones(&layout.document, &layout.hints);
    for finding in mapping::map_document(&layout.document, Some(&zones), &taxonomy).data_points {
        let (value, normalized) = (finding.value.unwrap_or_default(), finding.normalized.unwrap_or_default());
        println!("{:<24} {:.2}  {value:?} -> {normalized}", finding.name, finding.confidence);
    }
    Ok(())
}
