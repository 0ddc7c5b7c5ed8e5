//! Reads the rows of a job as a [`State`], and JSON columns as values.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::state::{Failure, Lease, OpenReview, ReviewClaim, State, Step, Task};
use super::timing::Timing;
use crate::entity::{job, review, task};
use crate::error::{Error, Result};

/// Returns the state of a job, from its rows.
pub fn state(job: &job::Model, task: Option<&task::Model>, review: Option<&review::Model>) -> Result<State> {
    let steps: Vec<Step> = parse(&job.steps)?;
    let index = |name: &str| {
        let found = steps.iter().position(|step| step.name == name);
        found.ok_or_else(|| Error::Unreadable(format!("job {} has no step {name}", job.id)))
    };
    let task = task.map(|row| {
        let (step, lease) = (index(&row.step)?, lease(row));
        Ok::<_, Error>(Task { step, run_at: row.run_at, fraction: row.fraction, lease })
    });
    let review = review.map(|row| {
        let claim = row.claimed_by.zip(row.claim_expires_at);
        Ok::<_, Error>(OpenReview {
            step: index(&row.step)?,
            claim: claim.map(|(by, until)| ReviewClaim { by, until }),
        })
    });
    Ok(State {
        owner: job.owner_id,
        status: job.status,
        mode: job.mode,
        task: task.transpose()?,
        review: review.transpose()?,
        fence: job.fence,
        failure: failure(job)?,
        started_at: job.started_at,
        finished_at: job.finished_at,
        timing: job.timing.as_ref().map_or_else(|| Ok(Timing::since(job.updated_at)), parse)?,
        steps,
    })
}

/// Returns the reason for which a job failed; `None` if it has not failed.
pub fn failure(job: &job::Model) -> Result<Option<Failure>> {
    job.failure.as_ref().map(parse).transpose()
}

fn lease(row: &task::Model) -> Option<Lease> {
    Some(Lease {
        fence: row.fence,
        token: row.lease_token?,
        owner: row.lease_owner.clone()?,
        until: row.lease_until?,
        deadline: row.deadline?,
    })
}

fn parse<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|error| Error::Unreadable(error.to_string()))
}
