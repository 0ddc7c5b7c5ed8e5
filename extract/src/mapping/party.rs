//! Assigns values to parties: `seller_name` and `seller_vat_id` are in the seller's part of the page.
//!
//! Data points with the same prefix form a party if one of type `string` (`seller_name`) has a counterpart with another
//! prefix (`buyer_name`). The label of such a data point begins the party's part of the page, which extends down its
//! column to the next party.

use super::candidate::Candidate;
use super::label::LabelOccurrence;
use super::page_grid::{PageGrid, Rect};
use crate::taxonomy::{Kind, Taxonomy};

/// Greatest height of a part, as a share of the page's height.
const MAX_PART_HEIGHT: f32 = 0.4;
/// Most labels of parties in a document.
const MAX_ANCHORS: usize = 500;
/// Rows below a label that determine the width of its column.
const COLUMN_ROWS: usize = 6;

/// The parts of the pages that belong to a party.
#[derive(Debug)]
struct Party {
    prefix: String,
    parts: Vec<(usize, Rect)>,
}

/// The parties of a taxonomy in a document.
#[derive(Debug)]
pub(super) struct Parties {
    parties: Vec<Party>,
    /// Index of each data point's party.
    of_point: Vec<Option<usize>>,
}

/// Splits a name into prefix and rest: `seller` and `vat_id`.
fn split_name(name: &str) -> Option<(&str, &str)> {
    name.split_once(['.', '_', '-']).filter(|(prefix, rest)| !prefix.is_empty() && !rest.is_empty())
}

impl Parties {
    pub(super) fn new(taxonomy: &Taxonomy, grids: &[PageGrid<'_>], labels: &[LabelOccurrence]) -> Self {
        let points = &taxonomy.data_points;
        let prefix = |index: usize| split_name(&points[index].name).map(|(prefix, _)| prefix);
        // Only strings form a party: "issue_date" and "due_date" do not.
        let texts = || {
            points
                .iter()
                .filter(|point| point.kind == Kind::String)
                .filter_map(|point| split_name(&point.name))
        };
        let has_rival = |index: usize| {
            let own = split_name(&points[index].name).filter(|_| points[index].kind == Kind::String);
            own.is_some_and(|(own, rest)| texts().any(|(other, end)| other != own && end == rest))
        };
        let mut names: Vec<&str> =
            (0..points.len()).filter(|index| has_rival(*index)).filter_map(prefix).collect();
        names.sort_unstable();
        names.dedup();
        let of_point: Vec<Option<usize>> = (0..points.len())
            .map(|index| names.iter().position(|name| prefix(index) == Some(name)))
            .collect();

        let anchors: Vec<(usize, usize, Rect)> = labels
            .iter()
            .filter(|label| points[label.point].kind == Kind::String)
            .filter_map(|label| Some((of_point[label.point]?, label)))
            .filter(|(_, label)| is_heading(grids, label))
            .map(|(party, label)| (party, label.page_index, column_below(&grids[label.page_index], label)))
            .take(MAX_ANCHORS)
            .collect();
        let parties = names.iter().enumerate().map(|(party, name)| Party {
            prefix: (*name).to_owned(),
            parts: anchors
                .iter()
                .filter(|(owner, ..)| *owner == party)
                .map(|(_, page_index, area)| (*page_index, clip_part(*area, *page_index, &anchors)))
                .collect(),
        });
        Self { parties: parties.collect(), of_point }
    }

    /// Returns the party whose part of the page contains a box.
    fn party_at(&self, page_index: usize, area: &Rect) -> Option<usize> {
        self.parties.iter().position(|party| {
            party.parts.iter().any(|(on, part)| {
                *on == page_index
                    && area.top >= part.top
                    && area.bottom <= part.bottom
                    && area.left >= part.left
                    && area.left < part.right
            })
        })
    }

    /// Removes candidates in another party's part, and raises the score of those in its own.
    pub(super) fn score_candidates(&self, point: usize, candidates: &mut Vec<Candidate>) {
        let Some(own) = self.of_point[point] else { return };
        let foreign = |candidate: &Candidate| {
            self.party_at(candidate.page_index, &candidate.area).is_some_and(|at| at != own)
        };
        if candidates.iter().any(|candidate| !foreign(candidate)) {
            candidates.retain(|candidate| !foreign(candidate));
        } else {
            candidates.iter_mut().for_each(|candidate| candidate.score *= 0.5);
        }
        for candidate in candidates {
            if self.party_at(candidate.page_index, &candidate.area) == Some(own) {
                candidate.score = 1.0 - (1.0 - candidate.score) * 0.8;
            }
        }
    }

    /// Returns the labels of another party's same value in this party's part, such as `VAT` below `Customer`.
    pub(super) fn labels_of_other_parties<'l>(
        &self,
        taxonomy: &Taxonomy,
        point: usize,
        grids: &[PageGrid<'_>],
        labels: &'l [LabelOccurrence],
    ) -> Vec<&'l LabelOccurrence> {
        let points = &taxonomy.data_points;
        let (Some(own), Some((_, end))) = (self.of_point[point], split_name(&points[point].name)) else {
            return Vec::new();
        };
        let matches = |label: &&LabelOccurrence| {
            let other = &points[label.point];
            let same_value = split_name(&other.name)
                .is_some_and(|(prefix, rest)| rest == end && prefix != self.parties[own].prefix);
            let area = &grids[label.page_index].rows[label.row].cells[label.cell].area;
            same_value && other.kind != Kind::String && self.party_at(label.page_index, area) == Some(own)
        };
        labels.iter().filter(matches).collect()
    }
}

/// Whether a label is alone in its cell, like a heading.
fn is_heading(grids: &[PageGrid<'_>], label: &LabelOccurrence) -> bool {
    let cell = &grids[label.page_index].rows[label.row].cells[label.cell];
    label.leads && label.quality > 0.85 && !cell.text[label.span.end..].contains(char::is_alphanumeric)
}

/// Returns the column below a label.
fn column_below(grid: &PageGrid<'_>, label: &LabelOccurrence) -> Rect {
    let own = grid.rows[label.row].cells[label.cell].area;
    let next = grid.rows.iter().skip(label.row).take(COLUMN_ROWS).flat_map(|row| &row.cells);
    let right = next
        .map(|cell| cell.area.left)
        .filter(|left| *left > own.right + own.height())
        .fold(f32::MAX, f32::min);
    Rect {
        left: own.left - 2.0 * own.height(),
        top: own.top,
        right,
        bottom: (own.top + MAX_PART_HEIGHT * grid.page.height).min(grid.page.height),
    }
}

/// Clips a part at the top of the next one below it.
fn clip_part(part: Rect, page_index: usize, anchors: &[(usize, usize, Rect)]) -> Rect {
    let below = anchors.iter().filter(|(_, on, other)| {
        *on == page_index && other.top > part.top + 1.0 && other.shares_column(&part)
    });
    Rect { bottom: below.map(|(.., other)| other.top).fold(part.bottom, f32::min), ..part }
}
