//! A switch of the configuration.

use serde::{Deserialize, Serialize};

/// A switch, spelled as operators write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}
