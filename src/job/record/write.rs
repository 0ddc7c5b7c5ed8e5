//! Executes what a change has collected: the rows that differ, the history, and the deliveries to webhooks.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Alias, Asterisk, Expr, ExprTrait, IntoIden, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    FromQueryResult, IntoActiveModel, Iterable, NotSet, QueryFilter, QueryTrait, Set, SqlErr,
};
use serde_json::Value;

use super::contents::ContentWrites;
use super::locked::LockedJob;
use super::write_set::{AccessWrite, ScoreWrite, TrackedReview};
use crate::clock::Timestamp;
use crate::db::Statements;
use crate::entity::{access, confidence, content, document, job, review, review_items, task};
use crate::error::{Error, Result};
use crate::events::{EventHead, feed, outbox};
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

/// The name of the changed row in the statement that writes it.
const CHANGED_JOB: &str = "changed_job";

/// Writes a changed job, and returns what the wake-ups after the commit need.
pub(super) async fn write(tx: &DatabaseTransaction, mut locked: LockedJob) -> Result<Saved> {
    let backend = tx.get_database_backend();
    let writes = std::mem::take(&mut locked.writes);
    let events: Vec<_> = writes.events.iter().map(EventHead::from).collect();
    let first_event = locked.row.seq + 1 - i64::try_from(events.len()).map_err(Error::internal)?;
    let is_access_changed = locked.is_stored && !writes.access.is_empty();
    let (id, now) = (locked.row.id, locked.now());
    let mut statements = Statements::default();
    if !events.is_empty() {
        write_job(&mut statements, &mut locked)?;
        write_task(&mut statements, &locked);
    }
    write_access(tx, &mut statements, id, writes.access).await?;
    if !events.is_empty() && locked.is_stored {
        let touch = access::Entity::update_many().col_expr(access::Column::UpdatedAt, Expr::value(now));
        statements.add(touch.filter(access::Column::JobId.eq(id)).into_query());
    }
    if !writes.documents.is_empty() {
        let rows = writes.documents.into_iter().map(|row| row.into_active_model().reset_all());
        statements.add(document::Entity::insert_many(rows).into_query());
    }
    if let Some(contents) = locked.contents.take() {
        write_contents(tx, &mut statements, contents.into_writes()).await?;
    }
    feed::append(&mut statements, backend, writes.events);
    let (job, has_webhooks) = run(tx, statements, &locked, !events.is_empty()).await?;
    let mut reviews = Vec::new();
    for review in writes.reviews.into_iter().chain(locked.open_review).filter(|review| review.is_changed) {
        reviews.push(review.row.id);
        write_review(tx, review).await?;
    }
    for score in writes.scores {
        write_score(tx, &job, now, score).await?;
    }
    let deliveries = if has_webhooks { outbox::append(tx, id, &events).await? } else { 0 };
    Ok(Saved { job, reviews, first_event, is_access_changed, deliveries })
}

/// Runs the statements. Returns the row of the job, and whether events have to be delivered to webhooks.
async fn run(
    tx: &DatabaseTransaction,
    statements: Statements,
    locked: &LockedJob,
    is_job_changed: bool,
) -> Result<(job::Model, bool)> {
    let failed = |error: DbErr| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) if !locked.is_stored => Error::conflict(
            "Another request with this idempotency key runs at the same time. Retry the request.",
        ),
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
            Error::conflict("A document of this request was deleted at the same time.")
        }
        _ => error.into(),
    };
    if !is_job_changed {
        statements.run(tx).await.map_err(failed)?;
        return Ok((locked.row.clone(), false));
    }
    // The row as the database has it: PostgreSQL orders the keys of JSON objects.
    let mut answer = Query::select();
    answer.column(Asterisk).expr_as(Expr::cust(feed::HAS_WEBHOOKS), "has_webhooks");
    match tx.get_database_backend() {
        // Only the statement that changes the row sees the change.
        DbBackend::Postgres => answer.from(Alias::new(CHANGED_JOB)),
        _ => answer.from(job::Entity).and_where(job::Column::Id.eq(locked.row.id)),
    };
    let row = statements.run_and_answer(tx, answer).await.map_err(failed)?;
    let row = row.ok_or_else(|| Error::internal("the changed job is missing"))?;
    Ok((job::Model::from_query_result(&row, "")?, row.try_get("", "has_webhooks")?))
}

