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
use super::{Jobs, Snapshot, not_found};
use crate::access::policy::ALL_STEPS;
use crate::clock::Timestamp;
use crate::db::{self, Work};
pub use crate::entity::enums::EventKind;
use crate::entity::enums::{PrincipalKind, Status};
use crate::entity::job;
use crate::error::Result;
use crate::events::Hub;
use crate::id::JobId;
use authority::admit;
pub use authority::{Authority, Server};
pub use collaborators::CollaboratorChange;
pub use load::Reads;
pub use locked::LockedJob;
pub use remove::remove_ended;
use write::Saved;
pub use write_set::ReviewSubject;

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
                let locked = load::lock(tx, authority.job_id(), &clock, reads).await?;
                let mut locked = locked.ok_or_else(not_found)?;
                admit(tx, &authority, &mut locked).await?;
                let value = change(&mut locked)?;
                Ok((write::write(tx, locked).await?, value))
            })
        },
        move |(saved, value)| (wake_up(&hub, saved), value),
    );
    changed.await
}

/// Changes each of the jobs that a query finds, in one transaction. `find` gets the time of the database and its kind, and
/// returns a query for the column `job_id`. A job is skipped if its authority refuses, or if
/// `change` returns `None`. Any other error rolls all of them back.
pub async fn change_found<A, T>(
    jobs: &Jobs,
    find: impl FnOnce(Timestamp, DbBackend) -> SelectStatement + Send + 'static,
    authority: impl Fn(JobId) -> A + Send + 'static,
    mut change: impl FnMut(&mut LockedJob) -> Result<Option<T>> + Send + 'static,
) -> Result<Vec<(job::Model, T)>>
where
    A: Authority,
    T: Send + 'static,
{
    let (clock, hub) = (jobs.clock.clone(), jobs.hub.clone());
    let changed = jobs.db.write_then(
        move |tx| -> Work<'_, Vec<(Saved, T)>> {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                let found = tx.query_all(&find(now, tx.get_database_backend())).await?;
                let mut changed = Vec::new();
                for row in found {
                    let authority = authority(row.try_get("", "job_id")?);
                    let locked = load::lock(tx, authority.job_id(), &clock, Reads::STATE).await?;
                    let Some(mut locked) = locked else { continue };
                    match admit(tx, &authority, &mut locked).await {
                        Ok(()) => {}
                        Err(error) if error.is_refusal() => continue,
                        Err(error) => return Err(error),
                    }
                    if let Some(value) = change(&mut locked)? {
                        changed.push((write::write(tx, locked).await?, value));
                    }
                }
                Ok(changed)
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
        hub.notify_workers();
    }
    if deliveries > 0 {
        hub.notify_dispatcher();
    }
    job
}
