//! Finds what a document is about: statistical keywords, and the terms of a taxonomy that it mentions.
//!
//! Terms and synonyms of the taxonomy are looked for in the text word by word, folded (no case, no accents). Beside them
//! stand the keywords that YAKE finds (Campos et al., "YAKE! Keyword extraction from single documents using multiple
//! local features", Information Sciences 509, 2020), which needs a language for its stop words and nothing else.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use yake_rust::{Config, StopWords, get_n_best};

use crate::document::TextDocument;
use crate::normalize::fold;
use crate::taxonomy::Taxonomy;

mod language;
mod terms;
#[cfg(test)]
mod tests;

pub use language::detect;
use terms::Terms;

/// `indexing-json`: what the document is about, the weightiest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Keywords {
    /// The terms of the taxonomy that occur, and the best statistical keywords.
    pub keywords: Vec<Keyword>,
}

/// One keyword.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keyword {
    /// As printed where it first occurs.
    pub term: String,
    /// How much the document is about it, 0 to 1; 1 for the weightiest.
    pub weight: f64,
    /// How often it occurs, under any of its names.
    pub count: u32,
    /// The taxonomy's term that it stands for; null where the taxonomy has none.
    pub entry: Option<String>,
    /// Estimate of the probability that it belongs to the document's index, 0 to 1.
    pub confidence: f64,
}

/// How much of a document is read and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Keywords in the result that the taxonomy does not have.
    pub statistical: usize,
    /// Characters that statistics are made of; the taxonomy's terms are looked for in all of the text.
    pub chars: usize,
    /// Words of a statistical keyword.
    pub words: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { statistical: 30, chars: 300_000, words: 3 }
    }
}

/// Statistical keywords this much alike are one, by normalized edit distance.
const ALIKE: f64 = 0.85;
/// Confidence of what only statistics find, from the weightiest to the least.
const STATISTICAL: (f64, f64) = (0.3, 0.6);

/// Finds the keywords of a document within the default [`Limits`].
pub fn index(document: &TextDocument, taxonomy: &Taxonomy) -> Keywords {
    index_within(document, taxonomy, &Limits::default())
}

/// Finds the keywords of a document.
pub fn index_within(document: &TextDocument, taxonomy: &Taxonomy, limits: &Limits) -> Keywords {
    let texts: Vec<String> = document.pages.iter().map(|page| reflow(&page.text, &HashSet::new())).collect();
    let running = running_lines(document);
    let body: Vec<String> = document.pages.iter().map(|page| reflow(&page.text, &running)).collect();
    let ranked = statistical(&body, taxonomy, limits);
    let weights: HashMap<String, f64> = ranked.iter().map(|(term, weight)| (fold(term), *weight)).collect();

    let mut keywords = Terms::new(taxonomy).find(&texts, &weights);
    let known: Vec<String> = keywords
        .iter()
        .flat_map(|keyword| [Some(&keyword.term), keyword.entry.as_ref()])
        .flatten()
        .map(|term| fold(term))
        .collect();
    let others = ranked.iter().filter(|(term, _)| !known.contains(&fold(term))).take(limits.statistical);
    let folded: Vec<String> = texts.iter().map(|text| fold(text)).collect();
    keywords.extend(others.map(|(term, weight)| Keyword {
        term: term.clone(),
        weight: rounded(*weight),
        count: terms::count(&folded, &fold(term)),
        entry: None,
        confidence: rounded(STATISTICAL.0 + (STATISTICAL.1 - STATISTICAL.0) * weight),
    }));
    keywords.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.term.cmp(&b.term)));
    Keywords { keywords }
}

