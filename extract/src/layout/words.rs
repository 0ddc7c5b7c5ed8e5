//! Combines glyphs into words, in a frame rotated so that lines run left to right.

use std::collections::HashMap;

use super::glyph::{ASCENT, DESCENT, Direction, Glyph};

/// A gap this wide, in ems, separates two words. It is wider than kerning and narrower than the spaces of justified
/// text (the value of poppler's `TextOutputDev`).
const WORD_GAP: f32 = 0.1;
/// A glyph that starts more than this, in ems, before the end of the last glyph begins a new word.
const MAX_OVERLAP: f32 = 0.3;
/// Baselines within a word differ by less than this, in ems.
const SAME_BASELINE: f32 = 0.1;
/// The same character within this distance, in ems along and across the line, is a second drawing for bold type or a
/// shadow.
const DUPLICATE_DISTANCE: (f32, f32) = (0.1, 0.2);

/// A run of glyphs without a gap, in its frame: x along the line, y across it, in points.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) x0: f32,
    pub(super) x1: f32,
    /// Start of the baseline.
    pub(super) baseline: f32,
    /// End of the baseline, which differs on skewed scans.
    pub(super) end_baseline: f32,
    /// Size of the largest glyph, in points.
    pub(super) size: f32,
    pub(super) bold: bool,
    /// Whether white space is drawn after it.
    pub(super) space_after: bool,
}

#[derive(Debug, Clone, Copy)]
struct FrameGlyph {
    ch: char,
    x: f32,
    y: f32,
    advance: f32,
    size: f32,
    bold: bool,
}

/// A rotated coordinate system in which lines run left to right, from top to bottom.
#[derive(Debug, Clone, Copy)]
pub(super) struct RotatedFrame {
    cos: f32,
    sin: f32,
    vertical: bool,
}

impl RotatedFrame {
    pub(super) fn new(direction: Direction) -> Self {
        let (cos, sin) = direction.cos_sin();
        Self { cos, sin, vertical: direction.vertical }
    }

    fn to_frame(self, (x, y): (f32, f32)) -> (f32, f32) {
        (x * self.cos + y * self.sin, y * self.cos - x * self.sin)
    }

    fn to_page(self, x: f32, y: f32) -> (f32, f32) {
        (x * self.cos - y * self.sin, x * self.sin + y * self.cos)
    }

    /// Returns the extent of text above and below its baseline, in ems.
    pub(super) fn reach(self) -> (f32, f32) {
        // The origin of an upright glyph in a vertical line is the middle of its top edge (ISO 32000-1, 9.7.4.3).
        if self.vertical { (0.5, 0.5) } else { (ASCENT, DESCENT) }
    }

    /// Converts a box of this frame to the page: left, top, right, bottom in points.
    pub(super) fn page_box(self, x0: f32, y0: f32, x1: f32, y1: f32) -> (f32, f32, f32, f32) {
        let corners = [(x0, y0), (x1, y0), (x0, y1), (x1, y1)].map(|(x, y)| self.to_page(x, y));
        let fold = |pick: fn(&(f32, f32)) -> f32, best: fn(f32, f32) -> f32| {
            corners.iter().map(pick).reduce(best).unwrap_or_default()
        };
        (fold(|c| c.0, f32::min), fold(|c| c.1, f32::min), fold(|c| c.0, f32::max), fold(|c| c.1, f32::max))
    }
}

/// Combines glyphs of one direction into words, in the order in which they are drawn.
pub(super) fn build_words(glyphs: &[Glyph], frame: RotatedFrame) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut seen = DrawnGlyphs::default();
    let mut open = false;
    let mut pen_size = 0.0;
    for glyph in glyphs {
        let (x, y) = frame.to_frame(glyph.origin);
        let glyph =
            FrameGlyph { ch: glyph.ch, x, y, advance: glyph.advance, size: glyph.size, bold: glyph.bold };
        if glyph.ch.is_whitespace() {
            if open && let Some(word) = words.last_mut() {
                word.space_after = true;
            }
            open = false;
            continue;
        }
        if seen.insert(glyph) {
            continue;
        }
        match words.last_mut().filter(|word| open && continues_word(word, glyph, pen_size)) {
            Some(word) => {
                word.text.push(glyph.ch);
                word.x0 = word.x0.min(glyph.x);
                word.x1 = word.x1.max(glyph.x + glyph.advance);
                word.end_baseline = glyph.y;
                word.size = word.size.max(glyph.size);
            }
            None => words.push(Word {
                text: glyph.ch.to_string(),
                x0: glyph.x,
                x1: glyph.x + glyph.advance,
                baseline: glyph.y,
                end_baseline: glyph.y,
                size: glyph.size,
                bold: glyph.bold,
                space_after: false,
            }),
        }
        open = true;
        pen_size = glyph.size;
    }
    words
}

/// Whether the next glyph belongs to the last word.
fn continues_word(word: &Word, glyph: FrameGlyph, pen_size: f32) -> bool {
    let em = word.size.max(glyph.size);
    let gap = glyph.x - word.x1;
    (glyph.y - word.end_baseline).abs() < SAME_BASELINE * em
        && gap < WORD_GAP * em
        && gap > -MAX_OVERLAP * em
        && (glyph.size - pen_size).abs() < 0.1 * em
}

/// Whether two adjacent words of a line have no space between them.
pub(super) fn is_joined(left: &Word, right: &Word) -> bool {
    let gap = right.x0 - left.x1;
    let em = left.size.min(right.size);
    gap < WORD_GAP * em && !(left.space_after && gap > 0.05 * em)
}

/// Finds characters that are drawn twice at the same position.
#[derive(Default)]
struct DrawnGlyphs(HashMap<(char, i32, i32), Vec<(f32, f32)>>);

impl DrawnGlyphs {
    /// Adds a glyph. Returns true if it was drawn before.
    fn insert(&mut self, glyph: FrameGlyph) -> bool {
        let (along, across) = (DUPLICATE_DISTANCE.0 * glyph.size, DUPLICATE_DISTANCE.1 * glyph.size);
        // Cells have a fixed size, so that glyphs of slightly different sizes share one.
        const CELL: f32 = 4.0;
        let cell = |v: f32| (v / CELL).floor() as i32;
        let (columns, rows) =
            (cell(glyph.x - along)..=cell(glyph.x + along), cell(glyph.y - across)..=cell(glyph.y + across));
        // A huge font size would visit too many cells.
        if columns.clone().count().saturating_mul(rows.clone().count()) > 64 {
            return false;
        }
        let found =
            columns.flat_map(|column| rows.clone().map(move |row| (column, row))).any(|(column, row)| {
                self.0.get(&(glyph.ch, column, row)).is_some_and(|others| {
                    others.iter().any(|(x, y)| (x - glyph.x).abs() < along && (y - glyph.y).abs() < across)
                })
            });
        if !found {
            self.0.entry((glyph.ch, cell(glyph.x), cell(glyph.y))).or_default().push((glyph.x, glyph.y));
        }
        found
    }
}
