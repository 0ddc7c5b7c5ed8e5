//! Brings normalized values up to date after a person corrected what is printed.

use super::value::Reading;
use super::{Finding, Mapping};
use crate::document::TextDocument;
use crate::taxonomy::Taxonomy;

/// Normalizes again what a person changed: values without a normalized form, and values that changed while their
/// normalized form stayed as it was in `before`. What a person typed is read as the values of `document` are: who looks
/// at `1.234,56` types `2.345` for two thousand and more. A person's value counts as sure.
pub fn settle(before: &Mapping, after: &mut Mapping, taxonomy: &Taxonomy, document: &TextDocument) {
    let reading = Reading::new(&taxonomy.options, document);
    for finding in &mut after.data_points {
        let same_place =
            |old: &&Finding| old.name == finding.name && old.page == finding.page && old.bbox == finding.bbox;
        let old: Vec<&Finding> = before.data_points.iter().filter(same_place).collect();
        let untouched =
            old.iter().any(|old| old.value == finding.value && old.normalized == finding.normalized);
        if untouched {
            continue;
        }
        let stale =
            finding.normalized.is_none() || old.iter().any(|old| old.normalized == finding.normalized);
        if let (Some(point), true) = (taxonomy.data_point(&finding.name), stale) {
            let value = finding.value.as_deref().and_then(|value| reading.exactly(point, value.trim()));
            finding.normalized = value.map(|value| value.normalized);
        }
        finding.confidence = if finding.value.is_some() { 1.0 } else { 0.0 };
    }
}
