//! Rotates pages with vertical text, such as vertical Japanese and wide tables on upright paper.
//!
//! Zoning works on the rotated page, and the zones are rotated back.

use super::rows;
use crate::document::{BBox, Page, Word};
use crate::layout::PageHints;

/// The direction of a page's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotation {
    /// From left to right.
    None,
    /// From top to bottom, with lines from right to left.
    Down,
    /// From bottom to top, with lines from left to right.
    Up,
}

impl Rotation {
    /// Detects the direction by the shapes of words and their order.
    pub(super) fn detect(page: &Page) -> Self {
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

    /// Converts a box of the page to the rotated page.
    fn to_upright(self, b: BBox) -> BBox {
        match self {
            Self::None => b,
            Self::Down => BBox { x: b.y, y: 1.0 - b.x - b.width, width: b.height, height: b.width },
            Self::Up => BBox { x: 1.0 - b.y - b.height, y: b.x, width: b.height, height: b.width },
        }
    }

    /// Converts a box of the rotated page to the page.
    pub(super) fn to_page(self, b: BBox) -> BBox {
        match self {
            Self::None => b,
            Self::Down => BBox { x: 1.0 - b.y - b.height, y: b.x, width: b.height, height: b.width },
            Self::Up => BBox { x: b.y, y: 1.0 - b.x - b.width, width: b.height, height: b.width },
        }
    }

    /// Rotates a page and its hints, so that the text runs from left to right.
    pub(super) fn rotate(self, page: &Page, hints: &PageHints) -> (Page, PageHints) {
        let words =
            page.words.iter().map(|word| Word { text: word.text.clone(), bbox: self.to_upright(word.bbox) });
        let turned = Page {
            number: page.number,
            width: page.height,
            height: page.width,
            text: String::new(),
            words: words.collect(),
        };
        let boxes = |boxes: &[BBox]| boxes.iter().map(|b| self.to_upright(*b)).collect();
        let hints = PageHints { images: boxes(&hints.images), rules: boxes(&hints.rules), ..hints.clone() };
        (turned, hints)
    }
}
