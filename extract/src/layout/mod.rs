//! From glyphs at places to text that reads like the page: words by gaps, lines by baselines, columns by gaps.
//!
//! The text of a page keeps its shape, as `pdftotext -layout` does: what stands on one line of the page stands on one
//! line of the text, columns kept apart by two spaces or more. Which blocks belong together is
//! [zoning](crate::zoning)'s question.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::document::{BBox, Page, TextDocument, Word, ZoneKind};

mod bidi;
mod glyph;
mod grid;
mod lines;
#[cfg(test)]
mod tests;
pub(crate) mod typeset;
mod words;

pub use glyph::{Direction, Glyph};
use words::Frame;

/// A document with what the reader saw besides the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Laid {
    /// The text and its places.
    pub document: TextDocument,
    /// What else helps to zone it.
    pub hints: Hints,
}

/// What a reader knows of a document beyond its text, page by page. Zoning does without where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hints {
    /// In page order.
    pub pages: Vec<PageHints>,
}

/// What a reader knows of a page beyond its text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PageHints {
    /// Indices of words in bold type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bold: Vec<Range<u32>>,
    /// Blocks that the format itself names (HTML, ePub, paragraphs of plain text).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// Where pictures are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<BBox>,
    /// Where lines and frames are drawn: one of width and height is next to nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<BBox>,
}

/// A block of words whose kind is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: ZoneKind,
    /// Indices of its words on the page.
    pub words: Range<u32>,
}

/// Lays out the glyphs of one page, in the order in which they are drawn. `width` and `height` are in points.
pub fn page(number: u32, width: f32, height: f32, glyphs: &[Glyph]) -> (Page, PageHints) {
    let mut groups: BTreeMap<Direction, Vec<Glyph>> = BTreeMap::new();
    for glyph in glyphs {
        groups.entry(glyph.direction).or_default().push(*glyph);
    }
    let mut groups: Vec<(Direction, Vec<Glyph>)> = groups.into_iter().collect();
    // Most of the text first; labels along the margins and watermarks follow.
    groups.sort_by_key(|(_, glyphs)| std::cmp::Reverse(glyphs.len()));

    let mut page = Page { number, width, height, text: String::new(), words: Vec::new() };
    let mut bold = Vec::new();
    for (direction, glyphs) in groups {
        let frame = Frame::new(direction);
        let rows = lines::rows(words::words(&glyphs, frame), frame.reach());
        if !page.text.is_empty() && !rows.is_empty() {
            page.text.push('\n');
        }
        page.text.push_str(&grid::text(&rows));
        for token in rows.into_iter().flat_map(|row| row.segments).flat_map(|segment| segment.tokens) {
            let (x0, y0, x1, y1) = frame.page_box(token.x0, token.top, token.x1, token.bottom);
            bold.push(token.bold);
            page.words.push(Word { text: token.text, bbox: fractions((x0, y0, x1, y1), width, height) });
        }
    }
    let hints = PageHints { bold: runs(&bold), ..PageHints::default() };
    (page, hints)
}

/// A box in points (left, top, right, bottom) as fractions of the page, cut to the page.
pub(crate) fn fractions((x0, y0, x1, y1): (f32, f32, f32, f32), width: f32, height: f32) -> BBox {
    let (x0, x1) = ((x0 / width).clamp(0.0, 1.0), (x1 / width).clamp(0.0, 1.0));
    let (y0, y1) = ((y0 / height).clamp(0.0, 1.0), (y1 / height).clamp(0.0, 1.0));
    BBox { x: x0, y: y0, width: x1 - x0, height: y1 - y0 }
}

/// The runs of `true`.
fn runs(flags: &[bool]) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for (i, _) in flags.iter().enumerate().filter(|(_, flag)| **flag) {
        let i = i as u32;
        match runs.last_mut().filter(|run| run.end == i) {
            Some(run) => run.end = i + 1,
            None => runs.push(i..i + 1),
        }
    }
    runs
}
