//! History of a job.

use async_graphql::{Context, Enum, ID, Object};
use chrono::{DateTime, Utc};

use super::account::User;
use super::context::RequestContext;
use super::document::load_user;
use super::job::Job;
use super::scalar::JsonObject;
use crate::access::policy::Standing;
use crate::entity::{job, job_event};
use crate::error::Result;
use crate::events::feed::FeedPosition;
use crate::job::history::redact_event;
use crate::job::record::EventKind;
use crate::job_type::JobType;

/// One change of a job.
/// The `sequence` starts at 1 for each job and has no gaps.
pub(super) struct JobEvent {
    row: job_event::Model,
    job: job::Model,
}

impl JobEvent {
    /// Returns the event as seen by a viewer with this standing.
    pub(super) fn visible_to(
        standing: &Standing,
        job_type: &JobType,
        row: job_event::Model,
        job: job::Model,
    ) -> Self {
        Self { row: redact_event(standing, job_type, row), job }
    }

    pub(super) fn encode_cursor(&self) -> String {
        FeedPosition::of(&self.row).encode()
    }
}

/// One change of a job.
/// The `sequence` starts at 1 for each job and has no gaps.
#[Object]
impl JobEvent {
    /// Cursor of the event, to be passed as `after`.
    /// It is valid for the history of the job and for the feed over all jobs.
    async fn cursor(&self) -> String {
        self.encode_cursor()
    }

    /// Number of the event in the history of the job, from 1 without gaps.
    async fn sequence(&self) -> i64 {
        self.row.sequence
    }

    /// UUID of the job.
    async fn job_id(&self) -> ID {
        self.row.job_id.to_string().into()
    }

    /// Kind of change.
    /// The details are in `data`.
    async fn kind(&self) -> JobEventKind {
        self.row.kind.into()
    }

    /// Time of the change.
    async fn at(&self) -> DateTime<Utc> {
        self.row.at
    }

    /// User who made the change.
    /// For an external worker, this is the user whose credential it uses. Null if the server made the change, including
    /// its built-in executors, and if the viewer has no access to the step.
    async fn actor(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let found: Result<Option<User>> = async {
            match self.row.actor_id {
                Some(id) => Ok(Some(load_user(ctx, id).await?)),
                None => Ok(None),
            }
        }
        .await;
        found.transpose()
    }

    /// Details of the change, with keys that depend on `kind`.
    /// If the viewer has no access to the step, only `step` and `withheld` are present.
    async fn data(&self, ctx: &Context<'_>) -> Result<JsonObject> {
        ctx.budget()?.charge_value(&self.row.data)?;
        Ok(JsonObject(self.row.data.as_object().cloned().unwrap_or_default()))
    }

    /// The job in its current state, not in its state at the time of the event.
    async fn job(&self) -> Job {
        Job::new(self.job.clone())
    }
}

/// Kind of change in the history of a job.
/// The description of each kind lists the keys of `JobEvent.data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "EventKind")]
pub(super) enum JobEventKind {
    /// The job was created and waits for its first step.
    /// Keys: `type`, `version`, `mode`, `metadata`, `priority`.
    Created,
    /// The job was taken back to a step.
    /// Keys: `step`, and `reason` if given.
    Rewound,
    /// The status of the job changed.
    /// Keys: `from`, `to`, and, if present, `reason` and `failure`.
    StatusChanged,
    /// The status of a step changed.
    /// Keys: `step`, `from`, `to`, `attempt`, and, if present, `error`, `runAt`, `worker`, and `comment`. The comment
    /// is by the reviewer who sent the job back to the step.
    StepChanged,
    /// A content was added.
    /// Keys: `role`, `version`, `documentId`, `name`, `type`, `size`, `sha256`, `step`.
    ContentAdded,
    /// A collaborator was added, changed, or removed.
    /// Keys: `change` (ADDED, CHANGED, REMOVED), `collaborator` (`kind`, `id`, `name`), and, unless removed, `steps`.
    CollaborationChanged,
    /// The metadata or the priority changed.
    /// Keys: `patch` and `metadata`, or `priority` (`from`, `to`).
    MetadataChanged,
    /// A review was opened because a person is needed.
    /// Keys: `reviewId`, `step`, `reason`.
    ReviewOpened,
    /// A review was claimed.
    /// Keys: `reviewId`, `step`, `expiresAt`.
    ReviewClaimed,
    /// The claim on a review was released.
    /// Keys: `reviewId`, `step`, `claimedBy` (UUID of the previous claimant), `reason` (RELEASED, BY_ADMIN, EXPIRED,
    /// ACCESS_LOST).
    ReviewReleased,
    /// A review was decided or cancelled.
    /// Keys: `reviewId`, `step`, `decision` (APPROVED, REJECTED, SENT_BACK, CANCELLED), and, if present,
    /// `contentSha256` (receipt of the decision), `patch`, `comment`, `toStep`, and `automatic`. The value of
    /// `automatic` is true if no person decided.
    ReviewDecided,
    /// The job was run again after it had failed or been cancelled.
    /// Keys: `step`.
    Retried,
}
