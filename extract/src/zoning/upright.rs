//! Pages rotated so that most of their text runs from left to right.

use std::borrow::Cow;

use super::draft::ZoneDraft;
use super::rotation::Rotation;
use super::rows::{self, Rect, Row};
use crate::document::{Page, ZoneKind};
use crate::layout::PageHints;

/// A page rotated so that most of its text runs from left to right.
pub(super) struct UprightPage<'d> {
    pub(super) page: Cow<'d, Page>,
    pub(super) hints: Cow<'d, PageHints>,
    pub(super) rotation: Rotation,
    /// From top to bottom; empty if the format marks the blocks.
    pub(super) rows: Vec<Row>,
    /// Text across the lines, usually along the edges.
    pub(super) margin_texts: Vec<ZoneDraft>,
}

impl<'d> UprightPage<'d> {
    pub(super) fn new(page: &'d Page, hints: &'d PageHints) -> Self {
        let rotation = Rotation::detect(page);
        let (page, hints) = if rotation == Rotation::None {
            (Cow::Borrowed(page), Cow::Borrowed(hints))
        } else {
            let (page, hints) = rotation.rotate(page, hints);
            (Cow::Owned(page), Cow::Owned(hints))
        };
        let mut upright = Self { page, hints, rotation, rows: Vec::new(), margin_texts: Vec::new() };
        if upright.hints.blocks.is_empty() {
            let (along, across) = rows::split_by_direction(&upright.page);
            upright.rows = rows::build_rows(rows::build_segments(&upright.page, &along, &upright.hints.bold));
            upright.margin_texts = margin_texts(&upright.page, &across);
        }
        upright
    }
}

/// Combines words across the lines into zones.
fn margin_texts(page: &Page, words: &[usize]) -> Vec<ZoneDraft> {
    let mut found: Vec<ZoneDraft> = Vec::new();
    for word in words.iter().filter_map(|i| page.words.get(*i)) {
        let area = Rect::from_box(word.bbox, page);
        let em = area.width().min(area.height());
        let near = |last: &&mut ZoneDraft| {
            let (a, b) = (last.area, area);
            let reach = 1.5 * em;
            a.x0 - reach < b.x1 && b.x0 - reach < a.x1 && a.y0 - reach < b.y1 && b.y0 - reach < a.y1
        };
        match found.last_mut().filter(near) {
            Some(last) => {
                last.area = last.area.union(area);
                last.text.push(' ');
                last.text.push_str(&word.text);
            }
            None => found.push(ZoneDraft {
                area,
                kind: ZoneKind::Paragraph,
                text: word.text.clone(),
                confidence: 0.5,
            }),
        }
    }
    found
}
