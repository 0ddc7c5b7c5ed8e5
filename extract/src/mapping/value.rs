//! Reads the values of a type out of a stretch of text that follows a label.

use chrono::NaiveDate;
use regex::Regex;
use rust_decimal::Decimal;

use super::string::string;
use super::token::tokens;
use crate::document::TextDocument;
use crate::normalize::{
    Currency, DateFormat, DateReader, FoundDate, FoundNumber, NumberReader, Span, boolean, compact, fold,
};
use crate::taxonomy::{DataPoint, Kind, Options};

/// How many words after a label are looked at for a code.
const CODE_WORDS: usize = 14;
/// Codes printed in groups have groups of this many characters at most, and this many groups.
const GROUP_CHARS: usize = 5;
const GROUPS: usize = 10;

/// A value in a text.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) span: Span,
    pub(super) normalized: String,
    /// How well it fits its type, 0 to 1.
    pub(super) fit: f32,
    /// Whether few other texts would fit as well: a date, a sum with decimals, a code of the expected shape.
    pub(super) strong: bool,
    pub(super) currency: Option<Currency>,
    pub(super) number: Option<Decimal>,
    pub(super) date: Option<NaiveDate>,
}

impl Value {
    pub(super) fn text(span: Span, normalized: String, fit: f32, strong: bool) -> Self {
        Self { span, normalized, fit, strong, currency: None, number: None, date: None }
    }
}

/// How one document prints dates and numbers.
pub(super) struct Reading {
    numbers: NumberReader,
    dates: DateReader,
}

impl Reading {
    /// By the taxonomy's options where they say, else as the document itself shows.
    pub(super) fn new(options: &Options, document: &TextDocument) -> Self {
        let pages = || document.pages.iter().map(|page| page.text.as_str());
        let numbers = match options.decimal_separator {
            Some(separator) => NumberReader::new(separator),
            None => NumberReader::infer(pages()),
        };
        // Formats were checked with the taxonomy.
        let formats =
            options.date_formats.iter().filter_map(|format| DateFormat::parse(format).ok()).collect();
        let english = options.languages.first().is_some_and(|language| language == "en");
        let american = english && options.currency.as_deref() == Some("USD");
        Self { numbers, dates: DateReader::new(formats, pages(), american) }
    }

    /// Every sum of money and other number in the text, percentages left out.
    pub(super) fn amounts(&self, text: &str) -> Vec<Value> {
        self.numbers.find(text).into_iter().filter(|number| !number.percent).map(amount).collect()
    }

    /// Every date in the text.
    pub(super) fn dates(&self, text: &str) -> Vec<Value> {
        let value = |found: FoundDate| Value {
            date: Some(found.date),
            ..Value::text(found.span(), found.date.to_string(), if found.sure { 1.0 } else { 0.8 }, true)
        };
        self.dates.find(text).into_iter().map(value).collect()
    }

    /// The values of a data point's type in the text, in order.
    pub(super) fn find(&self, point: &DataPoint, text: &str) -> Vec<Value> {
        match point.kind {
            Kind::String => string(self, point, text).into_iter().collect(),
            Kind::Code => self.code(point, text).into_iter().collect(),
            Kind::Number => self.numbers.find(text).into_iter().map(|n| number(n, 0.9)).collect(),
            Kind::Amount => self.amounts(text),
            Kind::Date => self.dates(text),
            Kind::Boolean => yes_or_no(text).into_iter().collect(),
            Kind::Enum => one_of(&point.values, text),
        }
    }

    /// Reads a text that a pattern or a person says is the value. None where it is not of the type.
    pub(super) fn exactly(&self, point: &DataPoint, text: &str) -> Option<Value> {
        let whole = 0..text.len();
        match point.kind {
            Kind::String => {
                let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
                (!joined.is_empty()).then(|| Value::text(whole, joined, 0.95, false))
            }
            Kind::Code => {
                let code = compact(text);
                (!code.is_empty()).then(|| Value::text(whole, code, 1.0, true))
            }
            _ => self.find(point, text).into_iter().next(),
        }
    }

    fn code(&self, point: &DataPoint, text: &str) -> Option<Value> {
        let shapes: Vec<&Regex> = point.patterns.iter().filter(|p| !p.grouped).map(|p| &p.regex).collect();
        let literal = point.patterns.iter().any(|p| p.literal);
        let words = words(text);
        let words = &words[..words.len().min(CODE_WORDS)];
        let shaped = (0..words.len()).find_map(|first| shaped(&shapes, text, &words[first..]));
        if let Some(span) = shaped {
            let code = compact(&text[span.clone()]);
            let (mut fit, mut strong) = if literal || code.contains(|c: char| c.is_ascii_digit()) {
                (1.0, true)
            } else {
                (0.8, false)
            };
            if self.dates.read(&text[span.clone()]).is_some() {
                (fit, strong) = (0.4, false);
            }
            if is_iban_point(point) && !valid_iban(&code) {
                fit = 0.85;
            }
            return Some(Value::text(span, code, fit, strong));
        }
        let value = self.unshaped(text, words)?;
        // It does not look as the taxonomy says, but stands where it should.
        Some(if shapes.is_empty() { value } else { Value { fit: value.fit * 0.7, strong: false, ..value } })
    }

