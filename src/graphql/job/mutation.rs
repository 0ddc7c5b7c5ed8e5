//! Mutations of jobs. The domain modules check permissions and inputs.

use async_graphql::{Context, ID, Object, SimpleObject};

use super::Job;
use crate::access::{self, Cancel, Delete, Edit, Share};
use crate::collaboration;
use crate::error::{Error, Result};
use crate::graphql::context::RequestContext;
use crate::graphql::document::DeletePayload;
use crate::graphql::job_input::{
    AddCollaboratorInput, CreateJobInput, RemoveCollaboratorInput, RewindJobInput, UpdateJobInput,
};
use crate::id::JobId;
use crate::job::control::JobUpdate;

/// Result of creating or changing a job.
#[derive(SimpleObject)]
pub(in crate::graphql) struct JobPayload {
    /// The job after the change.
    pub(in crate::graphql) job: Job,
}

fn parse_job_id(id: &str) -> Result<JobId> {
    JobId::parse(id).ok_or_else(|| Error::not_found("job"))
}

#[derive(Default)]
pub(in crate::graphql) struct JobMutation;

#[Object]
impl JobMutation {
    /// Creates a job and queues its first step.
    /// The response is sent after the job is stored. Fails with BAD_USER_INPUT if the input is invalid, and reports all
    /// problems at once. Fails with NOT_FOUND if every problem is a missing document, team, or user. Fails with
    /// CONFLICT if the idempotency key was used with other input.
    async fn create_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Job type, input document, and settings of the job.")] input: CreateJobInput,
    ) -> Result<JobPayload> {
        let job = ctx.app()?.jobs.create(ctx.actor()?, input.into()).await?;
        Ok(JobPayload { job: Job::new(job) })
    }

    /// Changes the metadata or the priority of a job.
    /// Fails with BAD_USER_INPUT if the new metadata does not satisfy the schema of the job type. Fails with FORBIDDEN
    /// if the viewer lacks the permission EDIT.
    async fn update_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Job and changes. Omitted fields stay unchanged.")] input: UpdateJobInput,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Edit>(app.db.read(), ctx.actor()?, parse_job_id(&input.id)?).await?;
        let changes = JobUpdate { metadata: input.metadata.map(|object| object.0), priority: input.priority };
        Ok(JobPayload { job: Job::new(app.jobs.update(&grant, changes).await?) })
    }

    /// Cancels a job that has not reached a final status.
    /// The reason is recorded in the history. A running worker is informed at its next report. Fails with CONFLICT if
    /// the job has ended. Fails with FORBIDDEN if the viewer lacks the permission CANCEL.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
        #[graphql(desc = "Reason, at most 10,000 characters (configurable).")] reason: Option<String>,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Cancel>(app.db.read(), ctx.actor()?, parse_job_id(&id)?).await?;
        Ok(JobPayload { job: Job::new(app.jobs.cancel(&grant, reason).await?) })
    }

    /// Runs a FAILED or CANCELLED job again from the step that stopped it.
    /// Fails with CONFLICT if the job has another status. Fails with FORBIDDEN if the viewer lacks the permission
    /// CANCEL.
    async fn retry_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Cancel>(app.db.read(), ctx.actor()?, parse_job_id(&id)?).await?;
        Ok(JobPayload { job: Job::new(app.jobs.retry(&grant).await?) })
    }

    /// Takes a job back to a step that it has reached, regardless of its status.
    /// Contents produced by that step and later ones are superseded, not lost. Fails with BAD_USER_INPUT if the job has
    /// not reached the step. Fails with FORBIDDEN if the viewer lacks the permission CANCEL.
    async fn rewind_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Job, step to take it back to, and reason.")] input: RewindJobInput,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Cancel>(app.db.read(), ctx.actor()?, parse_job_id(&input.id)?).await?;
        Ok(JobPayload { job: Job::new(app.jobs.rewind(&grant, Some(input.to_step), input.reason).await?) })
    }

    /// Adds a collaborator to a job, or replaces the steps of an existing collaborator.
    /// Adding the owner changes nothing. Fails with NOT_FOUND if the team or user does not exist. Fails with
    /// BAD_USER_INPUT if a step does not exist, or if the job has too many collaborators (100 by default). Fails with
    /// FORBIDDEN if the viewer lacks the permission SHARE.
    async fn add_collaborator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Job, collaborator to add, and steps to give access to.")]
        input: AddCollaboratorInput,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Share>(app.db.read(), ctx.actor()?, parse_job_id(&input.job_id)?).await?;
        let job = collaboration::share(&app.jobs, &grant, &input.collaborator.into(), &input.steps).await?;
        Ok(JobPayload { job: Job::new(job) })
    }

    /// Removes a collaborator from a job, effective immediately.
    /// Users who lose access lose their review claims, and their subscriptions to the job end with FORBIDDEN. Fails
    /// with NOT_FOUND if the team or user is not a collaborator. Fails with FORBIDDEN if the viewer lacks the
    /// permission SHARE.
    async fn remove_collaborator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Job and collaborator to remove.")] input: RemoveCollaboratorInput,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Share>(app.db.read(), ctx.actor()?, parse_job_id(&input.job_id)?).await?;
        let job = collaboration::revoke(&app.jobs, &grant, &input.collaborator.into()).await?;
        Ok(JobPayload { job: Job::new(job) })
    }

    /// Deletes a job, its history, and all documents that its steps produced.
    /// A job without a final status is cancelled first. Documents that other jobs use are kept. Fails with CONFLICT if
    /// the job is reopened, or another job starts using its documents, at the same time. Fails with FORBIDDEN if the
    /// viewer lacks the permission DELETE.
    async fn delete_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
    ) -> Result<DeletePayload> {
        let app = ctx.app()?;
        let grant = access::job::<Delete>(app.db.read(), ctx.actor()?, parse_job_id(&id)?).await?;
        app.jobs.delete(&grant).await?;
        Ok(DeletePayload { deleted_id: grant.job().id.to_string().into() })
    }
}
