//! Reviews: the queue, claims, and decisions.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::account::User;
use super::context::RequestContext;
use super::document::load_user;
use super::job::{Content, Job};
use super::job_input::ContentInput;
use super::loader::{ContentOf, JobOf, MatterOf};
use super::paging::{Connection, DEFAULT_PAGE_SIZE, connection};
use super::scalar::Json;
use crate::access::{self, ReviewGrant};
use crate::entity::enums::ReviewStatus as Stored;
use crate::entity::review;
use crate::error::{Error, Result};
use crate::id::ReviewId;
use crate::page::{Cursor, List, Paging};
use crate::review::decide::{Choice, DecisionRequest};
use crate::review::simulate::{Simulation, simulate};
use crate::review::{self as reviews, claim, decide};

/// A task for a person on a job: to check, correct, and decide, or to do a MANUAL step.
#[derive(Clone)]
pub(super) struct Review(pub review::Model);

/// A task for a person on a job: to check, correct, and decide, or to do a MANUAL step.
#[Object]
impl Review {
    /// UUID of the review.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// The job that the review belongs to.
    async fn job(&self, ctx: &Context<'_>) -> Result<Job> {
        let job = ctx.loaders()?.rows.load_one(JobOf(self.0.job_id)).await?;
        job.map(Job::new).ok_or_else(|| Error::not_found("job"))
    }

    /// Name of the step whose result is reviewed, or of the MANUAL step to do.
    async fn step(&self) -> &str {
        &self.0.step
    }

    /// Current status of the review.
    async fn status(&self) -> ReviewStatus {
        self.0.status.into()
    }

    /// Reason why a person is needed.
    async fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Content under review (JSON), with the results of the step and their confidences.
    /// Null if a MANUAL step waits for a person to produce it.
    async fn content(&self, ctx: &Context<'_>) -> Option<Result<Content>> {
        let found: Result<Option<Content>> = async {
            let Some(id) = self.0.content_id else { return Ok(None) };
            Ok(ctx.loaders()?.rows.load_one(ContentOf(id)).await?.map(Content::of))
        }
        .await;
        found.transpose()
    }

    /// Parts of the content that need a decision.
    async fn items(&self, ctx: &Context<'_>) -> Result<Vec<ReviewItem>> {
        let matter = ctx.loaders()?.rows.load_one(MatterOf(self.0.id)).await?;
        let Some(matter) = matter else { return Ok(Vec::new()) };
        ctx.budget()?.charge_value(&matter.items)?;
        Vec::<ReviewItem>::deserialize(&matter.items).map_err(Error::internal)
    }

    /// Corrections that are saved but not decided, as a JSON Patch (RFC 6902).
    /// Null if there are none.
    async fn draft(&self, ctx: &Context<'_>) -> Option<Result<Json>> {
        let found: Result<Option<Json>> = async {
            let matter = ctx.loaders()?.rows.load_one(MatterOf(self.0.id)).await?;
            let Some(draft) = matter.and_then(|matter| matter.draft.clone()) else { return Ok(None) };
            ctx.budget()?.charge_value(&draft)?;
            Ok(Some(Json(draft)))
        }
        .await;
        found.transpose()
    }

    /// User who has claimed the review.
    /// Null if it is not claimed.
    async fn claimed_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let found: Result<Option<User>> = async {
            match self.0.claimed_by {
                Some(id) => Ok(Some(load_user(ctx, id).await?)),
                None => Ok(None),
            }
        }
        .await;
        found.transpose()
    }

    /// Time when the claim expires unless it is renewed.
    /// Null if the review is not claimed.
    async fn claim_expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.claim_expires_at
    }

    /// User who decided the review.
    /// Null if it is not decided, if TEST mode approved it automatically, or if it was cancelled.
    async fn decided_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let found: Result<Option<User>> = async {
            match self.0.decided_by {
                Some(id) => Ok(Some(load_user(ctx, id).await?)),
                None => Ok(None),
            }
        }
        .await;
        found.transpose()
    }

    /// Time when the review was decided or cancelled.
    /// Null before that.
    async fn decided_at(&self) -> Option<DateTime<Utc>> {
        self.0.decided_at
    }

    /// Comment of the user who decided the review.
    async fn comment(&self) -> Option<&str> {
        self.0.comment.as_deref()
    }

    /// Time when the review was opened.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

