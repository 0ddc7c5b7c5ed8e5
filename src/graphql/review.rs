//! Reviews, as far as a job shows them.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use sea_orm::EntityTrait;
use serde::Deserialize;

use super::account::User;
use super::context::RequestContext;
use super::document::user;
use super::job::{Content, Job};
use super::scalar::Json;
use crate::access::policy::works_on;
use crate::access::{self, View};
use crate::entity::{content, document, review};
use crate::error::{Error, Result};
use crate::id::ReviewId;
use crate::job::record::unname;

/// A person's turn on a job: check, correct, decide.
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
        let grant = access::job::<View>(ctx.app()?.db.read(), ctx.actor()?, self.0.job_id).await?;
        Ok(Job::new(grant.job().clone()))
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
            let query = content::Entity::find_by_id(id).find_also_related(document::Entity);
            let found = query.one(ctx.app()?.db.read()).await?;
            Ok(found.and_then(|(content, document)| Some(Content { content, document: document? })))
        }
        .await;
        found.transpose()
    }

    /// Parts of the content that need a decision.
    async fn items(&self) -> Result<Vec<ReviewItem>> {
        Vec::<ReviewItem>::deserialize(&self.0.items).map_err(Error::internal)
    }

    /// Corrections saved but not yet decided (JSON Patch, RFC 6902).
    async fn draft(&self) -> Option<Json> {
        self.0.draft.clone().map(Json)
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

    /// What the decider had to say.
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
    /// What it is.
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
    /// x, y, width, height as fractions of the page.
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
    /// The job went on.
    Approved,
    /// The job failed.
    Rejected,
    /// An earlier step runs again.
    SentBack,
    /// The job ended, or went on, without it.
    Cancelled,
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
        let found: Result<Option<Review>> = async { find(ctx, &id).await }.await;
        found.transpose()
    }
}

/// A review that the viewer may see.
pub(super) async fn find(ctx: &Context<'_>, id: &str) -> Result<Option<Review>> {
    let (app, actor) = (ctx.app()?, ctx.actor()?);
    let Some(id) = ReviewId::parse(id) else { return Ok(None) };
    let Some(row) = review::Entity::find_by_id(id).one(app.db.read()).await? else { return Ok(None) };
    match access::job::<View>(app.db.read(), actor, row.job_id).await {
        Ok(grant) => Ok(works_on(grant.standing(), &row.step).then_some(Review(row))),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
