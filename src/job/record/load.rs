//! Opening a job for a change: locking it, reading the rows that the change needs, and checking the authority.

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::authority::{Authority, admit};
use super::collaborators::{CollaboratorRows, ReviewClaimant};
use super::contents::Contents;
use super::locked::LockedJob;
use super::write_set::TrackedReview;
use crate::clock::Clock;
use crate::db;
use crate::entity::enums::{PrincipalKind, ReviewStatus};
use crate::entity::{access, account, content, document, job, review, task, team, team_member};
use crate::error::Result;
use crate::id::{JobId, UserId};
use crate::job::collaborator::Principal;
use crate::job::{not_found, rows};

/// The rows that a change reads besides the job, its task and its open review.
#[derive(Debug, Clone, Copy)]
pub struct Reads {
    contents: Option<ContentReads>,
    collaborators: bool,
}

/// The versions of contents that a change reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentReads {
    /// For each role, the current version and the newest one.
    Newest,
    /// Also all versions that could become current again.
    Restorable,
}

impl Reads {
    /// Nothing more.
    pub(crate) const STATE: Self = Self { contents: None, collaborators: false };
    /// The current contents with their documents, to add versions.
    pub(crate) const CONTENTS: Self = Self { contents: Some(ContentReads::Newest), collaborators: false };
    /// The contents that a rewind supersedes or restores.
    pub(crate) const CONTENT_HISTORY: Self =
        Self { contents: Some(ContentReads::Restorable), collaborators: false };
    /// Its collaborators, and the access of the reviewer who has claimed the open review.
    pub(crate) const COLLABORATORS: Self = Self { contents: None, collaborators: true };
}

/// Locks a job, reads its rows, and checks that the authority still allows a change. NOT_FOUND if the job does not exist.
pub(super) async fn open(
    tx: &DatabaseTransaction,
    clock: &Clock,
    authority: &impl Authority,
    reads: Reads,
) -> Result<LockedJob> {
    let mut locked = lock(tx, authority.job_id(), clock, reads).await?;
    admit(tx, authority, &mut locked).await?;
    Ok(locked)
}

/// Locks a job and loads it. The time is taken once the lock is held, from the clock that all nodes share: a change that has
/// waited long is decided by the time at which it runs.
async fn lock(tx: &DatabaseTransaction, id: JobId, clock: &Clock, reads: Reads) -> Result<LockedJob> {
    let row = job::Entity::find_by_id(id).lock_exclusive().one(tx).await?.ok_or_else(not_found)?;
    let now = db::now(tx, clock).await?;
    // Locked, because a worker renews its lease without the lock of the job.
    let task = task::Entity::find_by_id(id).lock_exclusive().one(tx).await?;
    let open = review::Entity::find().filter(review::Column::JobId.eq(id));
    let open = open.filter(review::Column::Status.is_in(ReviewStatus::UNDECIDED)).one(tx).await?;
    let state = rows::state(&row, task.as_ref(), open.as_ref())?;
    let contents = match reads.contents {
        Some(reads) => Some(contents(tx, id, reads).await?),
        None => None,
    };
    let claimed_by = open.as_ref().and_then(|review| review.claimed_by);
    let collaborators =
        if reads.collaborators { Some(collaborators(tx, id, claimed_by).await?) } else { None };
    Ok(LockedJob::stored(row, state, now, open.map(TrackedReview::stored), contents, collaborators))
}

async fn contents(tx: &DatabaseTransaction, job: JobId, reads: ContentReads) -> Result<Contents> {
    use content::{Column, Entity};

    // The newest version of a role is not its current one if a rewind has undone it.
    let newest = Expr::cust(
        "content.version = (SELECT max(same.version) FROM content AS same \
         WHERE same.job_id = content.job_id AND same.role = content.role)",
    );
    let needed = match reads {
        ContentReads::Newest => Column::Current.eq(true),
        ContentReads::Restorable => Column::Undone.eq(false),
    };
    let found = Entity::find().filter(Column::JobId.eq(job)).filter(Condition::any().add(needed).add(newest));
    let rows = found.find_also_related(document::Entity).all(tx).await?;
    Ok(Contents::stored(rows, reads == ContentReads::Restorable))
}

async fn collaborators(
    tx: &DatabaseTransaction,
    job: JobId,
    claimed_by: Option<UserId>,
) -> Result<CollaboratorRows> {
    let rows = access::Entity::find().filter(access::Column::JobId.eq(job)).all(tx).await?;
    let ids = |kind| rows.iter().filter(move |row| row.kind == kind).map(|row| row.principal_id);
    let teams: Vec<Uuid> = ids(PrincipalKind::Team).collect();
    let users: Vec<UserId> = ids(PrincipalKind::User).map(UserId).chain(claimed_by).collect();
    let mut principals = HashMap::new();
    if !teams.is_empty() {
        let teams = team::Entity::find().filter(team::Column::Id.is_in(teams)).all(tx).await?;
        principals.extend(teams.into_iter().map(|team| (team.id.0, Principal::from(team))));
    }
    let mut claimant = claimed_by.map(|id| ReviewClaimant { id, is_admin: None, teams: Vec::new() });
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
    Ok(CollaboratorRows { rows, principals, claimant })
}
