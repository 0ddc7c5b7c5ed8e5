//! Records the glyphs, images and lines that a page draws.

use hayro_interpret::font::GlyphRun;
use hayro_interpret::hayro_syntax::Pdf;
use hayro_interpret::hayro_syntax::object::{self, Dict};
use hayro_interpret::hayro_syntax::page::Page as PdfPage;
use hayro_interpret::kurbo::{BezPath, Rect};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, TransformExt, interpret_page,
};

use super::glyphs;
use super::graphics::PageGraphics;
use super::unicode;
use crate::document::BBox;
use crate::layout::Glyph;

/// Records what a page draws.
pub(super) struct PageRecorder {
    size: (f64, f64),
    glyphs: Vec<Glyph>,
    max_glyphs: usize,
    exceeded_limit: bool,
    graphics: PageGraphics,
    /// Pixels of the largest image.
    largest_image: u64,
    /// Open marked content, with its replacement text if it has one.
    marked_content: Vec<Option<Replacement>>,
    /// Text of the present glyph; kept to avoid an allocation for each glyph.
    text_buffer: String,
}

/// Text that replaces drawn glyphs (ISO 32000-1, 14.9.4).
struct Replacement {
    text: String,
    /// Index of the first replaced glyph.
    from: usize,
}

impl PageRecorder {
    /// Creates a recorder for a page of this size in points, which keeps at most `max_glyphs` glyphs.
    pub(super) fn new(width: f64, height: f64, max_glyphs: usize) -> Self {
        Self {
            size: (width, height),
            glyphs: Vec::new(),
            max_glyphs,
            exceeded_limit: false,
            graphics: PageGraphics::default(),
            largest_image: 0,
            marked_content: Vec::new(),
            text_buffer: String::new(),
        }
    }

    /// Whether the page draws more than `max_glyphs` glyphs.
    pub(super) fn exceeded_limit(&self) -> bool {
        self.exceeded_limit
    }

    /// Returns the glyphs in the order in which they are drawn.
    pub(super) fn glyphs(&self) -> &[Glyph] {
        &self.glyphs
    }

    /// Returns the boxes of images and drawings, and those of lines, on a page of this size.
    pub(super) fn graphics(&self, width: f32, height: f32) -> (Vec<BBox>, Vec<BBox>) {
        self.graphics.boxes(width, height)
    }

    /// Returns the pixels of the largest image.
    pub(super) fn largest_image(&self) -> u64 {
        self.largest_image
    }

    /// Replaces drawn glyphs by the replacement text.
    fn replace(&mut self, replacement: &Replacement) {
        let drawn = self.glyphs.get(replacement.from..).unwrap_or_default();
        // The page shows a hyphen at the end of a line for a soft hyphen, so the hyphen stays.
        let only_soft_hyphens =
            !replacement.text.is_empty() && replacement.text.chars().all(|c| c == unicode::SOFT_HYPHEN);
        if only_soft_hyphens {
            return;
        }
        if let Some(line) = glyphs::as_one_line(drawn) {
            self.text_buffer.clear();
            unicode::push_readable(&mut self.text_buffer, &replacement.text);
            self.glyphs.truncate(replacement.from);
            glyphs::push_spread(&mut self.glyphs, &self.text_buffer, line);
        }
    }
}

/// Interprets a page with a recorder.
pub(super) fn record_page<'a>(
    pdf: &'a Pdf,
    page: &PdfPage<'a>,
    cache: &InterpreterCache<'a>,
    recorder: &mut PageRecorder,
) {
    let (width, height) = page.render_dimensions();
    let mut context = Context::new(
        page.initial_transform(true).to_kurbo(),
        Rect::new(0.0, 0.0, f64::from(width), f64::from(height)),
        cache,
        pdf.xref(),
        InterpreterSettings::default(),
    );
    interpret_page(page, &mut context, recorder);
}

impl<'a> Device<'a> for PageRecorder {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        if self.glyphs.len() + run.glyphs().len() > self.max_glyphs {
            self.exceeded_limit = true;
            return;
        }
        glyphs::push_run(&mut self.glyphs, &mut self.text_buffer, run, props.transform, self.size);
    }

    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, draw_mode: &DrawMode) {
        self.graphics.add_path(path, props.transform, draw_mode);
    }

    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        let (width, height) = (image.width(), image.height());
        self.largest_image = self.largest_image.max(u64::from(width) * u64::from(height));
        let area = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
        self.graphics.add_image(props.transform.transform_rect_bbox(area));
    }

    fn begin_marked_content(&mut self, _: &[u8], properties: Option<&Dict<'_>>) {
        let nested = self.marked_content.iter().any(Option::is_some);
        let text =
            properties.filter(|_| !nested).and_then(|dict| dict.get::<object::String<'_>>("ActualText"));
        self.marked_content.push(text.map(|text| Replacement {
            text: unicode::decode_text_string(text.as_bytes()),
            from: self.glyphs.len(),
        }));
    }

    fn end_marked_content(&mut self) {
        if let Some(Some(replacement)) = self.marked_content.pop() {
            self.replace(&replacement);
        }
    }

    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn pop_clip(&mut self) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_transparency_group(&mut self) {}
}
