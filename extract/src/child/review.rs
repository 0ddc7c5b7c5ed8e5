//! Whether a person is asked to look at what a step made, and why.

use crate::operation::Review;
use crate::review::ReviewItem;

/// Asks for a look at the items. From a threshold of 1 on a person looks even where nothing was found, since something
/// may have been missed.
pub(super) fn ask(
    items: Vec<ReviewItem>,
    threshold: f64,
    content_role: &str,
    reason: String,
) -> Option<Review> {
    let reason = if threshold >= 1.0 {
        "Everything is looked at, since the threshold is 1.".to_owned()
    } else if items.is_empty() {
        return None;
    } else {
        reason
    };
    Some(Review { reason, content_role: content_role.to_owned(), items })
}

/// Why values are looked at: some are less certain than the threshold, some are missing.
pub(super) fn reason_for_values(items: &[ReviewItem], threshold: f64) -> String {
    let missing = items.iter().filter(|item| item.value.is_null()).count();
    match (items.len() - missing, missing) {
        (uncertain, 0) => less_certain(uncertain, "value", threshold),
        (0, missing) => format!("{} missing.", count(missing, "required value")),
        (uncertain, missing) => format!(
            "{} less certain than {threshold}; {} missing.",
            count(uncertain, "value"),
            count(missing, "required value")
        ),
    }
}

/// Why things of one kind are looked at.
pub(super) fn less_certain(n: usize, thing: &str, threshold: f64) -> String {
    format!("{} less certain than {threshold}.", count(n, thing))
}

fn count(n: usize, thing: &str) -> String {
    match n {
        1 => format!("1 {thing} is"),
        n => format!("{n} {thing}s are"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn item(value: Value) -> ReviewItem {
        ReviewItem {
            path: String::new(),
            label: String::new(),
            value,
            confidence: 0.5,
            page: None,
            bbox: None,
            missing: false,
        }
    }

    #[test]
    fn reasons_are_sentences() {
        let (found, missing) = (item("x".into()), item(Value::Null));
        let reason = |items: &[ReviewItem]| reason_for_values(items, 0.8);
        assert_eq!(reason(&[found.clone(), found.clone()]), "2 values are less certain than 0.8.");
        assert_eq!(reason(std::slice::from_ref(&missing)), "1 required value is missing.");
        assert_eq!(
            reason(&[found, missing]),
            "1 value is less certain than 0.8; 1 required value is missing."
        );
    }

    #[test]
    fn a_threshold_of_one_asks_in_any_case() {
        let asked = |threshold, items: &[ReviewItem]| ask(items.to_vec(), threshold, "r", "why".into());
        assert_eq!(asked(0.5, &[]), None);
        assert_eq!(asked(0.5, &[item(Value::Null)]).unwrap().reason, "why");
        assert!(asked(1.0, &[]).unwrap().reason.starts_with("Everything"));
    }
}
