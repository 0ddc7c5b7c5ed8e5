//! Values of the type `string`: words, and numbers that are not quantities, such as customer and telephone numbers.

use super::formats::Formats;
use super::party_name::is_party_name;
use super::value::Value;
use crate::taxonomy::DataPoint;

/// A longer text is a paragraph rather than a value.
const MAX_VALUE_CHARS: usize = 80;
/// A number with at least this many digits and signs is rarely a coincidence.
const MIN_STRONG_CHARS: usize = 4;
/// Fit of texts that are more likely the value of another label, or no value.
const DOUBTFUL_FIT: f32 = 0.4;
const UNLIKELY_FIT: f32 = 0.3;

/// Reads the value at the start of a text, up to the next gap.
pub(super) fn read_string(formats: &Formats, point: &DataPoint, text: &str) -> Option<Value> {
    let start =
        text.len() - text.trim_start_matches(|c: char| c.is_whitespace() || ":;=.–-".contains(c)).len();
    let rest = &text[start..];
    let end = rest.find("  ").unwrap_or(rest.len());
    let printed = rest[..end].trim_end().trim_end_matches([',', ';']);
    let span = start..start + printed.len();
    let digits = count_digits(printed);
    let letters = printed.chars().filter(|c| c.is_alphabetic()).count();
    let words = |fit| Value::text(span.clone(), printed.to_owned(), fit, false);
    match printed.chars().count() {
        _ if letters == 0 && (digits == 0 || is_party_name(point)) => None,
        MAX_VALUE_CHARS.. => Some(words(DOUBTFUL_FIT)),
        _ if digits > letters && is_party_name(point) => Some(words(DOUBTFUL_FIT)),
        1..=2 => Some(words(0.5)),
        chars if digits > letters => Some(match as_date_or_amount(formats, printed) {
            Some(other) => Value { date: other.date, number: other.number, ..words(UNLIKELY_FIT) },
            None if printed.ends_with('%') => words(UNLIKELY_FIT),
            None if !is_code(printed) => words(DOUBTFUL_FIT),
            None => Value { strong: chars >= MIN_STRONG_CHARS && !printed.contains(' '), ..words(0.9) },
        }),
        _ => Some(words(0.9)),
    }
}

fn count_digits(text: &str) -> usize {
    text.chars().filter(|c| c.is_numeric()).count()
}

/// Returns the date or amount that contains all digits of a text.
fn as_date_or_amount(formats: &Formats, printed: &str) -> Option<Value> {
    let all = count_digits(printed);
    let sums = formats.amounts(printed).into_iter().filter(|sum| sum.strong || sum.currency.is_some());
    formats
        .dates(printed)
        .into_iter()
        .chain(sums)
        .find(|found| count_digits(&printed[found.span.clone()]) == all)
}

/// Whether every word has a digit or no lower-case letter, as in `1012 AB` and `+49 (0)30 1234-56`.
fn is_code(printed: &str) -> bool {
    printed
        .split_whitespace()
        .all(|word| word.contains(|c: char| c.is_numeric()) || !word.contains(char::is_lowercase))
}
