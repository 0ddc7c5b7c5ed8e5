//! What might be the value of a data point, and how likely it is.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::sheet::{Frame, Sheet};
use super::value::Value;
use crate::normalize::{Currency, fold};
use crate::taxonomy::Kind;

/// How a candidate was found, the most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Origin {
    /// By a pattern with context, or one that allows few texts.
    Pattern,
    /// By a label beside or above.
    Label,
    /// By its shape alone.
    Shape,
    /// By what other values say.
    Inference,
}

/// A possible value where it is printed.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) origin: Origin,
    /// Index of the page.
    pub(super) sheet: usize,
    /// Indices of the page's words.
    pub(super) words: Vec<usize>,
    /// Around the words, in points.
    pub(super) frame: Frame,
    pub(super) value: String,
    pub(super) normalized: Option<String>,
    pub(super) currency: Option<Currency>,
    pub(super) number: Option<Decimal>,
    pub(super) date: Option<NaiveDate>,
    /// Estimate of the probability that it is right, 0 to 1.
    pub(super) score: f32,
}

impl Candidate {
    /// A value that stands in `text`, printed by `words`.
    pub(super) fn new(
        origin: Origin,
        sheet: (usize, &Sheet<'_>),
        words: Vec<usize>,
        text: &str,
        value: &Value,
        score: f32,
    ) -> Self {
        let (index, sheet) = sheet;
        let frame = sheet.bbox(&words).map_or_else(Frame::default, |b| Frame {
            left: b.x * sheet.page.width,
            top: b.y * sheet.page.height,
            right: (b.x + b.width) * sheet.page.width,
            bottom: (b.y + b.height) * sheet.page.height,
        });
        Self {
            origin,
            sheet: index,
            words,
            frame,
            value: text[value.span.clone()].trim().to_owned(),
            normalized: Some(value.normalized.clone()),
            currency: value.currency,
            number: value.number,
            date: value.date,
            score,
        }
    }

    /// Candidates with the same key are the same value.
    pub(super) fn key(&self, kind: Kind) -> String {
        match (kind, &self.normalized, self.number) {
            (Kind::Amount | Kind::Number, _, Some(number)) => number.normalize().to_string(),
            (Kind::Date | Kind::Boolean | Kind::Enum, Some(normalized), _) => normalized.clone(),
            _ => fold(&self.value).chars().filter(|c| c.is_alphanumeric()).collect(),
        }
    }

    /// Its words, each with the page.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        self.words.iter().map(|word| (self.sheet, *word))
    }

    /// Whether both share a word.
    pub(super) fn same_place(&self, other: &Self) -> bool {
        self.sheet == other.sheet && self.words.iter().any(|word| other.words.contains(word))
    }
}

/// Candidates that say the same, and how likely they are together.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) key: String,
    /// The best first.
    pub(super) candidates: Vec<Candidate>,
    pub(super) score: f32,
}

impl Group {
    pub(super) fn best(&self) -> &Candidate {
        // A group is made of at least one candidate.
        &self.candidates[0]
    }
}

/// What a second finding of the same value is worth.
const AGREEMENT: f32 = 0.35;

/// Joins candidates of the same value, the likeliest group first; what is printed earlier breaks ties.
pub(super) fn groups(candidates: Vec<Candidate>, kind: Kind) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for candidate in candidates {
        let key = candidate.key(kind);
        let at = *known.entry(key.clone()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.candidates.push(candidate),
            None => groups.push(Group { key, score: candidate.score, candidates: vec![candidate] }),
        }
    }
    for group in &mut groups {
        // A stable sort: the earlier of two equals stays first.
        group.candidates.sort_by(|a, b| a.origin.cmp(&b.origin).then(b.score.total_cmp(&a.score)));
        group.score = together(&group.candidates);
    }
    groups.sort_by(|a, b| b.score.total_cmp(&a.score));
    groups
}

/// The score of candidates that agree: the best one's doubts shrink by what each kind of other evidence says.
fn together(candidates: &[Candidate]) -> f32 {
    let best = candidates.iter().map(|candidate| candidate.score).fold(0.0, f32::max);
    let mut doubt = 1.0 - best;
    let lead = candidates.iter().max_by(|a, b| a.score.total_cmp(&b.score));
    let mut seen: HashSet<_> = lead.map(|lead| (lead.origin, lead.sheet, &lead.words)).into_iter().collect();
    for candidate in candidates {
        if seen.insert((candidate.origin, candidate.sheet, &candidate.words)) {
            doubt *= 1.0 - AGREEMENT * candidate.score;
        }
    }
    1.0 - doubt
}
