//! Finds the labels of a taxonomy on the page.

use std::collections::{HashMap, HashSet};

use super::sheet::Sheet;
use super::token::{Token, tokens};
use crate::normalize::Span;
use crate::taxonomy::Taxonomy;

/// Words from this length on may differ by one letter from a label's.
const LEAST_FUZZY: usize = 8;
/// The last word of a label from this length on may be the beginning of the printed one: "zu zahlen(der)".
const LEAST_PREFIX: usize = 5;
/// How far before a label an open parenthesis is looked for, in bytes.
const NEAR: usize = 200;
/// Places of the labels of one data point that are looked at, where one value is wanted and where each is.
const PLACES_FOR_ONE: usize = 300;
const PLACES_FOR_MANY: usize = 20_000;
const FUZZY: f32 = 0.92;
const PREFIX: f32 = 0.8;

/// A label where it is printed.
#[derive(Debug, Clone)]
pub(super) struct Occurrence {
    /// Index of the data point that it belongs to.
    pub(super) point: usize,
    pub(super) sheet: usize,
    pub(super) row: usize,
    pub(super) cell: usize,
    /// In the cell's text.
    pub(super) span: Span,
    /// How well it matches and stands: 0 to 1.
    pub(super) quality: f32,
    /// How much the label says: short and common words say less. 0 to 1.
    pub(super) weight: f32,
    /// Whether nothing but separators stands before it in its cell.
    pub(super) leads: bool,
    /// Words of the label.
    pub(super) words: usize,
    /// Whether the word before says that the sum is with or without what the label names: `incl. VAT`.
    pub(super) given: Option<Given>,
}

/// What a sum is said to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    With,
    Without,
}

const WITH: [&str; 9] =
    ["incl", "inkl", "inclusive", "inklusive", "inclusief", "including", "inclu", "compris", "con"];
