//! Values that belong to one party: `seller_name` and `seller_vat_id` stand in the seller's part of the page.
//!
//! Data points whose names begin alike are a party where a text of theirs (`seller_name`) has its like elsewhere
//! (`buyer_name`). The label of such a text opens its part of the page, which reaches down its column to the next party's.

use super::candidate::Candidate;
use super::label::Occurrence;
use super::sheet::{Frame, Sheet};
use crate::taxonomy::{Kind, Taxonomy};

/// How much of the page's height a part takes at most.
const REACH: f32 = 0.4;
/// Labels of parties that are looked at in a document.
const ANCHORS: usize = 500;
/// Rows below a label that tell how wide its column is.
const COLUMN_ROWS: usize = 6;

/// A party's parts of the pages.
#[derive(Debug)]
struct Party {
    prefix: String,
    parts: Vec<(usize, Frame)>,
}

/// The parties of a taxonomy in a document.
#[derive(Debug)]
pub(super) struct Parties {
    parties: Vec<Party>,
    /// Which party each data point belongs to.
    of_point: Vec<Option<usize>>,
}

/// The beginning and the rest of a name: `seller` and `vat_id`.
fn halves(name: &str) -> Option<(&str, &str)> {
    name.split_once(['.', '_', '-']).filter(|(prefix, rest)| !prefix.is_empty() && !rest.is_empty())
}

impl Parties {
    pub(super) fn new(taxonomy: &Taxonomy, sheets: &[Sheet<'_>], labels: &[Occurrence]) -> Self {
        let points = &taxonomy.data_points;
        let prefix = |index: usize| halves(&points[index].name).map(|(prefix, _)| prefix);
        // Only texts make a party: "issue_date" and "due_date" are none.
        let texts = || {
            points.iter().filter(|point| point.kind == Kind::String).filter_map(|point| halves(&point.name))
        };
        let has_rival = |index: usize| {
            let own = halves(&points[index].name).filter(|_| points[index].kind == Kind::String);
            own.is_some_and(|(own, rest)| texts().any(|(other, end)| other != own && end == rest))
        };
        let mut names: Vec<&str> =
            (0..points.len()).filter(|index| has_rival(*index)).filter_map(prefix).collect();
        names.sort_unstable();
        names.dedup();
        let of_point: Vec<Option<usize>> = (0..points.len())
            .map(|index| names.iter().position(|name| prefix(index) == Some(name)))
            .collect();

        let anchors: Vec<(usize, usize, Frame)> = labels
            .iter()
            .filter(|label| points[label.point].kind == Kind::String)
            .filter_map(|label| Some((of_point[label.point]?, label)))
            .filter(|(_, label)| opens(sheets, label))
            .map(|(party, label)| (party, label.sheet, column(&sheets[label.sheet], label)))
            .take(ANCHORS)
            .collect();
        let parties = names.iter().enumerate().map(|(party, name)| Party {
            prefix: (*name).to_owned(),
            parts: anchors
                .iter()
                .filter(|(owner, ..)| *owner == party)
                .map(|(_, sheet, frame)| (*sheet, cut(*frame, *sheet, &anchors)))
                .collect(),
        });
        Self { parties: parties.collect(), of_point }
    }

    /// Which party's part of the page holds a place.
    fn at(&self, sheet: usize, frame: &Frame) -> Option<usize> {
        self.parties.iter().position(|party| {
            party.parts.iter().any(|(on, part)| {
                *on == sheet
                    && frame.top >= part.top
                    && frame.bottom <= part.bottom
                    && frame.left >= part.left
                    && frame.left < part.right
            })
        })
    }

    /// Takes away what stands in another party's part, and believes more in what stands in its own.
    pub(super) fn weigh(&self, point: usize, candidates: &mut Vec<Candidate>) {
        let Some(own) = self.of_point[point] else { return };
        let foreign =
            |candidate: &Candidate| self.at(candidate.sheet, &candidate.frame).is_some_and(|at| at != own);
        if candidates.iter().any(|candidate| !foreign(candidate)) {
            candidates.retain(|candidate| !foreign(candidate));
        } else {
            candidates.iter_mut().for_each(|candidate| candidate.score *= 0.5);
        }
        for candidate in candidates {
            if self.at(candidate.sheet, &candidate.frame) == Some(own) {
                candidate.score = 1.0 - (1.0 - candidate.score) * 0.8;
            }
        }
    }

    /// The labels of the same value of another party that stand in this party's part: `VAT` below `Customer`.
    pub(super) fn borrowed<'l>(
        &self,
        taxonomy: &Taxonomy,
        point: usize,
        sheets: &[Sheet<'_>],
        labels: &'l [Occurrence],
    ) -> Vec<&'l Occurrence> {
        let points = &taxonomy.data_points;
        let (Some(own), Some((_, end))) = (self.of_point[point], halves(&points[point].name)) else {
            return Vec::new();
        };
        let lent = |label: &&Occurrence| {
            let other = &points[label.point];
            let same_value = halves(&other.name)
                .is_some_and(|(prefix, rest)| rest == end && prefix != self.parties[own].prefix);
            let frame = &sheets[label.sheet].rows[label.row].cells[label.cell].frame;
            same_value && other.kind != Kind::String && self.at(label.sheet, frame) == Some(own)
        };
        labels.iter().filter(lent).collect()
    }
}

/// Whether a label stands alone in its cell, as a heading does.
fn opens(sheets: &[Sheet<'_>], label: &Occurrence) -> bool {
    let cell = &sheets[label.sheet].rows[label.row].cells[label.cell];
    label.leads && label.quality > 0.85 && !cell.text[label.span.end..].contains(char::is_alphanumeric)
}

/// The column below a label.
fn column(sheet: &Sheet<'_>, label: &Occurrence) -> Frame {
    let own = sheet.rows[label.row].cells[label.cell].frame;
    let next = sheet.rows.iter().skip(label.row).take(COLUMN_ROWS).flat_map(|row| &row.cells);
    let right = next
        .map(|cell| cell.frame.left)
        .filter(|left| *left > own.right + own.height())
        .fold(f32::MAX, f32::min);
    Frame {
        left: own.left - 2.0 * own.height(),
        top: own.top,
        right,
        bottom: (own.top + REACH * sheet.page.height).min(sheet.page.height),
    }
}

/// Ends a part where the next one below begins.
fn cut(part: Frame, sheet: usize, anchors: &[(usize, usize, Frame)]) -> Frame {
    let below = anchors
        .iter()
        .filter(|(_, on, other)| *on == sheet && other.top > part.top + 1.0 && other.above_or_below(&part));
    Frame { bottom: below.map(|(.., other)| other.top).fold(part.bottom, f32::min), ..part }
}
