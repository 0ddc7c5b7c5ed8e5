//! Refuses streams that inflate beyond all measure, before they are inflated, and drawings without end.

use std::io::Read;

use flate2::read::ZlibDecoder;
use hayro_interpret::hayro_syntax::object::{Name, Object, Stream};
use hayro_interpret::hayro_syntax::{Filter, Pdf};

use super::forms::Forms;
use super::too_complex;
use crate::failure::Failure;
use crate::limits::Limits;

/// What one byte of DEFLATE can inflate to at most (zlib's technical notes: 1032 to 1).
const DEFLATE_RATIO: u64 = 1032;

/// Checks that no stream inflates to more than [`Limits::stream_bytes`], and that forms draw no more than
/// [`Limits::nested_drawings`]. Pictures are left out: they are decoded only where a page is rendered, which has limits
/// of its own.
pub(super) fn check(pdf: &Pdf, limits: &Limits) -> Result<(), Failure> {
    let mut forms = Forms::default();
    for object in pdf.objects() {
        let Object::Stream(stream) = object else { continue };
        if inflates_beyond(&stream, limits.stream_bytes) {
            return Err(too_complex(format!(
                "The PDF holds compressed data that would take up more than {} MiB. It is damaged or was made to \
                 overload programs.",
                limits.stream_bytes >> 20
            )));
        }
        forms.add(&stream);
    }
    forms.check(limits.nested_drawings)
}

fn inflates_beyond(stream: &Stream<'_>, limit: u64) -> bool {
    let is_picture = stream.dict().get::<Name<'_>>("Subtype").is_some_and(|name| name.as_str() == "Image");
    // Only layers on the outside can be measured without undoing the others; they are what bombs are made of.
    let layers = stream.filters().iter().take_while(|filter| **filter == Filter::FlateDecode).count();
    if is_picture || layers == 0 {
        return false;
    }
    let raw = stream.raw_data();
    let most = (0..layers).fold(raw.len() as u64, |size, _| size.saturating_mul(DEFLATE_RATIO));
    if most <= limit {
        return false;
    }
    // A layer inside may inflate beyond the limit too, though what comes out last is small.
    (1..=layers).any(|layers| inflated_size(&raw, layers, limit) > limit)
}

/// The size after undoing `layers` of compression, counted no further than just past `limit`.
fn inflated_size(raw: &[u8], layers: usize, limit: u64) -> u64 {
    let mut reader: Box<dyn Read + '_> = Box::new(raw);
    for _ in 0..layers {
        reader = Box::new(ZlibDecoder::new(reader));
    }
    let mut counted = 0;
    let mut buffer = [0; 16 * 1024];
    while counted <= limit {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => counted += read as u64,
            // Damage ends a stream; the reader of the document decides what that means.
            Err(_) => break,
        }
    }
    counted
}
