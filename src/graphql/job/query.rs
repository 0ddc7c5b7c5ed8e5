//! Queries of jobs.

use async_graphql::{Context, ID, Object, SimpleObject};

use super::Job;
use crate::access::{self, View};
use crate::error::{Error, Problem, Result};
use crate::graphql::context::RequestContext;
use crate::graphql::job_input::{CreateJobInput, JobFilter, JobOrder};
use crate::graphql::paging::{Connection, DEFAULT_PAGE_SIZE, connection};
use crate::id::JobId;
use crate::job::query::{Filter, OrderBy};
use crate::page::{Cursor, Direction, Paging};

#[derive(Default)]
pub(in crate::graphql) struct JobQuery;

#[Object]
impl JobQuery {
    /// Returns the job with the given ID.
    /// Null if the job does not exist or the viewer cannot see it; these cases cannot be distinguished.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
    ) -> Option<Result<Job>> {
        let found: Result<Option<Job>> = async {
            let actor = ctx.actor()?;
            let Some(id) = JobId::parse(&id) else { return Ok(None) };
            match access::job::<View>(ctx.app()?.db.read(), actor, id).await {
                Ok(grant) => Ok(Some(Job::new(grant.job().clone()))),
                Err(Error::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .await;
        found.transpose()
    }

    /// Returns the jobs that the viewer can see.
    /// Pages stay stable while jobs are added and removed. Page forward with `first` and `after`, or backward with
    /// `last` and `before`; mixing both fails with BAD_USER_INPUT.
    #[expect(clippy::too_many_arguments, reason = "the API contract defines the arguments")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Conditions that the jobs must meet.")] filter: Option<JobFilter>,
        #[graphql(desc = "Sort order, newest first by default.")] order_by: Option<JobOrder>,
        #[graphql(desc = "Page size, 20 by default and at most 100 (configurable).")] first: Option<i32>,
        #[graphql(desc = "Cursor of an entry; the page starts after it.")] after: Option<String>,
        #[graphql(desc = "Page size, counted from the end of the list.")] last: Option<i32>,
        #[graphql(desc = "Cursor of an entry; the page ends before it.")] before: Option<String>,
    ) -> Result<Connection<Job, JobList>> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let filter = filter.map(JobFilter::parse).transpose()?.unwrap_or_default();
        let (field, direction) = match order_by {
            Some(order) => (order.field.into(), order.direction.into()),
            None => (OrderBy::Created, Direction::Descending),
        };
        let paging = Paging { first, after, last, before };
        let window = paging.window(field.list(), DEFAULT_PAGE_SIZE, app.config.limits.page_size)?;
        let page = app.jobs.list(actor, &filter, (field, direction), window).await?;
        ctx.budget()?.charge_rows(page.rows.iter().map(|row| &row.metadata))?;
        Ok(connection(page, JobList(filter), |row| {
            (Cursor { at: field.of(&row), id: row.id.0 }.encode(field.list()), Job::new(row))
        }))
    }

    /// Returns every problem that `createJob` would report, without creating a job.
    /// The list is empty if the input is valid.
    async fn validate_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Input as for `createJob`.")] input: CreateJobInput,
    ) -> Result<Vec<InputProblem>> {
        let problems = ctx.app()?.jobs.validate(ctx.actor()?, &input.into()).await?;
        Ok(problems.into_iter().map(Into::into).collect())
    }
}

/// Additional fields of a connection of jobs.
pub(super) struct JobList(Filter);

/// Additional fields of a connection of jobs.
#[Object]
impl JobList {
    /// Number of all matching jobs, counted only if this field is selected.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = ctx.app()?.jobs.count(ctx.actor()?, &self.0).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// One problem of an input.
#[derive(SimpleObject)]
struct InputProblem {
    /// JSON Pointer (RFC 6901) to the invalid value in the input.
    path: String,
    /// Machine-readable code of the problem, for example UNKNOWN_TAXONOMY.
    code: String,
    /// Human-readable description of the problem and of valid values.
    message: String,
}

impl From<Problem> for InputProblem {
    fn from(problem: Problem) -> Self {
        Self { path: problem.path, code: problem.code, message: problem.message }
    }
}
