//! The right to change a job. The gate checks an authority under the lock of the job, so that access that was removed since the
//! request began changes nothing.

use sea_orm::DatabaseTransaction;

use super::locked::LockedJob;
use crate::access::policy::Standing;
use crate::access::{self, Actor, Grant, Permission, ReviewGrant};
use crate::error::Result;
use crate::id::JobId;
use crate::job::decide::Rejection;

/// The right to change one job.
pub trait Authority: Send + Sync + 'static {
    /// The job that may be changed.
    fn job_id(&self) -> JobId;

    /// The user on whose behalf the job is changed; `None` for the server itself.
    fn actor(&self) -> Option<&Actor>;

    /// Fails if the right does not hold any more. `standing` is what the actor is to the job now.
    fn check(&self, job: &LockedJob, standing: Option<&Standing>) -> Result<()>;
}

impl<A: Permission + Send + Sync + 'static> Authority for Grant<A> {
    fn job_id(&self) -> JobId {
        self.job().id
    }

    fn actor(&self) -> Option<&Actor> {
        Some(self.actor())
    }

    fn check(&self, _: &LockedJob, standing: Option<&Standing>) -> Result<()> {
        self.check_standing(standing)
    }
}

/// The review must also be the one that is open.
impl Authority for ReviewGrant {
    fn job_id(&self) -> JobId {
        self.job().id
    }

    fn actor(&self) -> Option<&Actor> {
        Some(self.actor())
    }

    fn check(&self, job: &LockedJob, standing: Option<&Standing>) -> Result<()> {
        self.check_standing(standing)?;
        match job.open_review() {
            Some(open) if open.id == self.review().id => Ok(()),
            _ => Err(Rejection::NoReview.into()),
        }
    }
}

/// The server itself: time has passed, or access was removed. It may change every job.
#[derive(Debug, Clone, Copy)]
pub struct ServerAuthority(JobId);

impl ServerAuthority {
    /// Returns the right to end a lease or a claim whose time has passed.
    pub(crate) fn expiry(job: JobId) -> Self {
        Self(job)
    }

    /// Returns the right to release the claim of a user who has left a team.
    pub(crate) fn membership(job: JobId) -> Self {
        Self(job)
    }

    /// Returns the right to delete a job whose retention time has passed.
    pub(crate) fn deletion(job: JobId) -> Self {
        Self(job)
    }
}

impl Authority for ServerAuthority {
    fn job_id(&self) -> JobId {
        self.0
    }

    fn actor(&self) -> Option<&Actor> {
        None
    }

    fn check(&self, _: &LockedJob, _: Option<&Standing>) -> Result<()> {
        Ok(())
    }
}

/// Checks an authority against a job that this transaction has locked, and makes its actor the author of the change.
pub(super) async fn admit(
    tx: &DatabaseTransaction,
    authority: &impl Authority,
    locked: &mut LockedJob,
) -> Result<()> {
    let standing = match authority.actor() {
        Some(actor) => access::standing(tx, actor, locked.row()).await?,
        None => None,
    };
    authority.check(locked, standing.as_ref())?;
    locked.set_actor(authority.actor().map(|actor| actor.user.id));
    Ok(())
}
