//! Selects the items of a content that need a review. One rule applies to values, zones and keywords:
//!
//! - a threshold of 0 (or less) selects no items;
//! - a threshold of 1 or more selects all items;
//! - a threshold in between selects items with a lower confidence, and missing required ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::{BBox, Zone, Zones};
use crate::keywords::Keywords;
use crate::mapping::Mapping;
use crate::taxonomy::Taxonomy;

/// Characters of a zone's text in a label.
const LABEL_CHARS: usize = 60;

/// A part of a content that needs a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReviewItem {
    /// JSON Pointer (RFC 6901) into the content.
    pub path: String,
    /// Name of the item, for reviewers.
    pub label: String,
    /// The value found; null if it is missing.
    pub value: Value,
    /// 0 to 1.
    pub confidence: f64,
    /// From 1.
    pub page: Option<u32>,
    /// Position, as fractions of the page.
    #[serde(rename = "box")]
    pub bbox: Option<BBox>,
    /// Whether the item is required and was not found.
    #[serde(skip)]
    pub missing: bool,
}

/// Number of items with one confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Confidence in thousandths.
    pub thousandths: u16,
    /// Whether the items are required and were not found.
    pub missing: bool,
    /// Number of items.
    pub items: u32,
    /// Number of items that need a review.
    pub due: u32,
}

/// Counts all items by confidence, and those among them that need a review under a threshold. `all_items` are the items
/// of a threshold of 1.
pub(crate) fn count_scores(all_items: &[ReviewItem], threshold: f64) -> Vec<Score> {
    let mut counts: BTreeMap<(u16, bool), (u32, u32)> = BTreeMap::new();
    for item in all_items {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        let thousandths = (item.confidence.clamp(0.0, 1.0) * 1_000.0).round() as u16;
        let (items, due) = counts.entry((thousandths, item.missing)).or_default();
        *items += 1;
        *due += u32::from(is_due(item.confidence, threshold, item.missing));
    }
    let score = |((thousandths, missing), (items, due))| Score { thousandths, missing, items, due };
    counts.into_iter().map(score).collect()
}

/// Returns the items that need a review under a threshold.
pub(crate) fn due_items(all_items: Vec<ReviewItem>, threshold: f64) -> Vec<ReviewItem> {
    all_items.into_iter().filter(|item| is_due(item.confidence, threshold, item.missing)).collect()
}

/// Whether an item needs a review.
fn is_due(confidence: f64, threshold: f64, missing: bool) -> bool {
    threshold > 0.0 && (threshold >= 1.0 || missing || confidence < threshold)
}

/// Returns the values of `mapping-json` that need a review. A required value without any entry is an item too; its path
/// is that of the list.
pub fn mapping_items(mapping: &Mapping, taxonomy: &Taxonomy, threshold: f64) -> Vec<ReviewItem> {
    let required = |name: &str| taxonomy.data_point(name).is_some_and(|point| point.required);
    let found = mapping.data_points.iter().enumerate();
    let due = found.filter(|(_, finding)| {
        is_due(finding.confidence, threshold, finding.value.is_none() && required(&finding.name))
    });
    let mut items: Vec<ReviewItem> = due
        .map(|(index, finding)| ReviewItem {
            path: format!("/data_points/{index}"),
            label: finding.name.clone(),
            value: finding.value.clone().map_or(Value::Null, Value::String),
            confidence: finding.confidence,
            page: finding.page,
            bbox: finding.bbox,
            missing: finding.value.is_none() && required(&finding.name),
        })
        .collect();
    let absent = taxonomy.data_points.iter().filter(|point| {
        point.required && !mapping.data_points.iter().any(|finding| finding.name == point.name)
    });
    items.extend(absent.filter(|_| is_due(0.0, threshold, true)).map(|point| ReviewItem {
        path: "/data_points".to_owned(),
        label: point.name.clone(),
        value: Value::Null,
        confidence: 0.0,
        page: None,
        bbox: None,
        missing: true,
    }));
    items
}

/// Returns the zones of `zoning-json` that need a review.
pub fn zone_items(zones: &Zones, threshold: f64) -> Vec<ReviewItem> {
    let item = |(index, zone): (usize, &Zone)| {
        let confidence = round_to_thousandths(zone.confidence);
        is_due(confidence, threshold, false).then(|| ReviewItem {
            path: format!("/zones/{index}"),
            label: zone.text.chars().take(LABEL_CHARS).map(|c| if c == '\n' { ' ' } else { c }).collect(),
            value: serde_json::to_value(zone.kind).unwrap_or(Value::Null),
            confidence,
            page: Some(zone.page),
            bbox: Some(zone.bbox),
            missing: false,
        })
    };
    zones.zones.iter().enumerate().filter_map(item).collect()
}

