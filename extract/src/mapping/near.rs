//! The values beside and below a label.

use std::collections::HashMap;

use super::candidate::{Candidate, Origin};
use super::label::Occurrence;
use super::sheet::{Cell, Frame, Run, Sheet};
use super::token::tokens;
use super::value::{Reading, Value};
use crate::taxonomy::{DataPoint, Kind};

/// A value below a label may be this many heights of the label away; a column of sums further.
const BELOW: f32 = 3.6;
const BELOW_COLUMN: f32 = 9.0;
/// Lines below a label that may be passed over.
const SKIPPED: usize = 2;

/// How far a row is read beyond a label, in bytes of each cell and in cells.
const REACH: usize = 400;
const CELLS: usize = 12;

/// Words between a label and its value that say nothing.
const FILLERS: [&str; 34] = [
    "eur", "euro", "usd", "gbp", "chf", "in", "of", "the", "de", "der", "du", "des", "la", "le", "on", "von",
    "van", "am", "vom", "zum", "zu", "is", "ist", "est", "intra", "a", "par", "and", "und", "et", "en", "to",
    "for", "#",
];

/// One look at the neighbourhood of labels.
pub(super) struct Neighbourhood<'a> {
    sheets: &'a [Sheet<'a>],
    /// Where known labels begin in each cell (page, row, cell).
    starts: HashMap<(usize, usize, usize), Vec<usize>>,
    reading: &'a Reading,
}

