//! Lookup of objects by their globally unique IDs.

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

/// An object with a globally unique ID (a UUID).
#[derive(Clone, Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "UUID of the object, unique on this server."))]
pub(super) enum Node {
    /// A job.
    Job(Box<Job>),
    /// A document.
    Document(Document),
    /// A taxonomy.
    Taxonomy(Taxonomy),
    /// A review.
    Review(Box<Review>),
    /// A user.
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

/// Maximum number of IDs in one `nodes` query.
const MOST: usize = 100;

#[derive(Default)]
pub(super) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Returns the object with the given ID.
    /// Null if there is no such object or the viewer cannot see it.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the object.")] id: ID,
    ) -> Option<Result<Node>> {
        let found: Result<Option<Node>> = async { Ok(find(ctx, &[id]).await?.pop().flatten()) }.await;
        found.transpose()
    }

    /// Returns the objects with the given IDs, in the same order.
    /// An entry is null if there is no such object or the viewer cannot see it. More than 100 IDs fail with
    /// BAD_USER_INPUT.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUIDs of the objects, at most 100.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > MOST {
            return Err(Error::invalid("/ids", "TOO_MANY", format!("Ask for {MOST} IDs at the most.")));
        }
        find(ctx, &ids).await
    }
}

/// Returns the object of each ID. An ID does not reveal its kind, so each kind is queried once for all IDs not found
/// yet.
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
        // Users see themselves here, and other users through jobs and teams. Admins see everyone.
        let people = open.iter().filter(|id| actor.user.is_admin || **id == actor.user.id.0);
        let people = ctx.loaders()?.rows.load_many(people.map(|id| Account(UserId(*id)))).await?.into_iter();
        take(&mut open, people.map(|(Account(id), account)| (id.0, Node::User(User(account)))).collect());
        Ok::<_, Error>(())
    };
    all.await?;
    Ok(ids.iter().map(|id| found.get(id.as_ref()?).cloned()).collect())
}
