//! What one GraphQL request may ask for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::switch::Switch;

/// Limits of the guard. A configuration names only what it changes; a table that it names replaces the whole default table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Whether `__schema` and `__type` can be queried, and `GET /schema.graphql` serves the schema. Default `on`.
    pub introspection: Switch,
    /// UTF-8 bytes of a document. Default 16,384.
    pub bytes: usize,
    /// Lexical tokens of a document; whitespace, commas and comments are none. Default 2,000.
    pub tokens: usize,
    /// Brackets of any kind open at once, checked before the recursive parser runs. Default 24.
    pub nesting: usize,
    /// Operations in a document, of which one is run. Default 10.
    pub operations: usize,
    /// Selection sets within each other after fragments are expanded; a fragment counts as one. The full introspection
    /// query has 18. Default 20.
    pub depth: usize,
    /// Fields and fragments of the whole document after fragments are expanded: what validation has to walk. Default 5,000.
    pub selections: u64,
    /// Fields of the response, list sizes multiplied in. A page of 100 jobs with 20 fields each and their steps
    /// (8 are assumed, 5 fields each) costs about 6,700. Default 15,000.
    pub cost: u64,
    /// The same for what stands under `__schema` and `__type`, which reads memory only. Default 200,000.
    pub introspection_cost: u64,
    /// Fields of a query's root, aliases and fragments included. Default 30.
    pub root_fields: u64,
    /// Fields of a mutation's root, aliases and fragments included. Default 10.
    pub mutation_fields: u64,
    /// Aliases of an operation after fragments are expanded. Default 50.
    pub aliases: u64,
    /// Arguments of one field. Default 20.
    pub arguments: usize,
    /// Directives in one place. Default 5.
    pub directives: usize,
    /// How often one selection set may name the same response key. Default 5.
    pub duplicates: usize,
    /// Fields that take a core for some tens of milliseconds each. Default `signIn` and `signUp`: they hash a password.
    pub heavy: BTreeSet<String>,
    /// How many of `heavy` an operation may have in all. Default 1.
    pub heavy_fields: u64,
    /// Variables of a request. Default 100.
    pub variables: usize,
    /// Values inside all variables; each entry of a list or object is one. Default 50,000.
    pub variable_values: usize,
    /// UTF-8 bytes of all keys and strings inside the variables. Default 1,048,576.
    pub variable_bytes: usize,
    /// Lists and objects within each other inside a variable. Default 32.
    pub variable_depth: usize,
    /// Bytes of a response as JSON; also of the rows and of the JSON values that it is made from. Default 16,777,216.
    pub response_bytes: usize,
    /// Errors of a response; those beyond are left out. Default 20.
    pub errors: usize,
    /// Characters of an error's message, and of each problem in it; the rest is cut. Default 1,000.
    pub message_characters: usize,
    /// Problems that one error names in its extensions; those beyond are left out. Default 100.
    pub problems: usize,
    /// UTF-8 bytes of documents that are kept parsed, for the next time and for whoever names one by its hash; a parsed
    /// document takes some twenty times as much memory. Default 1,048,576.
    pub cached_bytes: u64,
    /// Entries assumed where a list has no `first`, `last`, `limit` or `ids`, by the field's name. Fields that are not
    /// here are taken as single values.
    pub list_sizes: BTreeMap<String, u64>,
    /// Cost of a field itself where it is not 1, by its name.
    pub weights: BTreeMap<String, u64>,
}

/// Lists of Docket's schema and of introspection, with what a usual one holds.
const LIST_SIZES: [(&str, u64); 25] = [
    ("apiKeys", 10),
    ("args", 3),
    ("contents", 8),
    ("deliveries", 20),
    ("directives", 5),
    ("documents", 20),
    ("enumValues", 5),
    ("events", 50),
    ("fields", 10),
    ("inputFields", 5),
    ("interfaces", 1),
    ("items", 20),
    ("jobTypes", 10),
    ("jobs", 20),
    ("members", 20),
    ("possibleTypes", 2),
    ("problems", 10),
    ("reviews", 20),
    ("steps", 8),
    ("taxonomies", 20),
    ("teams", 10),
    ("types", 100),
    ("users", 10),
    ("validateJob", 10),
    ("webhooks", 20),
];

/// Fields that ask the database on their own, or read more rows than they return.
const WEIGHTS: [(&str, u64); 9] = [
    ("deliveries", 20),
    ("documents", 100),
    ("events", 20),
    ("jobs", 100),
    ("reviews", 100),
    ("simulateReviewThreshold", 1_000),
    ("totalCount", 100),
    ("validateJob", 20),
    ("webhooks", 20),
];

impl Default for Limits {
    fn default() -> Self {
        Self {
            introspection: Switch::On,
            bytes: 16_384,
            tokens: 2_000,
            nesting: 24,
            operations: 10,
            depth: 20,
            selections: 5_000,
            cost: 15_000,
            introspection_cost: 200_000,
            root_fields: 30,
            mutation_fields: 10,
            aliases: 50,
            arguments: 20,
            directives: 5,
            duplicates: 5,
            heavy: ["signIn", "signUp"].map(str::to_owned).into(),
            heavy_fields: 1,
            variables: 100,
            variable_values: 50_000,
            variable_bytes: 1_048_576,
            variable_depth: 32,
            response_bytes: 16_777_216,
            errors: 20,
            message_characters: 1_000,
            problems: 100,
            cached_bytes: 1_048_576,
            list_sizes: LIST_SIZES.map(|(name, size)| (name.to_owned(), size)).into(),
            weights: WEIGHTS.map(|(name, weight)| (name.to_owned(), weight)).into(),
        }
    }
}
