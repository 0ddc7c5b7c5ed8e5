//! Steps of a job, and how far they are.

use async_graphql::{Enum, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::graphql::job_type::StepKind;
use crate::job::progress::StepNow;
use crate::job::state::StepStatus as State;

/// An estimate, in steps.
#[derive(SimpleObject)]
pub(super) struct Progress {
    /// Finished steps.
    pub(super) current: i32,
    /// All steps.
    pub(super) total: i32,
    /// Fraction of the whole job, from 0 to 1, finer than the step count.
    pub(super) fraction: f64,
}

/// A step of a job as it stands.
pub(in crate::graphql) struct JobStep(pub(super) StepNow);

/// A step of a job as it stands.
#[Object]
impl JobStep {
    /// Also the role name used in collaborations.
    async fn name(&self) -> &str {
        &self.0.step.name
    }

    /// The same name for people to read.
    async fn title(&self) -> &str {
        &self.0.step.title
    }

    /// Whether a machine or a person does it.
    async fn kind(&self) -> StepKind {
        self.0.step.kind.into()
    }

    /// Whether it waits, is worked on, needs a person, or has ended.
    async fn status(&self) -> StepStatus {
        self.0.step.status.into()
    }

    /// Which attempt, from 1; 0 before the first.
    async fn attempt(&self) -> u32 {
        self.0.step.attempt
    }

    /// How many attempts there may be; when the last fails, the job fails.
    async fn max_attempts(&self) -> u32 {
        self.0.step.max_attempts
    }

    /// How much of the step is done, 0 to 1; never less than before within an attempt.
    async fn fraction(&self) -> f64 {
        self.0.fraction
    }

    /// What is being done right now, for people.
    async fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// What a reviewer said who sent the job back to it; null where nobody did, and once it is done again.
    async fn comment(&self) -> Option<&str> {
        self.0.step.comment.as_deref()
    }

    /// When its newest attempt began.
    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.0.step.started_at
    }

    /// When it ended.
    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.0.step.finished_at
    }
}

/// Where a step of a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "State")]
pub(super) enum StepStatus {
    /// Its turn has not come.
    Pending,
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Waits for a person.
    Blocked,
    /// Done; what it made was taken.
    Completed,
    /// Passed over; it was not needed for this job.
    Skipped,
    /// Given up after its last attempt, or rejected by a reviewer.
    Failed,
    /// Ended because the job was cancelled.
    Cancelled,
}
