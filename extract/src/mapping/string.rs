//! Values of the type `string`: words, and numbers that nobody counts with, as those of customers, towns and telephones.

use super::letter::is_name;
use super::value::{Reading, Value};
use crate::taxonomy::DataPoint;

/// A longer text, in characters, is no value but a paragraph.
const LONG: usize = 80;
/// A number of so many digits and signs is seldom there by chance.
const TELLING: usize = 4;
/// What is more likely the value of another label, or not a value at all.
const DOUBTFUL: f32 = 0.4;
const UNLIKELY: f32 = 0.3;

/// The value at the start of a text, up to the next gap.
pub(super) fn string(reading: &Reading, point: &DataPoint, text: &str) -> Option<Value> {
    let start =
        text.len() - text.trim_start_matches(|c: char| c.is_whitespace() || ":;=.–-".contains(c)).len();
    let rest = &text[start..];
    let end = rest.find("  ").unwrap_or(rest.len());
    let printed = rest[..end].trim_end().trim_end_matches([',', ';']);
    let span = start..start + printed.len();
    let digits = digits(printed);
    let letters = printed.chars().filter(|c| c.is_alphabetic()).count();
    let words = |fit| Value::text(span.clone(), printed.to_owned(), fit, false);
    match printed.chars().count() {
        _ if letters == 0 && (digits == 0 || is_name(point)) => None,
        LONG.. => Some(words(DOUBTFUL)),
        _ if digits > letters && is_name(point) => Some(words(DOUBTFUL)),
        1..=2 => Some(words(0.5)),
        chars if digits > letters => Some(match date_or_sum(reading, printed) {
            Some(other) => Value { date: other.date, number: other.number, ..words(UNLIKELY) },
            None if printed.ends_with('%') => words(UNLIKELY),
            None if !is_code(printed) => words(DOUBTFUL),
            None => Value { strong: chars >= TELLING && !printed.contains(' '), ..words(0.9) },
        }),
        _ => Some(words(0.9)),
    }
}

fn digits(text: &str) -> usize {
    text.chars().filter(|c| c.is_numeric()).count()
}

/// What a text is where all its digits are those of one date or sum of money.
fn date_or_sum(reading: &Reading, printed: &str) -> Option<Value> {
    let all = digits(printed);
    let sums = reading.amounts(printed).into_iter().filter(|sum| sum.strong || sum.currency.is_some());
    reading.dates(printed).into_iter().chain(sums).find(|found| digits(&printed[found.span.clone()]) == all)
}

/// Whether every word has a digit in it or is in capitals, as in `1012 AB` and `+49 (0)30 1234-56`.
fn is_code(printed: &str) -> bool {
    printed
        .split_whitespace()
        .all(|word| word.contains(|c: char| c.is_numeric()) || !word.contains(char::is_lowercase))
}
