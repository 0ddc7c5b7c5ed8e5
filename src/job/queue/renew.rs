//! Renewing leases and reporting progress. Neither takes the lock of the job: one conditional update is enough.

use chrono::TimeDelta;
use sea_orm::sea_query::{CaseStatement, Expr};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::Claim;
use crate::clock::Timestamp;
use crate::db::{self, Work};
use crate::entity::task;
use crate::error::Result;
use crate::id::{JobId, LeaseToken};
use crate::job::Jobs;

/// Maximum length of a progress message that is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 500;

/// A lease that is to be renewed, with the progress of its step.
#[derive(Debug)]
pub(super) struct Renewal {
    pub(super) job: JobId,
    pub(super) token: LeaseToken,
    pub(super) deadline: Timestamp,
    pub(super) lease_seconds: u32,
    /// 0 to 1. A fraction below the last one is ignored: progress never runs backwards within an attempt.
    pub(super) fraction: f64,
    /// `None` leaves the message as it is.
    pub(super) message: Option<String>,
}

impl Jobs {
    /// Renews the lease of a claim and stores the progress of its step. Returns the time at which the lease expires now;
    /// `None` if the lease is lost.
    pub async fn renew_lease(
        &self,
        claim: &Claim,
        lease_seconds: u32,
        fraction: f64,
        message: Option<&str>,
    ) -> Result<Option<Timestamp>> {
        let (job, token, deadline) = (claim.job.id, claim.token, claim.deadline);
        let (fraction, message) = (fraction.clamp(0.0, 1.0), message.map(str::to_owned));
        self.renew(Renewal { job, token, deadline, lease_seconds, fraction, message }).await
    }

    pub(super) async fn renew(&self, renewal: Renewal) -> Result<Option<Timestamp>> {
        let Renewal { job: id, token, deadline, lease_seconds, fraction, message } = renewal;
        let (clock, hub) = (self.clock.clone(), self.hub.clone());
        let shown =
            |text: String| text.chars().filter(|c| *c != '\0').take(MAX_MESSAGE_CHARS).collect::<String>();
        let message = message.map(shown);
        let renewed = self.db.write_then(
            move |tx| -> Work<'_, Option<Timestamp>> {
                Box::pin(async move {
                    let now = db::now(tx, &clock).await?;
                    let until = Ord::min(deadline, now + TimeDelta::seconds(lease_seconds.into()));
                    let mut renewed = task::Entity::update_many()
                        .col_expr(task::Column::LeaseUntil, Expr::value(until))
                        .col_expr(
                            task::Column::Fraction,
                            CaseStatement::new()
                                .case(task::Column::Fraction.lt(fraction), fraction)
                                .finally(Expr::col(task::Column::Fraction))
                                .into(),
                        )
                        .filter(task::Column::JobId.eq(id))
                        .filter(task::Column::LeaseToken.eq(token))
                        .filter(task::Column::LeaseUntil.gt(now));
                    if let Some(message) = message {
                        renewed = renewed.col_expr(task::Column::Message, Expr::value(message));
                    }
                    Ok((renewed.exec(tx).await?.rows_affected > 0).then_some(until))
                })
            },
            move |until| until.inspect(|_| hub.progressed(id)),
        );
        renewed.await
    }
}
