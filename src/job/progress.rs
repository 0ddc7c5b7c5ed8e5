//! The progress of a job, for people: its steps with their progress, and an estimate over all of them.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::Deserialize;

use super::Jobs;
use super::state::{Step, StepStatus};
use crate::entity::{job, task};
use crate::error::{Error, Result};
use crate::id::JobId;

/// A step of a job with its progress.
#[derive(Debug, Clone)]
pub struct StepNow {
    /// The step, from the row of the job.
    pub step: Step,
    /// Progress within the step, 0 to 1.
    pub fraction: f64,
    /// The last progress message of the worker.
    pub message: Option<String>,
}

/// Returns the steps of a job, in order. `task` is the step that is queued or leased.
pub(crate) fn steps_now(job: &job::Model, task: Option<&task::Model>) -> Result<Vec<StepNow>> {
    let with_progress = |step: Step| {
        let task = task.filter(|task| task.step == step.name);
        let fraction = match step.status {
            StepStatus::Completed | StepStatus::Skipped => 1.0,
            StepStatus::Running => task.map_or(0.0, |task| task.fraction),
            _ => step.fraction,
        };
        StepNow { fraction, message: task.and_then(|task| task.message.clone()), step }
    };
    let steps = Vec::<Step>::deserialize(&job.steps).map_err(Error::internal)?;
    Ok(steps.into_iter().map(with_progress).collect())
}

/// Returns the step that is queued, running or blocked.
pub fn current(steps: Vec<StepNow>) -> Option<StepNow> {
    let is_open = |status| matches!(status, StepStatus::Queued | StepStatus::Running | StepStatus::Blocked);
    steps.into_iter().find(|step| is_open(step.step.status))
}

/// The progress of a job, in steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The number of finished steps.
    pub current: i32,
    /// The number of all steps.
    pub total: i32,
    /// Progress of the whole job, 0 to 1, including the fractions of its steps.
    pub fraction: f64,
}

impl Progress {
    /// Returns the progress over all steps of a job.
    pub fn of(steps: &[StepNow]) -> Self {
        let is_finished =
            |step: &&StepNow| matches!(step.step.status, StepStatus::Completed | StepStatus::Skipped);
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let (current, total) = (count(steps.iter().filter(is_finished).count()), count(steps.len()));
        let sum: f64 = steps.iter().map(|step| step.fraction).sum();
        Self { current, total, fraction: sum / f64::from(total.max(1)) }
    }
}

impl Jobs {
    /// Returns the step of a job that is queued or leased.
    pub async fn task(&self, id: JobId) -> Result<Option<task::Model>> {
        Ok(task::Entity::find().filter(task::Column::JobId.eq(id)).one(self.db.read()).await?)
    }
}
