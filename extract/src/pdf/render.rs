//! Renders pages as images for OCR.

use std::sync::Arc;

use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings};
use hayro_interpret::{InterpreterCache, InterpreterSettings};

use super::device::{PageRecorder, record_page};
use super::open::open_pdf;
use crate::failure::{Code, Failure};
use crate::limits::Limits;

/// Longest side of an image in pixels. `hayro` counts in 16 bits, and image formats have similar limits.
const MAX_SIDE: f32 = 16_000.0;

/// Renders a page (numbered from 1) to a PNG on white.
///
/// The image is `height` pixels high, or less if it would otherwise be wider than 16,000 pixels or larger than
/// [`Limits::pixels`].
///
/// # Errors
/// The errors of [`read`](super::read), and [`Code::Internal`] if there is no such page.
pub fn render_page(bytes: Arc<Vec<u8>>, page: u32, height: u32, limits: &Limits) -> Result<Vec<u8>, Failure> {
    let pdf = open_pdf(bytes, limits)?;
    let index = (page as usize).checked_sub(1);
    let Some(page) = index.and_then(|index| pdf.pages().get(index)) else {
        return Err(Failure::new(Code::Internal, format!("The document has no page {page}.")));
    };
    let (page_width, page_height) = page.render_dimensions();

    let mut recorder =
        PageRecorder::new(f64::from(page_width), f64::from(page_height), limits.glyphs_per_page);
    record_page(&pdf, page, &InterpreterCache::new(), &mut recorder);
    if recorder.exceeded_limit() {
        return Err(Failure::too_complex(format!(
            "The page has more than {} characters. Split the document or export it again.",
            limits.glyphs_per_page
        )));
    }
    if recorder.largest_image() > limits.pixels {
        return Err(Failure::too_complex(format!(
            "An image in the document has {} million pixels; the limit is {} million.",
            recorder.largest_image() / 1_000_000,
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
        Failure::new(Code::Internal, format!("The page could not be rendered as an image: {error}."))
    })
}

/// Returns the pixels per point along both axes. They are equal, except on pages too narrow for one pixel.
fn scales(page_width: f32, page_height: f32, height: u32, pixels: u64) -> (f32, f32) {
    let by_height = height.max(1) as f32 / page_height;
    let by_side = MAX_SIDE / page_width.max(page_height);
    let by_area = (pixels as f32 / (page_width * page_height)).sqrt();
    let scale = by_height.min(by_side).min(by_area);
    // Slightly more than a pixel, because fractions are cut off.
    (scale.max(1.01 / page_width), scale.max(1.01 / page_height))
}