/// A part of a content that a person should check.
#[derive(SimpleObject, Deserialize)]
struct ReviewItem {
    /// JSON Pointer (RFC 6901) to the part of the content.
    path: String,
    /// Label of the part, for example the name of the expected value.
    label: String,
    /// Value that was found.
    /// Null if a value is missing.
    #[serde(default)]
    value: Option<Json>,
    /// Confidence of the machine, from 0 to 1.
    #[serde(default)]
    confidence: f64,
    /// Page number, from 1.
    #[serde(default)]
    page: Option<i32>,
    /// Position as x, y, width, and height, in fractions of the page.
    #[serde(default, rename = "box")]
    #[graphql(name = "box")]
    bbox: Option<Vec<f64>>,
}

/// Status of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Stored")]
pub(super) enum ReviewStatus {
    /// Waiting for a person to claim it.
    Open,
    /// Claimed by a person who is working on it.
    Claimed,
    /// Approved; the job continued with the corrections.
    Approved,
    /// Rejected; the job failed with the comment as its message.
    Rejected,
    /// Sent back; an earlier step runs again with the comment.
    SentBack,
    /// Cancelled because the job ended or was taken back without a decision.
    Cancelled,
}

/// Conditions for a list of reviews, all of which must be met.
/// Omitted conditions are ignored.
#[derive(InputObject)]
pub(super) struct ReviewFilter {
    /// Only reviews in one of these statuses.
    #[graphql(default_with = "Some(vec![ReviewStatus::Open, ReviewStatus::Claimed])")]
    status: Option<Vec<ReviewStatus>>,
    /// Only reviews of jobs of one of these job types.
    #[graphql(name = "type")]
    types: Option<Vec<ID>>,
    /// Only reviews of one of these steps.
    step: Option<Vec<String>>,
    /// Only reviews that the viewer has claimed (true) or has not claimed (false).
    claimed_by_me: Option<bool>,
}

impl From<ReviewFilter> for reviews::Filter {
    fn from(filter: ReviewFilter) -> Self {
        Self {
            status: filter.status.map(|list| list.into_iter().map(Into::into).collect()),
            types: filter.types.map(|list| list.into_iter().map(|id| id.0).collect()),
            steps: filter.step,
            claimed_by_me: filter.claimed_by_me,
        }
    }
}

/// Additional fields of a connection of reviews.
pub(super) struct ReviewList(reviews::Filter);

