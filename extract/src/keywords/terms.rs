//! Finds the terms of a taxonomy in a text.

use std::collections::HashMap;

use super::keyword::{Keyword, round_to_thousandths};
use crate::normalize::fold;
use crate::taxonomy::Taxonomy;

/// Confidence of one occurrence under the term's own name, and under a synonym.
const TERM_CONFIDENCE: f64 = 0.8;
const SYNONYM_CONFIDENCE: f64 = 0.75;
/// Share of the remaining uncertainty that each further occurrence removes.
const FURTHER_OCCURRENCE_SHARE: f64 = 0.25;
/// A name of three letters or fewer may be another word, which lowers the confidence by this factor.
const SHORT_NAME_CHARS: usize = 3;
const SHORT_NAME_FACTOR: f64 = 0.7;
/// Least weight of a term that is not a statistical keyword. Its number of occurrences raises the weight.
const MIN_WEIGHT: f64 = 0.2;

/// The names of all terms, by their first word.
pub(super) struct TermIndex<'t> {
    taxonomy: &'t Taxonomy,
    by_first: HashMap<String, Vec<TermName>>,
}

struct TermName {
    entry: usize,
    words: Vec<String>,
    is_synonym: bool,
}

struct TermHits {
    first: String,
    count: u32,
    is_synonym: bool,
    is_short: bool,
    weight: f64,
}

impl<'t> TermIndex<'t> {
    pub(super) fn new(taxonomy: &'t Taxonomy) -> Self {
        let mut by_first: HashMap<String, Vec<TermName>> = HashMap::new();
        for (entry, keyword) in taxonomy.keywords.iter().enumerate() {
            let names = std::iter::once((&keyword.term, false))
                .chain(keyword.synonyms.iter().map(|name| (name, true)));
            for (name, is_synonym) in names {
                let words: Vec<String> = split_words(name).into_iter().map(|(word, _)| word).collect();
                if let Some(first) = words.first() {
                    by_first.entry(first.clone()).or_default().push(TermName { entry, words, is_synonym });
                }
            }
        }
        // Names with the same first word are tried longest first.
        by_first.values_mut().for_each(|names| names.sort_by_key(|name| std::cmp::Reverse(name.words.len())));
        Self { taxonomy, by_first }
    }

    /// Returns each term that occurs. `weights` are those of statistical keywords by their folded text.
    pub(super) fn find(&self, texts: &[String], weights: &HashMap<String, f64>) -> Vec<Keyword> {
        let mut hits: HashMap<usize, TermHits> = HashMap::new();
        for text in texts {
            let printed = split_words(text);
            let mut at = 0;
            while at < printed.len() {
                let found = self
                    .by_first
                    .get(&printed[at].0)
                    .into_iter()
                    .flatten()
                    .find(|name| starts_with_name(&printed[at..], &name.words));
                let Some(name) = found else {
                    at += 1;
                    continue;
                };
                let last = at + name.words.len() - 1;
                let term = text[printed[at].1.start..printed[last].1.end]
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ");
                let weight = weights.get(&fold(&term)).copied().unwrap_or(0.0);
                let is_short =
                    name.words.iter().map(|word| word.chars().count()).sum::<usize>() <= SHORT_NAME_CHARS;
                let hit = hits.entry(name.entry).or_insert(TermHits {
                    first: term,
                    count: 0,
                    is_synonym: true,
                    is_short: true,
                    weight: 0.0,
                });
                hit.count += 1;
                hit.is_synonym &= name.is_synonym;
                hit.is_short &= is_short;
                hit.weight = hit.weight.max(weight);
                at = last + 1;
            }
        }
        let max_count = hits.values().map(|hit| hit.count).max().unwrap_or(1);
        let keyword = |(entry, hit): (usize, TermHits)| {
            let frequency_weight =
                MIN_WEIGHT + (1.0 - MIN_WEIGHT) * f64::from(hit.count) / f64::from(max_count);
            let base_confidence = if hit.is_synonym { SYNONYM_CONFIDENCE } else { TERM_CONFIDENCE };
            let uncertainty = (1.0 - base_confidence)
                * (1.0 - FURTHER_OCCURRENCE_SHARE).powi(hit.count.min(100) as i32 - 1);
            let share = if hit.is_short { SHORT_NAME_FACTOR } else { 1.0 };
            Keyword {
                term: hit.first,
                weight: round_to_thousandths(frequency_weight.max(hit.weight)),
                count: hit.count,
                entry: Some(self.taxonomy.keywords[entry].term.clone()),
                confidence: round_to_thousandths((1.0 - uncertainty) * share),
            }
        };
        hits.into_iter().map(keyword).collect()
    }
}

/// Counts the whole-word occurrences of a folded term in folded texts; at least 1.
pub(super) fn count_occurrences(folded: &[String], term: &str) -> u32 {
    let mut count = 0;
    for text in folded {
        for (at, found) in text.match_indices(term) {
            let is_boundary = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
            let alone = is_boundary(text[..at].chars().next_back())
                && is_boundary(text[at + found.len()..].chars().next());
            count += u32::from(alone);
        }
    }
    count.max(1)
}

fn starts_with_name(printed: &[(String, std::ops::Range<usize>)], name: &[String]) -> bool {
    printed.len() >= name.len() && printed.iter().zip(name).all(|((word, _), wanted)| word == wanted)
}

/// Returns the folded words of a text with their ranges.
fn split_words(text: &str) -> Vec<(String, std::ops::Range<usize>)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        let part = c.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&c);
        match (start, part) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                words.push((fold(&text[from..at]), from..at));
                start = None;
            }
            _ => {}
        }
    }
    words
}
