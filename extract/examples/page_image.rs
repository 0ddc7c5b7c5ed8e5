//! Renders a page of a PDF: `page_image FILE PAGE HEIGHT OUT.png`.

use std::error::Error;
use std::sync::Arc;

use docket_extract::limits::Limits;
use docket_extract::pdf;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, page, height, out] = arguments.as_slice() else {
        return Err("usage: page_image FILE PAGE HEIGHT OUT.png".into());
    };
    let bytes = Arc::new(std::fs::read(file)?);
    std::fs::write(out, pdf::render_page(bytes, page.parse()?, height.parse()?, &Limits::default())?)?;
    Ok(())
}
