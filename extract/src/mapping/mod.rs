//! Finds the values of a taxonomy in the text of a document: by patterns first, then beside and below labels.
//!
//! Everything that might be a value is a candidate with a score, an estimate of the probability that it is right.
//! Candidates that agree strengthen each other, rivals weaken each other, and what follows from other values (net and
//! tax make gross, a due date is not before the issue) weighs in. The confidence of a result is that score: 0.8 and
//! more is meant to be right nineteen times of twenty.
//!
//! | module | what it owns |
//! |---|---|
//! | `sheet` | rows and cells of a page by the boxes of its words |
//! | `token`, `label` | spellings of labels, and where they are printed |
//! | `value`, `string` | reading a value of a type out of a text |
//! | `near` | the values beside and below a label |
//! | `matched` | the values that patterns find |
//! | `role`, `sums`, `days`, `party`, `letter` | what values say about each other |
//! | `choose` | one value, or each occurrence, out of the candidates |

use serde::{Deserialize, Serialize};

use crate::document::{BBox, TextDocument, Zones};
use crate::taxonomy::{Kind, Taxonomy};

mod candidate;
mod choose;
mod days;
mod label;
mod letter;
mod matched;
mod near;
mod party;
mod role;
mod settle;
mod sheet;
mod string;
mod sums;
#[cfg(test)]
mod tests;
mod token;
mod value;

pub use settle::settle;

use label::Labels;
use matched::Texts;
use near::Neighbourhood;
use party::Parties;
use role::Roles;
use sheet::Sheet;
use value::Reading;

/// `mapping-json`: the values found, in the order of the taxonomy's data points.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mapping {
    /// One entry per occurrence. What is required and missing stands with no value.
    pub data_points: Vec<Finding>,
}

/// A value of a data point.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The data point's name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// As printed; None where it is required and missing.
    #[serde(default)]
    pub value: Option<String>,
    /// Dates as ISO 8601, amounts and numbers as plain decimals, codes without white space, yes and no as `true` and
    /// `false`, enums as the taxonomy spells them. None where the printed text is not of the type.
    #[serde(default)]
    pub normalized: Option<String>,
    /// ISO 4217 code of an amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Estimate of the probability that it is right, 0 to 1.
    #[serde(default)]
    pub confidence: f64,
    /// From 1.
    #[serde(default)]
    pub page: Option<u32>,
    /// Around the words that print it.
    #[serde(rename = "box", default)]
    pub bbox: Option<BBox>,
    /// The zone that holds it.
    #[serde(default)]
    pub zone: Option<String>,
}

/// Finds the values of a taxonomy in a document. `zones` only name the zone of each value.
pub fn map(document: &TextDocument, zones: Option<&Zones>, taxonomy: &Taxonomy) -> Mapping {
    let sheets: Vec<Sheet<'_>> = document.pages.iter().map(Sheet::new).collect();
    let reading = Reading::new(&taxonomy.options, document);
    let labels = Labels::new(taxonomy).find(&sheets);
    let near = Neighbourhood::new(&sheets, &labels, &reading);
    let parties = Parties::new(taxonomy, &sheets, &labels);
    let roles = Roles::new(taxonomy);

    let mut candidates = Texts::new(&sheets).candidates(taxonomy, &reading);
    for (index, point) in taxonomy.data_points.iter().enumerate() {
        let found = &mut candidates[index];
        for label in labels.iter().filter(|label| roles.meant(label) == Some(index)) {
            found.extend(near.values(point, label));
        }
        for label in parties.borrowed(taxonomy, index, &sheets, &labels) {
            found.extend(near.values(point, label));
        }
        parties.weigh(index, found);
    }
    let findings = choose::choose(candidates, taxonomy, |groups| {
        sums::weigh(groups, &roles, &sheets, &reading);
        days::weigh(groups, &roles, &sheets, &reading);
        letter::guess(groups, taxonomy, &sheets, &labels);
    });
    choose::mapping(findings, &sheets, zones, taxonomy)
}