/// The keywords that stand out by their places and neighbours, the best first, with weights from 1 downwards.
fn statistical(texts: &[String], taxonomy: &Taxonomy, limits: &Limits) -> Vec<(String, f64)> {
    let mut text = String::new();
    let mut left = limits.chars;
    for page in texts {
        text.extend(page.chars().take(left));
        text.push('\n');
        left = left.saturating_sub(page.chars().count());
    }
    let given = taxonomy.options.languages.iter().find(|code| StopWords::predefined(code).is_some());
    let language = given.map_or_else(|| detect(&text), String::as_str);
    let stop_words = StopWords::predefined(language).unwrap_or_default();
    let config = Config { ngrams: limits.words, remove_duplicates: false, ..Config::default() };
    // A few more than wanted, since some turn out to be alike, and the taxonomy's own are taken apart.
    let found = get_n_best(limits.statistical * 6, &text, &stop_words, &config);

    // YAKE's scores are better the lower they are, over orders of magnitude.
    let readable = found.into_iter().filter(|item| item.score.is_finite() && is_term(&item.raw));
    let mut kept: Vec<(String, String, f64)> = Vec::new();
    for item in readable {
        let folded = fold(&item.raw);
        if !kept.iter().any(|(_, other, _)| strsim::normalized_levenshtein(other, &folded) >= ALIKE) {
            kept.push((item.raw, folded, item.score.max(1e-12)));
        }
    }
    let (Some(best), Some(worst)) =
        (kept.first().map(|first| first.2.ln()), kept.last().map(|last| last.2.ln()))
    else {
        return Vec::new();
    };
    let span = (worst - best).max(f64::EPSILON);
    kept.into_iter()
        .map(|(term, _, score)| (term, (1.0 - 0.9 * (score.ln() - best) / span).clamp(0.1, 1.0)))
        .collect()
}

/// The lines that are printed on many pages, and so say nothing of any.
fn running_lines(document: &TextDocument) -> HashSet<String> {
    const LEAST_PAGES: usize = 3;
    const SHARE: f64 = 0.3;
    let mut pages: HashMap<String, usize> = HashMap::new();
    for page in &document.pages {
        let lines: HashSet<String> =
            page.text.lines().map(line_key).filter(|line| !line.is_empty()).collect();
        lines.into_iter().for_each(|line| *pages.entry(line).or_default() += 1);
    }
    let many = LEAST_PAGES.max((document.pages.len() as f64 * SHARE).ceil() as usize);
    pages.into_iter().filter(|(_, count)| *count >= many).map(|(line, _)| line).collect()
}

/// A line without its spacing and with all page numbers alike.
fn line_key(line: &str) -> String {
    let plain = |word: &str| word.replace(|c: char| c.is_ascii_digit(), "0");
    line.split_whitespace().map(plain).collect::<Vec<_>>().join(" ")
}

/// Words, not numbers or addresses, and none of them twice.
fn is_term(text: &str) -> bool {
    let mut seen = HashSet::new();
    if !text.split_whitespace().all(|word| seen.insert(fold(word))) {
        return false;
    }
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    letters >= 3
        && !text.contains(['@', '/', '\\'])
        && text.chars().filter(char::is_ascii_digit).count() < letters
}

/// Running text out of a page's lines: words that were parted at a line's end are joined, gaps end sentences.
/// Lines of `without` are left out.
fn reflow(text: &str, without: &HashSet<String>) -> String {
    let mut joined = String::with_capacity(text.len());
    for line in text.lines().filter(|line| without.is_empty() || !without.contains(&line_key(line))) {
        let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).peekable();
        while let Some(column) = columns.next() {
            joined.push_str(column);
            // Columns are no neighbours: a line end of their own keeps keywords from reaching across.
            joined.push_str(if columns.peek().is_some() { "\n\n" } else { "" });
        }
        if line.trim().is_empty() {
            joined.push_str("\n\n");
            continue;
        }
        let parted = joined.ends_with('-') && joined[..joined.len() - 1].ends_with(char::is_lowercase);
        if parted {
            joined.pop();
        } else {
            joined.push('\n');
        }
    }
    joined
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
