//! Values of the type `code`: identifiers such as invoice numbers and IBANs.

use regex::Regex;

use super::formats::Formats;
use super::value::Value;
use crate::normalize::{Span, fold, strip_whitespace};
use crate::taxonomy::DataPoint;

/// Words after a label that are searched for a code.
const MAX_WORDS: usize = 14;
/// Most characters of a group, and most groups, of a code that is printed in groups.
const MAX_GROUP_CHARS: usize = 5;
const MAX_GROUPS: usize = 10;

pub(super) fn read_code(formats: &Formats, point: &DataPoint, text: &str) -> Option<Value> {
    let shapes: Vec<&Regex> = point.patterns.iter().filter(|p| !p.grouped).map(|p| &p.regex).collect();
    let literal = point.patterns.iter().any(|p| p.literal);
    let words = split_words(text);
    let words = &words[..words.len().min(MAX_WORDS)];
    let shaped = (0..words.len()).find_map(|first| match_shape(&shapes, text, &words[first..]));
    if let Some(span) = shaped {
        let code = strip_whitespace(&text[span.clone()]);
        let (mut fit, mut strong) =
            if literal || code.contains(|c: char| c.is_ascii_digit()) { (1.0, true) } else { (0.8, false) };
        if formats.has_date(&text[span.clone()]) {
            (fit, strong) = (0.4, false);
        }
        if is_iban_point(point) && !is_valid_iban(&code) {
            fit = 0.85;
        }
        return Some(Value::text(span, code, fit, strong));
    }
    let value = read_unshaped(formats, text, words)?;
    // The code has another shape than the taxonomy says, but the right position.
    Some(if shapes.is_empty() { value } else { Value { fit: value.fit * 0.7, strong: false, ..value } })
}

/// Reads a code without a known shape: the first word with a digit, or a word in capitals at the start.
fn read_unshaped(formats: &Formats, text: &str, words: &[Span]) -> Option<Value> {
    let first = words.first()?;
    let digits = |word: &Span| text[word.clone()].contains(|c: char| c.is_ascii_digit());
    let end = group_end(text, words);
    if end > first.end {
        let span = first.start..end;
        return Some(Value::text(span.clone(), strip_whitespace(&text[span]), 0.95, true));
    }
    let (index, word) = words.iter().enumerate().take(4).find(|(_, word)| digits(word)).unwrap_or((0, first));
    let printed = &text[word.clone()];
    let chars = printed.chars().count();
    let mut fit = match (digits(word), index) {
        (true, 0) if chars >= 4 => 0.95,
        (true, 0) => 0.8,
        (true, _) => 0.5,
        (false, _) if chars >= 2 && printed.chars().all(|c| c.is_uppercase() || !c.is_alphabetic()) => 0.5,
        (false, _) => 0.3,
    };
    let rate = text[word.end..].starts_with('%') || printed.ends_with('%');
    let sum = formats.is_amount(printed);
    if rate || sum || formats.has_date(printed) {
        fit *= 0.3;
    }
    Some(Value::text(word.clone(), strip_whitespace(printed), fit, digits(word) && index == 0 && chars >= 4))
}

/// Returns the words of a text without the punctuation around them.
fn split_words(text: &str) -> Vec<Span> {
    let mut words = Vec::new();
    let mut from = 0;
    for word_span in text.split(char::is_whitespace) {
        let start = from;
        from += word_span.len() + text[from + word_span.len()..].chars().next().map_or(0, char::len_utf8);
        let open = word_span
            .trim_start_matches(['(', '[', ':', ';', ',', '"', '\'', '„', '“', '-', '–', '.', '=', '*']);
        let closed =
            open.trim_end_matches([')', ']', ':', ';', ',', '"', '\'', '“', '”', '.', '-', '–', '*']);
        if closed.contains(char::is_alphanumeric) || closed.contains('#') {
            let start = start + word_span.len() - open.len();
            words.push(start..start + closed.len());
        }
    }
    words
}

/// Returns the longest run of words from the first one that, joined, has one of the shapes.
fn match_shape(shapes: &[&Regex], text: &str, words: &[Span]) -> Option<Span> {
    let first = words.first()?;
    let printed = &text[first.clone()];
    let within = shapes.iter().filter_map(|shape| shape.find(printed)).max_by_key(regex::Match::len);
    if let Some(found) = within.filter(|found| found.len() * 3 >= printed.len() * 2) {
        return Some(first.start + found.start()..first.start + found.end());
    }
    let mut joined = printed.to_owned();
    let mut longest = None;
    for word in words.iter().skip(1).take(MAX_GROUPS) {
        let group = &text[word.clone()];
        let next_to = text[first.start..word.start].ends_with(char::is_whitespace)
            && !text[first.start..word.start].contains("  ");
        if !next_to
            || group.chars().count() > MAX_GROUP_CHARS
            || !group.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        {
            break;
        }
        joined.push_str(group);
        let whole = |shape: &&Regex| shape.find(&joined).is_some_and(|found| found.len() == joined.len());
        if shapes.iter().any(whole) {
            longest = Some(first.start..word.end);
        }
    }
    longest
}

/// Returns the end of a code that is printed in groups, such as `FR 11 123 456 782`, or of the first word.
fn group_end(text: &str, words: &[Span]) -> usize {
    let group = |word: &Span| {
        let printed = &text[word.clone()];
        printed.len() <= MAX_GROUP_CHARS
            && printed.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    let mut end = words[0].end;
    if !group(&words[0]) {
        return end;
    }
    for pair in words.windows(2).take(MAX_GROUPS) {
        let digits = text[pair[1].clone()].chars().any(|c| c.is_ascii_digit());
        if &text[pair[0].end..pair[1].start] != " " || !group(&pair[1]) || !digits {
            break;
        }
        end = pair[1].end;
    }
    end
}

/// Whether the name or a label of a data point contains "IBAN".
pub(super) fn is_iban_point(point: &DataPoint) -> bool {
    std::iter::once(&point.name).chain(&point.labels).any(|name| fold(name).contains("iban"))
}

/// Whether the check digits of an IBAN are right (ISO 13616: the remainder modulo 97, with letters as 10 to 35).
pub(super) fn is_valid_iban(code: &str) -> bool {
    if !(15..=34).contains(&code.len()) || !code.chars().all(|c| c.is_ascii_alphanumeric()) {
        return false;
    }
    let (country, account) = code.split_at(4);
    let rest = account.chars().chain(country.chars()).fold(0, |rest, c| match c.to_digit(36) {
        Some(digit @ 10..) => (rest * 100 + digit) % 97,
        Some(digit) => (rest * 10 + digit) % 97,
        None => rest,
    });
    rest == 1
}
