//! Releasing expired leases, for the reaper and for the start of a server.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::db;
use crate::entity::{job, task};
use crate::error::{Error, Result};
use crate::id::JobId;
use crate::job::Jobs;
use crate::job::decide::{Command, Rejection};
use crate::job::record::{self, Reads, ServerAuthority};

impl Jobs {
    /// Releases expired leases, by pages of `limit`: each step is queued again, or its job fails. Returns how many were
    /// released. An error with one job does not keep the others from being released.
    pub async fn expire_leases(&self, limit: u64) -> Result<usize> {
        let now = db::now(self.db.read(), &self.clock).await?;
        let (mut released, mut skipped) = (0, Vec::new());
        loop {
            let expired = task::Entity::find()
                .filter(task::Column::LeaseToken.is_not_null())
                .filter(task::Column::LeaseUntil.lte(now))
                .filter(task::Column::JobId.is_not_in(skipped.iter().copied()))
                .order_by_asc(task::Column::LeaseUntil)
                .limit(limit);
            let expired = expired.all(self.db.read()).await?;
            let is_last_page = (expired.len() as u64) < limit;
            for task in expired {
                match self.expire_lease(task.job_id).await {
                    Ok(Some(job)) => {
                        released += 1;
                        tracing::warn!(job.id = %job.id, job.status = %job.status, step = task.step, "lease expired");
                    }
                    Ok(None) => skipped.push(task.job_id),
                    Err(error) => {
                        skipped.push(task.job_id);
                        tracing::error!(job.id = %task.job_id, %error, "failed to release an expired lease");
                    }
                }
            }
            if is_last_page {
                return Ok(released);
            }
        }
    }

    /// Returns `None` if the lease was renewed, or the step was completed or released, since it was found to be expired.
    async fn expire_lease(&self, id: JobId) -> Result<Option<job::Model>> {
        let expire = Command::Expire { jitter: rand::random() };
        let expired = record::change(self, ServerAuthority::expiry(id), Reads::STATE, move |locked| {
            match locked.perform(expire) {
                Ok(()) => Ok(true),
                Err(Rejection::LeaseHolds | Rejection::StaleLease) => Ok(false),
                Err(other) => Err(other.into()),
            }
        });
        match expired.await {
            Ok((job, is_expired)) => Ok(is_expired.then_some(job)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends every lease now, and returns how many there were. Only for the start of a process that uses the database alone:
    /// the processes that held the leases do not run any more.
    pub(crate) async fn expire_all_leases(&self) -> Result<u64> {
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let update =
                        task::Entity::update_many().col_expr(task::Column::LeaseUntil, Expr::value(now));
                    // A lease that has expired already keeps its time, which decides whether the attempt timed out.
                    let held = update
                        .filter(task::Column::LeaseToken.is_not_null())
                        .filter(task::Column::LeaseUntil.gt(now));
                    Ok(held.exec(tx).await?.rows_affected)
                })
            })
            .await
    }
}
