//! The shape of `mapping-json`.

use serde::{Deserialize, Serialize};

use crate::document::BBox;
use crate::taxonomy::Kind;

/// `mapping-json`: the values found, in the order of the taxonomy's data points.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mapping {
    /// One entry for each occurrence. A missing required value has an entry without a value.
    pub data_points: Vec<Finding>,
}

/// A value found for a data point.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the data point.
    pub name: String,
    /// Type of the data point.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The value as printed; `None` if it is required and missing.
    #[serde(default)]
    pub value: Option<String>,
    /// The normalized value; `None` if the printed text is not of the type. Dates are ISO 8601, amounts and numbers are
    /// plain decimals. Codes have no white space, booleans are `true` or `false`, and enums are spelled as in the taxonomy.
    #[serde(default)]
    pub normalized: Option<String>,
    /// ISO 4217 code of an amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Estimated probability that the value is right, 0 to 1.
    #[serde(default)]
    pub confidence: f64,
    /// From 1.
    #[serde(default)]
    pub page: Option<u32>,
    /// Box around the printed words.
    #[serde(rename = "box", default)]
    pub bbox: Option<BBox>,
    /// ID of the zone around the value.
    #[serde(default)]
    pub zone: Option<String>,
}
