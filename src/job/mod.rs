//! Jobs: their state machine ([`state`], [`decide`]), the gate for changes ([`record`]), the [`queue`] of their steps,
//! the commands of users ([`create`], [`control`]), and reading them.

pub mod collaborator;
pub mod contents;
pub mod control;
pub mod create;
pub mod decide;
pub(crate) mod details;
pub mod estimate;
pub mod history;
pub mod progress;
pub mod query;
pub mod queue;
pub mod record;
mod rejection;
pub mod request;
pub(crate) mod retention;
pub mod retry;
pub mod rows;
pub mod state;
pub mod timing;
mod unreadable;
pub mod view;

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod properties;

use std::sync::Arc;

use sea_orm::EntityTrait;
use tokio::sync::Semaphore;

use crate::access::Audience;
use crate::clock::Clock;
use crate::config::Limits;
use crate::db::Db;
use crate::document::Documents;
use crate::entity::{job, task};
use crate::error::{Error, Result};
use crate::events::Hub;
use crate::id::JobId;
use crate::job_type::JobTypes;
use crate::storage::Storage;
use estimate::DurationHistory;
pub(crate) use unreadable::UnreadableJobs;

/// A job with its task and its access, read at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The row of the job.
    pub job: job::Model,
    /// The step that is queued or leased.
    pub task: Option<task::Model>,
    /// The users and teams with access.
    pub audience: Arc<Audience>,
}

/// The service for jobs. Clones share it.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: Clock,
    /// The object store, which holds the bytes of contents.
    pub storage: Storage,
    /// The job types.
    pub types: JobTypes,
    /// The documents.
    pub documents: Documents,
    /// The wake-ups of this process.
    pub hub: Hub<Snapshot>,
    /// The configured limits.
    pub limits: Limits,
    /// Durations of completed jobs.
    pub(crate) durations: DurationHistory,
    /// Jobs that claims skip.
    pub(crate) unreadable: UnreadableJobs,
    /// The configuration of reviews.
    pub review: crate::config::Review,
    /// Concurrency limit of corrections: one permit for each KiB of content.
    pub correcting: Arc<Semaphore>,
    /// The configuration of external workers.
    pub workers: crate::config::Workers,
}

impl Jobs {
    /// Reads a snapshot of a job; `None` if it does not exist.
    pub async fn snapshot(&self, id: JobId) -> Result<Option<Snapshot>> {
        let found = job::Entity::find_by_id(id).find_also_related(task::Entity).one(self.db.read()).await?;
        let Some((job, task)) = found else { return Ok(None) };
        let audience = Audience::of(self.db.read(), [id]).await?.remove(&id).unwrap_or_default();
        Ok(Some(Snapshot { job, task, audience: Arc::new(audience) }))
    }
}

/// The error for a job that was deleted after access to it was checked.
pub(crate) fn not_found() -> Error {
    Error::not_found("job")
}
