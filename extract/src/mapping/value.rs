//! Values read from a text.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::normalize::{Currency, Span};

/// A value in a text.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) span: Span,
    pub(super) normalized: String,
    /// How well the text fits the type, 0 to 1.
    pub(super) fit: f32,
    /// Whether few other texts would fit: a date, an amount with decimals, a code of the expected shape.
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
