//! Claiming and releasing reviews, and storing drafts.

use chrono::TimeDelta;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::{add_claimant, correct};
use crate::access::ReviewGrant;
use crate::db;
use crate::entity::enums::ReviewStatus;
use crate::entity::review;
use crate::error::{Error, Result};
use crate::id::{JobId, ReviewId, UserId};
use crate::job::Jobs;
use crate::job::decide::{Command, Rejection, ReleaseCause};
use crate::job::record::{self, LockedJob, Reads, ServerAuthority};

/// Claims a review for `review.claim_seconds`, or renews the viewer's own claim. Only one viewer wins; for all others
/// it is a CONFLICT that names the winner.
pub async fn claim(jobs: &Jobs, grant: &ReviewGrant) -> Result<review::Model> {
    let duration = claim_duration(jobs);
    change(jobs, grant, move |locked, by| {
        let until = locked.now() + duration;
        Ok(locked.perform(Command::ClaimReview { by, until })?)
    })
    .await
}

/// Releases a claim. An admin may release the claim of another user, which the history records. Does nothing if the
/// review is not claimed, or if the claim has expired.
pub async fn release(jobs: &Jobs, grant: &ReviewGrant) -> Result<review::Model> {
    let is_admin = grant.actor().user.is_admin;
    change(jobs, grant, move |locked, by| {
        let claim = locked.state().review.and_then(|review| review.claim_at(locked.now()));
        let is_foreign = claim.is_some_and(|claim| claim.by != by);
        if is_foreign && !is_admin {
            let message = "Only the user who has claimed a review, or an admin, can release it.";
            return Err(Error::Forbidden(message.into()));
        }
        let cause = if is_foreign { ReleaseCause::Admin } else { ReleaseCause::Claimant(by) };
        Ok(locked.perform(Command::ReleaseReview { cause })?)
    })
    .await
}

/// Stores corrections that are not decided yet, and renews the claim.
pub(crate) async fn save_draft(jobs: &Jobs, grant: &ReviewGrant, patch: Value) -> Result<review::Model> {
    correct::parse(&patch).map_err(Error::Invalid)?;
    let duration = claim_duration(jobs);
    change(jobs, grant, move |locked, by| {
        let until = locked.now() + duration;
        locked.perform(Command::RenewReview { by, until })?;
        locked.set_draft(patch);
        Ok(())
    })
    .await
}

/// Fails unless the viewer has claimed the review. The transaction of a change checks it again; this check prevents that
/// others cause work before it.
pub(super) async fn check_claim(jobs: &Jobs, grant: &ReviewGrant) -> Result<()> {
    let now = db::now(jobs.db.read(), &jobs.clock).await?;
    let rejection = match grant.review().claim_at(now) {
        Some((by, _)) if by == grant.actor().user.id => return Ok(()),
        Some((by, _)) => Rejection::ClaimedBy(by),
        None => Rejection::NotClaimed,
    };
    Err(add_claimant(jobs, rejection.into()).await)
}

pub(super) fn claim_duration(jobs: &Jobs) -> TimeDelta {
    TimeDelta::seconds(i64::from(jobs.review.claim_seconds))
}

async fn change(
    jobs: &Jobs,
    grant: &ReviewGrant,
    change: impl FnOnce(&mut LockedJob, UserId) -> Result<()> + Send + 'static,
) -> Result<review::Model> {
    let by = grant.actor().user.id;
    match record::change(jobs, grant.clone(), Reads::STATE, move |locked| change(locked, by)).await {
        Ok(_) => get(jobs, grant.review().id).await,
        Err(error) => Err(add_claimant(jobs, error).await),
    }
}

pub(super) async fn get(jobs: &Jobs, id: ReviewId) -> Result<review::Model> {
    let found = review::Entity::find_by_id(id).one(jobs.db.read()).await?;
    found.ok_or_else(|| Error::not_found("review"))
}

/// Releases expired claims, by pages of `limit`, for the reaper. Returns how many were released. An error with one review
/// does not keep the others from being released.
pub async fn expire(jobs: &Jobs, limit: u64) -> Result<usize> {
    let now = db::now(jobs.db.read(), &jobs.clock).await?;
    let (mut released, mut skipped) = (0, Vec::new());
    loop {
        let expired = review::Entity::find()
            .select_only()
            .column(review::Column::JobId)
            .filter(review::Column::Status.eq(ReviewStatus::Claimed))
            .filter(review::Column::ClaimExpiresAt.lte(now))
            .filter(review::Column::JobId.is_not_in(skipped.iter().copied()))
            .order_by_asc(review::Column::ClaimExpiresAt)
            .limit(limit);
        let expired: Vec<JobId> = expired.into_tuple().all(jobs.db.read()).await?;
        let is_last_page = (expired.len() as u64) < limit;
        for job in expired {
            match record::change(jobs, ServerAuthority::expiry(job), Reads::STATE, release_expired).await {
                Ok((_, true)) => released += 1,
                Ok((_, false)) | Err(Error::NotFound(_)) => skipped.push(job),
                Err(error) => {
                    skipped.push(job);
                    tracing::error!(job.id = %job, %error, "failed to release an expired claim of a review");
                }
            }
        }
        if is_last_page {
            return Ok(released);
        }
    }
}

/// Releases the claim of the open review if it has expired. Returns whether it has.
fn release_expired(locked: &mut LockedJob) -> Result<bool> {
    let was_claimed = locked.open_review().is_some_and(|review| review.claimed_by.is_some());
    match locked.perform(Command::ReleaseReview { cause: ReleaseCause::Clock }) {
        Ok(()) => Ok(was_claimed && locked.is_review_unclaimed()),
        // The review was decided since it was found to be expired.
        Err(Rejection::NoReview) => Ok(false),
        Err(other) => Err(other.into()),
    }
}
