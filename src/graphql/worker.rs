//! External workers: taking steps, reporting, handing in.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::context::RequestContext;
use super::job::{Job, JobPayload, JobStep};
use super::job_input::ContentInput;
use super::scalar::Json;
use crate::engine::Claim;
use crate::engine::external::{HandedIn, Reported, Ticket, Wanted, Wish};
use crate::error::{Error, Result};

/// A worker's wish for work.
#[derive(InputObject)]
struct ClaimStepsInput {
    /// Name of the worker, for people: it stands in the history. 1 to 100 characters.
    worker_id: String,
    /// Slugs of the job types whose steps it can do, 20 at the most.
    types: Vec<ID>,
    /// Steps that it takes at the most.
    #[graphql(default = 1)]
    limit: i32,
    /// Seconds that each lease holds; every `reportStep` renews it for as long.
    #[graphql(default = 30)]
    lease_seconds: i32,
}

/// What a worker got.
#[derive(SimpleObject)]
struct ClaimStepsPayload {
    /// The steps that are the worker's now; empty where nothing waits.
    claims: Vec<StepClaim>,
}

/// A step that a worker has taken, under a lease.
#[derive(SimpleObject)]
#[graphql(complex)]
struct StepClaim {
    #[graphql(skip)]
    claim: Claim,
    /// Proof of the claim: every later call carries it, and a lost lease makes it invalid.
    lease_token: String,
    /// When the lease ends unless `reportStep` renews it. Then the step is queued again, or failed.
    lease_expires_at: DateTime<Utc>,
}

#[ComplexObject]
impl StepClaim {
    /// The step to be done.
    async fn step(&self) -> Result<JobStep> {
        let step = Job::new(self.claim.job.clone()).step(&self.claim.step, None)?;
        step.ok_or_else(|| Error::internal("a claim of a step that the job has not"))
    }

    /// Its job: the contents that the step reads, the metadata, and what a reviewer who sent it back had to say.
    async fn job(&self) -> Job {
        Job::new(self.claim.job.clone())
    }
}

impl From<(Claim, Ticket)> for StepClaim {
    fn from((claim, ticket): (Claim, Ticket)) -> Self {
        Self { lease_token: ticket.to_string(), lease_expires_at: claim.until, claim }
    }
}

/// A sign of life.
#[derive(InputObject)]
struct ReportStepInput {
    /// Proof of the claim.
    lease_token: String,
    /// How far the step is, 0 to 1. It never runs backwards: less than before is ignored.
    fraction: Option<f64>,
    /// What is being done, for people. Cut after 500 characters.
    message: Option<String>,
}

/// What a report comes to.
#[derive(SimpleObject)]
struct ReportStepPayload {
    /// When the lease ends unless it is renewed again.
    lease_expires_at: DateTime<Utc>,
    /// The job was cancelled: stop, whatever is handed in is refused.
    cancelled: bool,
}

impl From<Reported> for ReportStepPayload {
    fn from(reported: Reported) -> Self {
        Self { lease_expires_at: reported.until, cancelled: reported.cancelled }
    }
}

/// What a step made.
#[derive(InputObject)]
struct CompleteStepInput {
    /// Proof of the claim.
    lease_token: String,
    /// Documents that the worker has uploaded, in roles of the step.
    contents: Option<Vec<ContentInput>>,
    /// Ask a person to check before the job goes on.
    review: Option<ReviewRequestInput>,
}

/// A wish that a person look at what a step made.
#[derive(InputObject)]
struct ReviewRequestInput {
    /// Why, for the reviewer.
    reason: String,
    /// Role of the content to look at: handed in now, or by this step before.
    content_role: String,
    /// Its parts that need a decision, as `ReviewItem` has them: `path` (JSON Pointer, required), `label`, `value`,
    /// `confidence`, `page`, `box`.
    items: Option<Vec<Json>>,
}

impl From<ReviewRequestInput> for Wanted {
    fn from(input: ReviewRequestInput) -> Self {
        let items = input.items.unwrap_or_default().into_iter().map(|item| item.0).collect();
        Self { reason: input.reason, role: input.content_role, items }
    }
}

/// Why a step did not work.
#[derive(InputObject)]
struct FailStepInput {
    /// Proof of the claim.
    lease_token: String,
    /// For programs, e.g. `UPSTREAM_DOWN`. 1 to 100 characters.
    code: String,
    /// For people: what happened, and what would help.
    message: String,
    /// Whether trying again can help. Otherwise the job fails at once.
    #[graphql(default = true)]
    retryable: bool,
}

#[derive(Default)]
pub(super) struct WorkerMutation;

#[Object]
impl WorkerMutation {
    /// External workers: take up to `limit` queued steps under a lease, of jobs whose step the viewer works on; those of high
    /// priority and the oldest first. With a TEST key those of TEST jobs only.
    async fn claim_steps(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who asks, and for what.")] input: ClaimStepsInput,
    ) -> Result<ClaimStepsPayload> {
        let ClaimStepsInput { worker_id, types, limit, lease_seconds } = input;
        let types = types.into_iter().map(|id| id.0).collect();
        let wish = Wish { worker: worker_id, types, limit, lease_seconds };
        let claims = ctx.app()?.jobs.claim_as(ctx.actor()?, wish).await?;
        Ok(ClaimStepsPayload { claims: claims.into_iter().map(Into::into).collect() })
    }

    /// Renews the lease and reports progress; says whether the job was cancelled meanwhile. CONFLICT where the claim was lost.
    async fn report_step(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of which claim, and how far it is.")] input: ReportStepInput,
    ) -> Result<ReportStepPayload> {
        let ReportStepInput { lease_token, fraction, message } = input;
        let reported = ctx.app()?.jobs.report_as(ctx.actor()?, &lease_token, fraction, message.as_deref());
        Ok(reported.await?.into())
    }

    /// Hands in what a step made; the job goes on. It is taken once: under a claim that was lost it is CONFLICT and changes
    /// nothing.
    async fn complete_step(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of which claim, and what it made.")] input: CompleteStepInput,
    ) -> Result<JobPayload> {
        let contents = input.contents.unwrap_or_default().into_iter().map(Into::into).collect();
        let handed_in = HandedIn { contents, review: input.review.map(Into::into) };
        let job = ctx.app()?.jobs.complete_as(ctx.actor()?, &input.lease_token, handed_in).await?;
        Ok(JobPayload { job: Job::new(job) })
    }

    /// Says that a step did not work: it is tried again where that can help and attempts are left, otherwise the job fails.
    async fn fail_step(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of which claim, and why.")] input: FailStepInput,
    ) -> Result<JobPayload> {
        let FailStepInput { lease_token, code, message, retryable } = input;
        let job = ctx.app()?.jobs.fail_as(ctx.actor()?, &lease_token, code, message, retryable).await?;
        Ok(JobPayload { job: Job::new(job) })
    }
}
