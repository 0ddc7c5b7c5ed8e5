//! Combines positioned glyphs into words, lines and text that has the shape of the page.
//!
//! Like `pdftotext -layout`, a line of the page becomes a line of the text, with two or more spaces between columns.
//! The module [zoning](crate::zoning) groups lines into blocks.

use std::collections::BTreeMap;

use crate::document::{Page, Word};

mod bidi;
mod glyph;
mod grid;
mod hints;
mod lines;
#[cfg(test)]
mod tests;
mod token;
pub(crate) mod typeset;
mod words;

pub(crate) use glyph::{Direction, Glyph};
pub(crate) use hints::page_fractions;
pub use hints::{Block, DocumentLayout, Hints, PageHints};

use hints::true_runs;
use words::RotatedFrame;

/// Lays out the glyphs of one page, in the order in which they are drawn. `width` and `height` are in points.
pub(crate) fn lay_out_page(number: u32, width: f32, height: f32, glyphs: &[Glyph]) -> (Page, PageHints) {
    let mut groups: BTreeMap<Direction, Vec<Glyph>> = BTreeMap::new();
    for glyph in glyphs {
        groups.entry(glyph.direction).or_default().push(*glyph);
    }
    let mut groups: Vec<(Direction, Vec<Glyph>)> = groups.into_iter().collect();
    // The direction of most text comes first, then margin labels and watermarks.
    groups.sort_by_key(|(_, glyphs)| std::cmp::Reverse(glyphs.len()));

    let mut page = Page { number, width, height, text: String::new(), words: Vec::new() };
    let mut bold = Vec::new();
    for (direction, glyphs) in groups {
        let frame = RotatedFrame::new(direction);
        let rows = lines::build_rows(words::build_words(&glyphs, frame), frame.reach());
        if !page.text.is_empty() && !rows.is_empty() {
            page.text.push('\n');
        }
        page.text.push_str(&grid::format_rows(&rows));
        for token in rows.into_iter().flat_map(|row| row.segments).flat_map(|segment| segment.tokens) {
            let (x0, y0, x1, y1) = frame.page_box(token.x0, token.top, token.x1, token.bottom);
            bold.push(token.bold);
            page.words.push(Word { text: token.text, bbox: page_fractions((x0, y0, x1, y1), width, height) });
        }
    }
    let hints = PageHints { bold: true_runs(&bold), ..PageHints::default() };
    (page, hints)
}
