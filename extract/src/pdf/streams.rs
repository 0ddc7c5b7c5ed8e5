//! Refuses streams that inflate to too many bytes, before they are inflated, and forms without end.

use std::io::Read;

use flate2::read::ZlibDecoder;
use hayro_interpret::hayro_syntax::object::{Name, Object, Stream};
use hayro_interpret::hayro_syntax::{Filter, Pdf};

use super::forms::FormGraph;
use crate::failure::Failure;
use crate::limits::Limits;

/// Most bytes that one byte of DEFLATE inflates to (zlib's technical notes: 1032 to 1).
const MAX_DEFLATE_RATIO: u64 = 1032;

/// Checks that no stream inflates to more than [`Limits::stream_bytes`], and that no form draws more than
/// [`Limits::nested_drawings`]. Images are left out: only rendering decodes them, and it has limits of its own.
pub(super) fn check_streams(pdf: &Pdf, limits: &Limits) -> Result<(), Failure> {
    let mut forms = FormGraph::default();
    for object in pdf.objects() {
        let Object::Stream(stream) = object else { continue };
        if inflates_beyond(&stream, limits.stream_bytes) {
            return Err(Failure::too_complex(format!(
                "The PDF contains compressed data of more than {} MiB. It is damaged or was made to overload programs.",
                limits.stream_bytes >> 20
            )));
        }
        forms.add(&stream);
    }
    forms.check(limits.nested_drawings)
}

fn inflates_beyond(stream: &Stream<'_>, limit: u64) -> bool {
    let is_picture = stream.dict().get::<Name<'_>>("Subtype").is_some_and(|name| name.as_str() == "Image");
    // Only outer layers can be measured without decoding the others. Decompression bombs consist of outer layers.
    let layers = stream.filters().iter().take_while(|filter| **filter == Filter::FlateDecode).count();
    if is_picture || layers == 0 {
        return false;
    }
    let raw = stream.raw_data();
    let most = (0..layers).fold(raw.len() as u64, |size, _| size.saturating_mul(MAX_DEFLATE_RATIO));
    if most <= limit {
        return false;
    }
    // An inner layer may exceed the limit even if the final output is small.
    (1..=layers).any(|layers| inflated_size(&raw, layers, limit) > limit)
}

/// Returns the size after inflating `layers` times, counted only slightly beyond `limit`.
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
            // A damaged stream ends here; the PDF reader decides how to treat it.
            Err(_) => break,
        }
    }
    counted
}
