//! Finds values by patterns.

use std::collections::HashMap;

use regex::Regex;

use super::candidate::{Candidate, Origin};
use super::code::{is_iban_point, is_valid_iban};
use super::formats::Formats;
use super::page_grid::{PageGrid, Rect, WordSpan, align_words};
use super::reader::read_value;
use crate::normalize::Span;
use crate::taxonomy::{DataPoint, Kind, Pattern, Taxonomy};

/// Most matches of one pattern in one document.
const MAX_MATCHES: usize = 20_000;
/// A shape with more different values than this is no evidence.
const MAX_SHAPE_VALUES: usize = 6;

/// Matches patterns in the texts of the pages.
pub(super) struct PatternMatcher<'a> {
    grids: &'a [PageGrid<'a>],
    word_spans: Vec<Vec<WordSpan>>,
}

struct Match {
    page_index: usize,
    span: Span,
    /// Whether the match is not a part of a longer word.
    is_whole_word: bool,
}

impl<'a> PatternMatcher<'a> {
    pub(super) fn new(grids: &'a [PageGrid<'a>]) -> Self {
        Self { grids, word_spans: grids.iter().map(|grid| align_words(grid.page)).collect() }
    }

    fn page_text(&self, page_index: usize) -> &str {
        &self.grids[page_index].page.text
    }

    /// Returns the candidates of every data point by its patterns, in the order of the data points.
    pub(super) fn find_candidates(&self, taxonomy: &Taxonomy, formats: &Formats) -> Vec<Vec<Candidate>> {
        // Data points that share a pattern take its values in order: "date" the first, "date_due" the second.
        let mut pattern_uses: HashMap<(&str, Kind), usize> = HashMap::new();
        let mut all = Vec::with_capacity(taxonomy.data_points.len());
        for point in &taxonomy.data_points {
            let mut candidates = Vec::new();
            let mut found_before = false;
            for pattern in &point.patterns {
                let use_index = pattern_uses.entry((pattern.regex.as_str(), point.kind)).or_default();
                let mut found = self.match_pattern(point, pattern, formats, *use_index);
                *use_index += 1;
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

    fn match_pattern(
        &self,
        point: &DataPoint,
        pattern: &Pattern,
        formats: &Formats,
        use_index: usize,
    ) -> Vec<Candidate> {
        let mut matches = self.find_matches(&pattern.regex);
        if matches.is_empty()
            && let Some(relaxed) = &pattern.relaxed
        {
            matches = self.find_matches(relaxed);
        }
        if !pattern.grouped && matches.iter().any(|found| found.is_whole_word) {
            matches.retain(|found| found.is_whole_word);
        }
        // A pattern without a group tells the shape of a value, but not its position, if there are labels.
        let is_shape = !pattern.grouped && !pattern.literal && !point.labels.is_empty();
        let origin = if is_shape { Origin::Shape } else { Origin::Pattern };
        let mut candidates: Vec<Candidate> =
            matches.iter().filter_map(|found| self.build_candidate(point, found, origin, formats)).collect();
        if is_shape {
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
        if is_shape && distinct > MAX_SHAPE_VALUES {
            return Vec::new();
        }
        let use_index = use_index.min(distinct.saturating_sub(1));
        let is_whole_word = matches.iter().any(|found| found.is_whole_word);
        for (candidate, rank) in candidates.iter_mut().zip(ranks) {
            let base = match (is_shape, distinct) {
                (true, 1) => 0.6,
                (true, _) => 0.3,
                (false, 1) if pattern.literal && !point.labels.is_empty() && point.kind == Kind::Code => 0.86,
                (false, 1) if is_whole_word || pattern.grouped => 0.92,
                (false, 1) => 0.7,
                (false, _) if point.multiple => 0.85,
                (false, _) if rank == use_index => 0.77,
                (false, _) => 0.3,
            };
            candidate.score *= if is_iban_point(point)
                && is_shape
                && candidate.normalized.as_deref().is_some_and(is_valid_iban)
            {
                if distinct == 1 { 0.88 } else { 0.5 }
            } else {
                base
            };
        }
        candidates
    }

    fn find_matches(&self, regex: &Regex) -> Vec<Match> {
        let mut matches = Vec::new();
        for page_index in 0..self.grids.len() {
            let text = self.page_text(page_index);
            for found in regex.captures_iter(text) {
                let Some(value) =
                    found.get(1).or(found.get(0)).filter(|value| !value.as_str().trim().is_empty())
                else {
                    continue;
                };
                let before = text[..value.start()].chars().next_back();
                let after = text[value.end()..].chars().next();
                let is_whole_word =
                    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric);
                matches.push(Match { page_index, span: value.range(), is_whole_word });
                if matches.len() == MAX_MATCHES {
                    return matches;
                }
            }
        }
        matches
    }

    fn build_candidate(
        &self,
        point: &DataPoint,
        found: &Match,
        origin: Origin,
        formats: &Formats,
    ) -> Option<Candidate> {
        let text = self.page_text(found.page_index)[found.span.clone()].trim();
        let word_spans = &self.word_spans[found.page_index];
        let first = word_spans.partition_point(|word_span| word_span.span.end <= found.span.start);
        let touched =
            word_spans[first..].iter().take_while(|word_span| word_span.span.start < found.span.end);
        let words: Vec<usize> = touched.map(|word_span| word_span.word).collect();
        let grid = (found.page_index, &self.grids[found.page_index]);
        match read_value(formats, point, text) {
            Some(value) => Some(Candidate::new(origin, grid, words, text, &value, value.fit.max(0.9))),
            // If the text is not of the type, a shape is no evidence. A pattern with context is, and needs a review.
            None if origin == Origin::Pattern => Some(Candidate {
                origin,
                page_index: found.page_index,
                words,
                area: Rect::default(),
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
