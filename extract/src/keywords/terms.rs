//! The terms of a taxonomy in a text.

use std::collections::HashMap;

use super::{Keyword, rounded};
use crate::normalize::fold;
use crate::taxonomy::Taxonomy;

/// Confidence of a term that occurs once under its own name, and of one under a synonym.
const ONCE: f64 = 0.8;
const ONCE_BY_SYNONYM: f64 = 0.75;
/// How much of the remaining doubt each further occurrence takes.
const FURTHER: f64 = 0.25;
/// A name of three letters or fewer may be some other word.
const SHORT: usize = 3;
const SHORT_SHARE: f64 = 0.7;
/// Weight of a term that statistics do not mention: by how often it occurs.
const LEAST_WEIGHT: f64 = 0.2;

/// Every name of every term, by its first word.
pub(super) struct Terms<'t> {
    taxonomy: &'t Taxonomy,
    by_first: HashMap<String, Vec<Name>>,
}

struct Name {
    entry: usize,
    words: Vec<String>,
    synonym: bool,
}

struct Hits {
    first: String,
    count: u32,
    synonym: bool,
    short: bool,
    weight: f64,
}

impl<'t> Terms<'t> {
    pub(super) fn new(taxonomy: &'t Taxonomy) -> Self {
        let mut by_first: HashMap<String, Vec<Name>> = HashMap::new();
        for (entry, keyword) in taxonomy.keywords.iter().enumerate() {
            let names = std::iter::once((&keyword.term, false))
                .chain(keyword.synonyms.iter().map(|name| (name, true)));
            for (name, synonym) in names {
                let words: Vec<String> = words(name).into_iter().map(|(word, _)| word).collect();
                if let Some(first) = words.first() {
                    by_first.entry(first.clone()).or_default().push(Name { entry, words, synonym });
                }
            }
        }
        // Of names that begin alike the longest is tried first.
        by_first.values_mut().for_each(|names| names.sort_by_key(|name| std::cmp::Reverse(name.words.len())));
        Self { taxonomy, by_first }
    }

    /// The terms that occur, each once; `weights` are those of statistical keywords by their folded text.
    pub(super) fn find(&self, texts: &[String], weights: &HashMap<String, f64>) -> Vec<Keyword> {
        let mut hits: HashMap<usize, Hits> = HashMap::new();
        for text in texts {
            let printed = words(text);
            let mut at = 0;
            while at < printed.len() {
                let found = self
                    .by_first
                    .get(&printed[at].0)
                    .into_iter()
                    .flatten()
                    .find(|name| starts(&printed[at..], &name.words));
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
                let short = name.words.iter().map(|word| word.chars().count()).sum::<usize>() <= SHORT;
                let hit = hits.entry(name.entry).or_insert(Hits {
                    first: term,
                    count: 0,
                    synonym: true,
                    short: true,
                    weight: 0.0,
                });
                hit.count += 1;
                hit.synonym &= name.synonym;
                hit.short &= short;
                hit.weight = hit.weight.max(weight);
                at = last + 1;
            }
        }
        let most = hits.values().map(|hit| hit.count).max().unwrap_or(1);
        let keyword = |(entry, hit): (usize, Hits)| {
            let often = LEAST_WEIGHT + (1.0 - LEAST_WEIGHT) * f64::from(hit.count) / f64::from(most);
            let once = if hit.synonym { ONCE_BY_SYNONYM } else { ONCE };
            let doubt = (1.0 - once) * (1.0 - FURTHER).powi(hit.count.min(100) as i32 - 1);
            let share = if hit.short { SHORT_SHARE } else { 1.0 };
            Keyword {
                term: hit.first,
                weight: rounded(often.max(hit.weight)),
                count: hit.count,
                entry: Some(self.taxonomy.keywords[entry].term.clone()),
                confidence: rounded((1.0 - doubt) * share),
            }
        };
        hits.into_iter().map(keyword).collect()
    }
}

/// How often a folded text stands among the words of folded texts.
pub(super) fn count(folded: &[String], term: &str) -> u32 {
    let mut count = 0;
    for text in folded {
        for (at, found) in text.match_indices(term) {
            let open = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
            let alone = open(text[..at].chars().next_back()) && open(text[at + found.len()..].chars().next());
            count += u32::from(alone);
        }
    }
    count.max(1)
}

fn starts(printed: &[(String, std::ops::Range<usize>)], name: &[String]) -> bool {
    printed.len() >= name.len() && printed.iter().zip(name).all(|((word, _), wanted)| word == wanted)
}

/// The folded words of a text with their places.
fn words(text: &str) -> Vec<(String, std::ops::Range<usize>)> {
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
