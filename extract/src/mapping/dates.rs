//! Scores dates by each other: a due date is not before the date of issue.

use std::collections::HashSet;

use super::candidate::{Candidate, CandidateGroup, Origin};
use super::formats::Formats;
use super::page_grid::{PageGrid, TextRun};
use super::role::Roles;
use crate::taxonomy::Kind;

/// Scores of a date without a label as the date of issue, in a cell of its own and within text.
const ALONE_SCORE: f32 = 0.5;
const IN_TEXT_SCORE: f32 = 0.3;
/// Score of the only later date as the due date, if no due date has a label.
const ONLY_LATER_SCORE: f32 = 0.4;
/// Factor for a due date before the date of issue.
const TOO_EARLY_FACTOR: f32 = 0.4;

/// Scores the dates of issue and payment by each other, and guesses those without a label.
pub(super) fn score_dates(
    groups: &mut [Vec<CandidateGroup>],
    roles: &Roles,
    grids: &[PageGrid<'_>],
    formats: &Formats,
) {
    let Some(issued) = roles.issued else { return };
    if groups[issued].is_empty() {
        let all = groups.iter().flatten().flat_map(|group| &group.candidates);
        let taken: HashSet<(usize, usize)> = all.flat_map(Candidate::word_positions).collect();
        let mut dates = printed_dates(grids.get(..1).unwrap_or_default(), formats);
        dates.retain(|(date, _)| !date.word_positions().any(|position| taken.contains(&position)));
        let alone = dates.iter().find(|(_, alone)| *alone).map(|(date, _)| (date.clone(), ALONE_SCORE));
        let first = || dates.first().map(|(date, _)| (date.clone(), IN_TEXT_SCORE));
        if let Some((candidate, score)) = alone.or_else(first) {
            groups[issued].push(single_group(candidate, score));
        }
    }
    let (Some(due), Some(from)) = (roles.due, groups[issued].first().and_then(|group| group.best().date))
    else {
        return;
    };
    for group in &mut groups[due] {
        if group.best().date.is_some_and(|date| date < from) {
            group.score *= TOO_EARLY_FACTOR;
        }
    }
    groups[due].sort_by(|a, b| b.score.total_cmp(&a.score));
    if groups[due].is_empty() {
        let mut later = printed_dates(grids, formats);
        later.retain(|(date, _)| date.date.is_some_and(|date| date > from));
        later.dedup_by(|a, b| a.0.date == b.0.date);
        if let [(candidate, _)] = later.as_slice() {
            groups[due].push(single_group(candidate.clone(), ONLY_LATER_SCORE));
        }
    }
}

fn single_group(candidate: Candidate, score: f32) -> CandidateGroup {
    CandidateGroup {
        key: candidate.key(Kind::Date),
        score,
        candidates: vec![Candidate { score, ..candidate }],
    }
}

/// Returns every printed date, and whether it fills its cell.
fn printed_dates(grids: &[PageGrid<'_>], formats: &Formats) -> Vec<(Candidate, bool)> {
    let mut dates = Vec::new();
    for (index, grid) in grids.iter().enumerate() {
        for cell in grid.rows.iter().flat_map(|row| &row.cells) {
            for value in formats.dates(&cell.text) {
                let alone = cell.text.len() <= value.span.len() + 2;
                let mut run = TextRun::default();
                run.push(cell, 0, usize::MAX);
                let words = run.words(&value.span);
                let candidate =
                    Candidate::new(Origin::Inference, (index, grid), words, &run.text, &value, 0.0);
                dates.push((candidate, alone));
            }
        }
    }
    dates
}
