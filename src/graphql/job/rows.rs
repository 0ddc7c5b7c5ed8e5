//! The rows of a job, which resolvers load in batches and only for the fields that the client selects.

use std::sync::Arc;

use async_graphql::Context;

use super::Job;
use crate::access::policy::Standing;
use crate::entity::{access, job, review, task};
use crate::error::Result;
use crate::graphql::context::RequestContext;
use crate::graphql::loader::{AccessOf, ContentsOf, ReviewOf, TaskOf};
use crate::job::view::{ContentWithDocument, JobRows};
use crate::job_type::JobType;

/// The rows of one job, read through the loaders of an operation.
pub(super) struct LazyRows<'a> {
    pub(super) job: &'a Job,
    pub(super) ctx: &'a Context<'a>,
}

impl JobRows for LazyRows<'_> {
    fn job(&self) -> &job::Model {
        &self.job.row
    }

    async fn standing(&self) -> Result<Standing> {
        self.ctx.loaders()?.standing(self.ctx.actor()?, &self.job.row).await
    }

    async fn job_type(&self) -> Result<Arc<JobType>> {
        let job = &self.job.row;
        self.ctx.app()?.jobs.types.version(&job.type_id, job.type_version).await
    }

    async fn task(&self) -> Result<Option<task::Model>> {
        match &self.job.task {
            Some(task) => Ok(task.clone()),
            None => self.ctx.loaders()?.rows.load_one(TaskOf(self.job.row.id)).await,
        }
    }

    async fn current_content(&self, role: &'static str) -> Result<Option<ContentWithDocument>> {
        let key = ContentsOf { job: self.job.row.id, role: Some(role.to_owned()), superseded: false };
        Ok(self.ctx.loaders()?.rows.load_one(key).await?.and_then(|found| found.into_iter().next()))
    }

    async fn undecided_review(&self) -> Result<Option<review::Model>> {
        self.ctx.loaders()?.rows.load_one(ReviewOf(self.job.row.id)).await
    }

    async fn access(&self) -> Result<Vec<access::Model>> {
        Ok(self.ctx.loaders()?.rows.load_one(AccessOf(self.job.row.id)).await?.unwrap_or_default())
    }
}
