//! Pages whose text runs down or up: vertical Japanese, wide tables on upright paper.
//!
//! They are zoned as if the paper were turned, and the zones turned back.

use super::rows;
use crate::document::{BBox, Page, Word};
use crate::layout::PageHints;

/// Which way the text of a page runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Left to right: nothing to be turned.
    None,
    /// From the top down, lines from the right to the left.
    Down,
    /// From the bottom up, lines from the left to the right.
    Up,
}

impl Turn {
    /// Judged by the shapes of words and the order in which they come.
    pub(super) fn of(page: &Page) -> Self {
        if !rows::is_mostly_tall(page) {
            return Self::None;
        }
        let down = page.words.windows(2).filter(|pair| pair[1].bbox.y > pair[0].bbox.y).count();
        let along = |a: &BBox, b: &BBox| (a.x - b.x).abs() < 0.5 * a.width.max(b.width);
        let up = page
            .words
            .windows(2)
            .filter(|pair| along(&pair[0].bbox, &pair[1].bbox) && pair[1].bbox.y < pair[0].bbox.y)
            .count();
        if up > down { Self::Up } else { Self::Down }
    }

    /// A box on the turned page.
    fn enter(self, b: BBox) -> BBox {
        match self {
            Self::None => b,
            Self::Down => BBox { x: b.y, y: 1.0 - b.x - b.width, width: b.height, height: b.width },
            Self::Up => BBox { x: 1.0 - b.y - b.height, y: b.x, width: b.height, height: b.width },
        }
    }

    /// A box on the turned page, on the page as it is.
    pub(super) fn leave(self, b: BBox) -> BBox {
        match self {
            Self::None => b,
            Self::Down => BBox { x: 1.0 - b.y - b.height, y: b.x, width: b.height, height: b.width },
            Self::Up => BBox { x: b.y, y: 1.0 - b.x - b.width, width: b.height, height: b.width },
        }
    }

    /// The page with what is known of it, turned so that its text runs left to right.
    pub(super) fn page(self, page: &Page, hints: &PageHints) -> (Page, PageHints) {
        let words =
            page.words.iter().map(|word| Word { text: word.text.clone(), bbox: self.enter(word.bbox) });
        let turned = Page {
            number: page.number,
            width: page.height,
            height: page.width,
            text: String::new(),
            words: words.collect(),
        };
        let boxes = |boxes: &[BBox]| boxes.iter().map(|b| self.enter(*b)).collect();
        let hints = PageHints { images: boxes(&hints.images), rules: boxes(&hints.rules), ..hints.clone() };
        (turned, hints)
    }
}
