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
const MAX_NODE_IDS: usize = 100;

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
        let found: Result<Option<Node>> = async { Ok(find_nodes(ctx, &[id]).await?.pop().flatten()) }.await;
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
        if ids.len() > MAX_NODE_IDS {
            let message = format!("Request at most {MAX_NODE_IDS} IDs.");
            return Err(Error::invalid("/ids", "TOO_MANY", message));
        }
        find_nodes(ctx, &ids).await
    }
}

/// Returns the object of each ID. An ID does not contain its kind. Each kind is therefore queried once for all IDs that
/// are not found yet.
async fn find_nodes(ctx: &Context<'_>, ids: &[ID]) -> Result<Vec<Option<Node>>> {
    let (app, actor) = (ctx.app()?, ctx.actor()?);
    let db = app.db.read();
    let ids: Vec<Option<Uuid>> = ids.iter().map(|id| Uuid::try_parse(id).ok()).collect();
    let mut remaining: BTreeSet<Uuid> = ids.iter().flatten().copied().collect();
    let mut found: HashMap<Uuid, Node> = HashMap::new();
    let mut add_found = |remaining: &mut BTreeSet<Uuid>, nodes: Vec<(Uuid, Node)>| {
        for (id, node) in nodes {
            remaining.remove(&id);
            found.insert(id, node);
        }
        remaining.is_empty()
    };
    let load_all = async {
        let jobs = job::Entity::find()
            .filter(job::Column::Id.is_in(remaining.clone()))
            .filter(access::visible_jobs(actor));
        let jobs = jobs.all(db).await?.into_iter();
        if add_found(&mut remaining, jobs.map(|row| (row.id.0, Node::Job(Box::new(Job::new(row))))).collect())
        {
            return Ok(());
        }
        let documents =
            app.jobs.readable_documents(actor, remaining.iter().copied().map(DocumentId)).await?.into_iter();
        if add_found(&mut remaining, documents.map(|row| (row.id.0, Node::Document(Document(row)))).collect())
        {
            return Ok(());
        }
        let reviews = review::Entity::find()
            .filter(review::Column::Id.is_in(remaining.clone()))
            .filter(access::accessible_step_rows(actor, app.db.backend(), "review"));
        let reviews = reviews.all(db).await?.into_iter();
        if add_found(
            &mut remaining,
            reviews.map(|row| (row.id.0, Node::Review(Box::new(Review(row))))).collect(),
        ) {
            return Ok(());
        }
        let taxonomies =
            taxonomy::Entity::find().filter(taxonomy::Column::Id.is_in(remaining.clone())).all(db).await?;
        let taxonomies = taxonomies.into_iter().map(|row| (row.id.0, Node::Taxonomy(row.into())));
        if add_found(&mut remaining, taxonomies.collect()) {
            return Ok(());
        }
        let teams = team::among(db, actor, remaining.iter().copied().map(TeamId)).await?.into_iter();
        if add_found(&mut remaining, teams.map(|row| (row.id.0, Node::Team(Team(row)))).collect()) {
            return Ok(());
        }
        let keys = api_key::Entity::find()
            .filter(api_key::Column::Id.is_in(remaining.clone()))
            .filter(api_key::Column::AccountId.eq(actor.user.id));
        let keys = keys.all(db).await?.into_iter();
        if add_found(&mut remaining, keys.map(|row| (row.id.0, Node::ApiKey(ApiKey(row)))).collect()) {
            return Ok(());
        }
        let webhooks = app.webhooks.among(actor, remaining.iter().copied().map(WebhookId)).await?.into_iter();
        if add_found(
            &mut remaining,
            webhooks.map(|row| (row.id.0, Node::Webhook(Box::new(Webhook(row))))).collect(),
        ) {
            return Ok(());
        }
        let deliveries =
            app.webhooks.deliveries_among(actor, remaining.iter().copied().map(DeliveryId)).await?;
        let deliveries = deliveries.into_iter().map(|(row, webhook)| {
            (row.id.0, Node::WebhookDelivery(Box::new(WebhookDelivery { row, webhook })))
        });
        if add_found(&mut remaining, deliveries.collect()) {
            return Ok(());
        }
        // A user can find only their own account here. Admins can find every account.
        let users = remaining.iter().filter(|id| actor.user.is_admin || **id == actor.user.id.0);
        let users = ctx.loaders()?.rows.load_many(users.map(|id| Account(UserId(*id)))).await?.into_iter();
        add_found(
            &mut remaining,
            users.map(|(Account(id), account)| (id.0, Node::User(User(account)))).collect(),
        );
        Ok::<_, Error>(())
    };
    load_all.await?;
    Ok(ids.iter().map(|id| found.get(id.as_ref()?).cloned()).collect())
}
