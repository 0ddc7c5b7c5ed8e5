//! Prints the zones of a PDF: `zones_of FILE`.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::error::Error;
use std::sync::Arc;

use docket_extract::limits::Limits;
use docket_extract::{pdf, zoning};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: zones_of FILE")?;
    let read = pdf::read(Arc::new(std::fs::read(path)?), &Limits::default(), &mut |_| {})?;
    for zone in zoning::find_zones(&read.layout.document, &read.layout.hints).zones {
        let [x, y, width, height] = <[f32; 4]>::from(zone.bbox);
        println!("{} {:?} {:.2} [{x:.3} {y:.3} {width:.3} {height:.3}]", zone.id, zone.kind, zone.confidence);
        println!("{}\n", zone.text);
    }
    Ok(())
}
