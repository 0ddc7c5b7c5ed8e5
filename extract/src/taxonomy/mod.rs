//! Taxonomies: the values or keywords to find in a document, and how to recognize them.
//!
//! [`Taxonomy::parse`] is the usual way to create a taxonomy. It guarantees known types, compiled patterns, unique
//! names and sizes within [`Limits`], and ignores unknown keys.

mod definition;
mod limits;
mod parse;
mod pattern;
mod problem;
#[cfg(test)]
mod tests;

pub use definition::{DataPoint, KeywordEntry, Kind, Options, Pattern, Taxonomy};
pub use limits::Limits;
pub use problem::Problem;
