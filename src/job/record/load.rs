//! Locking a job and reading the rows that a change needs.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::collaborators::{Claimant, Collaborators};
use super::contents::Contents;
use super::locked::LockedJob;
use super::writes::TrackedReview;
use crate::clock::Clock;
use crate::db;
use crate::entity::enums::{PrincipalKind, ReviewStatus};
use crate::entity::{access, account, content, document, job, review, task, team, team_member};
use crate::error::Result;
use crate::id::{JobId, UserId};
use crate::job::collaborator::Principal;
use crate::job::rows;

/// What a change reads besides the job, its task and its open review.
#[derive(Debug, Clone, Copy)]
pub struct Reads {
    contents: bool,
    collaborators: bool,
}

impl Reads {
    /// Nothing more.
    pub const STATE: Self = Self { contents: false, collaborators: false };
    /// All versions of its contents, with their documents.
    pub const CONTENTS: Self = Self { contents: true, collaborators: false };
    /// Its collaborators, and the access of the reviewer who has claimed the open review.
    pub const COLLABORATORS: Self = Self { contents: false, collaborators: true };
}

/// Locks a job and loads it; `None` if it does not exist. The time is taken once the lock is held, from the clock that all
/// nodes share: a change that has waited long is decided by the time at which it runs.
pub(super) async fn lock(
    tx: &DatabaseTransaction,
    id: JobId,
    clock: &Clock,
    reads: Reads,
) -> Result<Option<LockedJob>> {
    let Some(row) = job::Entity::find_by_id(id).lock_exclusive().one(tx).await? else { return Ok(None) };
    let now = db::now(tx, clock).await?;
    let task = task::Entity::find_by_id(id).one(tx).await?;
    let open = review::Entity::find().filter(review::Column::JobId.eq(id));
    let open = open.filter(review::Column::Status.is_in(ReviewStatus::UNDECIDED)).one(tx).await?;
    let state = rows::state(&row, task.as_ref(), open.as_ref())?;
    let contents = if reads.contents { Some(contents(tx, id).await?) } else { None };
    let claimed_by = open.as_ref().and_then(|review| review.claimed_by);
    let collaborators =
        if reads.collaborators { Some(collaborators(tx, id, claimed_by).await?) } else { None };
    Ok(Some(LockedJob::stored(row, state, now, open.map(TrackedReview::stored), contents, collaborators)))
}

async fn contents(tx: &DatabaseTransaction, job: JobId) -> Result<Contents> {
    let found = content::Entity::find().filter(content::Column::JobId.eq(job));
    Ok(Contents::stored(found.find_also_related(document::Entity).all(tx).await?))
}

async fn collaborators(
    tx: &DatabaseTransaction,
    job: JobId,
    claimed_by: Option<UserId>,
) -> Result<Collaborators> {
    let rows = access::Entity::find().filter(access::Column::JobId.eq(job)).all(tx).await?;
    let ids = |kind| rows.iter().filter(move |row| row.kind == kind).map(|row| row.principal_id);
    let teams: Vec<Uuid> = ids(PrincipalKind::Team).collect();
    let users: Vec<UserId> = ids(PrincipalKind::User).map(UserId).chain(claimed_by).collect();
    let mut principals = HashMap::new();
    if !teams.is_empty() {
        let teams = team::Entity::find().filter(team::Column::Id.is_in(teams)).all(tx).await?;
        principals.extend(teams.into_iter().map(|team| (team.id.0, Principal::from(team))));
    }
    let mut claimant = claimed_by.map(|id| Claimant { id, is_admin: None, teams: Vec::new() });
    if !users.is_empty() {
        for user in account::Entity::find().filter(account::Column::Id.is_in(users)).all(tx).await? {
            if let Some(claimant) = claimant.as_mut().filter(|claimant| claimant.id == user.id) {
                claimant.is_admin = Some(user.is_admin);
            }
            principals.insert(user.id.0, Principal::from(user));
        }
    }
    if let Some(claimant) = &mut claimant {
        let of = team_member::Entity::find().filter(team_member::Column::AccountId.eq(claimant.id));
        claimant.teams = of.all(tx).await?.into_iter().map(|member| member.team_id.0).collect();
    }
    Ok(Collaborators { rows, principals, claimant })
}