fn write_job(statements: &mut Statements, locked: &mut LockedJob) -> Result<()> {
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
    let active = row.clone().into_active_model().reset_all();
    if locked.is_stored {
        let update = job::Entity::update_many().set(job::ActiveModel { id: NotSet, ..active });
        let mut update = update.filter(job::Column::Id.eq(locked.row.id)).into_query();
        statements.add_named(CHANGED_JOB, update.returning_all().to_owned());
    } else {
        let mut insert = job::Entity::insert(active).into_query();
        statements.add_named(CHANGED_JOB, insert.returning_all().to_owned());
    }
    Ok(())
}

fn write_task(statements: &mut Statements, locked: &LockedJob) {
    let (job, state) = (&locked.row, &locked.state);
    match (locked.task_before.as_ref(), &state.task) {
        // A worker may renew its lease and report progress without this lock: its columns are left alone.
        (Some(before), Some(task)) if before == task => {
            let prioritized =
                task::Entity::update_many().col_expr(task::Column::Priority, Expr::value(job.priority));
            let changed = prioritized
                .filter(task::Column::JobId.eq(job.id))
                .filter(task::Column::Priority.ne(job.priority));
            statements.add(changed.into_query());
        }
        (Some(_), Some(task)) => {
            let row = task::ActiveModel { job_id: NotSet, ..task_row(job, state, task) };
            let update = task::Entity::update_many().set(row).filter(task::Column::JobId.eq(job.id));
            statements.add(update.into_query());
        }
        (None, Some(task)) => statements.add(task::Entity::insert(task_row(job, state, task)).into_query()),
        (Some(_), None) => {
            let delete = task::Entity::delete_many().filter(task::Column::JobId.eq(job.id));
            statements.add(delete.into_query());
        }
        (None, None) => {}
    }
}

fn task_row(job: &job::Model, state: &State, task: &Task) -> task::ActiveModel {
    let lease = task.lease.as_ref();
    task::ActiveModel {
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
    }
}

/// Adds new rows to `statements`. Changes of existing rows run at once, because the caller changes these rows too.
async fn write_access(
    tx: &DatabaseTransaction,
    statements: &mut Statements,
    job: JobId,
    writes: Vec<AccessWrite>,
) -> Result<()> {
    let mut new: Vec<access::Model> = Vec::new();
    for write in writes {
        match write {
            AccessWrite::Insert(row) => new.push(row),
            AccessWrite::SetSteps(principal, steps) => {
                if let Some(row) = new.iter_mut().find(|row| row.principal_id == principal) {
                    row.steps = steps;
                    continue;
                }
                let set = access::Entity::update_many().col_expr(access::Column::Steps, Expr::value(steps));
                let of_job = set.filter(access::Column::JobId.eq(job));
                of_job.filter(access::Column::PrincipalId.eq(principal)).exec(tx).await?;
            }
            AccessWrite::Delete(principal) => {
                new.retain(|row| row.principal_id != principal);
                access::Entity::delete_by_id((job, principal)).exec(tx).await?;
            }
        }
    }
    if !new.is_empty() {
        let rows = new.into_iter().map(|row| row.into_active_model().reset_all());
        statements.add(access::Entity::insert_many(rows).into_query());
    }
    Ok(())
}

/// Adds new versions to `statements`. Those before let go of their role at once: a role has one current content.
async fn write_contents(
    tx: &DatabaseTransaction,
    statements: &mut Statements,
    writes: ContentWrites,
) -> Result<()> {
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
        statements.add(Entity::insert_many(rows).into_query());
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