    /// A code without a shape to go by: the first word with a digit, or a word in capitals right at the start.
    fn unshaped(&self, text: &str, words: &[Span]) -> Option<Value> {
        let first = words.first()?;
        let digits = |word: &Span| text[word.clone()].contains(|c: char| c.is_ascii_digit());
        let end = group_end(text, words);
        if end > first.end {
            let span = first.start..end;
            return Some(Value::text(span.clone(), compact(&text[span]), 0.95, true));
        }
        let (index, word) =
            words.iter().enumerate().take(4).find(|(_, word)| digits(word)).unwrap_or((0, first));
        let printed = &text[word.clone()];
        let chars = printed.chars().count();
        let mut fit = match (digits(word), index) {
            (true, 0) if chars >= 4 => 0.95,
            (true, 0) => 0.8,
            (true, _) => 0.5,
            (false, _) if chars >= 2 && printed.chars().all(|c| c.is_uppercase() || !c.is_alphabetic()) => {
                0.5
            }
            (false, _) => 0.3,
        };
        let rate = text[word.end..].starts_with('%') || printed.ends_with('%');
        let sum = self.numbers.read(printed).is_some_and(|n| n.currency.is_some() || n.value.scale() == 2);
        if rate || sum || self.dates.read(printed).is_some() {
            fit *= 0.3;
        }
        Some(Value::text(word.clone(), compact(printed), fit, digits(word) && index == 0 && chars >= 4))
    }
}

fn number(found: FoundNumber, fit: f32) -> Value {
    Value {
        currency: found.currency,
        number: Some(found.value),
        ..Value::text(found.span, found.value.to_string(), fit, found.value.scale() > 0)
    }
}

fn amount(found: FoundNumber) -> Value {
    let fit = match (found.value.scale(), found.currency) {
        (2, _) => 1.0,
        (0, Some(_)) => 0.8,
        (0, None) => 0.35,
        _ => 0.6,
    };
    let strong = found.value.scale() == 2;
    Value { strong, ..number(found, fit) }
}

/// The words of a text without the punctuation around them.
fn words(text: &str) -> Vec<Span> {
    let mut words = Vec::new();
    let mut from = 0;
    for piece in text.split(char::is_whitespace) {
        let start = from;
        from += piece.len() + text[from + piece.len()..].chars().next().map_or(0, char::len_utf8);
        let open =
            piece.trim_start_matches(['(', '[', ':', ';', ',', '"', '\'', '„', '“', '-', '–', '.', '=', '*']);
        let closed =
            open.trim_end_matches([')', ']', ':', ';', ',', '"', '\'', '“', '”', '.', '-', '–', '*']);
        if closed.contains(char::is_alphanumeric) || closed.contains('#') {
            let start = start + piece.len() - open.len();
            words.push(start..start + closed.len());
        }
    }
    words
}

/// The longest run of words from the first on that has one of the shapes when written together.
fn shaped(shapes: &[&Regex], text: &str, words: &[Span]) -> Option<Span> {
    let first = words.first()?;
    let printed = &text[first.clone()];
    let within = shapes.iter().filter_map(|shape| shape.find(printed)).max_by_key(regex::Match::len);
    if let Some(found) = within.filter(|found| found.len() * 3 >= printed.len() * 2) {
        return Some(first.start + found.start()..first.start + found.end());
    }
    let mut joined = printed.to_owned();
    let mut longest = None;
    for word in words.iter().skip(1).take(GROUPS) {
        let group = &text[word.clone()];
        let next_to = text[first.start..word.start].ends_with(char::is_whitespace)
            && !text[first.start..word.start].contains("  ");
        if !next_to
            || group.chars().count() > GROUP_CHARS
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

/// Where a code printed in groups ends, as `FR 11 123 456 782`: at the first word's end where it is no such code.
fn group_end(text: &str, words: &[Span]) -> usize {
    let group = |word: &Span| {
        let printed = &text[word.clone()];
        printed.len() <= GROUP_CHARS && printed.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    let mut end = words[0].end;
    if !group(&words[0]) {
        return end;
    }
    for pair in words.windows(2).take(GROUPS) {
        let digits = text[pair[1].clone()].chars().any(|c| c.is_ascii_digit());
        if &text[pair[0].end..pair[1].start] != " " || !group(&pair[1]) || !digits {
            break;
        }
        end = pair[1].end;
    }
    end
}

fn yes_or_no(text: &str) -> Option<Value> {
    let mut from = 0;
    for word in text.split_whitespace().take(3) {
        let start = from + text[from..].find(word)?;
        from = start + word.len();
        if let Some(answer) = boolean(word) {
            let fit = if word.chars().count() > 1 || !word.is_ascii() { 0.95 } else { 0.6 };
            return Some(Value::text(start..from, answer.to_string(), fit, fit > 0.9));
        }
    }
    None
}

fn one_of(values: &[String], text: &str) -> Vec<Value> {
    let printed = tokens(text);
    let mut found: Vec<Value> = Vec::new();
    for value in values {
        let wanted = tokens(value);
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

/// Whether the taxonomy calls a data point an IBAN.
pub(super) fn is_iban_point(point: &DataPoint) -> bool {
    std::iter::once(&point.name).chain(&point.labels).any(|name| fold(name).contains("iban"))
}

/// Whether the check digits are right (ISO 13616: the rest modulo 97, letters as 10 to 35).
pub(super) fn valid_iban(code: &str) -> bool {
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
