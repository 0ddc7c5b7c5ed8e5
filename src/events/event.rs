//! Events that are about to be written.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::entity::enums::EventKind;
use crate::id::{JobId, UserId};

/// An event that is about to be written to `job_event`.
#[derive(Debug)]
#[expect(missing_docs, reason = "the columns of job_event are documented there")]
pub struct NewEvent {
    pub job: JobId,
    pub sequence: i64,
    pub kind: EventKind,
    pub actor: Option<UserId>,
    pub step: Option<String>,
    pub at: Timestamp,
    pub data: Value,
}

/// The part of a written event that its deliveries to webhooks need.
#[derive(Debug, Clone, Copy)]
pub struct EventHead {
    /// The number of the event in the history of its job.
    pub sequence: i64,
    /// The kind of the event.
    pub kind: EventKind,
    /// The time of the event.
    pub at: Timestamp,
}

impl From<&NewEvent> for EventHead {
    fn from(event: &NewEvent) -> Self {
        Self { sequence: event.sequence, kind: event.kind, at: event.at }
    }
}
