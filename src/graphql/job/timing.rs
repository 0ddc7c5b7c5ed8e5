//! Time that a job has spent.

use async_graphql::{Context, Object};

use crate::entity::job;
use crate::error::Result;
use crate::graphql::context::RequestContext;
use crate::graphql::loader::ReviewOf;
use crate::job::progress::{self, StepNow};
use crate::job::rows::state;
use crate::job::state::Status;
use crate::job::timing::Spent;

/// Time that a job has spent with workers, with people, and waiting.
pub(super) struct JobTiming {
    pub(super) row: job::Model,
}

impl JobTiming {
    async fn spent(&self, ctx: &Context<'_>) -> Result<Spent> {
        let review = match self.row.status {
            Status::Blocked => ctx.loaders()?.rows.load_one(ReviewOf(self.row.id)).await?,
            _ => None,
        };
        let state = state(&self.row, None, review.as_ref())?;
        Ok(state.timing.spent(state.phase(), ctx.app()?.clock.now()))
    }
}

/// Time that a job has spent with workers, with people, and waiting.
/// Time after a final status is not counted.
#[Object]
impl JobTiming {
    /// Seconds during which a worker had the job.
    async fn machine_seconds(&self, ctx: &Context<'_>) -> Result<f64> {
        Ok(self.spent(ctx).await?.machine)
    }

    /// Seconds during which a person had claimed a review of the job.
    async fn review_seconds(&self, ctx: &Context<'_>) -> Result<f64> {
        Ok(self.spent(ctx).await?.person)
    }

    /// Seconds during which the job waited for a worker or a person.
    async fn waiting_seconds(&self, ctx: &Context<'_>) -> Result<f64> {
        Ok(self.spent(ctx).await?.waiting)
    }

    /// Estimated seconds until the job ends, as a range (low, high).
    /// The estimate is based on past jobs of the same type. Null if there are too few of them, and after the job has
    /// ended.
    async fn remaining_seconds(&self, ctx: &Context<'_>) -> Option<Result<Vec<f64>>> {
        let found: Result<Option<Vec<f64>>> = async {
            if self.row.status.is_final() {
                return Ok(None);
            }
            let current = progress::current(progress::steps_now(&self.row, None)?);
            let Some(StepNow { step, .. }) = current else { return Ok(None) };
            let (app, row) = (ctx.app()?, &self.row);
            let since = step.started_at.unwrap_or_else(|| app.clock.now());
            let range = app
                .jobs
                .durations
                .remaining(&app.db, &row.type_id, &step.name, since, app.clock.now())
                .await?;
            Ok(range.map(|(low, high)| vec![low, high]))
        }
        .await;
        found.transpose()
    }
}
