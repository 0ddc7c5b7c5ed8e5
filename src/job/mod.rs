//! Jobs: how one changes ([`state`], [`decide`], [`record`]), is made ([`create`]), steered ([`control`]) and read.

pub mod collaborator;
pub mod contents;
pub mod control;
pub mod create;
pub mod decide;
pub mod details;
pub mod estimate;
pub mod history;
pub mod progress;
pub mod query;
pub mod queue;
pub mod record;
mod rejection;
pub mod request;
pub mod retention;
pub mod retry;
pub mod rows;
pub mod state;
pub mod timing;

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

/// A job with what is happening to it, as read at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its row.
    pub job: job::Model,
    /// What waits for, or is with, a worker.
    pub task: Option<task::Model>,
    /// Who was let in.
    pub audience: Arc<Audience>,
}

/// The jobs of this server; clones share them.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// Where they are kept.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Where their contents' bytes are kept.
    pub storage: Storage,
    /// What they can be.
    pub types: JobTypes,
    /// What they are made of.
    pub documents: Documents,
    /// Who waits for one of them.
    pub hub: Hub<Snapshot>,
    /// How much of everything.
    pub limits: Limits,
    /// What those that are over took.
    pub durations: DurationHistory,
    /// How people work on them.
    pub review: crate::config::Review,
    /// KiB of contents that corrections may be applied to at once.
    pub correcting: Arc<Semaphore>,
    /// How workers outside do.
    pub workers: crate::config::Workers,
}

impl Jobs {
    /// A job as it is now; `None` where it does not exist.
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
