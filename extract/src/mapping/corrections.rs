//! Normalizes values that a reviewer corrected.

use super::finding::{Finding, Mapping};
use super::formats::Formats;
use super::reader::read_value;
use crate::document::TextDocument;
use crate::taxonomy::Taxonomy;

/// Normalizes corrected values again: values without a normalized form, and changed values with the normalized form of
/// `before`.
///
/// Corrected values are read like those of `document`: beside `1.234,56`, `2.345` means more than two thousand. A
/// corrected value has confidence 1.
pub(crate) fn normalize_corrections(
    before: &Mapping,
    after: &mut Mapping,
    taxonomy: &Taxonomy,
    document: &TextDocument,
) {
    let formats = Formats::new(&taxonomy.options, document);
    for finding in &mut after.data_points {
        let shares_word =
            |old: &&Finding| old.name == finding.name && old.page == finding.page && old.bbox == finding.bbox;
        let old: Vec<&Finding> = before.data_points.iter().filter(shares_word).collect();
        let untouched =
            old.iter().any(|old| old.value == finding.value && old.normalized == finding.normalized);
        if untouched {
            continue;
        }
        let stale =
            finding.normalized.is_none() || old.iter().any(|old| old.normalized == finding.normalized);
        if let (Some(point), true) = (taxonomy.data_point(&finding.name), stale) {
            let value = finding.value.as_deref().and_then(|value| read_value(&formats, point, value.trim()));
            finding.normalized = value.map(|value| value.normalized);
        }
        finding.confidence = if finding.value.is_some() { 1.0 } else { 0.0 };
    }
}
