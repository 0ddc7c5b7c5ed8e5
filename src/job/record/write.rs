//! Executes what a change has collected: the rows that differ, the history, and the deliveries to webhooks.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Expr, ExprTrait, IntoIden, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel,
    Iterable, QueryFilter, Set, SqlErr,
};
use serde_json::Value;

use super::contents::ContentWrites;
use super::locked::LockedJob;
use super::write_set::{AccessWrite, ScoreWrite, TrackedReview};
use crate::clock::Timestamp;
use crate::entity::{access, confidence, content, document, job, review, review_items, task};
use crate::error::{Error, Result};
use crate::events::{feed, outbox};
use crate::id::{ContentId, JobId, ReviewId};
use crate::job::contents::Grade;
use crate::job::state::{State, Task};

/// The result of a transaction, for the wake-ups after its commit.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) job: job::Model,
    /// Reviews that were opened or changed.
    pub(super) reviews: Vec<ReviewId>,
    /// Sequence of the first event that was written; above the job's last one if none was.
    pub(super) first_event: i64,
    /// Whether collaborators were changed.
    pub(super) is_access_changed: bool,
    /// How many deliveries to webhooks were written.
    pub(super) deliveries: usize,
}

/// Writes a changed job, and returns what the wake-ups after the commit need.
pub(super) async fn write(tx: &DatabaseTransaction, mut locked: LockedJob) -> Result<Saved> {
    let writes = std::mem::take(&mut locked.writes);
    let count = i64::try_from(writes.events.len()).map_err(Error::internal)?;
    let first_event = locked.row.seq + 1 - count;
    let job = write_job(tx, &mut locked, count > 0).await?;
    let (id, now) = (job.id, locked.now());
    let is_access_changed = locked.is_stored && !writes.access.is_empty();
    write_access(tx, id, writes.access).await?;
    write_documents(tx, writes.documents).await?;
    if let Some(contents) = locked.contents.take() {
        write_contents(tx, contents.into_writes()).await?;
    }
    let mut reviews = Vec::new();
    for review in writes.reviews.into_iter().chain(locked.open_review).filter(|review| review.is_changed) {
        reviews.push(review.row.id);
        write_review(tx, review).await?;
    }
    for score in writes.scores {
        write_score(tx, &job, now, score).await?;
    }
    let mut deliveries = 0;
    if count > 0 {
        write_task(tx, &job, locked.task_before.as_ref(), &locked.state).await?;
        let events = feed::append(tx, writes.events).await?;
        if !events.is_empty() {
            deliveries = outbox::append(tx, id, &events).await?;
        }
        if locked.is_stored {
            let touch = access::Entity::update_many().col_expr(access::Column::UpdatedAt, Expr::value(now));
            touch.filter(access::Column::JobId.eq(id)).exec(tx).await?;
        }
    }
    Ok(Saved { job, reviews, first_event, is_access_changed, deliveries })
}

async fn write_job(tx: &DatabaseTransaction, locked: &mut LockedJob, is_changed: bool) -> Result<job::Model> {
    if !is_changed {
        return Ok(locked.row.clone());
    }
    let (state, now) = (&locked.state, locked.now());
    let row = &mut locked.row;
    row.status = state.status;
    row.fence = state.fence;
    row.steps = serde_json::to_value(&state.steps).map_err(Error::internal)?;
    row.failure = state.failure.as_ref().map(serde_json::to_value).transpose().map_err(Error::internal)?;
    row.started_at = state.started_at;
    row.finished_at = state.finished_at;
    row.timing = Some(serde_json::to_value(state.timing).map_err(Error::internal)?);
    row.updated_at = now;
    let row = row.clone().into_active_model().reset_all();
    if locked.is_stored {
        return Ok(row.update(tx).await?);
    }
    row.insert(tx).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Error::conflict(
            "Another request with this idempotency key runs at the same time. Retry the request.",
        ),
        _ => error.into(),
    })
}

