//! Reviews: the queue of a reviewer, claiming ([`claim`]), deciding ([`decide`]), correcting by a patch ([`correct`])
//! or a replacement ([`replace`]), and the simulation of another threshold ([`simulate`]).
//!
//! ```text
//!  opened ──► OPEN ──claim──► CLAIMED ──decide──► APPROVED, REJECTED, SENT_BACK
//!               ▲                │
//!               └── release, claim not renewed, access lost      any ── job ended or rewound ──► CANCELLED
//! ```
//!
//! A claim of a review is not a lease: no worker runs a step of the job while its review is open.

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

/// A filter for reviews. `None` matches all reviews.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Matches reviews with one of these statuses.
    pub status: Option<Vec<ReviewStatus>>,
    /// Matches reviews of jobs of one of these types.
    pub types: Option<Vec<String>>,
    /// Matches reviews of one of these steps.
    pub steps: Option<Vec<String>>,
    /// Whether the viewer has claimed the review.
    pub claimed_by_me: Option<bool>,
}

/// Returns a query for the reviews that the actor may work on and that match the filter. Excludes reviews of four-eyes
/// steps of the actor's own jobs.
fn reviewable(jobs: &Jobs, actor: &Actor, filter: &Filter) -> Select<review::Entity> {
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
            let not_mine = Condition::any()
                .add(review::Column::ClaimedBy.is_null())
                .add(review::Column::ClaimedBy.ne(me));
            all = all.add(not_mine);
        }
        None => {}
    }
    review::Entity::find().filter(all)
}

/// Returns the open review of a job, for an actor with access to its step. Errors: NOT_FOUND if the actor does not see
/// the job, FORBIDDEN without access to the step, CONFLICT if the job is not blocked.
pub(crate) async fn open_of_job(jobs: &Jobs, actor: &Actor, job: JobId) -> Result<ReviewGrant> {
    access::job::<View>(jobs.db.read(), actor, job).await?;
    let open = review::Entity::find()
        .filter(review::Column::JobId.eq(job))
        .filter(review::Column::Status.is_in(ReviewStatus::UNDECIDED));
    let Some(open) = open.one(jobs.db.read()).await? else {
        return Err(Error::conflict("The job is not blocked: it has no open review."));
    };
    access::review(jobs.db.read(), actor, open.id).await.map_err(|error| match error {
        Error::NotFound(_) => {
            Error::Forbidden(format!("You have access to this job, but not to its step {:?}.", open.step))
        }
        other => other,
    })
}

/// Returns a page of the review queue, oldest first.
pub async fn queue(
    jobs: &Jobs,
    actor: &Actor,
    filter: &Filter,
    window: Window,
) -> Result<Page<review::Model>> {
    let (time, id) = (review::Column::CreatedAt, review::Column::Id);
    let query = window.select(reviewable(jobs, actor, filter), Direction::Ascending, time, id);
    Ok(window.page(query.all(jobs.db.read()).await?))
}

/// Returns the number of reviews in the queue.
pub async fn count(jobs: &Jobs, actor: &Actor, filter: &Filter) -> Result<u64> {
    Ok(reviewable(jobs, actor, filter).count(jobs.db.read()).await?)
}

/// Returns those of the given reviews that the actor may work on and that match the filter, the newest change last.
pub async fn among(
    jobs: &Jobs,
    actor: &Actor,
    filter: &Filter,
    ids: impl IntoIterator<Item = ReviewId>,
) -> Result<Vec<review::Model>> {
    let found = reviewable(jobs, actor, filter).filter(review::Column::Id.is_in(ids));
    Ok(found.order_by_asc(review::Column::UpdatedAt).all(jobs.db.read()).await?)
}

/// Returns up to `limit` reviews that the actor may work on and that match the filter, from those after a time of
/// change and an ID. The newest change is last.
pub(crate) async fn changed_after(
    jobs: &Jobs,
    actor: &Actor,
    filter: &Filter,
    (time, id): (Timestamp, Uuid),
    limit: u64,
) -> Result<Vec<review::Model>> {
    let same = review::Column::UpdatedAt.eq(time).and(review::Column::Id.gt(id));
    let changed = reviewable(jobs, actor, filter).filter(review::Column::UpdatedAt.gt(time).or(same));
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
