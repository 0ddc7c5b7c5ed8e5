//! Listens to the drawing of a page: glyphs, pictures, lines.

use hayro_interpret::font::GlyphRun;
use hayro_interpret::hayro_syntax::object::{self, Dict};
use hayro_interpret::kurbo::{BezPath, Rect};
use hayro_interpret::{BlendMode, ClipPath, Device, DrawMode, DrawProps, Image, ImageDrawProps, SoftMask};

use super::glyphs;
use super::marks::Marks;
use super::unicode;
use crate::document::BBox;
use crate::layout::Glyph;

/// Collects what one page draws.
pub(super) struct Listener {
    size: (f64, f64),
    glyphs: Vec<Glyph>,
    limit: usize,
    overflowed: bool,
    marks: Marks,
    /// Pixels of the largest picture.
    largest_picture: u64,
    /// Marked content that is open; with its replacement text where it has one.
    marked: Vec<Option<Replacement>>,
    /// What glyphs are read as; their bytes are allocated anew for each otherwise.
    scratch: String,
}

/// Text that stands for what is drawn (ISO 32000-1, 14.9.4).
struct Replacement {
    text: String,
    /// Index of the first glyph that is replaced.
    from: usize,
}

impl Listener {
    /// For a page of this size in points; keeps at most `limit` glyphs.
    pub(super) fn new(width: f64, height: f64, limit: usize) -> Self {
        Self {
            size: (width, height),
            glyphs: Vec::new(),
            limit,
            overflowed: false,
            marks: Marks::default(),
            largest_picture: 0,
            marked: Vec::new(),
            scratch: String::new(),
        }
    }

    /// Whether there were more glyphs than the limit.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// In the order in which they are drawn.
    pub(super) fn glyphs(&self) -> &[Glyph] {
        &self.glyphs
    }

    /// Pictures and drawings, and lines, on a page of this size.
    pub(super) fn marks(&self, width: f32, height: f32) -> (Vec<BBox>, Vec<BBox>) {
        self.marks.boxes(width, height)
    }

    /// Pixels of the largest picture that the page draws.
    pub(super) fn largest_picture(&self) -> u64 {
        self.largest_picture
    }

    /// Puts a replacement text where the glyphs are that it stands for.
    fn replace(&mut self, replacement: &Replacement) {
        let drawn = self.glyphs.get(replacement.from..).unwrap_or_default();
        // What is drawn for a soft hyphen is a hyphen at the end of a line; that is what the reader sees.
        let only_soft_hyphens =
            !replacement.text.is_empty() && replacement.text.chars().all(|c| c == unicode::SOFT_HYPHEN);
        if only_soft_hyphens {
            return;
        }
        if let Some(line) = glyphs::as_one_line(drawn) {
            self.scratch.clear();
            unicode::push(&mut self.scratch, &replacement.text);
            self.glyphs.truncate(replacement.from);
            glyphs::spread(&mut self.glyphs, &self.scratch, line);
        }
    }
}

impl<'a> Device<'a> for Listener {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        if self.glyphs.len() + run.glyphs().len() > self.limit {
            self.overflowed = true;
            return;
        }
        glyphs::collect(&mut self.glyphs, &mut self.scratch, run, props.transform, self.size);
    }

    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, draw_mode: &DrawMode) {
        self.marks.path(path, props.transform, draw_mode);
    }

    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        let (width, height) = (image.width(), image.height());
        self.largest_picture = self.largest_picture.max(u64::from(width) * u64::from(height));
        let area = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
        self.marks.picture(props.transform.transform_rect_bbox(area));
    }

    fn begin_marked_content(&mut self, _: &[u8], properties: Option<&Dict<'_>>) {
        let nested = self.marked.iter().any(Option::is_some);
        let text =
            properties.filter(|_| !nested).and_then(|dict| dict.get::<object::String<'_>>("ActualText"));
        self.marked.push(text.map(|text| Replacement {
            text: unicode::text_string(text.as_bytes()),
            from: self.glyphs.len(),
        }));
    }

    fn end_marked_content(&mut self) {
        if let Some(Some(replacement)) = self.marked.pop() {
            self.replace(&replacement);
        }
    }

    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn pop_clip(&mut self) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn pop_transparency_group(&mut self) {}
}
