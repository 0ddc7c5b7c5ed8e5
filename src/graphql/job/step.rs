//! Steps of a job and their progress.

use async_graphql::{Enum, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::graphql::job_type::StepKind;
use crate::job::progress::StepNow;
use crate::job::state::StepStatus as State;

/// Estimated progress of a job, in steps.
#[derive(SimpleObject)]
pub(super) struct Progress {
    /// Number of finished steps.
    pub(super) current: i32,
    /// Number of all steps.
    pub(super) total: i32,
    /// Progress of the whole job from 0 to 1, finer than the step count.
    /// The value never decreases within an attempt.
    pub(super) fraction: f64,
}

/// A step of a job in its current state.
pub(in crate::graphql) struct JobStep(pub(super) StepNow);

/// A step of a job in its current state.
#[Object]
impl JobStep {
    /// Name of the step, also used to give collaborators access to it.
    async fn name(&self) -> &str {
        &self.0.step.name
    }

    /// Human-readable name of the step.
    async fn title(&self) -> &str {
        &self.0.step.title
    }

    /// Kind of the step: automatic or manual.
    async fn kind(&self) -> StepKind {
        self.0.step.kind.into()
    }

    /// Current status of the step.
    async fn status(&self) -> StepStatus {
        self.0.step.status.into()
    }

    /// Number of the current attempt, from 1; 0 before the first attempt.
    async fn attempt(&self) -> u32 {
        self.0.step.attempt
    }

    /// Maximum number of attempts.
    /// If the last attempt fails, the job fails.
    async fn max_attempts(&self) -> u32 {
        self.0.step.max_attempts
    }

    /// Progress within the step, from 0 to 1.
    /// The value never decreases within an attempt.
    async fn fraction(&self) -> f64 {
        self.0.fraction
    }

    /// Human-readable description of the current activity.
    /// Null if the worker has not reported any.
    async fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// Comment of the reviewer who sent the job back to this step.
    /// Null if there is none, after the step has completed, and for viewers without access to the step.
    async fn comment(&self) -> Option<&str> {
        self.0.step.comment.as_deref()
    }

    /// Time when the latest attempt started.
    /// For a MANUAL step, this is the time when its review opened. Null before that.
    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.0.step.started_at
    }

    /// Time when the step ended.
    /// Null before that.
    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.0.step.finished_at
    }
}

/// Status of a step of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "State")]
pub(super) enum StepStatus {
    /// Waiting for an earlier step.
    Pending,
    /// Waiting for a worker.
    Queued,
    /// Claimed by a worker.
    Running,
    /// Waiting for a person.
    Blocked,
    /// Completed; the result was accepted.
    Completed,
    /// Skipped because the job did not need it.
    Skipped,
    /// Failed in its last attempt or with a permanent error, or rejected by a reviewer.
    Failed,
    /// Ended because the job was cancelled.
    Cancelled,
}
