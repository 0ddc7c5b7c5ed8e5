//! The values that patterns find.

use std::collections::HashMap;

use regex::Regex;

use super::candidate::{Candidate, Origin};
use super::sheet::{Frame, Piece, Sheet, align};
use super::value::{Reading, is_iban_point, valid_iban};
use crate::normalize::Span;
use crate::taxonomy::{DataPoint, Kind, Pattern, Taxonomy};

/// Matches of one pattern that are looked at in one document.
const MATCHES: usize = 20_000;
/// A shape with more different values than this tells nothing by itself.
const LOOSE: usize = 6;

/// The pages' texts, with the place of each word in them.
pub(super) struct Texts<'a> {
    sheets: &'a [Sheet<'a>],
    pieces: Vec<Vec<Piece>>,
}

struct Match {
    sheet: usize,
    span: Span,
    /// Whether it is not a part of a longer word.
    alone: bool,
}

impl<'a> Texts<'a> {
    pub(super) fn new(sheets: &'a [Sheet<'a>]) -> Self {
        Self { sheets, pieces: sheets.iter().map(|sheet| align(sheet.page)).collect() }
    }

    fn text(&self, sheet: usize) -> &str {
        &self.sheets[sheet].page.text
    }

    /// The candidates of every data point by its patterns, in the order of the data points.
    pub(super) fn candidates(&self, taxonomy: &Taxonomy, reading: &Reading) -> Vec<Vec<Candidate>> {
        // Data points with one pattern in common take its values in turn: "date" the first, "date_due" the second.
        let mut turns: HashMap<(&str, Kind), usize> = HashMap::new();
        let mut all = Vec::with_capacity(taxonomy.data_points.len());
        for point in &taxonomy.data_points {
            let mut candidates = Vec::new();
            let mut found_before = false;
            for pattern in &point.patterns {
                let turn = turns.entry((pattern.regex.as_str(), point.kind)).or_default();
                let mut found = self.of_pattern(point, pattern, reading, *turn);
                *turn += 1;
                if found_before && !point.multiple {
                    found.iter_mut().for_each(|candidate| candidate.score *= 0.5);
                }
                found_before |= !found.is_empty();
                candidates.extend(found);
            }
            all.push(candidates);
        }
        all
    }

    fn of_pattern(
        &self,
        point: &DataPoint,
        pattern: &Pattern,
        reading: &Reading,
        turn: usize,
    ) -> Vec<Candidate> {
        let mut matches = self.matches(&pattern.regex);
        if matches.is_empty()
            && let Some(relaxed) = &pattern.relaxed
        {
            matches = self.matches(relaxed);
        }
        if !pattern.grouped && matches.iter().any(|found| found.alone) {
            matches.retain(|found| found.alone);
        }
        // Without a group a pattern beside labels says what a value looks like, not where it is.
        let shape = !pattern.grouped && !pattern.literal && !point.labels.is_empty();
        let origin = if shape { Origin::Shape } else { Origin::Pattern };
        let mut candidates: Vec<Candidate> =
            matches.iter().filter_map(|found| self.candidate(point, found, origin, reading)).collect();
        if shape {
            // Words in capitals have the shape of many codes.
            candidates.retain(|candidate| candidate.value.contains(|c: char| c.is_ascii_digit()));
        }

        let mut known: HashMap<String, usize> = HashMap::new();
        let mut rank = |candidate: &Candidate| {
            let next = known.len();
            *known.entry(candidate.key(point.kind)).or_insert(next)
        };
        let ranks: Vec<usize> = candidates.iter().map(&mut rank).collect();
        let distinct = known.len();
        if shape && distinct > LOOSE {
            return Vec::new();
        }
        let turn = turn.min(distinct.saturating_sub(1));
        let alone = matches.iter().any(|found| found.alone);
        for (candidate, rank) in candidates.iter_mut().zip(ranks) {
            let base = match (shape, distinct) {
                (true, 1) => 0.6,
                (true, _) => 0.3,
                (false, 1) if pattern.literal && !point.labels.is_empty() && point.kind == Kind::Code => 0.86,
                (false, 1) if alone || pattern.grouped => 0.92,
                (false, 1) => 0.7,
                (false, _) if point.multiple => 0.85,
                (false, _) if rank == turn => 0.77,
                (false, _) => 0.3,
            };
            candidate.score *=
                if is_iban_point(point) && shape && candidate.normalized.as_deref().is_some_and(valid_iban) {
                    if distinct == 1 { 0.88 } else { 0.5 }
                } else {
                    base
                };
        }
        candidates
    }

    fn matches(&self, regex: &Regex) -> Vec<Match> {
        let mut matches = Vec::new();
        for sheet in 0..self.sheets.len() {
            let text = self.text(sheet);
            for found in regex.captures_iter(text) {
                let Some(value) =
                    found.get(1).or(found.get(0)).filter(|value| !value.as_str().trim().is_empty())
                else {
                    continue;
                };
                let before = text[..value.start()].chars().next_back();
                let after = text[value.end()..].chars().next();
                let alone =
                    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric);
                matches.push(Match { sheet, span: value.range(), alone });
                if matches.len() == MATCHES {
                    return matches;
                }
            }
        }
        matches
    }

    fn candidate(
        &self,
        point: &DataPoint,
        found: &Match,
        origin: Origin,
        reading: &Reading,
    ) -> Option<Candidate> {
        let text = self.text(found.sheet)[found.span.clone()].trim();
        let pieces = &self.pieces[found.sheet];
        let first = pieces.partition_point(|piece| piece.span.end <= found.span.start);
        let touched = pieces[first..].iter().take_while(|piece| piece.span.start < found.span.end);
        let words: Vec<usize> = touched.map(|piece| piece.word).collect();
        let sheet = (found.sheet, &self.sheets[found.sheet]);
        match reading.exactly(point, text) {
            Some(value) => Some(Candidate::new(origin, sheet, words, text, &value, value.fit.max(0.9))),
            // A shape says nothing where the type says no; a pattern with context does, and a person should look.
            None if origin == Origin::Pattern => Some(Candidate {
                origin,
                sheet: found.sheet,
                words,
                frame: Frame::default(),
                value: text.to_owned(),
                normalized: None,
                currency: None,
                number: None,
                date: None,
                score: 0.3,
            }),
            None => None,
        }
    }
}
