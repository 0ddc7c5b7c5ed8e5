//! Taking a review, letting go of it, and keeping drafts.

use chrono::TimeDelta;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::{correct, name_claimant};
use crate::access::ReviewGrant;
use crate::db::{self, Work};
use crate::entity::enums::ReviewStatus;
use crate::entity::review;
use crate::error::{Error, Result};
use crate::id::{JobId, ReviewId, UserId};
use crate::job::decide::{Command, Rejection, ReleaseWord};
use crate::job::record::{Locked, Saved};
use crate::job::{Jobs, gone};

/// Takes a review for the time that a claim lasts; whoever has it already keeps it that much longer. One wins, the others
/// are told who.
pub async fn claim(jobs: &Jobs, grant: &ReviewGrant) -> Result<review::Model> {
    let lasts = lasts(jobs);
    change(jobs, grant, move |locked, by| {
        let until = locked.now() + lasts;
        locked.perform(Command::ClaimReview { by, until }, Some(by))?;
        Ok(())
    })
    .await
}

/// Lets go of a review. An admin may take it from somebody; the history says so. Nothing happens where nobody has it.
pub async fn release(jobs: &Jobs, grant: &ReviewGrant) -> Result<review::Model> {
    let is_admin = grant.actor().user.is_admin;
    change(jobs, grant, move |locked, by| {
        let others =
            locked.state().review.and_then(|review| review.claim).is_some_and(|claim| claim.by != by);
        if others && !is_admin {
            let message = "Only whoever has claimed a review, or an admin, can release it.";
            return Err(Error::Forbidden(message.into()));
        }
        let word = if others { ReleaseWord::Admin } else { ReleaseWord::Claimant(by) };
        Ok(locked.perform(Command::ReleaseReview { word }, Some(by))?)
    })
    .await
}

/// Keeps corrections that are not decided yet, and renews the claim.
pub async fn save_draft(jobs: &Jobs, grant: &ReviewGrant, patch: Value) -> Result<review::Model> {
    correct::parse(&patch).map_err(Error::Invalid)?;
    let lasts = lasts(jobs);
    change(jobs, grant, move |locked, by| {
        let until = locked.now() + lasts;
        locked.perform(Command::RenewReview { by, until }, Some(by))?;
        locked.set_draft(patch);
        Ok(())
    })
    .await
}

pub(super) fn lasts(jobs: &Jobs) -> TimeDelta {
    TimeDelta::seconds(i64::from(jobs.review.claim_seconds))
}

/// Checks that the review is the one that holds its job now.
pub(super) fn is_open(locked: &Locked, id: ReviewId) -> Result<()> {
    match locked.open_review() {
        Some(open) if open.id == id => Ok(()),
        _ => Err(Rejection::NoReview.into()),
    }
}

async fn change(
    jobs: &Jobs,
    grant: &ReviewGrant,
    change: impl FnOnce(&mut Locked, UserId) -> Result<()> + Send + 'static,
) -> Result<review::Model> {
    let (job, id) = (grant.job().id, grant.review().id);
    let (clock, by, grant) = (jobs.clock.clone(), grant.actor().user.id, grant.clone());
    let saved = jobs.db.write(move |tx| -> Work<'_, Saved> {
        Box::pin(async move {
            let mut locked = Locked::lock(tx, job, &clock).await?.ok_or_else(gone)?;
            grant.still_holds(tx, locked.row()).await?;
            is_open(&locked, id)?;
            change(&mut locked, by)?;
            locked.save(tx).await
        })
    });
    match saved.await {
        Ok(saved) => {
            jobs.announce(saved);
            get(jobs, id).await
        }
        Err(error) => Err(name_claimant(jobs, error).await),
    }
}

pub(super) async fn get(jobs: &Jobs, id: ReviewId) -> Result<review::Model> {
    let found = review::Entity::find_by_id(id).one(jobs.db.read()).await?;
    found.ok_or_else(|| Error::not_found("review"))
}

/// Frees reviews whose claim was not renewed in time, up to `limit`. For the sweeper.
pub async fn expire(jobs: &Jobs, limit: u64) -> Result<usize> {
    let now = db::now(jobs.db.read(), &jobs.clock).await?;
    let late = review::Entity::find()
        .select_only()
        .column(review::Column::JobId)
        .filter(review::Column::Status.eq(ReviewStatus::Claimed))
        .filter(review::Column::ClaimExpiresAt.lte(now))
        .order_by_asc(review::Column::ClaimExpiresAt)
        .limit(limit);
    let late: Vec<JobId> = late.into_tuple().all(jobs.db.read()).await?;
    let mut freed = 0;
    for job in late {
        let clock = jobs.clock.clone();
        let saved = jobs.db.write(move |tx| -> Work<'_, Option<Saved>> {
            Box::pin(async move {
                let Some(mut locked) = Locked::lock(tx, job, &clock).await? else { return Ok(None) };
                match locked.perform(Command::ReleaseReview { word: ReleaseWord::Clock }, None) {
                    Ok(()) => locked.save(tx).await.map(Some),
                    // Decided since we looked.
                    Err(Rejection::NoReview) => Ok(None),
                    Err(other) => Err(other.into()),
                }
            })
        });
        match saved.await {
            Ok(Some(saved)) => {
                freed += usize::from(!saved.reviews.is_empty());
                jobs.announce(saved);
            }
            Ok(None) => {}
            // It keeps no other from its turn.
            Err(error) => tracing::error!(job.id = %job, %error, "a claim that ran out could not be freed"),
        }
    }
    Ok(freed)
}