async fn write_task(
    tx: &DatabaseTransaction,
    job: &job::Model,
    before: Option<&Task>,
    state: &State,
) -> Result<()> {
    match (before, &state.task) {
        // A worker may renew its lease and report progress without this lock: its columns are left alone.
        (Some(before), Some(task)) if before == task => {
            let prioritized =
                task::Entity::update_many().col_expr(task::Column::Priority, Expr::value(job.priority));
            let changed = prioritized
                .filter(task::Column::JobId.eq(job.id))
                .filter(task::Column::Priority.ne(job.priority));
            changed.exec(tx).await?;
        }
        (before, Some(task)) => upsert_task(tx, job, state, task, before.is_some()).await?,
        (Some(_), None) => {
            task::Entity::delete_by_id(job.id).exec(tx).await?;
        }
        (None, None) => {}
    }
    Ok(())
}

async fn upsert_task(
    tx: &impl ConnectionTrait,
    job: &job::Model,
    state: &State,
    task: &Task,
    exists: bool,
) -> Result<()> {
    let lease = task.lease.as_ref();
    let row = task::ActiveModel {
        job_id: Set(job.id),
        type_id: Set(job.type_id.clone()),
        step: Set(state.steps[task.step].name.clone()),
        priority: Set(job.priority),
        run_at: Set(task.run_at),
        fence: Set(state.fence),
        lease_token: Set(lease.map(|lease| lease.token)),
        lease_owner: Set(lease.map(|lease| lease.owner.clone())),
        lease_until: Set(lease.map(|lease| lease.until)),
        deadline: Set(lease.map(|lease| lease.deadline)),
        fraction: Set(0.0),
        message: Set(None),
    };
    if exists {
        row.update(tx).await?;
    } else {
        row.insert(tx).await?;
    }
    Ok(())
}

async fn write_access(tx: &DatabaseTransaction, job: JobId, writes: Vec<AccessWrite>) -> Result<()> {
    let mut new = Vec::new();
    for write in writes {
        if !matches!(write, AccessWrite::Insert(_)) {
            insert_access(tx, &mut new).await?;
        }
        match write {
            AccessWrite::Insert(row) => new.push(row.into_active_model().reset_all()),
            AccessWrite::SetSteps(principal, steps) => {
                let set = access::Entity::update_many().col_expr(access::Column::Steps, Expr::value(steps));
                let of_job = set.filter(access::Column::JobId.eq(job));
                of_job.filter(access::Column::PrincipalId.eq(principal)).exec(tx).await?;
            }
            AccessWrite::Delete(principal) => {
                access::Entity::delete_by_id((job, principal)).exec(tx).await?;
            }
        }
    }
    insert_access(tx, &mut new).await
}

async fn insert_access(tx: &DatabaseTransaction, new: &mut Vec<access::ActiveModel>) -> Result<()> {
    if !new.is_empty() {
        access::Entity::insert_many(new.drain(..)).exec_without_returning(tx).await?;
    }
    Ok(())
}

