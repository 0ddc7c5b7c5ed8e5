//! External workers: claiming steps, reporting progress, and submitting results.

use async_graphql::{ComplexObject, Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::context::RequestContext;
use super::job::{Job, JobPayload, JobStep};
use super::job_input::ContentInput;
use super::scalar::Json;
use super::subscription::wait_until_expiry;
use crate::error::{Error, Result};
use crate::job::queue::external::{Caller, ClaimRequest, Reported, SubmittedResult, Ticket};
use crate::job::queue::{Claim, ReviewRequest, StepFailure};

/// Input for claiming steps.
#[derive(InputObject)]
struct ClaimStepsInput {
    /// Human-readable name of the worker for the history, 1 to 100 characters.
    worker_id: String,
    /// Slugs of the job types whose steps the worker can do, 1 to 20.
    types: Vec<ID>,
    /// Maximum number of steps to claim, 1 to 100 (configurable).
    #[graphql(default = 1)]
    limit: i32,
    /// Duration of each lease in seconds, 1 to 3,600 (configurable).
    /// Every `reportStep` renews the lease for the same duration.
    #[graphql(default = 30)]
    lease_seconds: i32,
    /// Seconds to wait on the server for a step, 0 to 30; 0 returns at once.
    /// The server may return earlier, without claims.
    #[graphql(default = 0)]
    wait_seconds: i32,
}

/// Result of claiming steps.
#[derive(SimpleObject)]
struct ClaimStepsPayload {
    /// Steps that the worker has claimed; an empty list if no step is waiting.
    claims: Vec<StepClaim>,
}

/// A claim of a worker on a step, under a lease.
#[derive(SimpleObject)]
#[graphql(complex)]
struct StepClaim {
    #[graphql(skip)]
    claim: Claim,
    /// Token that proves the claim.
    /// Every later call carries it, and it becomes invalid when the lease is lost.
    lease_token: String,
    /// Time when the lease expires unless `reportStep` renews it.
    /// An expired lease causes the step to be queued again, or to fail.
    lease_expires_at: DateTime<Utc>,
}

#[ComplexObject]
impl StepClaim {
    /// The step to do.
    /// It contains the comment of a reviewer who sent the job back to it.
    async fn step(&self) -> Result<JobStep> {
        let step = Job::new(self.claim.job.clone()).step(&self.claim.step, None)?;
        step.ok_or_else(|| Error::internal("the claimed step is missing from its job"))
    }

    /// The job of the step, with its metadata and the contents that the step reads.
    async fn job(&self) -> Job {
        Job::new(self.claim.job.clone())
    }
}

impl From<(Claim, Ticket)> for StepClaim {
    fn from((claim, ticket): (Claim, Ticket)) -> Self {
        Self { lease_token: ticket.to_string(), lease_expires_at: claim.until, claim }
    }
}

/// Input for reporting progress and renewing the lease.
#[derive(InputObject)]
struct ReportStepInput {
    /// Token that proves the claim.
    lease_token: String,
    /// Progress within the step, from 0 to 1.
    /// A value lower than a previous one is ignored.
    fraction: Option<f64>,
    /// Human-readable description of the current activity, cut after 500 characters.
    message: Option<String>,
}

/// Result of reporting progress.
#[derive(SimpleObject)]
struct ReportStepPayload {
    /// Time when the lease expires unless it is renewed again.
    lease_expires_at: DateTime<Utc>,
    /// Whether the job was cancelled.
    /// If true, stop working on the step; any result fails with CONFLICT.
    cancelled: bool,
}

impl From<Reported> for ReportStepPayload {
    fn from(reported: Reported) -> Self {
        Self { lease_expires_at: reported.until, cancelled: reported.is_cancelled }
    }
}

/// Input for submitting the result of a step.
#[derive(InputObject)]
struct CompleteStepInput {
    /// Token that proves the claim.
    lease_token: String,
    /// Documents that the worker has uploaded, each with a different role of the step.
    contents: Option<Vec<ContentInput>>,
    /// Request for a review by a person before the job continues.
    review: Option<ReviewRequestInput>,
}

/// Request for a person to review the result of a step.
#[derive(InputObject)]
struct ReviewRequestInput {
    /// Reason for the review, at most 10,000 characters (configurable).
    reason: String,
    /// Role of the content to review, which the step submits now or has submitted before.
    content_role: String,
    /// Parts of the content that need a decision, at most 10,000.
    /// Each has the fields of `ReviewItem`: `path` (JSON Pointer, required), `label`, `value`, `confidence`, `page`,
    /// and `box`.
    items: Option<Vec<Json>>,
}

impl From<ReviewRequestInput> for ReviewRequest {
    fn from(input: ReviewRequestInput) -> Self {
        let items = input.items.unwrap_or_default().into_iter().map(|item| item.0).collect();
        Self { reason: input.reason, role: input.content_role, items }
    }
}

/// Input for reporting the failure of a step.
#[derive(InputObject)]
struct FailStepInput {
    /// Token that proves the claim.
    lease_token: String,
    /// Machine-readable error code, for example `UPSTREAM_DOWN`, 1 to 100 characters.
    code: String,
    /// Human-readable explanation and a possible remedy, at most 10,000 characters (configurable).
    message: String,
    /// Whether a retry can help.
    /// If false, the job fails immediately.
    #[graphql(default = true)]
    retryable: bool,
}

#[derive(Default)]
pub(super) struct WorkerMutation;

#[Object]
impl WorkerMutation {
    /// Claims up to `limit` queued steps for an external worker, under a lease.
    /// Steps are claimed by highest priority first, then oldest first. Only steps that the viewer has access to are
    /// claimed. With a TEST key, only steps of TEST jobs are claimed. In the viewer's own jobs, steps with `fourEyes`
    /// are not claimed. If no step is queued, the server waits for `waitSeconds`; each queued step wakes one worker.
    async fn claim_steps(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Worker, job types, and lease duration.")] input: ClaimStepsInput,
    ) -> Result<ClaimStepsPayload> {
        let ClaimStepsInput { worker_id, types, limit, lease_seconds, wait_seconds } = input;
        let types = types.into_iter().map(|id| id.0).collect();
        let request = ClaimRequest { worker: worker_id, types, limit, lease_seconds, wait_seconds };
        let (app, actor, caller) = (ctx.app()?, ctx.actor()?, ctx.caller()?);
        // A wait ends with the credential.
        let gone = caller.gone.child_token();
        let caller = Caller { gone: gone.clone(), ..caller.clone() };
        let claims = app.jobs.claim_steps_for(actor, request, &caller);
        tokio::pin!(claims);
        let claims = tokio::select! {
            biased;
            claims = &mut claims => claims,
            _ = wait_until_expiry(app, actor, app.accounts.wait_for_revocation(actor)) => {
                gone.cancel();
                claims.await
            }
        }?;
        Ok(ClaimStepsPayload { claims: claims.into_iter().map(Into::into).collect() })
    }

    /// Renews the lease, reports progress, and returns whether the job was cancelled.
    /// Fails with CONFLICT if the lease was lost, unless the job was cancelled. Fails with NOT_FOUND if the token is
    /// unknown or the viewer has no access to the step.
    async fn report_step(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Claim and progress of the step.")] input: ReportStepInput,
    ) -> Result<ReportStepPayload> {
        let ReportStepInput { lease_token, fraction, message } = input;
        let reported =
            ctx.app()?.jobs.report_progress_for(ctx.actor()?, &lease_token, fraction, message.as_deref());
        Ok(reported.await?.into())
    }

    /// Submits the result of a step, so that the job continues.
    /// A result is accepted once. After a lost lease, it fails with CONFLICT and changes nothing. Fails with
    /// BAD_USER_INPUT if a role or document is invalid. Fails with NOT_FOUND if the token is unknown or the viewer has
    /// no access to the step.
    async fn complete_step(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Claim and result of the step.")] input: CompleteStepInput,
    ) -> Result<JobPayload> {
        let contents = input.contents.unwrap_or_default().into_iter().map(Into::into).collect();
        let result = SubmittedResult { contents, review: input.review.map(Into::into) };
        let job = ctx.app()?.jobs.complete_step_for(ctx.actor()?, &input.lease_token, result).await?;
        Ok(JobPayload { job: Job::new(job) })
    }

    /// Reports that a step failed.
    /// The step is retried if `retryable` is true and attempts remain; otherwise the job fails. Fails with CONFLICT if
    /// the lease was lost. Fails with NOT_FOUND if the token is unknown or the viewer has no access to the step.
    async fn fail_step(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Claim and reason for the failure.")] input: FailStepInput,
    ) -> Result<JobPayload> {
        let FailStepInput { lease_token, code, message, retryable } = input;
        let failure = StepFailure { code, message, retryable };
        let job = ctx.app()?.jobs.fail_step_for(ctx.actor()?, &lease_token, failure).await?;
        Ok(JobPayload { job: Job::new(job) })
    }
}