impl<'a> Neighbourhood<'a> {
    pub(super) fn new(sheets: &'a [Sheet<'a>], labels: &[Occurrence], reading: &'a Reading) -> Self {
        let mut starts: HashMap<_, Vec<usize>> = HashMap::new();
        for label in labels.iter().filter(|label| label.quality > 0.5) {
            starts.entry((label.sheet, label.row, label.cell)).or_default().push(label.span.start);
        }
        starts.values_mut().for_each(|starts| starts.sort_unstable());
        Self { sheets, starts, reading }
    }

    /// The values that a label may stand for, in the order of the page.
    pub(super) fn values(&self, point: &DataPoint, label: &Occurrence) -> Vec<Candidate> {
        let beside = self.beside(point, label);
        let settled = beside.iter().any(|candidate| candidate.score > 0.8 * label.quality * label.weight);
        let mut all = beside;
        if !settled {
            all.extend(self.below(point, label));
        }
        all
    }

    fn cell(&self, label: &Occurrence) -> &Cell {
        &self.sheets[label.sheet].rows[label.row].cells[label.cell]
    }

    /// Whether a known label begins in this cell at or after a byte, and where.
    fn next_label(&self, sheet: usize, row: usize, cell: usize, from: usize) -> Option<usize> {
        let starts = self.starts.get(&(sheet, row, cell))?;
        starts.get(starts.partition_point(|start| *start < from)).copied()
    }

    /// What follows the label on its row, up to the next label.
    fn run(&self, label: &Occurrence) -> Run {
        let row = &self.sheets[label.sheet].rows[label.row];
        let mut run = Run::default();
        for (index, cell) in row.cells.iter().enumerate().skip(label.cell).take(CELLS) {
            let own = index == label.cell;
            let from = if own { label.span.end } else { 0 };
            let next = self.next_label(label.sheet, label.row, index, from);
            if !own && (next == Some(0) || is_caption(&cell.text)) {
                break;
            }
            run.push(cell, from, REACH);
            let start = run.cells.last().copied().unwrap_or_default();
            if let Some(cut) = next.map(|next| start + next - from).filter(|cut| *cut <= run.text.len()) {
                run.text.truncate(cut);
                run.pieces.retain(|piece| piece.span.start < cut);
                break;
            }
        }
        run
    }

    fn beside(&self, point: &DataPoint, label: &Occurrence) -> Vec<Candidate> {
        let sheet = &self.sheets[label.sheet];
        let run = self.run(label);
        let own_end = run.cells.get(1).copied().unwrap_or(run.text.len());
        if rate_follows(&run.text) && matches!(point.kind, Kind::Amount) {
            return Vec::new();
        }
        let mut values = self.reading.find(point, &run.text);
        if point.kind == Kind::String {
            values.retain(|value| {
                // Without a colon or a gap the label is rather a part of the text.
                value.span.start >= own_end.min(run.text.len()) && own_end < run.text.len()
                    || run.text[..value.span.start].contains(':')
            });
        }
        let chosen = match point.kind {
            Kind::Amount => sums(values, &run.text),
            _ => values
                .into_iter()
                .take(if point.multiple { usize::MAX } else { 2 })
                .map(|value| (value, 1.0))
                .collect(),
        };
        let mut candidates = Vec::new();
        for (order, (value, share)) in chosen.into_iter().enumerate() {
            let between = &run.text[..value.span.start];
            let mut relation = qualified(between, label.words) * share;
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
            candidates.push(self.candidate(
                label,
                sheet,
                words,
                &run.text,
                &value,
                relation,
                between.trim().len() < 3,
            ));
        }
        candidates
    }

    fn below(&self, point: &DataPoint, label: &Occurrence) -> Vec<Candidate> {
        let sheet = &self.sheets[label.sheet];
        let row = &sheet.rows[label.row];
        let cell = self.cell(label);
        // In running text, what stands below is the next line of it.
        let rest = qualified(head(&cell.text[label.span.end..]), label.words);
        if rest < 0.6 || !label.leads {
            return Vec::new();
        }
        let own = cell.frame;
        let region = Frame {
            left: own.left - own.height(),
            right: row.cells.get(label.cell + 1).map_or(f32::MAX, |next| next.frame.left),
            ..own
        };
        let mut column: Vec<(f32, Candidate)> = Vec::new();
        let (mut skipped, mut last) = (0, own);
        for (index, row) in sheet.rows.iter().enumerate().skip(label.row + 1) {
            let near = (row.frame.top - last.bottom) / own.height().max(1.0);
            let reach = if column.is_empty() { BELOW } else { BELOW_COLUMN };
            if near
                > reach.min(if matches!(point.kind, Kind::Amount | Kind::Number) {
                    BELOW_COLUMN
                } else {
                    BELOW
                })
            {
                break;
            }
            let Some((at, cell, direct)) = row.cells.iter().enumerate().find_map(|(at, cell)| {
                let direct = cell.frame.above_or_below(&own);
                (direct
                    || cell.frame.left >= region.left
                        && cell.frame.right <= region.right
                        && column.is_empty())
                .then_some((at, cell, direct))
            }) else {
                continue;
            };
            if self.next_label(label.sheet, index, at, 0) == Some(0) && !is_value_of_string(point, cell) {
                break;
            }
            let fitting = self
                .reading
                .find(point, &cell.text)
                .into_iter()
                .next()
                .filter(|value| whole(point, cell, value));
            match fitting {
                Some(value) if value.fit > 0.3 => {
                    let mut run = Run::default();
                    run.push(cell, 0, usize::MAX);
                    let relation =
                        0.93 * rest * if direct { 1.0 } else { 0.95 } * 0.8_f32.powi(skipped as i32);
                    let words = run.words(&value.span);
                    let found = self.candidate(label, sheet, words, &run.text, &value, relation, true);
                    column.push((value.fit, found));
                    last = cell.frame;
                    if !point.multiple && !matches!(point.kind, Kind::Amount | Kind::Number) {
                        break;
                    }
                }
                _ => {
                    skipped += 1;
                    if skipped > SKIPPED
                        || !column.is_empty()
                        || is_caption(&cell.text) && point.kind != Kind::String
                    {
                        break;
                    }
                }
            }
        }
        let values = column.into_iter().map(|(_, candidate)| candidate).collect();
        if point.kind == Kind::Amount && !point.multiple { bottom_line(values) } else { values }
    }

    #[expect(clippy::too_many_arguments, reason = "one place that knows what a score is made of")]
    fn candidate(
        &self,
        label: &Occurrence,
        sheet: &Sheet<'_>,
        words: Vec<usize>,
        text: &str,
        value: &Value,
        relation: f32,
        adjacent: bool,
    ) -> Candidate {
        // A value that can hardly be anything else makes up for a label in running text.
        let quality = if adjacent && value.strong && label.quality >= 0.5 {
            label.quality.max(0.9)
        } else {
            label.quality
        };
        let certainty = if value.strong { 0.93 } else { 0.78 };
        let score = certainty * quality * label.weight * relation * value.fit;
        Candidate::new(Origin::Label, (label.sheet, sheet), words, text, value, score)
    }
}

