//! The gate: the only way to change a job.
//!
//! [`change`] runs one transaction. It locks the row of the job, reads the rows that decide what may happen, and checks
//! the [`Authority`] against them. The change itself works on the [`LockedJob`] in memory, without I/O, and collects its
//! writes. A separate piece ([`write`]) executes them. After the commit, the gate wakes the subscribers and workers that
//! the change concerns, even if the caller has gone.
//!
//! ```text
//!   lock row ──► read task, review, … ──► check authority ──► change (memory only) ──► write ──► commit ──► wake up
//! ```

mod authority;
mod collaborators;
mod contents;
mod edit_collaborators;
mod edit_contents;
mod history;
mod load;
mod locked;
mod remove;
mod write;
mod write_set;

use sea_orm::sea_query::SelectStatement;
use sea_orm::{ConnectionTrait, DbBackend};

use super::state::Step;
use super::{Jobs, Snapshot, unreadable};
use crate::access::policy::ALL_STEPS;
use crate::clock::Timestamp;
use crate::db::{self, Work};
pub use crate::entity::enums::EventKind;
use crate::entity::enums::{PrincipalKind, Status};
use crate::entity::job;
use crate::error::{Error, Result};
use crate::events::Hub;
use crate::id::JobId;
pub(crate) use authority::Authority;
pub use authority::ServerAuthority;
pub(crate) use collaborators::CollaboratorChange;
pub use load::Reads;
use load::open;
pub(crate) use locked::LockedJob;
pub(crate) use remove::remove_ended;
use write::Saved;
pub(crate) use write_set::ReviewSubject;

/// Changes a job by `change`, if `authority` still allows it under the lock of the job. Returns the row of the job after
/// the change. An error of `change` leaves everything as it was. NOT_FOUND if the job does not exist.
pub async fn change<A, T, F>(jobs: &Jobs, authority: A, reads: Reads, change: F) -> Result<(job::Model, T)>
where
    A: Authority,
    T: Send + 'static,
    F: FnOnce(&mut LockedJob) -> Result<T> + Send + 'static,
{
    let (clock, hub) = (jobs.clock.clone(), jobs.hub.clone());
    let changed = jobs.db.write_then(
        move |tx| -> Work<'_, (Saved, T)> {
            Box::pin(async move {
                let mut locked = open(tx, &clock, &authority, reads).await?;
                let value = change(&mut locked)?;
                Ok((write::write(tx, locked).await?, value))
            })
        },
        move |(saved, value)| (wake_up(&hub, saved), value),
    );
    changed.await
}

/// Changes each of the jobs that a query finds, in one transaction. `find` gets the time of the database, its kind and the
/// jobs to leave out, and returns a query for the column `job_id`. A job is skipped if its authority refuses, or if
/// `change` returns `None`.
///
/// A job that cannot be read, or whose `change` fails, is logged and skipped too. If no other job is on its page, the next
/// page is read: jobs at the head of a queue do not keep those behind them from being changed. An error of the database
/// rolls everything back.
pub(crate) async fn change_found<A, T>(
    jobs: &Jobs,
    find: impl Fn(Timestamp, DbBackend, &[JobId]) -> SelectStatement + Send + 'static,
    authority: impl Fn(JobId) -> A + Send + 'static,
    mut change: impl FnMut(&mut LockedJob) -> Result<Option<T>> + Send + 'static,
) -> Result<Vec<(job::Model, T)>>
where
    A: Authority,
    T: Send + 'static,
{
    let (clock, hub, unreadable_jobs) = (jobs.clock.clone(), jobs.hub.clone(), jobs.unreadable.clone());
    let changed = jobs.db.write_then(
        move |tx| -> Work<'_, Vec<(Saved, T)>> {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                let (mut skipped, mut changed) = (unreadable_jobs.ids(), Vec::new());
                loop {
                    let query = find(now, tx.get_database_backend(), &skipped);
                    let skipped_before = skipped.len();
                    for row in tx.query_all(&query).await? {
                        let id: JobId = row.try_get("", "job_id")?;
                        let opened = open(tx, &clock, &authority(id), Reads::STATE).await;
                        let changed_in_memory = opened.and_then(|mut locked| match change(&mut locked) {
                            Ok(value) => Ok(value.map(|value| (locked, value))),
                            Err(error) => Err(Error::Unreadable(error.to_string())),
                        });
                        match changed_in_memory {
                            Ok(Some((locked, value))) => changed.push((write::write(tx, locked).await?, value)),
                            Ok(None) => {}
                            Err(error) if error.is_refusal() => {}
                            Err(error @ Error::Unreadable(_)) => {
                                tracing::error!(job.id = %id, %error, "job cannot be claimed, skipping it for a minute");
                                unreadable_jobs.add(id);
                                skipped.push(id);
                            }
                            Err(error) => return Err(error),
                        }
                    }
                    let is_page_readable = skipped.len() == skipped_before;
                    if !changed.is_empty() || is_page_readable || skipped.len() >= unreadable::MAX_JOBS {
                        return Ok(changed);
                    }
                }
            })
        },
        move |changed| changed.into_iter().map(|(saved, value)| (wake_up(&hub, saved), value)).collect(),
    );
    changed.await
}

/// Creates a job with its owner's access, and changes it by `change` before it is first written.
pub async fn create<F>(jobs: &Jobs, mut row: job::Model, steps: Vec<Step>, change: F) -> Result<job::Model>
where
    F: FnOnce(&mut LockedJob) -> Result<()> + Send + 'static,
{
    let (clock, hub) = (jobs.clock.clone(), jobs.hub.clone());
    let created = jobs.db.write_then(
        move |tx| -> Work<'_, Saved> {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                (row.created_at, row.updated_at) = (now, now);
                let owner = row.owner_id;
                let mut unsaved = LockedJob::unsaved(row, steps, now);
                unsaved.add_access(owner.0, PrincipalKind::Owner, &[ALL_STEPS.to_owned()]);
                change(&mut unsaved)?;
                write::write(tx, unsaved).await
            })
        },
        move |saved| wake_up(&hub, saved),
    );
    created.await
}

/// Wakes the subscribers, workers and dispatchers that a committed change concerns.
fn wake_up(hub: &Hub<Snapshot>, saved: Saved) -> job::Model {
    let Saved { job, reviews, first_event, is_access_changed, deliveries } = saved;
    // First, so that a woken subscriber does not use rows that were read with the access before.
    if is_access_changed {
        hub.access_changed();
    }
    if first_event <= job.seq {
        hub.record_announced(job.id, first_event..=job.seq);
        hub.changed(job.id);
    }
    for review in reviews {
        hub.review_changed(review, job.id);
    }
    if job.status == Status::Queued {
        hub.queue().notify(&job.type_id);
    }
    if deliveries > 0 {
        hub.notify_dispatcher();
    }
    job
}
