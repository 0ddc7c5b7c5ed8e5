//! Finds values beside and below labels.

use std::collections::HashMap;

use super::candidate::{Candidate, Origin};
use super::formats::Formats;
use super::label::LabelOccurrence;
use super::page_grid::{Cell, PageGrid, Rect, TextRun};
use super::reader::find_values;
use super::token::tokenize;
use super::value::Value;
use crate::taxonomy::{DataPoint, Kind};

/// Greatest gap between a label and a value below it, in heights of the label; larger for columns of amounts.
const MAX_GAP_BELOW: f32 = 3.6;
const MAX_GAP_BELOW_AMOUNTS: f32 = 9.0;
/// Most rows below a label that are skipped.
const MAX_SKIPPED_ROWS: usize = 2;

/// Most bytes of a cell, and most cells of a row, that are read beside a label.
const MAX_CELL_BYTES: usize = 400;
const MAX_CELLS: usize = 12;

/// Words between a label and its value that have no meaning.
const FILLER_WORDS: [&str; 34] = [
    "eur", "euro", "usd", "gbp", "chf", "in", "of", "the", "de", "der", "du", "des", "la", "le", "on", "von",
    "van", "am", "vom", "zum", "zu", "is", "ist", "est", "intra", "a", "par", "and", "und", "et", "en", "to",
    "for", "#",
];

/// Finds values near labels.
pub(super) struct NearbyValues<'a> {
    grids: &'a [PageGrid<'a>],
    /// Start positions of labels in each cell (page, row, cell).
    label_starts: HashMap<(usize, usize, usize), Vec<usize>>,
    formats: &'a Formats,
}

