//! Writing what was decided: the rows that changed, and the history.

use sea_orm::sea_query::{Expr, IntoIden, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel,
    Iterable, QueryFilter, Set,
};
use serde_json::Value;

use super::{Locked, Saved, Tracked};
use crate::entity::{access, job, review, review_matter, task};
use crate::error::{Error, Result};
use crate::events::feed;
use crate::id::ReviewId;
use crate::job::state::{State, Task};

impl Locked {
    /// Writes the rows and the history that follow from what was performed and recorded.
    pub async fn save(mut self, tx: &DatabaseTransaction) -> Result<Saved> {
        let reviews = self.save_reviews(tx).await?;
        let first = self.row.seq + 1 - i64::try_from(self.events.len()).map_err(Error::internal)?;
        if self.events.is_empty() {
            return Ok(Saved { job: self.row, reviews, first, deliveries: 0 });
        }
        self.row.status = self.state.status;
        self.row.fence = self.state.fence;
        self.row.steps = serde_json::to_value(&self.state.steps).map_err(Error::internal)?;
        self.row.failure =
            self.state.failure.as_ref().map(serde_json::to_value).transpose().map_err(Error::internal)?;
        self.row.started_at = self.state.started_at;
        self.row.finished_at = self.state.finished_at;
        self.row.timing = Some(serde_json::to_value(self.state.timing).map_err(Error::internal)?);
        self.row.updated_at = self.now;
        let row = self.row.clone().into_active_model().reset_all().update(tx).await?;

        self.save_task(tx, &row).await?;
        let deliveries = feed::append(tx, self.events).await?;
        let touch = access::Entity::update_many().col_expr(access::Column::UpdatedAt, Expr::value(self.now));
        touch.filter(access::Column::JobId.eq(row.id)).exec(tx).await?;
        Ok(Saved { job: row, reviews, first, deliveries })
    }

    async fn save_task(&self, tx: &DatabaseTransaction, job: &job::Model) -> Result<()> {
        match (&self.task, &self.state.task) {
            // A worker may be renewing its lease and saying how far it is, without this lock: only what is ours is written.
            (Some(before), Some(task)) if before == task => {
                let place =
                    task::Entity::update_many().col_expr(task::Column::Priority, Expr::value(job.priority));
                let moved = place
                    .filter(task::Column::JobId.eq(job.id))
                    .filter(task::Column::Priority.ne(job.priority));
                moved.exec(tx).await?;
            }
            (before, Some(task)) => upsert_task(tx, job, &self.state, task, before.is_some()).await?,
            (Some(_), None) => {
                task::Entity::delete_by_id(job.id).exec(tx).await?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    async fn save_reviews(&mut self, tx: &DatabaseTransaction) -> Result<Vec<ReviewId>> {
        let mut saved = Vec::new();
        for Tracked { row, matter, stored, .. } in self.reviews.drain(..).filter(|tracked| tracked.touched) {
            let id = row.id;
            saved.push(id);
            let row = row.into_active_model().reset_all();
            if stored {
                row.update(tx).await?;
            } else {
                insert_review(tx, &row, matter.items.unwrap_or_default()).await?;
                continue;
            }
            if let Some(items) = matter.items {
                let keep = review_matter::Entity::update_many()
                    .col_expr(review_matter::Column::Items, Expr::value(Value::Array(items)));
                keep.filter(review_matter::Column::Id.eq(id)).exec(tx).await?;
            }
            if let Some(draft) = matter.draft {
                let keep = review_matter::Entity::update_many()
                    .col_expr(review_matter::Column::Draft, Expr::value(draft));
                keep.filter(review_matter::Column::Id.eq(id)).exec(tx).await?;
            }
        }
        Ok(saved)
    }
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
    columns.push(review_matter::Column::Items.into_iden());
    values.push(Expr::value(Value::Array(items)));
    let mut insert = Query::insert();
    insert.into_table(review::Entity).columns(columns).values(values).map_err(Error::internal)?;
    tx.execute(&insert).await?;
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
