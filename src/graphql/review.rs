//! Reviews: the queue, claiming and deciding.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::account::User;
use super::context::RequestContext;
use super::document::user;
use super::job::{Content, Job};
use super::job_input::ContentInput;
use super::loader::{ContentOf, JobOf, MatterOf};
use super::paging::{Connection, USUAL, connection};
use super::scalar::Json;
use crate::access::{self, ReviewGrant};
use crate::entity::review;
use crate::error::{Error, Result};
use crate::id::ReviewId;
use crate::job::rows::unname;
use crate::page::{Cursor, List, Paging};
use crate::review::decide::{Choice, Decision};
use crate::review::simulate::{Simulation, simulate};
use crate::review::{self as reviews, claim, decide};

/// A person's turn on a job: check, correct, decide.
#[derive(Clone)]
pub(super) struct Review(pub review::Model);

/// A person's turn on a job: check, correct, decide.
#[Object]
impl Review {
    /// UUID of the review.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// The job that waits for it.
    async fn job(&self, ctx: &Context<'_>) -> Result<Job> {
        let job = ctx.loaders()?.rows.load_one(JobOf(self.0.job_id)).await?;
        job.map(Job::new).ok_or_else(|| Error::not_found("job"))
    }

    /// The step whose result, or work, it is about.
    async fn step(&self) -> &str {
        &self.0.step
    }

    /// Where it stands.
    async fn status(&self) -> Result<ReviewStatus> {
        unname(&self.0.status)
    }

    /// Why a person is needed.
    async fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The content under review (JSON): what was found, with confidences. Null where a MANUAL step waits for somebody to
    /// make it.
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
        ctx.budget()?.show(&matter.items)?;
        Vec::<ReviewItem>::deserialize(&matter.items).map_err(Error::internal)
    }

    /// Corrections saved but not yet decided (JSON Patch, RFC 6902).
    async fn draft(&self, ctx: &Context<'_>) -> Option<Result<Json>> {
        let shown: Result<Option<Json>> = async {
            let matter = ctx.loaders()?.rows.load_one(MatterOf(self.0.id)).await?;
            let Some(draft) = matter.and_then(|matter| matter.draft.clone()) else { return Ok(None) };
            ctx.budget()?.show(&draft)?;
            Ok(Some(Json(draft)))
        }
        .await;
        shown.transpose()
    }

    /// Who is working on it; null while nobody is.
    async fn claimed_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let found: Result<Option<User>> = async {
            match self.0.claimed_by {
                Some(id) => Ok(Some(user(ctx, id).await?)),
                None => Ok(None),
            }
        }
        .await;
        found.transpose()
    }

    /// When the claim ends unless it is renewed.
    async fn claim_expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.claim_expires_at
    }

    /// Who decided it; null where nobody has, or test mode did.
    async fn decided_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let found: Result<Option<User>> = async {
            match self.0.decided_by {
                Some(id) => Ok(Some(user(ctx, id).await?)),
                None => Ok(None),
            }
        }
        .await;
        found.transpose()
    }

    /// When it was decided.
    async fn decided_at(&self) -> Option<DateTime<Utc>> {
        self.0.decided_at
    }

    /// What the person who decided it had to say.
    async fn comment(&self) -> Option<&str> {
        self.0.comment.as_deref()
    }

    /// When a person was asked for.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

/// A part of a content that a person should look at.
#[derive(SimpleObject, Deserialize)]
struct ReviewItem {
    /// JSON Pointer into the content.
    path: String,
    /// What it is, e.g. the name of the value that was looked for.
    label: String,
    /// What was found; null where something is missing.
    #[serde(default)]
    value: Option<Json>,
    /// How sure the machine is, 0 to 1.
    #[serde(default)]
    confidence: f64,
    /// Page, from 1.
    #[serde(default)]
    page: Option<i32>,
    /// Position as x, y, width and height, in fractions of the page.
    #[serde(default, rename = "box")]
    #[graphql(name = "box")]
    bbox: Option<Vec<f64>>,
}

