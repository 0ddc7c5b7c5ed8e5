//! Prints the text of a document's pages: `text_of FILE`. Ends with 1 and a sentence where it cannot be read.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::error::Error;
use std::sync::Arc;

use docket_extract::limits::Limits;
use docket_extract::pdf;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: text_of FILE")?;
    let read = pdf::read(Arc::new(std::fs::read(path)?), &Limits::default(), &mut |_| {})?;
    for page in &read.laid.document.pages {
        println!("--- page {} ({} x {} points)\n{}", page.number, page.width, page.height, page.text);
    }
    println!("{:?}", read.meta);
    Ok(())
}
