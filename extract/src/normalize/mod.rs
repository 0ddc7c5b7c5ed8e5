//! Normalizes printed dates, numbers, booleans and words for comparison.
//!
//! The readers know no pages or data points: each takes a text and returns positioned values.

mod boolean;
mod date;
mod month;
mod number;
mod text;

pub(crate) use boolean::parse_boolean;
pub(crate) use date::{DateFormat, DateReader, FoundDate};
pub(crate) use number::{Currency, FoundNumber, NumberReader};
pub(crate) use text::{Span, fold, strip_whitespace};