impl<'a> NearbyValues<'a> {
    pub(super) fn new(grids: &'a [PageGrid<'a>], labels: &[LabelOccurrence], formats: &'a Formats) -> Self {
        let mut label_starts: HashMap<_, Vec<usize>> = HashMap::new();
        for label in labels.iter().filter(|label| label.quality > 0.5) {
            label_starts.entry((label.page_index, label.row, label.cell)).or_default().push(label.span.start);
        }
        label_starts.values_mut().for_each(|starts| starts.sort_unstable());
        Self { grids, label_starts, formats }
    }

    /// Returns the possible values of a label, in page order.
    pub(super) fn find_values(&self, point: &DataPoint, label: &LabelOccurrence) -> Vec<Candidate> {
        let beside = self.values_beside(point, label);
        let is_certain = beside.iter().any(|candidate| candidate.score > 0.8 * label.quality * label.weight);
        let mut all = beside;
        if !is_certain {
            all.extend(self.values_below(point, label));
        }
        all
    }

    fn cell(&self, label: &LabelOccurrence) -> &Cell {
        &self.grids[label.page_index].rows[label.row].cells[label.cell]
    }

    /// Returns the start of the next label in a cell at or after a byte.
    fn next_label(&self, page_index: usize, row: usize, cell: usize, from: usize) -> Option<usize> {
        let starts = self.label_starts.get(&(page_index, row, cell))?;
        starts.get(starts.partition_point(|start| *start < from)).copied()
    }

    /// Returns the text after the label on its row, up to the next label.
    fn text_after(&self, label: &LabelOccurrence) -> TextRun {
        let row = &self.grids[label.page_index].rows[label.row];
        let mut run = TextRun::default();
        for (index, cell) in row.cells.iter().enumerate().skip(label.cell).take(MAX_CELLS) {
            let own = index == label.cell;
            let from = if own { label.span.end } else { 0 };
            let next = self.next_label(label.page_index, label.row, index, from);
            if !own && (next == Some(0) || is_caption(&cell.text)) {
                break;
            }
            run.push(cell, from, MAX_CELL_BYTES);
            let start = run.cells.last().copied().unwrap_or_default();
            if let Some(cut) = next.map(|next| start + next - from).filter(|cut| *cut <= run.text.len()) {
                run.text.truncate(cut);
                run.word_spans.retain(|word_span| word_span.span.start < cut);
                break;
            }
        }
        run
    }

    fn values_beside(&self, point: &DataPoint, label: &LabelOccurrence) -> Vec<Candidate> {
        let grid = &self.grids[label.page_index];
        let run = self.text_after(label);
        let own_end = run.cells.get(1).copied().unwrap_or(run.text.len());
        if rate_follows(&run.text) && matches!(point.kind, Kind::Amount) {
            return Vec::new();
        }
        let mut values = find_values(self.formats, point, &run.text);
        if point.kind == Kind::String {
            values.retain(|value| {
                // Without a colon or a gap, the label is probably a part of the text.
                value.span.start >= own_end.min(run.text.len()) && own_end < run.text.len()
                    || run.text[..value.span.start].contains(':')
            });
        }
        let chosen = match point.kind {
            Kind::Amount => choose_amounts(values, &run.text),
            _ => values
                .into_iter()
                .take(if point.multiple { usize::MAX } else { 2 })
                .map(|value| (value, 1.0))
                .collect(),
        };
        let mut candidates = Vec::new();
        for (order, (value, share)) in chosen.into_iter().enumerate() {
            let between = &run.text[..value.span.start];
            let mut relation = filler_factor(between, label.words) * share;
            if order > 0 && point.kind != Kind::Amount && !point.multiple {
                relation *= 0.5;
            }
            let cells = run.cells.iter().filter(|start| **start <= value.span.start).count();
            relation *= match cells {
                0..=1 => 1.0,
                2 => 0.98,
                3 => 0.88,
                _ => 0.75,
            };
            let words = run.words(&value.span);
            candidates.push(self.build_candidate(
                label,
                grid,
                words,
                &run.text,
                &value,
                relation,
                between.trim().len() < 3,
            ));
        }
        candidates
    }

    fn values_below(&self, point: &DataPoint, label: &LabelOccurrence) -> Vec<Candidate> {
        let grid = &self.grids[label.page_index];
        let row = &grid.rows[label.row];
        let cell = self.cell(label);
        // In running text, the row below is the next line of the same text.
        let rest = filler_factor(first_bytes(&cell.text[label.span.end..]), label.words);
        if rest < 0.6 || !label.leads {
            return Vec::new();
        }
        let own = cell.area;
        let region = Rect {
            left: own.left - own.height(),
            right: row.cells.get(label.cell + 1).map_or(f32::MAX, |next| next.area.left),
            ..own
        };
        let mut column: Vec<(f32, Candidate)> = Vec::new();
        let (mut skipped, mut last) = (0, own);
        for (index, row) in grid.rows.iter().enumerate().skip(label.row + 1) {
            let near = (row.area.top - last.bottom) / own.height().max(1.0);
            let reach = if column.is_empty() { MAX_GAP_BELOW } else { MAX_GAP_BELOW_AMOUNTS };
            if near
                > reach.min(if matches!(point.kind, Kind::Amount | Kind::Number) {
                    MAX_GAP_BELOW_AMOUNTS
                } else {
                    MAX_GAP_BELOW
                })
            {
                break;
            }
            let Some((at, cell, direct)) = row.cells.iter().enumerate().find_map(|(at, cell)| {
                let direct = cell.area.shares_column(&own);
                (direct
                    || cell.area.left >= region.left && cell.area.right <= region.right && column.is_empty())
                .then_some((at, cell, direct))
            }) else {
                continue;
            };
            if self.next_label(label.page_index, index, at, 0) == Some(0) && !is_value_of_string(point, cell)
            {
                break;
            }
            let fitting = find_values(self.formats, point, &cell.text)
                .into_iter()
                .next()
                .filter(|value| fills_cell(point, cell, value));
            match fitting {
                Some(value) if value.fit > 0.3 => {
                    let mut run = TextRun::default();
                    run.push(cell, 0, usize::MAX);
                    let relation =
                        0.93 * rest * if direct { 1.0 } else { 0.95 } * 0.8_f32.powi(skipped as i32);
                    let words = run.words(&value.span);
                    let found = self.build_candidate(label, grid, words, &run.text, &value, relation, true);
                    column.push((value.fit, found));
                    last = cell.area;
                    if !point.multiple && !matches!(point.kind, Kind::Amount | Kind::Number) {
                        break;
                    }
                }
                _ => {
                    skipped += 1;
                    if skipped > MAX_SKIPPED_ROWS
                        || !column.is_empty()
                        || is_caption(&cell.text) && point.kind != Kind::String
                    {
                        break;
                    }
                }
            }
        }
        let values = column.into_iter().map(|(_, candidate)| candidate).collect();
        if point.kind == Kind::Amount && !point.multiple { score_column(values) } else { values }
    }

    #[expect(clippy::too_many_arguments, reason = "one place that knows what a score is made of")]
    fn build_candidate(
        &self,
        label: &LabelOccurrence,
        grid: &PageGrid<'_>,
        words: Vec<usize>,
        text: &str,
        value: &Value,
        relation: f32,
        adjacent: bool,
    ) -> Candidate {
        // A value of a distinctive form compensates for a label in running text.
        let quality = if adjacent && value.strong && label.quality >= 0.5 {
            label.quality.max(0.9)
        } else {
            label.quality
        };
        let certainty = if value.strong { 0.93 } else { 0.78 };
        let score = certainty * quality * label.weight * relation * value.fit;
        Candidate::new(Origin::Label, (label.page_index, grid), words, text, value, score)
    }
}

