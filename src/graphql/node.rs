//! Anything by its globally unique ID.

use async_graphql::{Context, ID, Interface, Object};

use super::account::{ApiKey, Team, User};
use super::context::RequestContext;
use super::document::Document;
use super::job::Job;
use super::loader::Account;
use super::review::{self, Review};
use super::taxonomy::Taxonomy;
use crate::access::{self, View};
use crate::entity::{api_key, taxonomy};
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, DocumentId, JobId, TaxonomyId, TeamId, UserId};
use crate::team;
use sea_orm::EntityTrait;

/// Anything with a globally unique ID (a UUID).
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "UUID, unique among all things of this server."))]
pub(super) enum Node {
    /// A job.
    Job(Box<Job>),
    /// A document.
    Document(Document),
    /// A taxonomy.
    Taxonomy(Taxonomy),
    /// A review.
    Review(Box<Review>),
    /// A person.
    User(User),
    /// A team.
    Team(Team),
    /// An API key.
    ApiKey(ApiKey),
}

/// IDs in one `nodes`.
const MOST: usize = 100;

#[derive(Default)]
pub(super) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Whatever has this ID and the viewer may see; null where there is nothing.
    async fn node(&self, ctx: &Context<'_>, #[graphql(desc = "A UUID.")] id: ID) -> Option<Result<Node>> {
        let found: Result<Option<Node>> = async {
            ctx.actor()?;
            find(ctx, &id).await
        }
        .await;
        found.transpose()
    }

    /// The same for several IDs, at most 100, in their order; null where there is nothing.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUIDs.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        ctx.actor()?;
        if ids.len() > MOST {
            return Err(Error::invalid("/ids", "TOO_MANY", format!("Ask for {MOST} IDs at the most.")));
        }
        let mut found = Vec::with_capacity(ids.len());
        for id in &ids {
            found.push(find(ctx, id).await?);
        }
        Ok(found)
    }
}

async fn find(ctx: &Context<'_>, id: &str) -> Result<Option<Node>> {
    let (app, actor) = (ctx.app()?, ctx.actor()?);
    let db = app.db.read();
    let Some(job) = JobId::parse(id) else { return Ok(None) };
    match access::job::<View>(db, actor, job).await {
        Ok(grant) => return Ok(Some(Node::Job(Box::new(Job::new(grant.job().clone()))))),
        Err(Error::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    match app.jobs.document(actor, DocumentId(job.0)).await {
        Ok(document) => return Ok(Some(Node::Document(Document(document)))),
        Err(Error::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    if let Some(review) = review::find(ctx, id).await? {
        return Ok(Some(Node::Review(Box::new(review))));
    }
    if let Some(row) = taxonomy::Entity::find_by_id(TaxonomyId(job.0)).one(db).await? {
        return Ok(Some(Node::Taxonomy(Taxonomy(row))));
    }
    if let Some(team) = team::get(db, actor, TeamId(job.0)).await? {
        return Ok(Some(Node::Team(Team(team))));
    }
    let key = api_key::Entity::find_by_id(ApiKeyId(job.0)).one(db).await?;
    if let Some(key) = key.filter(|key| key.account_id == actor.user.id) {
        return Ok(Some(Node::ApiKey(ApiKey(key))));
    }
    // People see themselves; whom they work with they meet through jobs and teams.
    let visible = UserId(job.0) == actor.user.id || actor.user.is_admin;
    let person = if visible { ctx.loaders()?.rows.load_one(Account(UserId(job.0))).await? } else { None };
    Ok(person.map(|account| Node::User(User(account))))
}
