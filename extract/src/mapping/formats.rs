//! Reads dates and numbers in the formats of a document.

use super::value::Value;
use crate::document::TextDocument;
use crate::normalize::{DateFormat, DateReader, FoundDate, FoundNumber, NumberReader};
use crate::taxonomy::Options;

/// The date and number formats of one document.
pub(super) struct Formats {
    numbers: NumberReader,
    dates: DateReader,
}

impl Formats {
    /// Takes the formats from the taxonomy's options, or else infers them from the document.
    pub(super) fn new(options: &Options, document: &TextDocument) -> Self {
        let pages = || document.pages.iter().map(|page| page.text.as_str());
        let numbers = match options.decimal_separator {
            Some(separator) => NumberReader::new(separator),
            None => NumberReader::infer(pages()),
        };
        // The taxonomy's parser has checked the formats.
        let formats =
            options.date_formats.iter().filter_map(|format| DateFormat::parse(format).ok()).collect();
        let english = options.languages.first().is_some_and(|language| language == "en");
        let american = english && options.currency.as_deref() == Some("USD");
        Self { numbers, dates: DateReader::new(formats, pages(), american) }
    }

    /// Returns every amount and other number in the text, without percentages.
    pub(super) fn amounts(&self, text: &str) -> Vec<Value> {
        self.numbers.find(text).into_iter().filter(|number| !number.percent).map(amount_value).collect()
    }

    /// Returns every date in the text.
    pub(super) fn dates(&self, text: &str) -> Vec<Value> {
        let value = |found: FoundDate| Value {
            date: Some(found.date),
            ..Value::text(
                found.span(),
                found.date.to_string(),
                if found.is_unambiguous { 1.0 } else { 0.8 },
                true,
            )
        };
        self.dates.find(text).into_iter().map(value).collect()
    }

    /// Returns every number in the text, amounts and percentages included.
    pub(super) fn numbers(&self, text: &str) -> Vec<Value> {
        self.numbers.find(text).into_iter().map(|found| number_value(found, 0.9)).collect()
    }

    /// Whether the text contains a date.
    pub(super) fn has_date(&self, text: &str) -> bool {
        self.dates.read(text).is_some()
    }

    /// Whether the text is one number with a currency or two decimals.
    pub(super) fn is_amount(&self, text: &str) -> bool {
        self.numbers.read(text).is_some_and(|number| number.currency.is_some() || number.value.scale() == 2)
    }
}

fn number_value(found: FoundNumber, fit: f32) -> Value {
    Value {
        currency: found.currency,
        number: Some(found.value),
        ..Value::text(found.span, found.value.to_string(), fit, found.value.scale() > 0)
    }
}

fn amount_value(found: FoundNumber) -> Value {
    let fit = match (found.value.scale(), found.currency) {
        (2, _) => 1.0,
        (0, Some(_)) => 0.8,
        (0, None) => 0.35,
        _ => 0.6,
    };
    let strong = found.value.scale() == 2;
    Value { strong, ..number_value(found, fit) }
}
