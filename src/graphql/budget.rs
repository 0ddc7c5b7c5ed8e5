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
    most: usize,
}

impl Budget {
    /// Creates a budget of `most` bytes for rows, and as many for values.
    pub(super) fn new(most: usize) -> Self {
        Self { rows: AtomicUsize::new(most), values: AtomicUsize::new(most), most }
    }

    /// Charges rows that were read.
    pub(super) fn read<'a>(&self, values: impl IntoIterator<Item = &'a Json>) -> Result<()> {
        self.charge(&self.rows, values.into_iter().map(size).sum())
    }

    /// Charges a value that goes into the response.
    pub(super) fn show(&self, value: &Json) -> Result<()> {
        self.charge(&self.values, size(value))
    }

    /// Resets the budget for the next response of a subscription.
    pub(super) fn renew(&self) {
        self.rows.store(self.most, Ordering::Relaxed);
        self.values.store(self.most, Ordering::Relaxed);
    }

    fn charge(&self, left: &AtomicUsize, bytes: usize) -> Result<()> {
        let charged = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        charged.map(drop).map_err(|_| {
            let most = self.most;
            Error::TooLarge(format!(
                "The response would have more than {most} bytes, which is the most. Ask for fewer entries or fields."
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
    fn what_is_charged_is_about_what_is_written() {
        for value in
            [json!(null), json!("abc"), json!([1.5, true]), json!({"a": {"b": ["c", "dd"]}, "e": {}})]
        {
            let written = value.to_string().len();
            assert!((written..=2 * written + 8).contains(&size(&value)), "{value}: {}", size(&value));
        }
    }

    #[test]
    fn rows_and_values_have_a_budget_each_which_ends() {
        let budget = Budget::new(100);
        let text = json!("x".repeat(40));
        budget.read([&text, &text]).unwrap();
        assert!(matches!(budget.read([&text]), Err(Error::TooLarge(said)) if said.contains("100 bytes")));
        budget.show(&text).unwrap();
        budget.show(&text).unwrap();
        assert!(budget.show(&text).is_err());
        budget.renew();
        budget.show(&text).unwrap();
    }
}
