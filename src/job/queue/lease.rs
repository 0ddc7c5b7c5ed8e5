//! The right of a worker to report on the step that it has claimed.

use crate::access::Actor;
use crate::access::policy::{Standing, works_on};
use crate::error::{Error, Result};
use crate::id::{JobId, LeaseToken};
use crate::job::decide::Rejection;
use crate::job::record::{Authority, LockedJob};

/// A worker that has claimed a step, with the fencing token of its lease.
#[derive(Debug, Clone)]
pub struct LeaseHolder {
    /// The job of the step.
    pub job: JobId,
    /// The proof of the claim.
    pub token: LeaseToken,
    /// The user on whose behalf an external worker runs; `None` for the engine of this server.
    pub actor: Option<Actor>,
}

/// The lease must hold, and the actor must still have access to the step.
impl Authority for LeaseHolder {
    fn job_id(&self) -> JobId {
        self.job
    }

    fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    fn check(&self, job: &LockedJob, standing: Option<&Standing>) -> Result<()> {
        job.check_lease(self.token)?;
        let Some(actor) = &self.actor else { return Ok(()) };
        let step = job.task_step().ok_or(Rejection::StaleLease)?;
        if !standing.is_some_and(|standing| works_on(standing, step)) {
            return Err(Error::not_found("claim"));
        }
        Ok(job.check_four_eyes(actor.user.id)?)
    }
}