/// Additional fields of a connection of reviews.
#[Object]
impl ReviewList {
    /// Number of all matching reviews, counted only if this field is selected.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = reviews::count(&ctx.app()?.jobs, ctx.actor()?, &self.0).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// Effect that another review threshold would have had on past jobs.
/// All numbers count items of contents: values, zones, or keywords.
#[derive(SimpleObject)]
struct ReviewSimulation {
    /// Number of items that the step found or missed.
    items: i32,
    /// Number of items that a person actually reviewed.
    reviewed: i32,
    /// Number of items that a person would have reviewed.
    would_review: i32,
    /// Number of actual corrections that would not have been made.
    missed_corrections: i32,
}

impl From<Simulation> for ReviewSimulation {
    fn from(counts: Simulation) -> Self {
        let count = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
        Self {
            items: count(counts.items),
            reviewed: count(counts.reviewed),
            would_review: count(counts.would_review),
            missed_corrections: count(counts.missed_corrections),
        }
    }
}

/// Decision of a reviewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Choice")]
enum ReviewDecision {
    /// Continue the job with the corrections.
    Approve,
    /// Fail the job with the comment as its message.
    Reject,
    /// Run an earlier step again with the comment.
    SendBack,
}

/// Input for deciding a review.
#[derive(InputObject)]
struct DecideReviewInput {
    /// UUID of a review that the viewer has claimed.
    id: ID,
    /// Decision: approve, reject, or send back to an earlier step.
    decision: ReviewDecision,
    /// SHA-256 hash of the content that the reviewer saw, required if the review has a content.
    /// If it is not the hash of the current content, the mutation fails with CONFLICT. The current hash is then in
    /// `extensions.contentSha256`. The history keeps the hash as the receipt of the decision.
    content_sha256: Option<String>,
    /// Contents that a person produced, only for APPROVE on a MANUAL step.
    contents: Option<Vec<ContentInput>>,
    /// Corrections of the content under review as a JSON Patch (RFC 6902), only for APPROVE.
    /// The result becomes the next version of the content. A saved draft is not applied automatically.
    patch: Option<Json>,
    /// Comment of the reviewer, at most 10,000 characters (configurable).
    /// It becomes the failure message of a rejected job, or guidance for the step that a job is sent back to.
    comment: Option<String>,
    /// Name of an earlier step, required for SEND_BACK only.
    to_step: Option<String>,
}

impl From<DecideReviewInput> for DecisionRequest {
    fn from(input: DecideReviewInput) -> Self {
        Self {
            choice: input.decision.into(),
            content_sha256: input.content_sha256,
            contents: input.contents.unwrap_or_default().into_iter().map(Into::into).collect(),
            patch: input.patch.map(|patch| patch.0),
            comment: input.comment,
            to_step: input.to_step,
            claim_if_free: false,
        }
    }
}

/// Input for saving corrections as a draft.
#[derive(InputObject)]
struct SaveReviewDraftInput {
    /// UUID of a review that the viewer has claimed.
    id: ID,
    /// Corrections of the content under review as a JSON Patch (RFC 6902).
    /// They replace the previous draft.
    patch: Json,
}

/// Result of changing a review.
#[derive(SimpleObject)]
struct ReviewPayload {
    /// The review after the change.
    review: Review,
}

#[derive(Default)]
pub(super) struct ReviewQuery;

#[Object]
impl ReviewQuery {
    /// Returns the review with the given ID.
    /// Null if there is no such review, or if the viewer has no access to its step.
    async fn review(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the review.")] id: ID,
    ) -> Option<Result<Review>> {
        let found: Result<Option<Review>> = async {
            match load_grant(ctx, &id).await {
                Ok(grant) => Ok(Some(Review(grant.review().clone()))),
                Err(Error::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .await;
        found.transpose()
    }

    /// Returns the queue of reviews that the viewer can work on, oldest first.
    /// By default, the list contains OPEN and CLAIMED reviews. Reviews of the viewer's own jobs are not listed if the
    /// step has `fourEyes`.
    async fn reviews(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Conditions that the reviews must meet.")] filter: Option<ReviewFilter>,
        #[graphql(desc = "Page size, 20 by default and at most 100 (configurable).")] first: Option<i32>,
        #[graphql(desc = "Cursor of an entry; the page starts after it.")] after: Option<String>,
    ) -> Result<Connection<Review, ReviewList>> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let filter = filter.map_or_else(
            || reviews::Filter { status: Some(Stored::UNDECIDED.to_vec()), ..reviews::Filter::default() },
            Into::into,
        );
        let paging = Paging { first, after, ..Paging::default() };
        let window = paging.window(List::Reviews, DEFAULT_PAGE_SIZE, app.config.limits.page_size)?;
        let page = reviews::queue(&app.jobs, actor, &filter, window).await?;
        Ok(connection(page, ReviewList(filter), |row| {
            (Cursor { at: row.created_at, id: row.id.0 }.encode(List::Reviews), Review(row))
        }))
    }

    /// Returns the effect that another review threshold would have had on past jobs of a type.
    /// The numbers cover past jobs whose step the viewer has access to, without TEST jobs. Fails with NOT_FOUND if the
    /// job type does not exist. Fails with BAD_USER_INPUT if the step does not exist or the threshold is out of range.
    async fn simulate_review_threshold(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "type", desc = "Slug of the job type.")] type_id: ID,
        #[graphql(desc = "Name of a step with a review threshold.")] step: String,
        #[graphql(desc = "Review threshold to simulate, from 0 to 1.")] threshold: f64,
        #[graphql(desc = "Only results of steps since this time.")] since: Option<DateTime<Utc>>,
    ) -> Result<ReviewSimulation> {
        let (jobs, actor) = (&ctx.app()?.jobs, ctx.actor()?);
        Ok(simulate(jobs, actor, (&type_id, &step), threshold, since).await?.into())
    }
}

/// Returns a grant on a review. Returns an error if the viewer has no access to its step.
async fn load_grant(ctx: &Context<'_>, id: &str) -> Result<ReviewGrant> {
    let (app, actor) = (ctx.app()?, ctx.actor()?);
    let id = ReviewId::parse(id).ok_or_else(|| Error::not_found("review"))?;
    access::review(app.db.read(), actor, id).await
}

#[derive(Default)]
pub(super) struct ReviewMutation;

#[Object]
impl ReviewMutation {
    /// Claims a review for the viewer.
    /// Only one claim succeeds; others fail with CONFLICT and `extensions.claimedBy`. A claim lasts 15 minutes
    /// (configurable), and claiming again renews it. Fails with CONFLICT if the review has ended. Fails with FORBIDDEN
    /// if the viewer owns the job and the step has `fourEyes`.
    async fn claim_review(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the review.")] id: ID,
    ) -> Result<ReviewPayload> {
        let grant = load_grant(ctx, &id).await?;
        Ok(ReviewPayload { review: Review(claim::claim(&ctx.app()?.jobs, &grant).await?) })
    }