/// Returns the first bytes of a cell. A label deep in a paragraph has no value below it.
fn first_bytes(text: &str) -> &str {
    let end = (MAX_CELL_BYTES..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[..end]
}

/// Whether a cell is the caption of another value: `Bank account:`.
fn is_caption(text: &str) -> bool {
    let text = text.trim_end();
    text.ends_with(':') && text.contains(char::is_alphabetic)
}

/// Whether a rate follows, as in `MwSt-%`.
fn rate_follows(text: &str) -> bool {
    text.trim_start_matches(|c: char| c.is_whitespace() || "-.(/".contains(c)).starts_with('%')
}

/// Whether a value fills its cell, as a value below a label does. Codes and dates may have words around them. Digits
/// are a string if they do not look like an amount, date or count.
fn fills_cell(point: &DataPoint, cell: &Cell, value: &Value) -> bool {
    match point.kind {
        Kind::String => is_value_of_string(point, cell) || value.fit > 0.5 && !cell.text.contains(':'),
        Kind::Amount | Kind::Number => value.span.len() * 2 >= cell.text.len(),
        _ => true,
    }
}

/// Whether a cell consists of words: no colon, and fewer digits than letters.
fn is_value_of_string(point: &DataPoint, cell: &Cell) -> bool {
    let digits = cell.text.chars().filter(|c| c.is_numeric()).count();
    let letters = cell.text.chars().filter(|c| c.is_alphabetic()).count();
    point.kind == Kind::String && !cell.text.contains(':') && digits < letters
}

/// Returns a factor for the words between a label and its value: `Total of 2 months: 3.00` is less certain than `Total:
/// 3.00`.
fn filler_factor(between: &str, label_words: usize) -> f32 {
    let plain = without_parentheses(between);
    let words = tokenize(&plain)
        .into_iter()
        .filter(|token| {
            token.text.contains(char::is_alphabetic) && !FILLER_WORDS.contains(&token.text.as_str())
        })
        .filter(|token| {
            !matches!(token.text.as_str(), "betrag" | "datum" | "bedrag" | "summe" | "amount" | "montant")
        })
        .count();
    let share: f32 = match words {
        0 => 1.0,
        1 => 0.8,
        2 => 0.65,
        3 => 0.5,
        _ => 0.3,
    };
    if label_words == 1 { share.powf(1.6) } else { share }
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_usize;
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    plain
}

fn ends_in_parentheses(before: &str) -> bool {
    before.rfind('(').is_some_and(|open| !before[open..].contains(')'))
}

/// Chooses the amounts of a row with their share of the score. The last is the total, if only signs separate the
/// amounts.
fn choose_amounts(values: Vec<Value>, text: &str) -> Vec<(Value, f32)> {
    let is_in_parentheses = |value: &Value| ends_in_parentheses(&text[..value.span.start]);
    let all_in_parentheses = values.iter().all(is_in_parentheses);
    let mut adjacent: Vec<Value> = Vec::new();
    for value in values.into_iter().filter(|value| all_in_parentheses || !is_in_parentheses(value)) {
        let words = |last: &Value| {
            let between = text[last.span.end..value.span.start].to_lowercase();
            tokenize(&between).into_iter().any(|token| {
                token.text.contains(char::is_alphabetic) && !FILLER_WORDS.contains(&token.text.as_str())
            })
        };
        if adjacent.last().is_some_and(words) {
            break;
        }
        adjacent.push(value);
    }
    // Rates and counts beside amounts are not amounts.
    if adjacent.iter().any(|value| value.strong) {
        adjacent.retain(|value| value.strong);
    }
    let count = adjacent.len();
    let share = |index: usize| match (count, index + 1 == count, index) {
        (1, ..) => 1.0,
        (_, true, _) => 0.85,
        (_, false, 0) => 0.6,
        _ => 0.4,
    };
    adjacent.into_iter().enumerate().map(|(index, value)| (value, share(index))).collect()
}

/// Scores a column of amounts: the last wins if it is the sum of the others; otherwise the first and the last are
/// doubtful.
fn score_column(mut column: Vec<Candidate>) -> Vec<Candidate> {
    let numbers: Vec<_> = column.iter().filter_map(|candidate| candidate.number).collect();
    let Some((last, parts)) = numbers.split_last().filter(|(_, parts)| !parts.is_empty()) else {
        return column;
    };
    let sum = parts.iter().try_fold(rust_decimal::Decimal::ZERO, |sum, part| sum.checked_add(*part));
    let total = sum.as_ref() == Some(last) || parts.iter().all(|part| part == last);
    let count = column.len();
    for (index, candidate) in column.iter_mut().enumerate() {
        candidate.score *= match (total, index + 1 == count, index) {
            (true, true, _) => 1.0,
            (false, true, _) | (false, false, 0) => 0.5,
            _ => 0.3,
        };
    }
    column
}
