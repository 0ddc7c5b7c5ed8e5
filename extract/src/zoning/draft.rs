//! Zones without IDs.

use super::blocks::Block;
use super::rows::{Rect, Row};
use crate::document::ZoneKind;

/// A zone without an ID.
#[derive(Debug, Clone)]
pub(super) struct ZoneDraft {
    pub(super) area: Rect,
    pub(super) kind: ZoneKind,
    pub(super) text: String,
    pub(super) confidence: f32,
}

impl ZoneDraft {
    pub(super) fn from_block(block: &Block) -> Option<Self> {
        let text = block.rows.iter().map(Row::text).collect::<Vec<_>>().join("\n");
        Some(Self { area: block.area()?, kind: block.kind, text, confidence: block.confidence })
    }
}
