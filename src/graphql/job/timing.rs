//! What a job's time went into.

use async_graphql::{Context, Object};
use serde::Deserialize;

use crate::entity::job;
use crate::error::{Error, Result};
use crate::graphql::context::RequestContext;
use crate::graphql::loader::ReviewOf;
use crate::job::rows::{state, unname};
use crate::job::state::{Status, Step, StepStatus as State};
use crate::job::timing::Spent;

/// What a job's time went into.
pub(super) struct JobTiming {
    pub(super) row: job::Model,
}

impl JobTiming {
    async fn spent(&self, ctx: &Context<'_>) -> Result<Spent> {
        let review = match unname(&self.row.status)? {
            Status::Blocked => ctx.loaders()?.rows.load_one(ReviewOf(self.row.id)).await?,
            _ => None,
        };
        let state = state(&self.row, None, review.as_ref())?;
        Ok(state.timing.spent(state.phase(), ctx.app()?.clock.now()))
    }
}

/// What a job's time went into, up to now. What passes after a final status counts for nobody.
#[Object]
impl JobTiming {
    /// Seconds that workers had it.
    async fn machine_seconds(&self, ctx: &Context<'_>) -> Result<f64> {
        Ok(self.spent(ctx).await?.machine)
    }

    /// Seconds that people had claimed its reviews.
    async fn review_seconds(&self, ctx: &Context<'_>) -> Result<f64> {
        Ok(self.spent(ctx).await?.person)
    }

    /// Seconds that it waited, for a worker or for a person.
    async fn waiting_seconds(&self, ctx: &Context<'_>) -> Result<f64> {
        Ok(self.spent(ctx).await?.waiting)
    }

    /// Range (low, high) until it ends, from the history of its type; null while there is too little of it, and after the
    /// end.
    async fn remaining_seconds(&self, ctx: &Context<'_>) -> Option<Result<Vec<f64>>> {
        let found: Result<Option<Vec<f64>>> = async {
            if unname::<Status>(&self.row.status)?.is_final() {
                return Ok(None);
            }
            let steps = Vec::<Step>::deserialize(&self.row.steps).map_err(Error::internal)?;
            let open = |step: &Step| matches!(step.status, State::Queued | State::Running | State::Blocked);
            let Some(step) = steps.into_iter().find(open) else { return Ok(None) };
            let (app, row) = (ctx.app()?, &self.row);
            let since = step.started_at.unwrap_or_else(|| app.clock.now());
            let range = app.jobs.remaining(&row.type_id, &step.name, since, app.clock.now()).await?;
            Ok(range.map(|(low, high)| vec![low, high]))
        }
        .await;
        found.transpose()
    }
}
