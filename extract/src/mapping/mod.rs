//! Finds the values of a taxonomy in the text of a document, first by patterns, then beside and below labels.
//!
//! Each possible value is a candidate with a score, the estimated probability that it is right. Candidates of the same
//! value raise each other's score, and rivals lower it. Relations between values count too: net and tax add up to
//! gross, and a due date is not before the date of issue. The score becomes the confidence. At 0.8 and more, nineteen
//! of twenty values should be right.
//!
//! | module | responsibility |
//! |---|---|
//! | `finding` | the shape of `mapping-json` |
//! | `page_grid` | rows and cells of a page |
//! | `token`, `label` | spellings of labels, and their occurrences |
//! | `formats` | dates and numbers in the formats of a document |
//! | `value`, `string`, `code`, `reader` | values of each type in a text |
//! | `candidate` | scored candidates, grouped by value |
//! | `pattern_match` | candidates that patterns find |
//! | `nearby` | candidates beside and below a label |
//! | `role`, `amounts`, `dates`, `party`, `party_name`, `letter` | relations between values |
//! | `choose` | the choice among the candidates |
//! | `corrections` | values that a reviewer corrected |

use crate::document::{TextDocument, Zones};
use crate::taxonomy::Taxonomy;

mod amounts;
mod candidate;
mod choose;
mod code;
mod corrections;
mod dates;
mod finding;
mod formats;
mod label;
mod letter;
mod nearby;
mod page_grid;
mod party;
mod party_name;
mod pattern_match;
mod reader;
mod role;
mod string;
#[cfg(test)]
mod tests;
mod token;
mod value;

pub(crate) use corrections::normalize_corrections;
pub use finding::{Finding, Mapping};

use formats::Formats;
use label::LabelIndex;
use nearby::NearbyValues;
use page_grid::PageGrid;
use party::Parties;
use pattern_match::PatternMatcher;
use role::Roles;

/// Finds the values of a taxonomy in a document. `zones` serve only to name the zone of each value.
pub fn map_document(document: &TextDocument, zones: Option<&Zones>, taxonomy: &Taxonomy) -> Mapping {
    let grids: Vec<PageGrid<'_>> = document.pages.iter().map(PageGrid::new).collect();
    let formats = Formats::new(&taxonomy.options, document);
    let labels = LabelIndex::new(taxonomy).find_labels(&grids);
    let nearby = NearbyValues::new(&grids, &labels, &formats);
    let parties = Parties::new(taxonomy, &grids, &labels);
    let roles = Roles::new(taxonomy);

    let mut candidates = PatternMatcher::new(&grids).find_candidates(taxonomy, &formats);
    for (index, point) in taxonomy.data_points.iter().enumerate() {
        let found = &mut candidates[index];
        for label in labels.iter().filter(|label| roles.data_point_for(label) == Some(index)) {
            found.extend(nearby.find_values(point, label));
        }
        for label in parties.labels_of_other_parties(taxonomy, index, &grids, &labels) {
            found.extend(nearby.find_values(point, label));
        }
        parties.score_candidates(index, found);
    }
    let findings = choose::choose_candidates(candidates, taxonomy, |groups| {
        amounts::score_amounts(groups, &roles, &grids, &formats);
        dates::score_dates(groups, &roles, &grids, &formats);
        letter::guess_names(groups, taxonomy, &grids, &labels);
    });
    choose::build_mapping(findings, &grids, zones, taxonomy)
}
