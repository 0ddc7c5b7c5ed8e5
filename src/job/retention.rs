//! Removes expired TEST jobs and documents.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Jobs;
use crate::clock::Timestamp;
use crate::document::retention::{PAGE_ROWS, count_removed};
use crate::entity::enums::Mode;
use crate::entity::job;
use crate::error::Result;
use crate::id::JobId;
use crate::page::{Cursor, Direction, after_cursor};

/// The numbers of removed jobs and documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Jobs, which were removed with their outputs.
    pub jobs: u64,
    /// Uploaded documents.
    pub documents: u64,
}

impl Jobs {
    /// Removes TEST jobs created before a time, whatever their status, as if their owners had deleted them. Then
    /// removes documents that were uploaded with TEST keys before that time and that no job uses. Skips jobs and
    /// documents that are in use; the next call tries them again.
    pub(crate) async fn remove_test_data(&self, before: Timestamp) -> Result<Removed> {
        let mut removed = Removed::default();
        let mut after: Option<Cursor> = None;
        loop {
            let mut expired = job::Entity::find()
                .select_only()
                .columns([job::Column::CreatedAt, job::Column::Id])
                .filter(job::Column::Mode.eq(Mode::Test))
                .filter(job::Column::CreatedAt.lt(before));
            if let Some(after) = after {
                expired = expired.filter(after_cursor(
                    Direction::Ascending,
                    after,
                    job::Column::CreatedAt,
                    job::Column::Id,
                ));
            }
            let expired =
                expired.order_by_asc(job::Column::CreatedAt).order_by_asc(job::Column::Id).limit(PAGE_ROWS);
            let expired: Vec<(Timestamp, Uuid)> = expired.into_tuple().all(self.db.read()).await?;
            let Some((at, id)) = expired.last().copied() else { break };
            after = Some(Cursor { at, id });
            for (_, id) in expired {
                removed.jobs += count_removed(
                    self.delete_as_server(JobId(id), "The TEST job has reached its maximum age.").await,
                    id,
                )?;
            }
        }
        removed.documents = self.documents.remove_expired_test_documents(before).await?;
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sea_orm::PaginatorTrait;

    use super::*;
    use crate::access::Actor;
    use crate::app::App;
    use crate::app::tests::{actor, new_job, open, upload};
    use crate::config::Switch;
    use crate::entity::document;
    use crate::job::state::Mode;
    use crate::job_type::NOOP;

    async fn job(app: &App, actor: &Actor, input: &document::Model) -> job::Model {
        app.jobs.create(actor, new_job(NOOP, input)).await.unwrap()
    }

    #[tokio::test]
    async fn only_expired_test_jobs_and_unused_test_documents_are_removed() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let test = actor(&app, "ada", Mode::Test).await;
        let live = Actor { mode: Mode::Live, ..test.clone() };
        let real = upload(&app, &live, "real").await;
        let used = upload(&app, &test, "used").await;
        let kept = job(&app, &live, &used).await;
        job(&app, &live, &real).await;
        for n in 0..PAGE_ROWS + 5 {
            let input = upload(&app, &test, &format!("{n}")).await;
            job(&app, &test, &input).await;
        }
        let created = app.clock.now();
        assert_eq!(app.jobs.remove_test_data(created - TimeDelta::hours(1)).await, Ok(Removed::default()));

        app.clock.advance(TimeDelta::days(1));
        let fresh = upload(&app, &test, "fresh").await;
        let young = job(&app, &test, &fresh).await;
        let removed = app.jobs.remove_test_data(created + TimeDelta::hours(1)).await;
        assert_eq!(removed, Ok(Removed { jobs: PAGE_ROWS + 5, documents: PAGE_ROWS + 5 }));

        let db = app.db.read();
        assert_eq!(job::Entity::find().count(db).await, Ok(3));
        for id in [kept.id, young.id] {
            assert!(job::Entity::find_by_id(id).one(db).await.unwrap().is_some());
        }
        let ids: Vec<_> = document::Entity::find().all(db).await.unwrap().into_iter().map(|d| d.id).collect();
        assert_eq!(ids, [real.id, used.id, fresh.id], "a document of a LIVE job is kept");
        assert!(app.storage.read(&used.storage_key, 9).await.is_ok());
    }
}
