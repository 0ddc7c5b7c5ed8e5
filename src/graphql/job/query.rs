//! Asking for jobs.

use async_graphql::{Context, ID, Object, SimpleObject};

use super::Job;
use crate::access::{self, View};
use crate::error::{Error, Problem, Result};
use crate::graphql::context::RequestContext;
use crate::graphql::job_input::{CreateJobInput, JobFilter, JobOrder};
use crate::graphql::paging::{Connection, USUAL, connection};
use crate::id::JobId;
use crate::job::query::{Filter, OrderBy};
use crate::page::{Cursor, Direction, Paging};

#[derive(Default)]
pub(in crate::graphql) struct JobQuery;

#[Object]
impl JobQuery {
    /// Null where the job does not exist or the viewer may not see it: the two cannot be told apart.
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

    /// Jobs that the viewer may see. Pages stay stable while jobs come and go; page with `first` and `after`, or backwards
    /// with `last` and `before`.
    #[expect(clippy::too_many_arguments, reason = "the arguments are the contract's")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which jobs.")] filter: Option<JobFilter>,
        #[graphql(desc = "In which order; the newest first where it is not given.")] order_by: Option<
            JobOrder,
        >,
        #[graphql(desc = "Size of the page, 20 where it is not given.")] first: Option<i32>,
        #[graphql(desc = "Cursor that the page comes after.")] after: Option<String>,
        #[graphql(desc = "Size of the page, counted from the end.")] last: Option<i32>,
        #[graphql(desc = "Cursor that the page comes before.")] before: Option<String>,
    ) -> Result<Connection<Job, JobList>> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let filter = filter.map(JobFilter::parse).transpose()?.unwrap_or_default();
        let (field, direction) = match order_by {
            Some(order) => (order.field.into(), order.direction.into()),
            None => (OrderBy::Created, Direction::Descending),
        };
        let paging = Paging { first, after, last, before };
        let window = paging.window(field.list(), USUAL, app.config.limits.page_size)?;
        let page = app.jobs.list(actor, &filter, (field, direction), window).await?;
        ctx.budget()?.read(page.rows.iter().map(|row| &row.metadata))?;
        Ok(connection(page, JobList(filter), |row| {
            (Cursor { at: field.of(&row), id: row.id.0 }.encode(field.list()), Job::new(row))
        }))
    }

    /// Everything that createJob would object to, all at once, and nothing created.
    async fn validate_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What createJob would be given.")] input: CreateJobInput,
    ) -> Result<Vec<InputProblem>> {
        let problems = ctx.app()?.jobs.validate(ctx.actor()?, &input.into()).await?;
        Ok(problems.into_iter().map(Into::into).collect())
    }
}

/// What a list of jobs knows besides its page.
pub(super) struct JobList(Filter);

/// What a list of jobs knows besides its page.
#[Object]
impl JobList {
    /// Counted only when asked for.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = ctx.app()?.jobs.count(ctx.actor()?, &self.0).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// One thing that is wrong with an input.
#[derive(SimpleObject)]
struct InputProblem {
    /// JSON Pointer into the input.
    path: String,
    /// For programs, e.g. UNKNOWN_TAXONOMY.
    code: String,
    /// What is wrong and what would be right, for people.
    message: String,
}

impl From<Problem> for InputProblem {
    fn from(problem: Problem) -> Self {
        Self { path: problem.path, code: problem.code, message: problem.message }
    }
}
