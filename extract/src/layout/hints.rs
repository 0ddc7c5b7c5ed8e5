//! Laid out documents, with hints for zoning.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::document::{BBox, TextDocument, ZoneKind};

/// A document with hints for zoning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentLayout {
    /// The text and its positions.
    pub document: TextDocument,
    /// Hints for zoning.
    pub hints: Hints,
}

/// Facts about a document beyond its text. May be empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hints {
    /// In page order.
    pub pages: Vec<PageHints>,
}

/// Facts about a page beyond its text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PageHints {
    /// Indices of words in bold type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bold: Vec<Range<u32>>,
    /// Blocks that the format marks (HTML, ePub).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// Boxes of images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<BBox>,
    /// Boxes of lines and frames. A line has almost no width or height.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<BBox>,
}

/// A block of words of a known kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Kind of the block.
    pub kind: ZoneKind,
    /// Indices of its words on the page.
    pub words: Range<u32>,
}

/// Converts a box in points (left, top, right, bottom) to fractions of the page, clipped to the page.
pub(crate) fn page_fractions((x0, y0, x1, y1): (f32, f32, f32, f32), width: f32, height: f32) -> BBox {
    let (x0, x1) = ((x0 / width).clamp(0.0, 1.0), (x1 / width).clamp(0.0, 1.0));
    let (y0, y1) = ((y0 / height).clamp(0.0, 1.0), (y1 / height).clamp(0.0, 1.0));
    BBox { x: x0, y: y0, width: x1 - x0, height: y1 - y0 }
}

/// Returns the ranges of `true`.
pub(super) fn true_runs(flags: &[bool]) -> Vec<Range<u32>> {
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
