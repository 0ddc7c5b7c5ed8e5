//! Section `[graphql]`: the limits of one GraphQL request.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::switch::Switch;

/// Limits of the guard. Omitted keys keep their defaults. A configured table replaces the whole default table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Whether `__schema` and `__type` can be queried, and `GET /schema.graphql` serves the schema. Default `on`.
    pub introspection: Switch,
    /// Maximum UTF-8 bytes of a document. Default 16,384.
    pub bytes: usize,
    /// Maximum lexical tokens of a document, without whitespace, commas, and comments. Default 2,000.
    pub tokens: usize,
    /// Maximum brackets of any kind open at once, checked before the recursive parser runs. Default 24.
    pub(crate) nesting: usize,
    /// Maximum operations in a document, of which one runs. Default 10.
    pub operations: usize,
    /// Maximum nested selection sets after fragments are expanded; a fragment counts as one. The full introspection
    /// query has 18. Default 20.
    pub depth: usize,
    /// Maximum fields and fragments of a document after fragments are expanded, which validation walks. Default 5,000.
    pub selections: u64,
    /// Maximum fields of the response, multiplied by list sizes. A page of 100 jobs with 20 fields each and their steps
    /// (8 are assumed, 5 fields each) costs about 6,700. Default 15,000.
    pub cost: u64,
    /// Maximum fields of the response under `__schema` and `__type`, which read memory only. Default 200,000.
    pub(crate) introspection_cost: u64,
    /// Maximum root fields of a query, including aliases and fragments. Default 30.
    pub root_fields: u64,
    /// Maximum root fields of a mutation, including aliases and fragments. Default 10.
    pub(crate) mutation_fields: u64,
    /// Maximum aliases of an operation after fragments are expanded. Default 50.
    pub aliases: u64,
    /// Maximum arguments of one field. Default 20.
    pub arguments: usize,
    /// Maximum directives in one location. Default 5.
    pub directives: usize,
    /// Maximum occurrences of one response key in a selection set. Default 5.
    pub duplicates: usize,
    /// Fields that use tens of milliseconds of CPU time each. Default `signIn` and `signUp`, which hash a password.
    pub(crate) heavy: BTreeSet<String>,
    /// Maximum fields of `heavy` in an operation. Default 1.
    pub(crate) heavy_fields: u64,
    /// Maximum variables of a request. Default 100.
    pub variables: usize,
    /// Maximum values in all variables; each entry of a list or object is one. Default 50,000.
    pub(crate) variable_values: usize,
    /// Maximum UTF-8 bytes of all keys and strings in the variables. Default 1,048,576.
    pub(crate) variable_bytes: usize,
    /// Maximum nested lists and objects in a variable. Default 32.
    pub(crate) variable_depth: usize,
    /// Maximum bytes of a response as JSON; also of the rows, and of the JSON values, in it. Default 16,777,216.
    pub response_bytes: usize,
    /// Maximum errors of a response; the excess is omitted. Default 20.
    pub errors: usize,
    /// Maximum characters of an error message, and of each problem in it; the rest is cut. Default 1,000.
    pub message_characters: usize,
    /// Maximum problems in the extensions of one error; the excess is omitted. Default 100.
    pub problems: usize,
    /// Maximum UTF-8 bytes of the documents in the cache of parsed documents, which also serves persisted queries. A
    /// parsed document takes about twenty times as much memory. Default 1,048,576.
    pub(crate) cached_bytes: u64,
    /// Assumed number of entries of a list without `first`, `last`, `limit`, or `ids`, by field name. Other fields
    /// count as single values.
    pub(crate) list_sizes: BTreeMap<String, u64>,
    /// Cost of a field itself if it is not 1, by field name.
    pub(crate) weights: BTreeMap<String, u64>,
}

/// Usual number of entries of the lists in the schema and in introspection.
const LIST_SIZES: [(&str, u64); 24] = [
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
    ("reviews", 20),
    ("steps", 8),
    ("taxonomies", 20),
    ("teams", 10),
    ("types", 100),
    ("users", 10),
    ("validateJob", 10),
    ("webhooks", 20),
];

/// Fields that run their own database query, or read more rows than they return.
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
