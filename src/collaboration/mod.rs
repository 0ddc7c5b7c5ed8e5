//! Collaboration: letting teams and users in to a job that exists, step by step, and out again, at once.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter, Set,
};
use serde_json::json;
use uuid::Uuid;

use crate::access::policy::works_on;
use crate::access::{self, Grant, Share};
use crate::audit::{self, By, Event};
use crate::db::Work;
use crate::entity::enums::{PrincipalKind, ReviewStatus};
use crate::entity::{access as rows, account, job, review};
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::job::collaborator::{Principal, PrincipalRef, normal_steps, principal_of, step_problems};
use crate::job::control::Edits;
use crate::job::decide::{Command, ReleaseWord};
use crate::job::record::{EventKind, Locked, Saved};
use crate::job::request::refuse;
use crate::job::{Jobs, gone};

/// Lets somebody in, or changes the steps of somebody who is in. The owner has everything already, so that nothing
/// changes for them.
pub async fn share(
    jobs: &Jobs,
    grant: &Grant<Share>,
    who: &PrincipalRef,
    steps: &[String],
) -> Result<job::Model> {
    let job = grant.job();
    let job_type = jobs.types.version(&job.type_id, job.type_version).await?;
    let problems = step_problems(&job_type, steps, "/steps");
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let principal = principal_of(jobs.db.read(), who).await?;
    let (steps, most) = (normal_steps(steps), jobs.limits.collaborators as u64);
    let changed = change(jobs, grant, move |tx, locked, actor| {
        Box::pin(async move {
            if let_in(tx, locked, &principal, &steps, actor).await? == LetIn::New {
                check_count(tx, locked, most, "/collaborator").await?;
            }
            Ok(vec![(Event::CollaboratorAdded, principal.id)])
        })
    });
    changed.await
}

/// Lets somebody out. Their subscriptions to the job end, and a review that they had claimed is free again.
pub async fn revoke(jobs: &Jobs, grant: &Grant<Share>, who: &PrincipalRef) -> Result<job::Model> {
    let principal = principal_of(jobs.db.read(), who).await?;
    let changed = change(jobs, grant, move |tx, locked, actor| {
        Box::pin(async move {
            let found = rows::Entity::find_by_id((locked.row().id, principal.id)).one(tx).await?;
            let Some(row) = found.filter(|row| row.kind != PrincipalKind::Owner) else {
                return Err(Error::not_found("collaborator of this job"));
            };
            let_out(tx, locked, row, &principal, actor).await?;
            Ok(vec![(Event::CollaboratorRemoved, principal.id)])
        })
    });
    changed.await
}

/// Whoever should be let in to a job instead of those of the same kinds who are: found, and with steps that there are.
#[derive(Debug, Clone)]
pub struct Wanted {
    kinds: Vec<PrincipalKind>,
    list: Vec<(Principal, Vec<String>)>,
}

/// Finds teams, users or both, which [`replace`] takes in place of those who are in; all that is wrong is said at once.
pub async fn wanted(
    jobs: &Jobs,
    grant: &Grant<Share>,
    teams: Option<Vec<(PrincipalRef, Vec<String>)>>,
    users: Option<Vec<(PrincipalRef, Vec<String>)>>,
) -> Result<Wanted> {
    let job = grant.job();
    let job_type = jobs.types.version(&job.type_id, job.type_version).await?;
    let kinds = [(PrincipalKind::Team, teams.is_some()), (PrincipalKind::User, users.is_some())];
    let kinds = kinds.into_iter().filter_map(|(kind, given)| given.then_some(kind)).collect();
    let all: Vec<_> = teams.into_iter().chain(users).flatten().collect();
    let mut problems = Vec::new();
    let list = jobs.collaborators(job.owner_id, &job_type, &all, &mut problems).await?;
    if problems.is_empty() { Ok(Wanted { kinds, list }) } else { Err(refuse(problems)) }
}

/// Lets in whoever is wanted, and out whoever else of these kinds is in, and makes other changes, all at once.
pub async fn replace(jobs: &Jobs, grant: &Grant<Share>, wanted: Wanted, edits: Edits) -> Result<job::Model> {
    let Wanted { kinds, list } = wanted;
    let most = jobs.limits.collaborators as u64;
    change(jobs, grant, move |tx, locked, actor| {
        Box::pin(async move {
            edits.apply(locked, actor)?;
            let mut done = Vec::new();
            let there = rows::Entity::find().filter(rows::Column::JobId.eq(locked.row().id));
            let leaves = |row: &rows::Model| {
                kinds.contains(&row.kind) && !list.iter().any(|(one, _)| one.id == row.principal_id)
            };
            for row in there.all(tx).await?.into_iter().filter(leaves) {
                let id = row.principal_id.to_string();
                let who = if row.kind == PrincipalKind::Team {
                    PrincipalRef::TeamId(id)
                } else {
                    PrincipalRef::UserId(id)
                };
                let principal = principal_of(tx, &who).await?;
                let_out(tx, locked, row, &principal, actor).await?;
                done.push((Event::CollaboratorRemoved, principal.id));
            }
            for (principal, steps) in &list {
                if let_in(tx, locked, principal, steps, actor).await? != LetIn::Same {
                    done.push((Event::CollaboratorAdded, principal.id));
                }
            }
            check_count(tx, locked, most, "/collaboration").await?;
            Ok(done)
        })
    })
    .await
}

