//! The history of a job.

use async_graphql::{Context, Enum, ID, Object};
use chrono::{DateTime, Utc};

use super::account::User;
use super::context::RequestContext;
use super::document::user;
use super::job::Job;
use super::scalar::JsonObject;
use crate::access::policy::Standing;
use crate::entity::{job, job_event};
use crate::error::Result;
use crate::events::feed::Place;
use crate::job::history::seen_by;
use crate::job::record::EventKind;
use crate::job::rows::unname;
use crate::job_type::JobType;

/// One change of a job. `sequence` starts at 1 for each job and has no gaps.
pub(super) struct JobEvent {
    row: job_event::Model,
    job: job::Model,
}

impl JobEvent {
    /// As somebody of this standing sees it.
    pub(super) fn seen_by(
        standing: &Standing,
        job_type: &JobType,
        row: job_event::Model,
        job: job::Model,
    ) -> Self {
        Self { row: seen_by(standing, job_type, row), job }
    }

    pub(super) fn cursor_text(&self) -> String {
        Place::of(&self.row).encode()
    }
}

/// One change of a job. `sequence` starts at 1 for each job and has no gaps.
#[Object]
impl JobEvent {
    /// Place in the job's history and in the feed over all jobs, for `after`.
    async fn cursor(&self) -> String {
        self.cursor_text()
    }

    /// From 1, without gaps.
    async fn sequence(&self) -> i64 {
        self.row.sequence
    }

    /// UUID of the job.
    async fn job_id(&self) -> ID {
        self.row.job_id.to_string().into()
    }

    /// What changed; `data` says more.
    async fn kind(&self) -> Result<JobEventKind> {
        Ok(unname::<EventKind>(&self.row.kind)?.into())
    }

    /// When it changed.
    async fn at(&self) -> DateTime<Utc> {
        self.row.at
    }

    /// Who changed it; null where the server or a worker did.
    async fn actor(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let found: Result<Option<User>> = async {
            match self.row.actor_id {
                Some(id) => Ok(Some(user(ctx, id).await?)),
                None => Ok(None),
            }
        }
        .await;
        found.transpose()
    }

    /// What is needed to understand the change. Of a step that the viewer may not see, only `step` and `withheld`.
    async fn data(&self, ctx: &Context<'_>) -> Result<JsonObject> {
        ctx.budget()?.show(&self.row.data)?;
        Ok(JsonObject(self.row.data.as_object().cloned().unwrap_or_default()))
    }

    /// The job as it is when this is read.
    async fn job(&self) -> Job {
        Job::new(self.job.clone())
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "EventKind")]
pub(super) enum JobEventKind {
    /// The job was created and waits for its first step.
    Created,
    /// The job was taken back to a step: `step`, and where it exists `reason`.
    Rewound,
    /// The job's status changed: `from`, `to`, and where they exist `reason` and `failure`.
    StatusChanged,
    /// A step's status changed: `step`, `from`, `to`, `attempt`, and where they exist `error`, `runAt`, `worker`, and
    /// `comment` of the reviewer who sent the job back to it.
    StepChanged,
    /// A content was added: `role`, `version`, `documentId`, `sha256`.
    ContentAdded,
    /// Somebody was let in or out: `change` (ADDED, CHANGED, REMOVED), `collaborator` (`kind`, `id`, `name`), `steps`.
    CollaborationChanged,
    /// Metadata or priority changed.
    MetadataChanged,
    /// A person is needed: `reviewId`, `step`, `reason`.
    ReviewOpened,
    /// Somebody took a review: `reviewId`, `step`, `expiresAt`.
    ReviewClaimed,
    /// A review is free again: `reviewId`, `step`, `claimedBy` (whose it was), `reason` (RELEASED, BY_ADMIN, EXPIRED,
    /// ACCESS_LOST).
    ReviewReleased,
    /// A review was decided: `reviewId`, `step`, `decision` (APPROVED, REJECTED, SENT_BACK, CANCELLED), and where they
    /// exist `contentSha256` (the decision's receipt), `patch`, `comment`, `toStep`; `automatic` where no person did.
    ReviewDecided,
    /// The job was run again after it had failed or been cancelled.
    Retried,
}
