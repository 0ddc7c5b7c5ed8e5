//! Converts the tab-separated values of `tesseract` to positioned words.
//!
//! Columns: level, page_num, block_num, par_num, line_num, word_num, left, top, width, height, conf, text. Boxes are in
//! pixels from the top left corner. Level 1 is the page, 4 a line, 5 a word.

use crate::document::Page;
use crate::layout::{self, Direction, Glyph, Hints};

/// Begins the output for a page. Lines of `tesseract` begin with a level.
const PAGE_PREFIX: &str = "page";
/// Words with a lower confidence (0 to 100) are mostly specks and images.
const MIN_CONFIDENCE: f32 = 20.0;
/// Height of a line's box in ems: from the top of ascenders to the bottom of descenders.
const LINE_BOX_EMS: f32 = 0.97;
/// Position of the baseline in a line's box, as a share of its height from the top.
const BASELINE_SHARE: f32 = 0.75 / LINE_BOX_EMS;

/// Returns the line that precedes the output of `tesseract` for a page.
pub(super) fn page_line(page: u32) -> String {
    format!("{PAGE_PREFIX}\t{page}\n")
}

/// Merges recognized text into the pages. The text has, for each page, a [`page_line`] and the output of `tesseract`.
/// Malformed lines are ignored.
pub(crate) fn merge(pages: &mut [Page], hints: &mut Hints, recognized: &str) {
    let mut found: Option<RecognizedPage> = None;
    for line in recognized.lines() {
        if let Some(number) = line.strip_prefix(PAGE_PREFIX).and_then(|rest| rest.trim().parse::<u32>().ok())
        {
            if let Some(found) = found.replace(RecognizedPage::new(number)) {
                found.write_to(pages, hints);
            }
        } else if let Some(found) = &mut found {
            found.push_line(line);
        }
    }
    if let Some(found) = found {
        found.write_to(pages, hints);
    }
}

/// The text recognized on one page, in pixels.
struct RecognizedPage {
    number: u32,
    /// Width and height of the page.
    size: (f32, f32),
    /// Top and height of the present line.
    line: (f32, f32),
    glyphs: Vec<Glyph>,
}

impl RecognizedPage {
    fn new(number: u32) -> Self {
        Self { number, size: (0.0, 0.0), line: (0.0, 0.0), glyphs: Vec::new() }
    }

    fn push_line(&mut self, line: &str) {
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
            "5" if confidence >= MIN_CONFIDENCE => self.push_word(text.trim(), left, width),
            _ => {}
        }
    }

    /// Adds a word, whose characters share its width, and a space.
    fn push_word(&mut self, text: &str, left: f32, width: f32) {
        let count = text.chars().count();
        let (top, height) = self.line;
        let advance = width / count as f32;
        for (i, ch) in text.chars().chain([' ']).enumerate().take(if count == 0 { 0 } else { count + 1 }) {
            self.glyphs.push(Glyph {
                ch,
                origin: (left + advance * i as f32, top + height * BASELINE_SHARE),
                advance: if ch == ' ' { 0.0 } else { advance },
                size: height / LINE_BOX_EMS,
                direction: Direction::HORIZONTAL,
                bold: false,
            });
        }
    }

    fn write_to(mut self, pages: &mut [Page], hints: &mut Hints) {
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
        let (new_page, new_hints) = layout::lay_out_page(page.number, page.width, page.height, &self.glyphs);
        *page = new_page;
        if let Some(hints) = hints.pages.get_mut(i) {
            // Images and rules stay. Blocks and bold type described the page without its recognized text.
            hints.bold = new_hints.bold;
            hints.blocks = new_hints.blocks;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognized_words_are_positioned() {
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
