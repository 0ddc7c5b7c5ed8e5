//! Requests reviews of what a step found.

use crate::operation::Review;
use crate::review::ReviewItem;

/// Requests a review of the items. With a threshold of 1 or more it requests one even without items, because the step
/// may have missed something.
pub(super) fn request_review(
    items: Vec<ReviewItem>,
    threshold: f64,
    content_role: &str,
    reason: String,
) -> Option<Review> {
    let reason = if threshold >= 1.0 {
        "All items need a review, because the threshold is 1.".to_owned()
    } else if items.is_empty() {
        return None;
    } else {
        reason
    };
    Some(Review { reason, content_role: content_role.to_owned(), items })
}

/// Returns the reason to review values: some are less certain than the threshold, some are missing.
pub(super) fn values_reason(items: &[ReviewItem], threshold: f64) -> String {
    let missing = items.iter().filter(|item| item.value.is_null()).count();
    match (items.len() - missing, missing) {
        (uncertain, 0) => less_certain_reason(uncertain, "value", threshold),
        (0, missing) => format!("{} missing.", count_with_verb(missing, "required value")),
        (uncertain, missing) => format!(
            "{} less certain than {threshold}; {} missing.",
            count_with_verb(uncertain, "value"),
            count_with_verb(missing, "required value")
        ),
    }
}

/// Returns the reason to review items of one kind.
pub(super) fn less_certain_reason(n: usize, noun: &str, threshold: f64) -> String {
    format!("{} less certain than {threshold}.", count_with_verb(n, noun))
}

fn count_with_verb(n: usize, noun: &str) -> String {
    match n {
        1 => format!("1 {noun} is"),
        n => format!("{n} {noun}s are"),
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
    fn review_reasons_are_sentences() {
        let (found, missing) = (item("x".into()), item(Value::Null));
        let reason = |items: &[ReviewItem]| values_reason(items, 0.8);
        assert_eq!(reason(&[found.clone(), found.clone()]), "2 values are less certain than 0.8.");
        assert_eq!(reason(std::slice::from_ref(&missing)), "1 required value is missing.");
        assert_eq!(
            reason(&[found, missing]),
            "1 value is less certain than 0.8; 1 required value is missing."
        );
    }

    #[test]
    fn threshold_of_one_always_requests_review() {
        let review =
            |threshold, items: &[ReviewItem]| request_review(items.to_vec(), threshold, "r", "why".into());
        assert_eq!(review(0.5, &[]), None);
        assert_eq!(review(0.5, &[item(Value::Null)]).unwrap().reason, "why");
        assert!(review(1.0, &[]).unwrap().reason.starts_with("All items"));
    }
}