/// The beginning of a cell: a value below a label does not stand deep in a paragraph.
fn head(text: &str) -> &str {
    let end = (REACH..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[..end]
}

/// Whether a cell is the caption of something else: `Bank account:`.
fn is_caption(text: &str) -> bool {
    let text = text.trim_end();
    text.ends_with(':') && text.contains(char::is_alphabetic)
}

/// Whether the text goes on with a rate, as `MwSt-%`.
fn rate_follows(text: &str) -> bool {
    text.trim_start_matches(|c: char| c.is_whitespace() || "-.(/".contains(c)).starts_with('%')
}

/// Below a label a cell is the value as a whole, but for codes and dates with words around them.
/// Digits are a string where they look like no sum, date or count.
fn whole(point: &DataPoint, cell: &Cell, value: &Value) -> bool {
    match point.kind {
        Kind::String => is_value_of_string(point, cell) || value.fit > 0.5 && !cell.text.contains(':'),
        Kind::Amount | Kind::Number => value.span.len() * 2 >= cell.text.len(),
        _ => true,
    }
}

/// Words that are a value have no colon in them, and few digits.
fn is_value_of_string(point: &DataPoint, cell: &Cell) -> bool {
    let digits = cell.text.chars().filter(|c| c.is_numeric()).count();
    let letters = cell.text.chars().filter(|c| c.is_alphabetic()).count();
    point.kind == Kind::String && !cell.text.contains(':') && digits < letters
}

/// What words between a label and its value are worth: `Total of 2 months: 3.00` is less sure than `Total: 3.00`.
fn qualified(between: &str, label_words: usize) -> f32 {
    let plain = without_parentheses(between);
    let words = tokens(&plain)
        .into_iter()
        .filter(|token| token.text.contains(char::is_alphabetic) && !FILLERS.contains(&token.text.as_str()))
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

fn in_parentheses(before: &str) -> bool {
    before.rfind('(').is_some_and(|open| !before[open..].contains(')'))
}

/// Of several sums on a row the last is the total, as long as only signs stand between them.
fn sums(values: Vec<Value>, text: &str) -> Vec<(Value, f32)> {
    let aside = |value: &Value| in_parentheses(&text[..value.span.start]);
    let all_aside = values.iter().all(aside);
    let mut together: Vec<Value> = Vec::new();
    for value in values.into_iter().filter(|value| all_aside || !aside(value)) {
        let words = |last: &Value| {
            let between = text[last.span.end..value.span.start].to_lowercase();
            tokens(&between).into_iter().any(|token| {
                token.text.contains(char::is_alphabetic) && !FILLERS.contains(&token.text.as_str())
            })
        };
        if together.last().is_some_and(words) {
            break;
        }
        together.push(value);
    }
    // Rates and counts beside sums are neither.
    if together.iter().any(|value| value.strong) {
        together.retain(|value| value.strong);
    }
    let count = together.len();
    let share = |index: usize| match (count, index + 1 == count, index) {
        (1, ..) => 1.0,
        (_, true, _) => 0.85,
        (_, false, 0) => 0.6,
        _ => 0.4,
    };
    together.into_iter().enumerate().map(|(index, value)| (value, share(index))).collect()
}

/// Of a column of sums the last, where it is the sum of the others; else the first and the last, both in doubt.
fn bottom_line(mut column: Vec<Candidate>) -> Vec<Candidate> {
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