/// Where a review stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ReviewStatus {
    /// Waits for somebody to take it.
    Open,
    /// Somebody is working on it.
    Claimed,
    /// Decided: the job went on, with the corrections.
    Approved,
    /// Decided: the job failed, with the comment as its message.
    Rejected,
    /// Decided: an earlier step runs again, and gets the comment.
    SentBack,
    /// The job ended, or went on, without it.
    Cancelled,
}

impl ReviewStatus {
    fn column(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Claimed => "CLAIMED",
            Self::Approved => "APPROVED",
            Self::Rejected => "REJECTED",
            Self::SentBack => "SENT_BACK",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// Which reviews. What is not given does not matter.
#[derive(InputObject)]
pub(super) struct ReviewFilter {
    /// In one of these statuses.
    #[graphql(default_with = "Some(vec![ReviewStatus::Open, ReviewStatus::Claimed])")]
    status: Option<Vec<ReviewStatus>>,
    /// Of jobs of one of these types.
    #[graphql(name = "type")]
    types: Option<Vec<ID>>,
    /// Of one of these steps.
    step: Option<Vec<String>>,
    /// Claimed by the viewer; or, where it is false, not.
    claimed_by_me: Option<bool>,
}

impl From<ReviewFilter> for reviews::Filter {
    fn from(filter: ReviewFilter) -> Self {
        Self {
            status: filter.status.map(|list| list.into_iter().map(ReviewStatus::column).collect()),
            types: filter.types.map(|list| list.into_iter().map(|id| id.0).collect()),
            steps: filter.step,
            claimed_by_me: filter.claimed_by_me,
        }
    }
}

/// What a list of reviews knows besides its page.
pub(super) struct ReviewList(reviews::Filter);

/// What a list of reviews knows besides its page.
#[Object]
impl ReviewList {
    /// Counted only when asked for.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = reviews::count(&ctx.app()?.jobs, ctx.actor()?, &self.0).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// What another threshold would have done. Counts are of things in contents: values, zones, keywords.
#[derive(SimpleObject)]
struct ReviewSimulation {
    /// Things that the step found, or missed.
    items: i32,
    /// Items a person looked at then.
    reviewed: i32,
    /// Items a person would look at.
    would_review: i32,
    /// Corrections made then that would not be made.
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

/// What a reviewer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Choice")]
enum ReviewDecision {
    /// The job goes on, with the corrections.
    Approve,
    /// The job fails, with the comment as its message.
    Reject,
    /// An earlier step runs again, and gets the comment.
    SendBack,
}

/// A decision on a review.
#[derive(InputObject)]
struct DecideReviewInput {
    /// UUID of the review, which the viewer has claimed.
    id: ID,
    /// Approve, reject, or send back to an earlier step.
    decision: ReviewDecision,
    /// SHA-256 of the content that the reviewer saw: another one is CONFLICT. The history keeps it as the receipt of the
    /// decision. Required where there is content.
    content_sha256: Option<String>,
    /// For a MANUAL step: what was made.
    contents: Option<Vec<ContentInput>>,
    /// Corrections: JSON Patch (RFC 6902) on the content under review; what comes of it is the content's next version. A
    /// saved draft is not applied by itself.
    patch: Option<Json>,
    /// What the reviewer has to say: the message of a job that is rejected, or a hint for the step that it is
    /// sent back to.
    comment: Option<String>,
    /// For SEND_BACK: an earlier step.
    to_step: Option<String>,
}

impl From<DecideReviewInput> for Decision {
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

/// Corrections to keep until they are decided.
#[derive(InputObject)]
struct SaveReviewDraftInput {
    /// UUID of the review, which the viewer has claimed.
    id: ID,
    /// JSON Patch (RFC 6902) on the content under review. It replaces what was saved before.
    patch: Json,
}

/// A review as it is after a change.
#[derive(SimpleObject)]
struct ReviewPayload {
    /// The review, as it is after the change.
    review: Review,
}

#[derive(Default)]
pub(super) struct ReviewQuery;

#[Object]
impl ReviewQuery {
    /// A review of a step that the viewer works on; null where there is none.
    async fn review(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the review.")] id: ID,
    ) -> Option<Result<Review>> {
        let found: Result<Option<Review>> = async {
            match granted(ctx, &id).await {
                Ok(grant) => Ok(Some(Review(grant.review().clone()))),
                Err(Error::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .await;
        found.transpose()
    }

    /// Reviews that the viewer may work on, the oldest first: the queue. Those that wait or are claimed, where the filter
    /// says nothing else.
    async fn reviews(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which reviews.")] filter: Option<ReviewFilter>,
        #[graphql(desc = "Size of the page, 20 where it is not given.")] first: Option<i32>,
        #[graphql(desc = "Cursor that the page comes after.")] after: Option<String>,
    ) -> Result<Connection<Review, ReviewList>> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let filter = filter.map_or_else(
            || reviews::Filter { status: Some(vec!["OPEN", "CLAIMED"]), ..reviews::Filter::default() },
            Into::into,
        );
        let paging = Paging { first, after, ..Paging::default() };
        let window = paging.window(List::Reviews, USUAL, app.config.limits.page_size)?;
        let page = reviews::queue(&app.jobs, actor, &filter, window).await?;
        Ok(connection(page, ReviewList(filter), |row| {
            (Cursor { at: row.created_at, id: row.id.0 }.encode(List::Reviews), Review(row))
        }))
    }

    /// What another review threshold would have done to past jobs of the type, of those whose step the viewer works on.
    /// Jobs in TEST mode do not count.
    async fn simulate_review_threshold(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "type", desc = "Slug of the type.")] type_id: ID,
        #[graphql(desc = "Name of a step that has a threshold.")] step: String,
        #[graphql(desc = "Threshold from 0 to 1.")] threshold: f64,
        #[graphql(desc = "Only what steps have made since then.")] since: Option<DateTime<Utc>>,
    ) -> Result<ReviewSimulation> {
        let (jobs, actor) = (&ctx.app()?.jobs, ctx.actor()?);
        Ok(simulate(jobs, actor, (&type_id, &step), threshold, since).await?.into())
    }
}

/// A review whose step the viewer works on.
async fn granted(ctx: &Context<'_>, id: &str) -> Result<ReviewGrant> {
    let (app, actor) = (ctx.app()?, ctx.actor()?);
    let id = ReviewId::parse(id).ok_or_else(|| Error::not_found("review"))?;
    access::review(app.db.read(), actor, id).await
}

#[derive(Default)]
pub(super) struct ReviewMutation;

#[Object]
impl ReviewMutation {
    /// Takes a review: one wins, the others get CONFLICT with `extensions.claimedBy`. A claim lasts 15 minutes, where the
    /// server is not configured otherwise; claiming again renews it. FORBIDDEN for the job's owner where the step is decided by
    /// four eyes.
    async fn claim_review(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the review.")] id: ID,
    ) -> Result<ReviewPayload> {
        let grant = granted(ctx, &id).await?;
        Ok(ReviewPayload { review: Review(claim::claim(&ctx.app()?.jobs, &grant).await?) })
    }

    /// Lets go of a review that the viewer has claimed. Admins may take any from whoever has it; the history says so.
    async fn release_review(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the review.")] id: ID,
    ) -> Result<ReviewPayload> {
        let grant = granted(ctx, &id).await?;
        Ok(ReviewPayload { review: Review(claim::release(&ctx.app()?.jobs, &grant).await?) })
    }

    /// Keeps corrections until they are decided, and renews the claim.
    async fn save_review_draft(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which review, and the corrections so far.")] input: SaveReviewDraftInput,
    ) -> Result<ReviewPayload> {
        let grant = granted(ctx, &input.id).await?;
        let saved = claim::save_draft(&ctx.app()?.jobs, &grant, input.patch.0).await?;
        Ok(ReviewPayload { review: Review(saved) })
    }

    /// Decides a review that the viewer has claimed. A MANUAL step is done this way too: APPROVE with the contents that
    /// were made.
    async fn decide_review(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which review, the decision, and what it rests on.")] input: DecideReviewInput,
    ) -> Result<ReviewPayload> {
        let grant = granted(ctx, &input.id).await?;
        let decided = decide::decide(&ctx.app()?.jobs, &grant, input.into()).await?;
        Ok(ReviewPayload { review: Review(decided) })
    }
}
