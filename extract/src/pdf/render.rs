//! A page as a picture, for programs that read text from pictures.

use std::sync::Arc;

use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings};
use hayro_interpret::{InterpreterCache, InterpreterSettings};

use super::device::Listener;
use super::{listen, open, too_complex};
use crate::failure::{Code, Failure};
use crate::limits::Limits;

/// Sides of a picture, in pixels: `hayro` counts in 16 bits, and image formats go no further than this either.
const MAX_SIDE: f32 = 16_000.0;

/// Renders a page (numbered from 1) to a PNG on white, `height` pixels high, or less where that would make it wider
/// than 16,000 pixels or larger than [`Limits::pixels`].
///
/// # Errors
/// As [`read`](super::read); [`Code::Internal`] if there is no such page.
pub fn render_page(bytes: Arc<Vec<u8>>, page: u32, height: u32, limits: &Limits) -> Result<Vec<u8>, Failure> {
    let pdf = open(bytes, limits)?;
    let index = (page as usize).checked_sub(1);
    let Some(page) = index.and_then(|index| pdf.pages().get(index)) else {
        return Err(Failure::new(Code::Internal, format!("The document has no page {page}.")));
    };
    let (page_width, page_height) = page.render_dimensions();

    let mut listener = Listener::new(f64::from(page_width), f64::from(page_height), limits.glyphs_per_page);
    listen(&pdf, page, &InterpreterCache::new(), &mut listener);
    if listener.largest_picture() > limits.pixels || listener.overflowed() {
        return Err(too_complex(format!(
            "A picture in the document claims to have {} million pixels; {} million are the most that can be read.",
            listener.largest_picture() / 1_000_000,
            limits.pixels / 1_000_000
        )));
    }

    let (x_scale, y_scale) = scales(page_width, page_height, height, limits.pixels);
    let pixmap = hayro::render(
        page,
        &RenderCache::new(),
        &InterpreterSettings::default(),
        &RenderSettings::default(),
        &PixmapSettings { x_scale, y_scale, bg_color: WHITE },
    );
    pixmap.into_png().map_err(|error| {
        Failure::new(Code::Internal, format!("The page could not be turned into a picture: {error}."))
    })
}

/// Pixels per point along both axes, the same but for pages so narrow that they would have no pixel.
fn scales(page_width: f32, page_height: f32, height: u32, pixels: u64) -> (f32, f32) {
    let by_height = height.max(1) as f32 / page_height;
    let by_side = MAX_SIDE / page_width.max(page_height);
    let by_area = (pixels as f32 / (page_width * page_height)).sqrt();
    let scale = by_height.min(by_side).min(by_area);
    // A little more than a pixel, since fractions are cut off.
    (scale.max(1.01 / page_width), scale.max(1.01 / page_height))
}
