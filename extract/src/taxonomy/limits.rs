//! Limits of a taxonomy.

use serde::{Deserialize, Serialize};

/// Limits of a taxonomy. The defaults are far above the sizes that people write by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Data points of a taxonomy.
    pub data_points: usize,
    /// Labels of a data point.
    pub labels: usize,
    /// Patterns of a data point.
    pub patterns: usize,
    /// Values of a data point.
    pub values: usize,
    /// Keywords of a taxonomy.
    pub keywords: usize,
    /// Synonyms of a keyword.
    pub synonyms: usize,
    /// Entries of each list in the options.
    pub options: usize,
    /// Characters of a name, label, value, term or option.
    pub text_chars: usize,
    /// Characters of a pattern.
    pub pattern_chars: usize,
    /// Bytes of one compiled pattern. Classes such as `\w` are large, because they contain the letters of all scripts.
    pub pattern_memory: usize,
    /// Bytes of all compiled patterns of a taxonomy together.
    pub patterns_memory: usize,
    /// Levels of nesting in a pattern.
    pub pattern_nesting: u32,
    /// Most problems that are reported.
    pub problems: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            data_points: 500,
            labels: 100,
            patterns: 50,
            values: 1_000,
            keywords: 5_000,
            synonyms: 100,
            options: 50,
            text_chars: 200,
            pattern_chars: 2_000,
            pattern_memory: 8 << 20,
            patterns_memory: 128 << 20,
            pattern_nesting: 50,
            problems: 100,
        }
    }
}
