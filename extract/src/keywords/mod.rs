//! Finds the keywords of a document: the terms of a taxonomy that occur in it, and statistical keywords.
//!
//! Terms and synonyms are compared word by word, without case and accents. The statistical keywords come from YAKE
//! (Campos et al., "YAKE! Keyword extraction from single documents using multiple local features", Information Sciences
//! 509, 2020). YAKE needs only the language, for its stop words.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use yake_rust::{Config, StopWords, get_n_best};

use crate::document::TextDocument;
use crate::normalize::fold;
use crate::taxonomy::Taxonomy;

mod keyword;
mod language;
mod terms;
#[cfg(test)]
mod tests;

pub use keyword::{Keyword, Keywords};

use keyword::round_to_thousandths;
use language::detect_language;
use terms::TermIndex;

/// Limits of the keyword extraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most statistical keywords in the result. Default 30.
    pub statistical: usize,
    /// Characters for the statistics. Terms of the taxonomy are found in the whole text. Default 300,000.
    pub chars: usize,
    /// Most words of a statistical keyword. Default 3.
    pub words: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { statistical: 30, chars: 300_000, words: 3 }
    }
}

/// Statistical keywords with this normalized edit similarity count as one.
const MIN_SIMILARITY: f64 = 0.85;
/// Confidence of statistical keywords, from the lowest to the highest weight.
const STATISTICAL_CONFIDENCE: (f64, f64) = (0.3, 0.6);

/// Extracts keywords within the default [`Limits`].
pub fn extract_keywords(document: &TextDocument, taxonomy: &Taxonomy) -> Keywords {
    extract_keywords_within(document, taxonomy, &Limits::default())
}

/// Extracts keywords within `limits`.
pub(crate) fn extract_keywords_within(
    document: &TextDocument,
    taxonomy: &Taxonomy,
    limits: &Limits,
) -> Keywords {
    let texts: Vec<String> = document.pages.iter().map(|page| reflow(&page.text, &HashSet::new())).collect();
    let running = repeated_lines(document);
    let body: Vec<String> = document.pages.iter().map(|page| reflow(&page.text, &running)).collect();
    let ranked = rank_statistically(&body, taxonomy, limits);
    let weights: HashMap<String, f64> = ranked.iter().map(|(term, weight)| (fold(term), *weight)).collect();

    let mut keywords = TermIndex::new(taxonomy).find(&texts, &weights);
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
        weight: round_to_thousandths(*weight),
        count: terms::count_occurrences(&folded, &fold(term)),
        entry: None,
        confidence: round_to_thousandths(
            STATISTICAL_CONFIDENCE.0 + (STATISTICAL_CONFIDENCE.1 - STATISTICAL_CONFIDENCE.0) * weight,
        ),
    }));
    keywords.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.term.cmp(&b.term)));
    Keywords { keywords }
}

/// Returns the statistical keywords, best first, with weights from 1 downward.
fn rank_statistically(texts: &[String], taxonomy: &Taxonomy, limits: &Limits) -> Vec<(String, f64)> {
    let mut text = String::new();
    let mut left = limits.chars;
    for page in texts {
        text.extend(page.chars().take(left));
        text.push('\n');
        left = left.saturating_sub(page.chars().count());
    }
    let configured = taxonomy.options.languages.iter().find(|code| StopWords::predefined(code).is_some());
    let language = configured.map_or_else(|| detect_language(&text), String::as_str);
    let stop_words = StopWords::predefined(language).unwrap_or_default();
    let config = Config { ngrams: limits.words, remove_duplicates: false, ..Config::default() };
    // Fetch more keywords than needed, because similar ones and terms of the taxonomy are removed.
    let found = get_n_best(limits.statistical * 6, &text, &stop_words, &config);

    // Lower YAKE scores are better, and they span orders of magnitude.
    let readable = found.into_iter().filter(|item| item.score.is_finite() && is_term(&item.raw));
    let mut kept: Vec<(String, String, f64)> = Vec::new();
    for item in readable {
        let folded = fold(&item.raw);
        if !kept.iter().any(|(_, other, _)| strsim::normalized_levenshtein(other, &folded) >= MIN_SIMILARITY)
        {
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

/// Returns the lines that many pages repeat, such as running headers.
fn repeated_lines(document: &TextDocument) -> HashSet<String> {
    const MIN_PAGES: usize = 3;
    const SHARE: f64 = 0.3;
    let mut pages: HashMap<String, usize> = HashMap::new();
    for page in &document.pages {
        let lines: HashSet<String> =
            page.text.lines().map(line_key).filter(|line| !line.is_empty()).collect();
        lines.into_iter().for_each(|line| *pages.entry(line).or_default() += 1);
    }
    let many = MIN_PAGES.max((document.pages.len() as f64 * SHARE).ceil() as usize);
    pages.into_iter().filter(|(_, count)| *count >= many).map(|(line, _)| line).collect()
}

/// Returns a line without its spacing, and with every digit as 0.
fn line_key(line: &str) -> String {
    let plain = |word: &str| word.replace(|c: char| c.is_ascii_digit(), "0");
    line.split_whitespace().map(plain).collect::<Vec<_>>().join(" ")
}

/// Whether a text consists of different words, rather than numbers or addresses.
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

/// Joins the lines of a page to running text: rejoins hyphenated words and ends sentences at gaps. Skips the lines in
/// `without`.
fn reflow(text: &str, without: &HashSet<String>) -> String {
    let mut joined = String::with_capacity(text.len());
    for line in text.lines().filter(|line| without.is_empty() || !without.contains(&line_key(line))) {
        let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).peekable();
        while let Some(column) = columns.next() {
            joined.push_str(column);
            // An empty line between columns prevents keywords that span them.
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
