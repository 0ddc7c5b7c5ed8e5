//! Combines words into tokens, segments and rows.
//!
//! A *segment* is a part of a line without gaps wider than word spaces. A *row* has all segments at the same height, so
//! the lines of adjacent columns belong to one row.

use std::collections::HashMap;

use super::bidi;
use super::token::Token;
use super::words::{Word, is_joined};

/// A gap wider than this, in ems, ends a segment. The `minColSpacing1` of poppler is 0.7 for columns of running text,
/// but word spaces of justified lines come close to that.
const SEGMENT_GAP: f32 = 0.9;
/// Words that overlap by more than this, in ems, belong to different lines.
const MAX_OVERLAP: f32 = 0.35;
/// Baselines on one line differ by less than this, in ems of the larger size, to allow for super- and subscripts.
const SAME_LINE: f32 = 0.4;
/// Height of the buckets that index open segments, in points.
const BUCKET: f32 = 8.0;

/// Tokens separated by word spaces.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    pub(super) tokens: Vec<Token>,
    pub(super) x0: f32,
    pub(super) x1: f32,
    pub(super) baseline: f32,
    pub(super) size: f32,
}

/// Segments side by side, from left to right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) segments: Vec<Segment>,
    pub(super) baseline: f32,
    pub(super) size: f32,
}

/// Builds the rows of a page, from top to bottom. `reach` is the extent of text above and below its baseline, in ems.
pub(super) fn build_rows(words: Vec<Word>, reach: (f32, f32)) -> Vec<Row> {
    let mut segments: Vec<Segment> =
        link_words(words).into_iter().map(|chain| build_segment(chain, reach)).collect();
    segments.sort_by(|a, b| a.baseline.total_cmp(&b.baseline).then(a.x0.total_cmp(&b.x0)));
    let mut rows: Vec<Row> = Vec::new();
    for segment in segments {
        // Rows are sorted by baseline, so only the last few can be close enough.
        let row = rows
            .iter_mut()
            .rev()
            .take_while(|row| is_same_line(row.baseline, row.size, &segment))
            .find(|row| {
                row.segments.iter().all(|other| segment.x0 >= other.x1 - 1.0 || segment.x1 <= other.x0 + 1.0)
            });
        match row {
            Some(row) => {
                row.size = row.size.max(segment.size);
                row.segments.push(segment);
            }
            None => {
                rows.push(Row { baseline: segment.baseline, size: segment.size, segments: vec![segment] });
            }
        }
    }
    for row in &mut rows {
        row.segments.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    }
    rows
}

fn is_same_line(baseline: f32, size: f32, segment: &Segment) -> bool {
    (segment.baseline - baseline).abs() < SAME_LINE * size.min(segment.size)
}

/// Links words that follow one another on a line. Each list is sorted from left to right.
fn link_words(mut words: Vec<Word>) -> Vec<Vec<Word>> {
    words.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    let mut chains: Vec<Vec<Word>> = Vec::new();
    // The chains that end in each bucket, newest last.
    let mut open: HashMap<i32, Vec<usize>> = HashMap::new();
    for word in words {
        let reach = SAME_LINE * 2.0 * word.size;
        let bucket = |y: f32| (y / BUCKET).floor() as i32;
        let buckets = bucket(word.baseline - reach)..=bucket(word.baseline + reach);
        let buckets = if buckets.clone().count() > 64 {
            bucket(word.baseline)..=bucket(word.baseline)
        } else {
            buckets
        };
        let mut best: Option<(f32, usize)> = None;
        for bucket in buckets {
            let Some(candidates) = open.get_mut(&bucket) else { continue };
            // Chains that end far to the left of this word are out of reach of all later words.
            candidates.retain(|chain| {
                chains[*chain]
                    .last()
                    .is_some_and(|last| word.x0 - last.x1 < SEGMENT_GAP * last.size.max(word.size) * 2.0)
            });
            for &chain in candidates.iter() {
                let Some(last) = chains[chain].last() else { continue };
                if let Some(distance) = link_distance(last, &word)
                    && best.is_none_or(|(other, _)| distance < other)
                {
                    best = Some((distance, chain));
                }
            }
        }
        let end = bucket(word.end_baseline);
        let chain = match best {
            Some((_, chain)) => {
                if let Some(last) = chains[chain].last()
                    && let Some(ids) = open.get_mut(&bucket(last.end_baseline))
                {
                    ids.retain(|id| *id != chain);
                }
                chains[chain].push(word);
                chain
            }
            None => {
                chains.push(vec![word]);
                chains.len() - 1
            }
        };
        open.entry(end).or_default().push(chain);
    }
    chains
}

