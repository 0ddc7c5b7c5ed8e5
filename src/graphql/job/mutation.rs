//! Changing jobs. What may be changed, and by whom, is decided by the nouns.

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
use crate::job::control::Changes;

/// A job as it is after a change.
#[derive(SimpleObject)]
pub(in crate::graphql) struct JobPayload {
    /// The job, as it is after the change.
    pub(in crate::graphql) job: Job,
}

fn parse(id: &str) -> Result<JobId> {
    JobId::parse(id).ok_or_else(|| Error::not_found("job"))
}

#[derive(Default)]
pub(in crate::graphql) struct JobMutation;

#[Object]
impl JobMutation {
    /// Makes a job and puts its first step into the queue. It is acknowledged when it is stored.
    async fn create_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The type, the input document, and whatever the type needs to know.")]
        input: CreateJobInput,
    ) -> Result<JobPayload> {
        let job = ctx.app()?.jobs.create(ctx.actor()?, input.into()).await?;
        Ok(JobPayload { job: Job::new(job) })
    }

    /// Changes a job's metadata or priority.
    async fn update_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, and what should be different. What is left out stays as it is.")] input: UpdateJobInput,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Edit>(app.db.read(), ctx.actor()?, parse(&input.id)?).await?;
        let changes = Changes { metadata: input.metadata.map(|object| object.0), priority: input.priority };
        Ok(JobPayload { job: Job::new(app.jobs.update(&grant, changes).await?) })
    }

    /// Ends a job that is not final; a running worker learns of it at its next report. CONFLICT where it has ended.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
        #[graphql(desc = "Why, for the history.")] reason: Option<String>,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Cancel>(app.db.read(), ctx.actor()?, parse(&id)?).await?;
        Ok(JobPayload { job: Job::new(app.jobs.cancel(&grant, reason).await?) })
    }

    /// Runs a FAILED or CANCELLED job again from the step that stopped it.
    async fn retry_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Cancel>(app.db.read(), ctx.actor()?, parse(&id)?).await?;
        Ok(JobPayload { job: Job::new(app.jobs.retry(&grant).await?) })
    }

    /// Takes a job back to a step that it has reached before, whatever its status: what that step and later ones made is
    /// superseded, not lost.
    async fn rewind_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, and to which step.")] input: RewindJobInput,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Cancel>(app.db.read(), ctx.actor()?, parse(&input.id)?).await?;
        Ok(JobPayload { job: Job::new(app.jobs.rewind(&grant, Some(input.to_step), input.reason).await?) })
    }

    /// Adds a team or user, or changes the steps of one that is there.
    async fn add_collaborator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who is let in to which job, and to which of its steps.")]
        input: AddCollaboratorInput,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Share>(app.db.read(), ctx.actor()?, parse(&input.job_id)?).await?;
        let shared =
            collaboration::share(&app.jobs, &grant, &input.collaborator.into(), &input.steps).await?;
        Ok(JobPayload { job: Job::new(shared) })
    }

    /// Lets a team or user out, at once: their subscriptions to the job end.
    async fn remove_collaborator(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who is let out of which job.")] input: RemoveCollaboratorInput,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Share>(app.db.read(), ctx.actor()?, parse(&input.job_id)?).await?;
        let revoked = collaboration::revoke(&app.jobs, &grant, &input.collaborator.into()).await?;
        Ok(JobPayload { job: Job::new(revoked) })
    }

    /// Removes a job with its history and everything that its steps made. One that is not final is cancelled first.
    async fn delete_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
    ) -> Result<DeletePayload> {
        let app = ctx.app()?;
        let grant = access::job::<Delete>(app.db.read(), ctx.actor()?, parse(&id)?).await?;
        app.jobs.delete(&grant).await?;
        Ok(DeletePayload { deleted_id: grant.job().id.to_string().into() })
    }
}