    /// Releases the viewer's claim on a review.
    /// Releasing a review without a claim changes nothing. Admins can release claims of other users, which the history
    /// records; anyone else gets FORBIDDEN. Fails with CONFLICT if the review has ended.
    async fn release_review(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the review.")] id: ID,
    ) -> Result<ReviewPayload> {
        let grant = load_grant(ctx, &id).await?;
        Ok(ReviewPayload { review: Review(claim::release(&ctx.app()?.jobs, &grant).await?) })
    }

    /// Saves corrections as a draft and renews the claim.
    /// Fails with CONFLICT if the viewer does not hold the claim. Fails with BAD_USER_INPUT if the patch is invalid.
    async fn save_review_draft(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Review and corrections so far.")] input: SaveReviewDraftInput,
    ) -> Result<ReviewPayload> {
        let grant = load_grant(ctx, &input.id).await?;
        let review = claim::save_draft(&ctx.app()?.jobs, &grant, input.patch.0).await?;
        Ok(ReviewPayload { review: Review(review) })
    }

    /// Decides a review that the viewer has claimed.
    /// To complete a MANUAL step, decide APPROVE with the contents that you produced. Fails with CONFLICT if the viewer
    /// does not hold the claim, or if the content has changed. Fails with BAD_USER_INPUT if the decision is invalid or
    /// the patch does not apply. Fails with PAYLOAD_TOO_LARGE if the content is too large for a patch (16 MiB by
    /// default). Fails with FORBIDDEN if the viewer owns the job and the step has `fourEyes`.
    async fn decide_review(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Review, decision, and the content that it is based on.")] input: DecideReviewInput,
    ) -> Result<ReviewPayload> {
        let grant = load_grant(ctx, &input.id).await?;
        let review = decide::decide(&ctx.app()?.jobs, &grant, input.into()).await?;
        Ok(ReviewPayload { review: Review(review) })
    }
}
