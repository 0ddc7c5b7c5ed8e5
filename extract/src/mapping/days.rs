//! Dates that tell each other: what is due is not due before it is issued.

use std::collections::HashSet;

use super::candidate::{Candidate, Group, Origin};
use super::role::Roles;
use super::sheet::{Run, Sheet};
use super::value::Reading;
use crate::taxonomy::Kind;

/// A date that stands alone near the top of a document without a date of its own.
const STANDS_ALONE: f32 = 0.5;
const STANDS_IN_TEXT: f32 = 0.3;
/// The only later date of a document without a labelled due date.
const ONLY_LATER: f32 = 0.4;
/// A due date before the date of issue.
const TOO_EARLY: f32 = 0.4;

/// Weighs the dates of issue and of payment by each other, and guesses those that have no label.
pub(super) fn weigh(groups: &mut [Vec<Group>], roles: &Roles, sheets: &[Sheet<'_>], reading: &Reading) {
    let Some(issued) = roles.issued else { return };
    if groups[issued].is_empty() {
        let all = groups.iter().flatten().flat_map(|group| &group.candidates);
        let taken: HashSet<(usize, usize)> = all.flat_map(Candidate::places).collect();
        let mut dates = printed(sheets.get(..1).unwrap_or_default(), reading);
        dates.retain(|(date, _)| !date.places().any(|place| taken.contains(&place)));
        let alone = dates.iter().find(|(_, alone)| *alone).map(|(date, _)| (date.clone(), STANDS_ALONE));
        let first = || dates.first().map(|(date, _)| (date.clone(), STANDS_IN_TEXT));
        if let Some((candidate, score)) = alone.or_else(first) {
            groups[issued].push(group(candidate, score));
        }
    }
    let (Some(due), Some(from)) = (roles.due, groups[issued].first().and_then(|group| group.best().date))
    else {
        return;
    };
    for group in &mut groups[due] {
        if group.best().date.is_some_and(|date| date < from) {
            group.score *= TOO_EARLY;
        }
    }
    groups[due].sort_by(|a, b| b.score.total_cmp(&a.score));
    if groups[due].is_empty() {
        let mut later = printed(sheets, reading);
        later.retain(|(date, _)| date.date.is_some_and(|date| date > from));
        later.dedup_by(|a, b| a.0.date == b.0.date);
        if let [(candidate, _)] = later.as_slice() {
            groups[due].push(group(candidate.clone(), ONLY_LATER));
        }
    }
}

fn group(candidate: Candidate, score: f32) -> Group {
    Group { key: candidate.key(Kind::Date), score, candidates: vec![Candidate { score, ..candidate }] }
}

/// Every date of the pages, and whether it is all that its cell holds.
fn printed(sheets: &[Sheet<'_>], reading: &Reading) -> Vec<(Candidate, bool)> {
    let mut dates = Vec::new();
    for (index, sheet) in sheets.iter().enumerate() {
        for cell in sheet.rows.iter().flat_map(|row| &row.cells) {
            for value in reading.dates(&cell.text) {
                let alone = cell.text.len() <= value.span.len() + 2;
                let mut run = Run::default();
                run.push(cell, 0, usize::MAX);
                let words = run.words(&value.span);
                let candidate =
                    Candidate::new(Origin::Inference, (index, sheet), words, &run.text, &value, 0.0);
                dates.push((candidate, alone));
            }
        }
    }
    dates
}
