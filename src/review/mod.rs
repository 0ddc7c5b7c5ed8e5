//! Reviews: a person's turn on a job. The queue of those that somebody may work on; claiming them ([`claim`]), deciding
//! them ([`decide`]) with corrections ([`correct`]), and what another threshold would have asked for ([`simulate`]).
//!
//! ```text
//!  opened ──► OPEN ──claim──► CLAIMED ──decide──► APPROVED, REJECTED, SENT_BACK
//!               ▲                │
//!               └── release, claim not renewed, access lost      any ── job ended or rewound ──► CANCELLED
//! ```
//!
//! A claim is a person's hold for some minutes; it is no lease, and no worker has the job meanwhile.

pub mod claim;
pub mod correct;
pub mod decide;
mod json_content;
pub mod replace;
pub mod simulate;

use sea_orm::sea_query::ExprTrait;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde_json::json;
use uuid::Uuid;

use crate::access::{self, Actor, ReviewGrant, View};
use crate::clock::Timestamp;
use crate::entity::enums::ReviewStatus;
use crate::entity::{account, review};
use crate::error::{Error, Result};
use crate::id::{JobId, ReviewId, UserId};
use crate::job::Jobs;
use crate::page::{Direction, Page, Window};

/// Which reviews. What is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// In one of these statuses.
    pub status: Option<Vec<ReviewStatus>>,
    /// Of jobs of one of these types.
    pub types: Option<Vec<String>>,
    /// Of one of these steps.
    pub steps: Option<Vec<String>>,
    /// Claimed by the viewer, or not.
    pub claimed_by_me: Option<bool>,
}

/// The reviews that an actor may work on and that match; where the owner of a job is barred from deciding, theirs are not
/// among them.
fn workable(jobs: &Jobs, actor: &Actor, filter: &Filter) -> Select<review::Entity> {
    let me = actor.user.id;
    let not_barred =
        Condition::any().add(review::Column::BarredId.is_null()).add(review::Column::BarredId.ne(me));
    let mut all = access::accessible_step_rows(actor, jobs.db.backend(), "review").add(not_barred);
    if let Some(statuses) = &filter.status {
        all = all.add(review::Column::Status.is_in(statuses.iter().copied()));
    }
    if let Some(types) = &filter.types {
        all = all.add(review::Column::TypeId.is_in(types));
    }
    if let Some(steps) = &filter.steps {
        all = all.add(review::Column::Step.is_in(steps));
    }
    match filter.claimed_by_me {
        Some(true) => all = all.add(review::Column::ClaimedBy.eq(me)),
        Some(false) => {
            let others = Condition::any()
                .add(review::Column::ClaimedBy.is_null())
                .add(review::Column::ClaimedBy.ne(me));
            all = all.add(others);
        }
        None => {}
    }
    review::Entity::find().filter(all)
}

/// Returns the open review of a job for somebody who works on its step. NOT_FOUND where they do not see the job, FORBIDDEN
/// where they see it but not that step, CONFLICT where the job is not blocked.
pub async fn open_of_job(jobs: &Jobs, actor: &Actor, job: JobId) -> Result<ReviewGrant> {
    access::job::<View>(jobs.db.read(), actor, job).await?;
    let open = review::Entity::find()
        .filter(review::Column::JobId.eq(job))
        .filter(review::Column::Status.is_in(ReviewStatus::UNDECIDED));
    let Some(open) = open.one(jobs.db.read()).await? else {
        return Err(Error::conflict("The job is not blocked: it has no open review."));
    };
    access::review(jobs.db.read(), actor, open.id).await.map_err(|error| match error {
        Error::NotFound(_) => {
            Error::Forbidden(format!("You may see this job, but not work on its step {:?}.", open.step))
        }
        other => other,
    })
}

/// A page of the queue, the oldest first.
pub async fn queue(
    jobs: &Jobs,
    actor: &Actor,
    filter: &Filter,
    window: Window,
) -> Result<Page<review::Model>> {
    let (time, id) = (review::Column::CreatedAt, review::Column::Id);
    let query = window.select(workable(jobs, actor, filter), Direction::Ascending, time, id);
    Ok(window.page(query.all(jobs.db.read()).await?))
}

/// How many reviews are in the queue.
pub async fn count(jobs: &Jobs, actor: &Actor, filter: &Filter) -> Result<u64> {
    Ok(workable(jobs, actor, filter).count(jobs.db.read()).await?)
}

/// Those of some reviews that an actor may work on and that match, the newest change last.
pub async fn among(
    jobs: &Jobs,
    actor: &Actor,
    filter: &Filter,
    ids: impl IntoIterator<Item = ReviewId>,
) -> Result<Vec<review::Model>> {
    let some = workable(jobs, actor, filter).filter(review::Column::Id.is_in(ids));
    Ok(some.order_by_asc(review::Column::UpdatedAt).all(jobs.db.read()).await?)
}

/// Up to `limit` that an actor may work on, that match and that changed after some other, the newest change last.
pub async fn changed_after(
    jobs: &Jobs,
    actor: &Actor,
    filter: &Filter,
    (time, id): (Timestamp, Uuid),
    limit: u64,
) -> Result<Vec<review::Model>> {
    let same = review::Column::UpdatedAt.eq(time).and(review::Column::Id.gt(id));
    let changed = workable(jobs, actor, filter).filter(review::Column::UpdatedAt.gt(time).or(same));
    let changed =
        changed.order_by_asc(review::Column::UpdatedAt).order_by_asc(review::Column::Id).limit(limit);
    Ok(changed.all(jobs.db.read()).await?)
}

/// Adds the name of the user who has the claim to a conflict.
async fn add_claimant(jobs: &Jobs, error: Error) -> Error {
    let Error::Conflict { message, mut details } = error else { return error };
    let id = details.get("claimedBy").and_then(|by| UserId::parse(by.as_str()?));
    if let Some(id) = id {
        match account::Entity::find_by_id(id).one(jobs.db.read()).await {
            Ok(Some(account)) => {
                let by = json!({"id": id, "name": account.name, "email": account.email});
                details.insert("claimedBy".into(), by);
            }
            Ok(None) => {}
            Err(error) => return error.into(),
        }
    }
    Error::Conflict { message, details }
}