/// Returns the keywords of `indexing-json` that need a review.
pub fn keyword_items(keywords: &Keywords, threshold: f64) -> Vec<ReviewItem> {
    let due = keywords
        .keywords
        .iter()
        .enumerate()
        .filter(|(_, keyword)| is_due(keyword.confidence, threshold, false));
    due.map(|(index, keyword)| ReviewItem {
        path: format!("/keywords/{index}"),
        label: keyword.term.clone(),
        value: keyword.entry.clone().map_or(Value::Null, Value::String),
        confidence: keyword.confidence,
        page: None,
        bbox: None,
        missing: false,
    })
    .collect()
}

/// Converts a confidence to 64 bits without spurious digits.
fn round_to_thousandths(confidence: f32) -> f64 {
    (f64::from(confidence) * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::ZoneKind;
    use crate::keywords::Keyword;
    use crate::mapping::Finding;

    fn taxonomy() -> Taxonomy {
        Taxonomy::parse(&json!({"name": "t", "data_points": [
            {"name": "a", "type": "string"}, {"name": "b", "type": "string", "required": true},
            {"name": "c", "type": "string", "required": true}]}))
        .expect("a taxonomy")
    }

    fn mapping() -> Mapping {
        let finding = |name: &str, value: Option<&str>, confidence| Finding {
            name: name.into(),
            value: value.map(Into::into),
            confidence,
            ..Finding::default()
        };
        Mapping {
            data_points: vec![
                finding("a", Some("x"), 0.9),
                finding("a", Some("y"), 0.5),
                finding("b", None, 0.0),
            ],
        }
    }

    fn paths(threshold: f64) -> Vec<String> {
        mapping_items(&mapping(), &taxonomy(), threshold).into_iter().map(|item| item.path).collect()
    }

    #[test]
    fn threshold_selects_items_for_review() {
        assert_eq!(paths(0.0), Vec::<String>::new());
        assert_eq!(paths(0.8), ["/data_points/1", "/data_points/2", "/data_points"]);
        assert_eq!(
            paths(0.01),
            ["/data_points/2", "/data_points"],
            "missing values are due at any threshold"
        );
        assert_eq!(paths(1.0), ["/data_points/0", "/data_points/1", "/data_points/2", "/data_points"]);
        assert_eq!(paths(1.5).len(), 4);
    }

    #[test]
    fn scores_count_all_items_and_due_items() {
        let all_items = mapping_items(&mapping(), &taxonomy(), 1.0);
        let score = |thousandths, missing, items, due| Score { thousandths, missing, items, due };
        assert_eq!(
            count_scores(&all_items, 0.8),
            [score(0, true, 2, 2), score(500, false, 1, 1), score(900, false, 1, 0)]
        );
        assert_eq!(due_items(all_items.clone(), 0.8), mapping_items(&mapping(), &taxonomy(), 0.8));
        assert_eq!(due_items(all_items, 0.0), []);
    }

    #[test]
    fn zones_and_keywords_follow_the_same_rule() {
        let bbox = BBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
        let zone = |confidence| Zone {
            id: "z".into(),
            page: 1,
            bbox,
            kind: ZoneKind::Table,
            text: "a\nb".into(),
            confidence,
        };
        let zones = Zones { zones: vec![zone(0.9), zone(0.3)] };
        let items = zone_items(&zones, 0.9);
        assert_eq!((items.len(), items[0].path.as_str(), items[0].label.as_str()), (1, "/zones/1", "a b"));
        assert_eq!(items[0].value, json!("table"));
        assert_eq!((zone_items(&zones, 0.0).len(), zone_items(&zones, 1.0).len()), (0, 2));
        let keyword = Keyword { term: "tax".into(), weight: 0.5, count: 1, entry: None, confidence: 0.4 };
        let keywords = Keywords { keywords: vec![keyword] };
        assert_eq!(keyword_items(&keywords, 0.5)[0].path, "/keywords/0");
        assert_eq!(keyword_items(&keywords, 0.4), []);
    }
}