const WITHOUT: [&str; 11] = [
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

/// The labels of one taxonomy, ready to be looked for.
pub(super) struct Labels {
    entries: Vec<Entry>,
    /// Entries by their first token.
    first: HashMap<String, Vec<usize>>,
    /// First tokens by their first character.
    initials: HashMap<char, Vec<String>>,
    /// How many places are looked at for each data point.
    most: Vec<usize>,
}

struct Entry {
    point: usize,
    tokens: Vec<String>,
    weight: f32,
}

impl Labels {
    pub(super) fn new(taxonomy: &Taxonomy) -> Self {
        let mut entries = Vec::new();
        for (point, definition) in taxonomy.data_points.iter().enumerate() {
            let unnamed = definition.labels.is_empty() && definition.patterns.is_empty();
            // Nothing else tells where to look.
            let own_name = unnamed.then(|| definition.name.replace(['.', '_'], " "));
            let mut seen = HashSet::new();
            for label in definition.labels.iter().chain(&own_name) {
                let tokens: Vec<String> = tokens(label).into_iter().map(|token| token.text).collect();
                let chars: usize =
                    tokens.iter().map(|token| if token == "#" { 2 } else { token.chars().count() }).sum();
                if chars >= 2 && seen.insert(tokens.clone()) {
                    entries.push(Entry { point, weight: weight(&tokens, chars), tokens });
                }
            }
        }
        let mut first: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            first.entry(entry.tokens[0].clone()).or_default().push(index);
        }
        let mut initials: HashMap<char, Vec<String>> = HashMap::new();
        for token in first.keys() {
            initials.entry(token.chars().next().unwrap_or_default()).or_default().push(token.clone());
        }
        let most = |multiple| if multiple { PLACES_FOR_MANY } else { PLACES_FOR_ONE };
        let most = taxonomy.data_points.iter().map(|point| most(point.multiple)).collect();
        Self { entries, first, initials, most }
    }

    /// Every label on every page, but none within a longer one.
    pub(super) fn find(&self, sheets: &[Sheet<'_>]) -> Vec<Occurrence> {
        let mut alike = HashMap::new();
        let mut occurrences = Vec::new();
        let mut places = vec![0; self.most.len()];
        for (sheet, page) in sheets.iter().enumerate() {
            for (row, line) in page.rows.iter().enumerate() {
                for (cell, content) in line.cells.iter().enumerate() {
                    for found in self.in_cell(&content.text, &mut alike) {
                        let places = &mut places[found.point];
                        *places += 1;
                        if *places <= self.most[found.point] {
                            occurrences.push(Occurrence { sheet, row, cell, ..found });
                        }
                    }
                }
            }
        }
        occurrences
    }

    fn in_cell(&self, text: &str, alike: &mut HashMap<String, Vec<String>>) -> Vec<Occurrence> {
        let printed = tokens(text);
        let mut found: Vec<Occurrence> = Vec::new();
        for start in 0..printed.len() {
            let firsts = alike
                .entry(printed[start].text.clone())
                .or_insert_with(|| self.spellings(&printed[start].text));
            for entry in firsts.iter().filter_map(|first| self.first.get(first)).flatten() {
                let entry = &self.entries[*entry];
                let glued = |last: &Token| is_glued(&text[last.span.end..]);
                if printed.get(start + entry.tokens.len() - 1).is_some_and(glued) {
                    continue;
                }
                // A label within a compound is another label: "Leistungsdatum" is no "Datum".
                if let (Some(quality), false) =
                    (matches(&entry.tokens, &printed[start..]), printed[start].inner)
                {
                    let last = &printed[start + entry.tokens.len() - 1];
                    let span = printed[start].span.start..last.span.end;
                    let (place, leads) = standing(text, &printed, start);
                    found.push(Occurrence {
                        point: entry.point,
                        sheet: 0,
                        row: 0,
                        cell: 0,
                        span,
                        quality: quality * place,
                        weight: entry.weight,
                        leads,
                        words: entry.tokens.len(),
                        given: given(&printed[..start]),
                    });
                }
            }
        }
        // In the order of their beginnings, the longer first: what an earlier one reaches beyond lies within it.
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

    /// The first tokens of labels that a printed token may stand for.
    fn spellings(&self, printed: &str) -> Vec<String> {
        if self.first.contains_key(printed) {
            return vec![printed.to_owned()];
        }
        if printed.len() < LEAST_PREFIX {
            return Vec::new();
        }
        let alike = printed.chars().next().and_then(|initial| self.initials.get(&initial));
        let alike = alike.into_iter().flatten().filter(|label| similarity(label, printed, true).is_some());
        alike.cloned().collect()
    }
}

/// Common words alone say less than long ones or several.
fn weight(tokens: &[String], chars: usize) -> f32 {
    match (tokens.len(), chars) {
        (2.., 6..) | (_, 12..) => 1.0,
        (_, 8..) => 0.97,
        (_, 4..) => 0.9,
        _ => 0.82,
    }
}

/// How well the printed tokens begin with the label.
fn matches(label: &[String], printed: &[Token]) -> Option<f32> {
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
    let long = label.len() >= LEAST_FUZZY && label.len().abs_diff(printed.len()) <= 1;
    if long && label.as_bytes()[0] == printed.as_bytes()[0] && strsim::levenshtein(label, printed) == 1 {
        return Some(FUZZY);
    }
    (prefix && label.len() >= LEAST_PREFIX && printed.starts_with(label)).then_some(PREFIX)
}

/// What the place within the cell says: 1 at its start, less after other words, least in parentheses.
fn standing(text: &str, printed: &[Token], start: usize) -> (f32, bool) {
    let before = text[..printed[start].span.start].trim_end();
    let near = (before.len().saturating_sub(NEAR)..before.len()).find(|at| before.is_char_boundary(*at));
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

/// Whether the words right before a label say that something is with or without what it names.
fn given(before: &[Token]) -> Option<Given> {
    let word = before.iter().rev().find(|token| token.text.contains(char::is_alphabetic))?;
    if WITH.contains(&word.text.as_str()) {
        Some(Given::With)
    } else {
        WITHOUT.contains(&word.text.as_str()).then_some(Given::Without)
    }
}

/// Whether a word goes on as codes, addresses and names of servers do: `BIC_`, `invoice@`, `facture.fr`.
fn is_glued(after: &str) -> bool {
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
