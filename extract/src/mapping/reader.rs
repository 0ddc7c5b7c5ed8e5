//! Reads the values of a data point out of a text.

use super::code::read_code;
use super::formats::Formats;
use super::string::read_string;
use super::token::tokenize;
use super::value::Value;
use crate::normalize::{parse_boolean, strip_whitespace};
use crate::taxonomy::{DataPoint, Kind};

/// Returns the values of a data point's type in the text, in order.
pub(super) fn find_values(formats: &Formats, point: &DataPoint, text: &str) -> Vec<Value> {
    match point.kind {
        Kind::String => read_string(formats, point, text).into_iter().collect(),
        Kind::Code => read_code(formats, point, text).into_iter().collect(),
        Kind::Number => formats.numbers(text),
        Kind::Amount => formats.amounts(text),
        Kind::Date => formats.dates(text),
        Kind::Boolean => read_boolean(text).into_iter().collect(),
        Kind::Enum => find_enum_values(&point.values, text),
    }
}

/// Reads a whole text as the value, as found by a pattern or typed by a person; `None` if it is not of the type.
pub(super) fn read_value(formats: &Formats, point: &DataPoint, text: &str) -> Option<Value> {
    let whole = 0..text.len();
    match point.kind {
        Kind::String => {
            let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
            (!joined.is_empty()).then(|| Value::text(whole, joined, 0.95, false))
        }
        Kind::Code => {
            let code = strip_whitespace(text);
            (!code.is_empty()).then(|| Value::text(whole, code, 1.0, true))
        }
        _ => find_values(formats, point, text).into_iter().next(),
    }
}

fn read_boolean(text: &str) -> Option<Value> {
    let mut from = 0;
    for word in text.split_whitespace().take(3) {
        let start = from + text[from..].find(word)?;
        from = start + word.len();
        if let Some(answer) = parse_boolean(word) {
            let fit = if word.chars().count() > 1 || !word.is_ascii() { 0.95 } else { 0.6 };
            return Some(Value::text(start..from, answer.to_string(), fit, fit > 0.9));
        }
    }
    None
}

fn find_enum_values(values: &[String], text: &str) -> Vec<Value> {
    let printed = tokenize(text);
    let mut found: Vec<Value> = Vec::new();
    for value in values {
        let wanted = tokenize(value);
        let count = wanted.len();
        if count == 0 {
            found.extend(
                text.find(value).map(|at| Value::text(at..at + value.len(), value.clone(), 0.9, true)),
            );
            continue;
        }
        for start in (0..printed.len()).filter(|start| start + count <= printed.len()) {
            if printed[start..start + count].iter().zip(&wanted).all(|(a, b)| a.text == b.text) {
                let span = printed[start].span.start..printed[start + count - 1].span.end;
                found.push(Value::text(span, value.clone(), 1.0, true));
            }
        }
    }
    found.sort_by_key(|value| (value.span.start, std::cmp::Reverse(value.span.end)));
    found.dedup_by(|later, earlier| later.span.start < earlier.span.end);
    found
}
