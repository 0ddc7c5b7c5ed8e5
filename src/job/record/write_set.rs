//! The writes that a change collects.

use docket_extract::review::Score;
use serde_json::Value;
use uuid::Uuid;

use crate::entity::{access, document, review};
use crate::events::NewEvent;
use crate::id::ContentId;
use crate::job::contents::Grade;

/// The writes of a change besides the row of the job, its task and its contents.
#[derive(Debug, Default)]
pub(super) struct WriteSet {
    pub(super) documents: Vec<document::Model>,
    pub(super) access: Vec<AccessWrite>,
    pub(super) scores: Vec<ScoreWrite>,
    /// Reviews that this change has closed.
    pub(super) reviews: Vec<TrackedReview>,
    pub(super) events: Vec<NewEvent>,
}

/// A change of one row of `access`, by its principal.
#[derive(Debug)]
pub(super) enum AccessWrite {
    Insert(access::Model),
    SetSteps(Uuid, Value),
    Delete(Uuid),
}

/// A change of the confidences of a content.
#[derive(Debug)]
pub(super) enum ScoreWrite {
    Insert { content: ContentId, step: String, scores: Vec<Score> },
    MarkReviewed(ContentId),
    CountCorrections { content: ContentId, grades: Vec<Grade> },
    Move { from: ContentId, to: ContentId },
}

/// The subject of a new review.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReviewSubject {
    /// The content under review.
    pub content: Option<ContentId>,
    /// Its parts that need a decision.
    pub items: Vec<Value>,
}

/// A review that this transaction has read or opened.
#[derive(Debug)]
pub(super) struct TrackedReview {
    pub(super) row: review::Model,
    /// New items; `None` leaves them as they are.
    pub(super) items: Option<Vec<Value>>,
    /// A new draft; `None` leaves it as it is, `Some(None)` discards it.
    pub(super) draft: Option<Option<Value>>,
    /// Whether its row is stored already.
    pub(super) is_stored: bool,
    /// Whether its row has to be written.
    pub(super) is_changed: bool,
}

impl TrackedReview {
    pub(super) fn stored(row: review::Model) -> Self {
        Self { row, items: None, draft: None, is_stored: true, is_changed: false }
    }

    pub(super) fn opened(row: review::Model, items: Vec<Value>) -> Self {
        Self { row, items: Some(items), draft: None, is_stored: false, is_changed: true }
    }
}