/// Returns how far a word deviates from the line that ends in `last`, or `None` if it does not continue the line.
fn link_distance(last: &Word, word: &Word) -> Option<f32> {
    let (small, large) = (last.size.min(word.size), last.size.max(word.size));
    let rise = (word.baseline - last.end_baseline).abs();
    let gap = word.x0 - last.x1;
    let on_line = rise < SAME_LINE * large && rise < 0.75 * small;
    let beside = gap < SEGMENT_GAP * small.max(0.7 * large) && gap > -MAX_OVERLAP * small;
    (on_line && beside).then(|| rise * 4.0 + gap.abs())
}

fn build_segment(chain: Vec<Word>, (above, below): (f32, f32)) -> Segment {
    let (baseline, size) = chain
        .iter()
        .map(|word| (word.baseline, word.size))
        .reduce(|best, other| if other.1 > best.1 { other } else { best })
        .unwrap_or_default();
    let letter_spaced = letter_spaced(&chain);
    let mut tokens: Vec<Token> = Vec::new();
    let mut last: Option<Word> = None;
    for (i, word) in chain.into_iter().enumerate() {
        let joined = last.as_ref().is_some_and(|last| is_joined(last, &word) || letter_spaced[i - 1]);
        let (top, bottom) = (word.baseline - above * word.size, word.baseline + below * word.size);
        match tokens.last_mut().filter(|_| joined) {
            Some(token) => {
                token.text.push_str(&word.text);
                token.x1 = token.x1.max(word.x1);
                token.top = token.top.min(top);
                token.bottom = token.bottom.max(bottom);
            }
            None => tokens.push(Token {
                text: word.text.clone(),
                x0: word.x0,
                x1: word.x1,
                top,
                bottom,
                bold: word.bold,
            }),
        }
        last = Some(word);
    }
    let x0 = tokens.iter().map(|token| token.x0).fold(f32::INFINITY, f32::min);
    let x1 = tokens.iter().map(|token| token.x1).fold(f32::NEG_INFINITY, f32::max);
    Segment { tokens: bidi::to_logical_order(tokens), x0, x1, baseline, size }
}

/// Returns, for each word but the first, whether letter spacing rather than a space precedes it. Letter spacing
/// separates three or more single letters or digits at even distances, without drawn spaces.
fn letter_spaced(chain: &[Word]) -> Vec<bool> {
    const LEAST: usize = 2;
    const EVEN: f32 = 0.05;
    const WIDEST: f32 = 0.2;
    let gap = |i: usize| {
        let (left, right): (&Word, &Word) = (&chain[i], &chain[i + 1]);
        // Dot leaders stay as they are.
        let single =
            |word: &Word| word.text.chars().all(char::is_alphanumeric) && word.text.chars().nth(1).is_none();
        let gap = (right.x0 - left.x1) / left.size;
        (single(left) && single(right) && !left.space_after && gap < WIDEST).then_some(gap)
    };
    let gaps: Vec<Option<f32>> = (0..chain.len().saturating_sub(1)).map(gap).collect();
    let mut letter_spaced = vec![false; gaps.len()];
    let mut start = 0;
    while start < gaps.len() {
        let run = gaps[start..]
            .iter()
            .take_while(
                |gap| matches!((gap, gaps[start]), (Some(gap), Some(first)) if (gap - first).abs() < EVEN),
            )
            .count();
        if run >= LEAST {
            letter_spaced[start..start + run].fill(true);
        }
        start += run.max(1);
    }
    letter_spaced
}
