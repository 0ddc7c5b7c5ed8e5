//! Anything by its globally unique ID.

use async_graphql::{Context, ID, Interface, Object};

use std::collections::{BTreeSet, HashMap};

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::account::{ApiKey, Team, User};
use super::context::RequestContext;
use super::document::Document;
use super::job::Job;
use super::loader::Account;
use super::review::Review;
use super::taxonomy::Taxonomy;
use super::webhook::{Webhook, WebhookDelivery};
use crate::access;
use crate::entity::{api_key, job, review, taxonomy};
use crate::error::{Error, Result};
use crate::id::{DeliveryId, DocumentId, TeamId, UserId, WebhookId};
use crate::team;

/// Anything with a globally unique ID (a UUID).
#[derive(Clone, Interface)]
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
    /// A webhook.
    Webhook(Box<Webhook>),
    /// A delivery to a webhook.
    WebhookDelivery(Box<WebhookDelivery>),
}

/// IDs in one `nodes`.
const MOST: usize = 100;

#[derive(Default)]
pub(super) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Whatever has this ID and the viewer may see; null where there is nothing.
    async fn node(&self, ctx: &Context<'_>, #[graphql(desc = "A UUID.")] id: ID) -> Option<Result<Node>> {
        let found: Result<Option<Node>> = async { Ok(find(ctx, &[id]).await?.pop().flatten()) }.await;
        found.transpose()
    }

    /// The same for several IDs, at most 100, in their order; null where there is nothing.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUIDs.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > MOST {
            return Err(Error::invalid("/ids", "TOO_MANY", format!("Ask for {MOST} IDs at the most.")));
        }
        find(ctx, &ids).await
    }
}

/// What each ID stands for. An ID does not tell of what kind it is, so that each kind is asked once for all that are not
/// found yet.
async fn find(ctx: &Context<'_>, ids: &[ID]) -> Result<Vec<Option<Node>>> {
    let (app, actor) = (ctx.app()?, ctx.actor()?);
    let db = app.db.read();
    let ids: Vec<Option<Uuid>> = ids.iter().map(|id| Uuid::try_parse(id).ok()).collect();
    let mut open: BTreeSet<Uuid> = ids.iter().flatten().copied().collect();
    let mut found: HashMap<Uuid, Node> = HashMap::new();
    let mut take = |open: &mut BTreeSet<Uuid>, nodes: Vec<(Uuid, Node)>| {
        for (id, node) in nodes {
            open.remove(&id);
            found.insert(id, node);
        }
        open.is_empty()
    };
    let all = async {
        let jobs = job::Entity::find()
            .filter(job::Column::Id.is_in(open.clone()))
            .filter(access::visible_jobs(actor));
        let jobs = jobs.all(db).await?.into_iter();
        if take(&mut open, jobs.map(|row| (row.id.0, Node::Job(Box::new(Job::new(row))))).collect()) {
            return Ok(());
        }
        let documents =
            app.jobs.documents_among(actor, open.iter().copied().map(DocumentId)).await?.into_iter();
        if take(&mut open, documents.map(|row| (row.id.0, Node::Document(Document(row)))).collect()) {
            return Ok(());
        }
        let reviews = review::Entity::find()
            .filter(review::Column::Id.is_in(open.clone()))
            .filter(access::works_on_rows(actor, app.db.backend(), "review"));
        let reviews = reviews.all(db).await?.into_iter();
        if take(&mut open, reviews.map(|row| (row.id.0, Node::Review(Box::new(Review(row))))).collect()) {
            return Ok(());
        }
        let taxonomies =
            taxonomy::Entity::find().filter(taxonomy::Column::Id.is_in(open.clone())).all(db).await?;
        let taxonomies = taxonomies.into_iter().map(|row| (row.id.0, Node::Taxonomy(row.into())));
        if take(&mut open, taxonomies.collect()) {
            return Ok(());
        }
        let teams = team::among(db, actor, open.iter().copied().map(TeamId)).await?.into_iter();
        if take(&mut open, teams.map(|row| (row.id.0, Node::Team(Team(row)))).collect()) {
            return Ok(());
        }
        let keys = api_key::Entity::find()
            .filter(api_key::Column::Id.is_in(open.clone()))
            .filter(api_key::Column::AccountId.eq(actor.user.id));
        let keys = keys.all(db).await?.into_iter();
        if take(&mut open, keys.map(|row| (row.id.0, Node::ApiKey(ApiKey(row)))).collect()) {
            return Ok(());
        }
        let webhooks = app.webhooks.among(actor, open.iter().copied().map(WebhookId)).await?.into_iter();
        if take(&mut open, webhooks.map(|row| (row.id.0, Node::Webhook(Box::new(Webhook(row))))).collect()) {
            return Ok(());
        }
        let deliveries = app.webhooks.deliveries_among(actor, open.iter().copied().map(DeliveryId)).await?;
        let deliveries = deliveries.into_iter().map(|(row, webhook)| {
            (row.id.0, Node::WebhookDelivery(Box::new(WebhookDelivery { row, webhook })))
        });
        if take(&mut open, deliveries.collect()) {
            return Ok(());
        }
        // People see themselves; whom they work with they meet through jobs and teams.
        let people = open.iter().filter(|id| actor.user.is_admin || **id == actor.user.id.0);
        let people = ctx.loaders()?.rows.load_many(people.map(|id| Account(UserId(*id)))).await?.into_iter();
        take(&mut open, people.map(|(Account(id), account)| (id.0, Node::User(User(account)))).collect());
        Ok::<_, Error>(())
    };
    all.await?;
    Ok(ids.iter().map(|id| found.get(id.as_ref()?).cloned()).collect())
}