async fn write_documents(tx: &DatabaseTransaction, documents: Vec<document::Model>) -> Result<()> {
    if !documents.is_empty() {
        let rows = documents.into_iter().map(|row| row.into_active_model().reset_all());
        document::Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

async fn write_contents(tx: &DatabaseTransaction, writes: ContentWrites) -> Result<()> {
    use content::{Column, Entity};

    let ContentWrites { superseded, undone, restored, new } = writes;
    if !superseded.is_empty() {
        let update = Entity::update_many().col_expr(Column::Current, Expr::value(false));
        update.filter(Column::Id.is_in(superseded)).exec(tx).await?;
    }
    if !undone.is_empty() {
        let update = Entity::update_many().col_expr(Column::Current, Expr::value(false));
        let update = update.col_expr(Column::Undone, Expr::value(true));
        update.filter(Column::Id.is_in(undone)).exec(tx).await?;
    }
    // Only after those before have let go of their role: a role has one current content.
    if !restored.is_empty() {
        let update = Entity::update_many().col_expr(Column::Current, Expr::value(true));
        update.filter(Column::Id.is_in(restored)).exec(tx).await?;
    }
    if !new.is_empty() {
        let rows = new.into_iter().map(|row| row.into_active_model().reset_all());
        Entity::insert_many(rows).exec_without_returning(tx).await.map_err(|error| {
            match error.sql_err() {
                Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
                    Error::conflict("A document of this request was deleted at the same time.")
                }
                _ => error.into(),
            }
        })?;
    }
    Ok(())
}

async fn write_review(tx: &DatabaseTransaction, review: TrackedReview) -> Result<()> {
    let TrackedReview { row, items, draft, is_stored, .. } = review;
    let id = row.id;
    let row = row.into_active_model().reset_all();
    if !is_stored {
        return insert_review(tx, &row, items.unwrap_or_default()).await;
    }
    row.update(tx).await?;
    let mut parts = review_items::Entity::update_many().filter(review_items::Column::Id.eq(id));
    if items.is_none() && draft.is_none() {
        return Ok(());
    }
    if let Some(items) = items {
        parts = parts.col_expr(review_items::Column::Items, Expr::value(Value::Array(items)));
    }
    if let Some(draft) = draft {
        parts = parts.col_expr(review_items::Column::Draft, Expr::value(draft));
    }
    parts.exec(tx).await?;
    Ok(())
}

async fn insert_review(
    tx: &impl ConnectionTrait,
    row: &review::ActiveModel,
    items: Vec<Value>,
) -> Result<()> {
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for column in review::Column::iter() {
        if let Some(value) = row.get(column).into_value() {
            columns.push(column.into_iden());
            values.push(Expr::value(value));
        }
    }
    columns.push(review_items::Column::Items.into_iden());
    values.push(Expr::value(Value::Array(items)));
    let mut insert = Query::insert();
    insert.into_table(review::Entity).columns(columns).values(values).map_err(Error::internal)?;
    tx.execute(&insert).await?;
    Ok(())
}

async fn write_score(
    tx: &impl ConnectionTrait,
    job: &job::Model,
    now: Timestamp,
    write: ScoreWrite,
) -> Result<()> {
    use confidence::Column;

    let rows = |content: ContentId| confidence::Entity::update_many().filter(Column::ContentId.eq(content));
    match write {
        ScoreWrite::Insert { content, step, scores } => {
            let count = |n: u32| Set(i32::try_from(n).unwrap_or(i32::MAX));
            let rows = scores.iter().map(|score| confidence::ActiveModel {
                content_id: Set(content),
                thousandths: Set(score.thousandths.into()),
                missing: Set(score.missing),
                job_id: Set(job.id),
                type_id: Set(job.type_id.clone()),
                step: Set(step.clone()),
                at: Set(now),
                items: count(score.items),
                due: count(score.due),
                reviewed: Set(0),
                corrected: Set(0),
            });
            confidence::Entity::insert_many(rows).exec_without_returning(tx).await?;
        }
        ScoreWrite::MarkReviewed(content) => {
            rows(content).col_expr(Column::Reviewed, Expr::col(Column::Due)).exec(tx).await?;
        }
        ScoreWrite::CountCorrections { content, grades } => {
            let mut counts: BTreeMap<Grade, i32> = BTreeMap::new();
            for grade in grades {
                *counts.entry(grade).or_default() += 1;
            }
            for (grade, corrected) in counts {
                rows(content)
                    .col_expr(Column::Corrected, Expr::col(Column::Corrected).add(corrected))
                    .filter(Column::Thousandths.eq(grade.thousandths))
                    .filter(Column::Missing.eq(grade.missing))
                    .exec(tx)
                    .await?;
            }
        }
        ScoreWrite::Move { from, to } => {
            rows(from).col_expr(Column::ContentId, Expr::value(to)).exec(tx).await?;
        }
    }
    Ok(())
}