/// What letting somebody in has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LetIn {
    /// They were not in before.
    New,
    /// They were in, to other steps.
    OtherSteps,
    /// Nothing.
    Same,
}

async fn let_in(
    tx: &impl ConnectionTrait,
    locked: &mut Locked,
    principal: &Principal,
    steps: &[String],
    actor: UserId,
) -> Result<LetIn> {
    let (id, now) = (locked.row().id, locked.now());
    let there = rows::Entity::find_by_id((id, principal.id)).one(tx).await?;
    let done = if there.is_none() { LetIn::New } else { LetIn::OtherSteps };
    match there {
        Some(row) if row.kind == PrincipalKind::Owner || access::steps(&row.steps) == steps => {
            return Ok(LetIn::Same);
        }
        Some(row) => {
            let mut row = row.into_active_model();
            row.steps = Set(json!(steps));
            row.update(tx).await?;
        }
        None => {
            let row = rows::ActiveModel {
                job_id: Set(id),
                principal_id: Set(principal.id),
                kind: Set(principal.kind),
                steps: Set(json!(steps)),
                created_at: Set(locked.row().created_at),
                updated_at: Set(now),
            };
            row.insert(tx).await?;
        }
    }
    let mut data = principal.change(if done == LetIn::New { "ADDED" } else { "CHANGED" });
    data["steps"] = json!(steps);
    locked.record(EventKind::CollaborationChanged, None, Some(actor), data);
    Ok(done)
}

async fn let_out(
    tx: &impl ConnectionTrait,
    locked: &mut Locked,
    row: rows::Model,
    principal: &Principal,
    actor: UserId,
) -> Result<()> {
    row.into_active_model().delete(tx).await?;
    let data = principal.change("REMOVED");
    locked.record(EventKind::CollaborationChanged, None, Some(actor), data);
    Ok(())
}

async fn check_count(tx: &impl ConnectionTrait, locked: &Locked, most: u64, path: &str) -> Result<()> {
    let count = rows::Entity::find().filter(rows::Column::JobId.eq(locked.row().id)).count(tx).await?;
    // The owner's row is one of them.
    if count <= most + 1 {
        return Ok(());
    }
    let message = format!("A job has {most} collaborators at the most.");
    Err(Error::invalid(path, "TOO_MANY", message))
}

/// Somebody has joined or left a team: whoever watches jobs looks again, and what they had claimed and may not work on
/// any more is free.
pub async fn membership_changed(jobs: &Jobs, user: UserId) -> Result<()> {
    jobs.hub.membership_changed();
    let claimed = review::Entity::find()
        .filter(review::Column::ClaimedBy.eq(user))
        .filter(review::Column::Status.eq(ReviewStatus::Claimed));
    for review in claimed.all(jobs.db.read()).await? {
        let clock = jobs.clock.clone();
        let released = jobs.db.write(move |tx| -> Work<'_, Option<Saved>> {
            Box::pin(async move {
                let Some(mut locked) = Locked::lock(tx, review.job_id, &clock).await? else {
                    return Ok(None);
                };
                free_lost_claim(tx, &mut locked, None).await?;
                locked.save(tx).await.map(Some)
            })
        });
        if let Some(saved) = released.await? {
            jobs.announce(saved);
        }
    }
    Ok(())
}

/// Who was let in or out.
type Change<'c> = Work<'c, Vec<(Event, Uuid)>>;

async fn change<F>(jobs: &Jobs, grant: &Grant<Share>, change: F) -> Result<job::Model>
where
    F: for<'c> FnOnce(&'c sea_orm::DatabaseTransaction, &'c mut Locked, UserId) -> Change<'c>
        + Send
        + 'static,
{
    let (grant, clock) = (grant.clone(), jobs.clock.clone());
    let (id, by) = (grant.job().id, By::from(grant.actor()));
    let saved = jobs.db.write(move |tx| -> Work<'_, (Saved, Vec<(Event, Uuid)>)> {
        Box::pin(async move {
            let mut locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
            grant.still_holds(tx, locked.row()).await?;
            let actor = grant.actor().user.id;
            let done = change(tx, &mut locked, actor).await?;
            free_lost_claim(tx, &mut locked, Some(actor)).await?;
            Ok((locked.save(tx).await?, done))
        })
    });
    let (saved, done) = saved.await?;
    for (event, collaborator) in done {
        audit::between(event, by, collaborator, id);
    }
    jobs.hub.share_changed();
    Ok(jobs.announce(saved))
}

/// Frees the open review where whoever has claimed it does not work on its step any more.
async fn free_lost_claim(tx: &impl ConnectionTrait, locked: &mut Locked, by: Option<UserId>) -> Result<()> {
    let Some(review) = locked.open_review() else { return Ok(()) };
    let Some(claimant) = review.claimed_by else { return Ok(()) };
    let account = account::Entity::find_by_id(claimant).one(tx).await?;
    let standing = match &account {
        Some(account) => access::standing_of_account(tx, account, locked.row()).await?,
        None => None,
    };
    if standing.is_some_and(|standing| works_on(&standing, &review.step)) {
        return Ok(());
    }
    let word = ReleaseWord::AccessLost(claimant);
    Ok(locked.perform(Command::ReleaseReview { word }, by)?)
}
