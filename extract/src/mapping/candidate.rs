//! Candidates for the values of data points, with scores.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::page_grid::{PageGrid, Rect};
use super::value::Value;
use crate::normalize::{Currency, fold};
use crate::taxonomy::Kind;

/// How a candidate was found, most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Origin {
    /// By a pattern with context, or one with few possible matches.
    Pattern,
    /// By a label beside or above it.
    Label,
    /// By its shape alone.
    Shape,
    /// By other values.
    Inference,
}

/// A possible value at its position.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) origin: Origin,
    /// Index of the page.
    pub(super) page_index: usize,
    /// Indices of the page's words.
    pub(super) words: Vec<usize>,
    /// Box around the words, in points.
    pub(super) area: Rect,
    pub(super) value: String,
    pub(super) normalized: Option<String>,
    pub(super) currency: Option<Currency>,
    pub(super) number: Option<Decimal>,
    pub(super) date: Option<NaiveDate>,
    /// Estimated probability that the value is right, 0 to 1.
    pub(super) score: f32,
}

impl Candidate {
    /// Creates a candidate for a value in `text`, which the `words` print.
    pub(super) fn new(
        origin: Origin,
        grid: (usize, &PageGrid<'_>),
        words: Vec<usize>,
        text: &str,
        value: &Value,
        score: f32,
    ) -> Self {
        let (index, grid) = grid;
        let area = grid.bbox(&words).map_or_else(Rect::default, |b| Rect {
            left: b.x * grid.page.width,
            top: b.y * grid.page.height,
            right: (b.x + b.width) * grid.page.width,
            bottom: (b.y + b.height) * grid.page.height,
        });
        Self {
            origin,
            page_index: index,
            words,
            area,
            value: text[value.span.clone()].trim().to_owned(),
            normalized: Some(value.normalized.clone()),
            currency: value.currency,
            number: value.number,
            date: value.date,
            score,
        }
    }

    /// Returns a key that is equal for candidates of the same value.
    pub(super) fn key(&self, kind: Kind) -> String {
        match (kind, &self.normalized, self.number) {
            (Kind::Amount | Kind::Number, _, Some(number)) => number.normalize().to_string(),
            (Kind::Date | Kind::Boolean | Kind::Enum, Some(normalized), _) => normalized.clone(),
            _ => fold(&self.value).chars().filter(|c| c.is_alphanumeric()).collect(),
        }
    }

    /// Returns the page index and word index of each word.
    pub(super) fn word_positions(&self) -> impl Iterator<Item = (usize, usize)> {
        self.words.iter().map(|word| (self.page_index, *word))
    }

    /// Whether both candidates share a word.
    pub(super) fn shares_word(&self, other: &Self) -> bool {
        self.page_index == other.page_index && self.words.iter().any(|word| other.words.contains(word))
    }
}

/// Candidates of the same value, with their combined score.
#[derive(Debug, Clone)]
pub(super) struct CandidateGroup {
    pub(super) key: String,
    /// Best first; never empty.
    pub(super) candidates: Vec<Candidate>,
    pub(super) score: f32,
}

impl CandidateGroup {
    pub(super) fn best(&self) -> &Candidate {
        &self.candidates[0]
    }
}

/// Share of the remaining uncertainty that a further candidate of the same value removes, at a score of 1.
const AGREEMENT_SHARE: f32 = 0.35;

/// Groups candidates by value, highest score first. On ties the earlier printed value is first.
pub(super) fn group_candidates(candidates: Vec<Candidate>, kind: Kind) -> Vec<CandidateGroup> {
    let mut groups: Vec<CandidateGroup> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for candidate in candidates {
        let key = candidate.key(kind);
        let at = *known.entry(key.clone()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.candidates.push(candidate),
            None => groups.push(CandidateGroup { key, score: candidate.score, candidates: vec![candidate] }),
        }
    }
    for group in &mut groups {
        // The sort is stable, so the earlier of two equal candidates stays first.
        group.candidates.sort_by(|a, b| a.origin.cmp(&b.origin).then(b.score.total_cmp(&a.score)));
        group.score = combine_scores(&group.candidates);
    }
    groups.sort_by(|a, b| b.score.total_cmp(&a.score));
    groups
}

/// Returns the combined score. Each different kind of evidence lowers the uncertainty of the best candidate.
fn combine_scores(candidates: &[Candidate]) -> f32 {
    let best = candidates.iter().map(|candidate| candidate.score).fold(0.0, f32::max);
    let mut uncertainty = 1.0 - best;
    let lead = candidates.iter().max_by(|a, b| a.score.total_cmp(&b.score));
    let mut seen: HashSet<_> =
        lead.map(|lead| (lead.origin, lead.page_index, &lead.words)).into_iter().collect();
    for candidate in candidates {
        if seen.insert((candidate.origin, candidate.page_index, &candidate.words)) {
            uncertainty *= 1.0 - AGREEMENT_SHARE * candidate.score;
        }
    }
    1.0 - uncertainty
}
