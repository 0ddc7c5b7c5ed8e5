//! Glyphs to words: in a frame turned so that lines run left to right.

use std::collections::HashMap;

use super::glyph::{ASCENT, DESCENT, Direction, Glyph};

/// A gap this wide, in ems, parts two words. Kerning stays below, the narrowest spaces of justified text above
/// (poppler's `TextOutputDev` uses the same value).
const WORD_GAP: f32 = 0.1;
/// A glyph that starts this far (in ems) before the end of the last one does not go on with its word.
const MAX_OVERLAP: f32 = 0.3;
/// Baselines that differ by less (in ems) are the same while a word goes on.
const SAME_BASELINE: f32 = 0.1;
/// The same character this close (in ems, along and across the line) is drawn twice to look bold, or as a shadow.
const DUPLICATE: (f32, f32) = (0.1, 0.2);

/// A run of glyphs without a gap, in its frame: x along the line, y across it, both in points.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) x0: f32,
    pub(super) x1: f32,
    /// Where the baseline starts.
    pub(super) baseline: f32,
    /// Where it ends: lines of a scan may be slightly askew.
    pub(super) end_baseline: f32,
    /// Of the largest glyph, in points.
    pub(super) size: f32,
    pub(super) bold: bool,
    /// White space was drawn behind it.
    pub(super) space_after: bool,
}

/// A glyph in its frame.
#[derive(Debug, Clone, Copy)]
struct Placed {
    ch: char,
    x: f32,
    y: f32,
    advance: f32,
    size: f32,
    bold: bool,
}

/// A turned coordinate system in which lines run left to right and follow one another downwards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    cos: f32,
    sin: f32,
    vertical: bool,
}

impl Frame {
    pub(super) fn new(direction: Direction) -> Self {
        let (cos, sin) = direction.cos_sin();
        Self { cos, sin, vertical: direction.vertical }
    }

    fn enter(self, (x, y): (f32, f32)) -> (f32, f32) {
        (x * self.cos + y * self.sin, y * self.cos - x * self.sin)
    }

    fn leave(self, x: f32, y: f32) -> (f32, f32) {
        (x * self.cos - y * self.sin, x * self.sin + y * self.cos)
    }

    /// How far text reaches above and below its baseline, in ems.
    pub(super) fn reach(self) -> (f32, f32) {
        // The origin of an upright glyph in a vertical line is the middle of its top edge (ISO 32000-1, 9.7.4.3).
        if self.vertical { (0.5, 0.5) } else { (ASCENT, DESCENT) }
    }

    /// The page's box, left, top, right, bottom in points, of a box in this frame.
    pub(super) fn page_box(self, x0: f32, y0: f32, x1: f32, y1: f32) -> (f32, f32, f32, f32) {
        let corners = [(x0, y0), (x1, y0), (x0, y1), (x1, y1)].map(|(x, y)| self.leave(x, y));
        let fold = |pick: fn(&(f32, f32)) -> f32, best: fn(f32, f32) -> f32| {
            corners.iter().map(pick).reduce(best).unwrap_or_default()
        };
        (fold(|c| c.0, f32::min), fold(|c| c.1, f32::min), fold(|c| c.0, f32::max), fold(|c| c.1, f32::max))
    }
}

/// The words that glyphs of one direction make, in the order in which they are drawn.
pub(super) fn words(glyphs: &[Glyph], frame: Frame) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut seen = Duplicates::default();
    let mut open = false;
    let mut pen_size = 0.0;
    for glyph in glyphs {
        let (x, y) = frame.enter(glyph.origin);
        let glyph = Placed { ch: glyph.ch, x, y, advance: glyph.advance, size: glyph.size, bold: glyph.bold };
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
        match words.last_mut().filter(|word| open && goes_on(word, glyph, pen_size)) {
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

/// Whether the glyph drawn next belongs to the word drawn last.
fn goes_on(word: &Word, glyph: Placed, pen_size: f32) -> bool {
    let em = word.size.max(glyph.size);
    let gap = glyph.x - word.x1;
    (glyph.y - word.end_baseline).abs() < SAME_BASELINE * em
        && gap < WORD_GAP * em
        && gap > -MAX_OVERLAP * em
        && (glyph.size - pen_size).abs() < 0.1 * em
}

/// Whether two words that stand in this order on a line have no space between them.
pub(super) fn touch(left: &Word, right: &Word) -> bool {
    let gap = right.x0 - left.x1;
    let em = left.size.min(right.size);
    gap < WORD_GAP * em && !(left.space_after && gap > 0.05 * em)
}

/// Finds characters that are drawn again at the same place.
#[derive(Default)]
struct Duplicates(HashMap<(char, i32, i32), Vec<(f32, f32)>>);

impl Duplicates {
    /// Remembers a glyph; true if it was there already.
    fn insert(&mut self, glyph: Placed) -> bool {
        let (along, across) = (DUPLICATE.0 * glyph.size, DUPLICATE.1 * glyph.size);
        // Cells of a fixed size, so that glyphs of slightly different sizes meet in the same one.
        const CELL: f32 = 4.0;
        let cell = |v: f32| (v / CELL).floor() as i32;
        let (columns, rows) =
            (cell(glyph.x - along)..=cell(glyph.x + along), cell(glyph.y - across)..=cell(glyph.y + across));
        // A font of absurd size would visit a great many cells.
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
