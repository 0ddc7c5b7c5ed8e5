//! Finds the labels of a taxonomy on the pages.

use std::collections::{HashMap, HashSet};

use super::page_grid::PageGrid;
use super::token::{Token, tokenize};
use crate::normalize::Span;
use crate::taxonomy::Taxonomy;

/// Words of at least this many bytes may differ from a label's word by one letter.
const MIN_FUZZY_BYTES: usize = 8;
/// The last word of a label, with at least this many bytes, may be a prefix of the printed word: "zu zahlen(der)".
const MIN_PREFIX_BYTES: usize = 5;
/// Bytes before a label that are searched for an open parenthesis.
const PARENTHESIS_LOOKBACK_BYTES: usize = 200;
/// Most occurrences of the labels of one data point, without and with `multiple`.
const MAX_OCCURRENCES: usize = 300;
const MAX_OCCURRENCES_IF_MULTIPLE: usize = 20_000;
const FUZZY_QUALITY: f32 = 0.92;
const PREFIX_QUALITY: f32 = 0.8;

/// A printed label.
#[derive(Debug, Clone)]
pub(super) struct LabelOccurrence {
    /// Index of the data point.
    pub(super) point: usize,
    pub(super) page_index: usize,
    pub(super) row: usize,
    pub(super) cell: usize,
    /// Range in the cell's text.
    pub(super) span: Span,
    /// Quality of match and position, 0 to 1.
    pub(super) quality: f32,
    /// Evidence that the label gives, 0 to 1; short and common words give less.
    pub(super) weight: f32,
    /// Whether only separators precede it in its cell.
    pub(super) leads: bool,
    /// Number of words.
    pub(super) words: usize,
    /// Whether the preceding word includes or excludes the label's amount: `incl. VAT`.
    pub(super) inclusion: Option<Inclusion>,
}

/// Whether an amount includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inclusion {
    With,
    Without,
}

const WITH_WORDS: [&str; 9] =
    ["incl", "inkl", "inclusive", "inklusive", "inclusief", "including", "inclu", "compris", "con"];
const WITHOUT_WORDS: [&str; 11] = [
    "excl",
    "exkl",
    "exclusive",
    "exklusive",
    "exclusief",
    "excluding",
    "ohne",
    "hors",
    "sans",
    "before",
    "without",
];

/// The labels of one taxonomy, indexed by their tokens.
pub(super) struct LabelIndex {
    entries: Vec<LabelEntry>,
    /// Indices of entries by their first token.
    by_first_token: HashMap<String, Vec<usize>>,
    /// First tokens by their first character.
    first_tokens: HashMap<char, Vec<String>>,
    /// Most occurrences for each data point.
    max_occurrences: Vec<usize>,
}

struct LabelEntry {
    point: usize,
    tokens: Vec<String>,
    weight: f32,
}

impl LabelIndex {
    pub(super) fn new(taxonomy: &Taxonomy) -> Self {
        let mut entries = Vec::new();
        for (point, definition) in taxonomy.data_points.iter().enumerate() {
            let has_no_hints = definition.labels.is_empty() && definition.patterns.is_empty();
            // Without labels and patterns, the name is the only clue.
            let own_name = has_no_hints.then(|| definition.name.replace(['.', '_'], " "));
            let mut seen = HashSet::new();
            for label in definition.labels.iter().chain(&own_name) {
                let tokens: Vec<String> = tokenize(label).into_iter().map(|token| token.text).collect();
                let chars: usize =
                    tokens.iter().map(|token| if token == "#" { 2 } else { token.chars().count() }).sum();
                if chars >= 2 && seen.insert(tokens.clone()) {
                    entries.push(LabelEntry { point, weight: label_weight(&tokens, chars), tokens });
                }
            }
        }
        let mut by_first_token: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            by_first_token.entry(entry.tokens[0].clone()).or_default().push(index);
        }
        let mut first_tokens: HashMap<char, Vec<String>> = HashMap::new();
        for token in by_first_token.keys() {
            first_tokens.entry(token.chars().next().unwrap_or_default()).or_default().push(token.clone());
        }
        let max_occurrences = |multiple| if multiple { MAX_OCCURRENCES_IF_MULTIPLE } else { MAX_OCCURRENCES };
        let max_occurrences =
            taxonomy.data_points.iter().map(|point| max_occurrences(point.multiple)).collect();
        Self { entries, by_first_token, first_tokens, max_occurrences }
    }

    /// Finds every label on every page, except labels within longer ones.
    pub(super) fn find_labels(&self, grids: &[PageGrid<'_>]) -> Vec<LabelOccurrence> {
        let mut spelling_cache = HashMap::new();
        let mut occurrences = Vec::new();
        let mut counts = vec![0; self.max_occurrences.len()];
        for (page_index, grid) in grids.iter().enumerate() {
            for (row, line) in grid.rows.iter().enumerate() {
                for (cell, content) in line.cells.iter().enumerate() {
                    for found in self.find_in_cell(&content.text, &mut spelling_cache) {
                        let count = &mut counts[found.point];
                        *count += 1;
                        if *count <= self.max_occurrences[found.point] {
                            occurrences.push(LabelOccurrence { page_index, row, cell, ..found });
                        }
                    }
                }
            }
        }
        occurrences
    }

    fn find_in_cell(
        &self,
        text: &str,
        spelling_cache: &mut HashMap<String, Vec<String>>,
    ) -> Vec<LabelOccurrence> {
        let printed = tokenize(text);
        let mut found: Vec<LabelOccurrence> = Vec::new();
        for start in 0..printed.len() {
            let firsts = spelling_cache
                .entry(printed[start].text.clone())
                .or_insert_with(|| self.similar_first_tokens(&printed[start].text));
            for entry in firsts.iter().filter_map(|first| self.by_first_token.get(first)).flatten() {
                let entry = &self.entries[*entry];
                let continues = |last: &Token| continues_as_identifier(&text[last.span.end..]);
                if printed.get(start + entry.tokens.len() - 1).is_some_and(continues) {
                    continue;
                }
                // A label within a compound is a different label: "Leistungsdatum" is not "Datum".
                if let (Some(quality), false) =
                    (match_quality(&entry.tokens, &printed[start..]), printed[start].is_inner)
                {
                    let last = &printed[start + entry.tokens.len() - 1];
                    let span = printed[start].span.start..last.span.end;
                    let (place, leads) = position_quality(text, &printed, start);
                    found.push(LabelOccurrence {
                        point: entry.point,
                        page_index: 0,
                        row: 0,
                        cell: 0,
                        span,
                        quality: quality * place,
                        weight: entry.weight,
                        leads,
                        words: entry.tokens.len(),
                        inclusion: read_inclusion(&printed[..start]),
                    });
                }
            }
        }
        // Sorted by start, then longest first. A label is within an earlier one if it does not end after it.
        found.sort_by_key(|found| (found.span.start, std::cmp::Reverse(found.span.end)));
        let (mut start, mut reach) = (usize::MAX, 0);
        found.retain(|occurrence| {
            let own = &occurrence.span;
            let within = own.end <= reach && !(own.start == start && own.end == reach);
            if own.end > reach {
                (start, reach) = (own.start, own.end);
            }
            !within
        });
        found
    }

    /// Returns the first tokens of labels that are similar to a printed token.
    fn similar_first_tokens(&self, printed: &str) -> Vec<String> {
        if self.by_first_token.contains_key(printed) {
            return vec![printed.to_owned()];
        }
        if printed.len() < MIN_PREFIX_BYTES {
            return Vec::new();
        }
        let tokens = printed.chars().next().and_then(|initial| self.first_tokens.get(&initial));
        let similar = tokens.into_iter().flatten().filter(|label| similarity(label, printed, true).is_some());
        similar.cloned().collect()
    }
}

