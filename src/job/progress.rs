//! How far a job is, for people: its steps with what their task knows, and an estimate over all of them.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::Deserialize;

use super::Jobs;
use super::state::{Step, StepStatus};
use crate::access::policy::{Standing, works_on};
use crate::entity::{job, task};
use crate::error::{Error, Result};
use crate::id::JobId;

/// A step of a job as it stands.
#[derive(Debug, Clone)]
pub struct StepNow {
    /// As the job's row has it.
    pub step: Step,
    /// 0 to 1 within the step.
    pub fraction: f64,
    /// What is being done right now.
    pub message: Option<String>,
}

/// Every step of a job, in order; `task` is what waits for, or is with, a worker.
pub fn steps_now(job: &job::Model, task: Option<&task::Model>) -> Result<Vec<StepNow>> {
    let now = |step: Step| {
        let mine = task.filter(|task| task.step == step.name);
        let fraction = match step.status {
            StepStatus::Completed | StepStatus::Skipped => 1.0,
            StepStatus::Running => mine.map_or(0.0, |task| task.fraction),
            _ => step.fraction,
        };
        StepNow { fraction, message: mine.and_then(|task| task.message.clone()), step }
    };
    let steps = Vec::<Step>::deserialize(&job.steps).map_err(Error::internal)?;
    Ok(steps.into_iter().map(now).collect())
}

/// What reviewers said is for those who work on the step.
pub fn withhold_comments<'a>(standing: &Standing, steps: impl IntoIterator<Item = &'a mut StepNow>) {
    for now in steps.into_iter().filter(|now| !works_on(standing, &now.step.name)) {
        now.step.comment = None;
    }
}

/// The step being run, waited for or blocked on.
pub fn current(steps: Vec<StepNow>) -> Option<StepNow> {
    let open = |status| matches!(status, StepStatus::Queued | StepStatus::Running | StepStatus::Blocked);
    steps.into_iter().find(|now| open(now.step.status))
}

/// An estimate, in steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Finished steps.
    pub current: i32,
    /// All steps.
    pub total: i32,
    /// 0 to 1, finer than the step count.
    pub fraction: f64,
}

impl Progress {
    /// Over all steps of a job.
    pub fn of(steps: &[StepNow]) -> Self {
        let done = |now: &&StepNow| matches!(now.step.status, StepStatus::Completed | StepStatus::Skipped);
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let (current, total) = (count(steps.iter().filter(done).count()), count(steps.len()));
        let sum: f64 = steps.iter().map(|now| now.fraction).sum();
        Self { current, total, fraction: sum / f64::from(total.max(1)) }
    }
}

impl Jobs {
    /// What waits for, or is with, a worker.
    pub async fn task(&self, id: JobId) -> Result<Option<task::Model>> {
        Ok(task::Entity::find().filter(task::Column::JobId.eq(id)).one(self.db.read()).await?)
    }
}
