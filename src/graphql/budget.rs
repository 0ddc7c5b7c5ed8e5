//! Byte budget of one response, charged while the response is built.
//!
//! The async-graphql library builds a whole response in memory before anything is sent. Values that can be large are
//! charged here when they are read. An operation that requests too much therefore fails early, not after the whole
//! response is built.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value as Json;

use crate::error::{Error, Result};

/// Remaining budget of one response.
#[derive(Debug)]
pub(super) struct Budget {
    rows: AtomicUsize,
    values: AtomicUsize,
    limit: usize,
}

impl Budget {
    /// Creates a budget of `limit` bytes for rows, and as many for values.
    pub(super) fn new(limit: usize) -> Self {
        Self { rows: AtomicUsize::new(limit), values: AtomicUsize::new(limit), limit }
    }

    /// Charges rows that were read.
    pub(super) fn charge_rows<'a>(&self, values: impl IntoIterator<Item = &'a Json>) -> Result<()> {
        self.charge(&self.rows, values.into_iter().map(size).sum())
    }

    /// Charges a value that goes into the response.
    pub(super) fn charge_value(&self, value: &Json) -> Result<()> {
        self.charge(&self.values, size(value))
    }

    /// Resets the budget for the next response of a subscription.
    pub(super) fn reset(&self) {
        self.rows.store(self.limit, Ordering::Relaxed);
        self.values.store(self.limit, Ordering::Relaxed);
    }

    fn charge(&self, remaining: &AtomicUsize, bytes: usize) -> Result<()> {
        let charged = remaining
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes_left| bytes_left.checked_sub(bytes));
        charged.map(drop).map_err(|_| {
            let limit = self.limit;
            Error::TooLarge(format!(
                "The response would have more than {limit} bytes, which is the limit. Request fewer entries or fields."
            ))
        })
    }
}

/// Returns the size of a value as JSON in bytes, not counting escapes.
fn size(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) => 4,
        Json::Number(_) => 8,
        Json::String(text) => text.len() + 2,
        Json::Array(values) => values.iter().map(|value| size(value) + 1).sum::<usize>() + 2,
        Json::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() + size(value) + 4).sum::<usize>() + 2
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn charged_size_is_close_to_the_serialized_size() {
        for value in
            [json!(null), json!("abc"), json!([1.5, true]), json!({"a": {"b": ["c", "dd"]}, "e": {}})]
        {
            let written = value.to_string().len();
            assert!((written..=2 * written + 8).contains(&size(&value)), "{value}: {}", size(&value));
        }
    }

    #[test]
    fn rows_and_values_have_separate_budgets() {
        let budget = Budget::new(100);
        let text = json!("x".repeat(40));
        budget.charge_rows([&text, &text]).unwrap();
        assert!(
            matches!(budget.charge_rows([&text]), Err(Error::TooLarge(message)) if message.contains("100 bytes"))
        );
        budget.charge_value(&text).unwrap();
        budget.charge_value(&text).unwrap();
        assert!(budget.charge_value(&text).is_err());
        budget.reset();
        budget.charge_value(&text).unwrap();
    }
}