/// Returns the weight of a label. A single common word weighs less than a long one or several.
fn label_weight(tokens: &[String], chars: usize) -> f32 {
    match (tokens.len(), chars) {
        (2.., 6..) | (_, 12..) => 1.0,
        (_, 8..) => 0.97,
        (_, 4..) => 0.9,
        _ => 0.82,
    }
}

/// Returns how well the printed tokens begin with the label.
fn match_quality(label: &[String], printed: &[Token]) -> Option<f32> {
    if printed.len() < label.len() {
        return None;
    }
    let several = label.len() > 1;
    let mut quality = 1.0_f32;
    for (index, (wanted, token)) in label.iter().zip(printed).enumerate() {
        let last = index + 1 == label.len();
        quality = quality.min(similarity(wanted, &token.text, last && several)?);
    }
    Some(quality)
}

fn similarity(label: &str, printed: &str, prefix: bool) -> Option<f32> {
    if label == printed {
        return Some(1.0);
    }
    let long = label.len() >= MIN_FUZZY_BYTES && label.len().abs_diff(printed.len()) <= 1;
    if long && label.as_bytes()[0] == printed.as_bytes()[0] && strsim::levenshtein(label, printed) == 1 {
        return Some(FUZZY_QUALITY);
    }
    (prefix && label.len() >= MIN_PREFIX_BYTES && printed.starts_with(label)).then_some(PREFIX_QUALITY)
}

/// Returns the quality of the position in the cell, and whether the label leads: 1 at the start, less after other
/// words, least in parentheses.
fn position_quality(text: &str, printed: &[Token], start: usize) -> (f32, bool) {
    let before = text[..printed[start].span.start].trim_end();
    let near = (before.len().saturating_sub(PARENTHESIS_LOOKBACK_BYTES)..before.len())
        .find(|at| before.is_char_boundary(*at));
    let near = &before[near.unwrap_or(before.len())..];
    let leads = !before.contains(char::is_alphanumeric);
    if inside_parentheses(near) {
        return (0.4, false);
    }
    let place = if leads {
        1.0
    } else if before.ends_with([':', ';', ',', '-', '–', '—', '|', '/', '•', '·', '.', ')']) {
        0.92
    } else {
        0.6
    };
    (place, leads)
}

/// Whether the preceding words include or exclude the label's amount.
fn read_inclusion(before: &[Token]) -> Option<Inclusion> {
    let word = before.iter().rev().find(|token| token.text.contains(char::is_alphabetic))?;
    if WITH_WORDS.contains(&word.text.as_str()) {
        Some(Inclusion::With)
    } else {
        WITHOUT_WORDS.contains(&word.text.as_str()).then_some(Inclusion::Without)
    }
}

/// Whether a word continues as an identifier, address or host name does: `BIC_`, `invoice@`, `facture.fr`.
fn continues_as_identifier(after: &str) -> bool {
    let mut ahead = after.chars();
    match ahead.next() {
        Some('_' | '@') => true,
        Some('.') => ahead.next().is_some_and(char::is_lowercase),
        _ => false,
    }
}

fn inside_parentheses(before: &str) -> bool {
    before
        .rfind('(')
        .is_some_and(|open| !before[open..].contains(')') && before[..open].contains(char::is_alphanumeric))
}
