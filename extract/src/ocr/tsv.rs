//! What `tesseract` found, as its tab separated values say it: to words with places.
//!
//! Its columns are level, page_num, block_num, par_num, line_num, word_num, left, top, width, height, conf and text, with
//! boxes in pixels from the top left corner; level 1 is the page, 4 a line, 5 a word.

use crate::document::Page;
use crate::layout::{self, Direction, Glyph, Hints};

/// Starts what was found on a page. `tesseract`'s own lines start with a level.
const HEADING: &str = "page";
/// Words of less confidence (0 to 100) are mostly specks and pictures.
const LEAST_CONFIDENCE: f32 = 20.0;
/// What a line's box covers of its em: from the top of capitals and ascenders to the bottom of descenders.
const BOX_EMS: f32 = 0.97;
/// Where in a line's box its baseline is, from the top.
const BASELINE: f32 = 0.75 / BOX_EMS;

/// The line that goes before what was found on a page.
pub(super) fn heading(page: u32) -> String {
    format!("{HEADING}\t{page}\n")
}

/// Puts what was found in the pages: for each of them a [`heading`], then what `tesseract` printed. Lines that are not
/// understood are left out.
pub(crate) fn merge(pages: &mut [Page], hints: &mut Hints, recognized: &str) {
    let mut found: Option<Found> = None;
    for line in recognized.lines() {
        if let Some(number) = line.strip_prefix(HEADING).and_then(|rest| rest.trim().parse::<u32>().ok()) {
            if let Some(found) = found.replace(Found::new(number)) {
                found.put(pages, hints);
            }
        } else if let Some(found) = &mut found {
            found.line(line);
        }
    }
    if let Some(found) = found {
        found.put(pages, hints);
    }
}

/// What was found on one page, in pixels.
struct Found {
    number: u32,
    /// Width and height of the page.
    size: (f32, f32),
    /// Top and height of the line that words belong to.
    line: (f32, f32),
    glyphs: Vec<Glyph>,
}

impl Found {
    fn new(number: u32) -> Self {
        Self { number, size: (0.0, 0.0), line: (0.0, 0.0), glyphs: Vec::new() }
    }

    fn line(&mut self, line: &str) {
        let columns: Vec<&str> = line.splitn(12, '\t').collect();
        let [level, _, _, _, _, _, left, top, width, height, confidence, text] = columns.as_slice() else {
            return;
        };
        let number = |column: &str| column.parse::<f32>().ok().filter(|n| n.is_finite());
        let (Some(left), Some(top), Some(width), Some(height), Some(confidence)) =
            (number(left), number(top), number(width), number(height), number(confidence))
        else {
            return;
        };
        match *level {
            "1" => self.size = (width, height),
            "4" => self.line = (top, height),
            "5" if confidence >= LEAST_CONFIDENCE => self.word(text.trim(), left, width),
            _ => {}
        }
    }

    /// Characters of a word share its width; a space after it parts it from the next.
    fn word(&mut self, text: &str, left: f32, width: f32) {
        let count = text.chars().count();
        let (top, height) = self.line;
        let advance = width / count as f32;
        for (i, ch) in text.chars().chain([' ']).enumerate().take(if count == 0 { 0 } else { count + 1 }) {
            self.glyphs.push(Glyph {
                ch,
                origin: (left + advance * i as f32, top + height * BASELINE),
                advance: if ch == ' ' { 0.0 } else { advance },
                size: height / BOX_EMS,
                direction: Direction::HORIZONTAL,
                bold: false,
            });
        }
    }

    fn put(mut self, pages: &mut [Page], hints: &mut Hints) {
        let (width, height) = self.size;
        let Some(i) = pages.iter().position(|page| page.number == self.number) else { return };
        if width <= 0.0 || height <= 0.0 || self.glyphs.is_empty() {
            return;
        }
        let page = &mut pages[i];
        let (x_scale, y_scale) = (page.width / width, page.height / height);
        for glyph in &mut self.glyphs {
            glyph.origin = (glyph.origin.0 * x_scale, glyph.origin.1 * y_scale);
            glyph.advance *= x_scale;
            glyph.size *= y_scale;
        }
        let (laid, laid_hints) = layout::page(page.number, page.width, page.height, &self.glyphs);
        *page = laid;
        if let Some(hints) = hints.pages.get_mut(i) {
            // Pictures and lines stay; blocks and bold type were of no words.
            hints.bold = laid_hints.bold;
            hints.blocks = laid_hints.blocks;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_get_their_places() {
        let page =
            |number| Page { number, width: 600.0, height: 800.0, text: String::new(), words: Vec::new() };
        let mut pages = [page(1), page(2)];
        let recognized = "page\t2\nlevel\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n\
            1\t1\t0\t0\t0\t0\t0\t0\t1200\t1600\t-1\t\n\
            4\t1\t1\t1\t1\t0\t120\t160\t600\t40\t-1\t\n\
            5\t1\t1\t1\t1\t1\t120\t160\t200\t40\t96.1\tInvoice\n\
            5\t1\t1\t1\t1\t2\t340\t160\t100\t40\t91\t4711\n\
            5\t1\t1\t1\t1\t3\t640\t160\t80\t40\t3.5\t~;\n\
            rubbish\n";
        merge(&mut pages, &mut Hints::default(), recognized);
        assert!(pages[0].words.is_empty());
        assert_eq!(pages[1].text.trim_end(), "Invoice 4711");
        let b = pages[1].words[1].bbox;
        let near = |a: f32, b: f32| (a - b).abs() < 0.002;
        assert!(near(b.x, 340.0 / 1200.0) && near(b.width, 100.0 / 1200.0), "{b:?}");
        assert!(near(b.y, 0.1) && near(b.height, 40.0 / 1600.0), "{b:?}");
    }
}
