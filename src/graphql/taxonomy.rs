//! Taxonomies.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::account::User;
use super::context::RequestContext;
use super::document::user;
use super::scalar::Json;
use crate::entity::taxonomy;
use crate::error::Result;
use crate::taxonomy::{self as taxonomies, Heading};

/// A named vocabulary that extraction and indexing jobs map onto.
#[derive(Clone)]
pub(super) struct Taxonomy {
    heading: Heading,
    /// `None` where it was not read, because nobody asked for it.
    definition: Option<serde_json::Value>,
}

impl From<taxonomy::Model> for Taxonomy {
    fn from(mut row: taxonomy::Model) -> Self {
        let definition = Some(row.definition.take());
        Self { heading: row.into(), definition }
    }
}

/// A named vocabulary that extraction and indexing jobs map onto.
#[Object]
impl Taxonomy {
    /// UUID of the taxonomy.
    pub(super) async fn id(&self) -> ID {
        self.heading.id.to_string().into()
    }

    /// Name, unique on this server; what jobs call it by.
    async fn name(&self) -> &str {
        &self.heading.name
    }

    /// From 1, one more at every change.
    async fn version(&self) -> i32 {
        self.heading.version
    }

    /// What to look for: data points with labels, patterns and types, and keywords.
    async fn definition(&self, ctx: &Context<'_>) -> Result<Json> {
        let definition = match &self.definition {
            Some(read) => read.clone(),
            None => taxonomies::definition(ctx.app()?.db.read(), self.heading.id).await?,
        };
        ctx.budget()?.show(&definition)?;
        Ok(Json(definition))
    }

    /// Who made it.
    async fn owner(&self, ctx: &Context<'_>) -> Result<User> {
        user(ctx, self.heading.owner_id).await
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.heading.created_at
    }

    /// When it last changed.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.heading.updated_at
    }
}

/// A taxonomy to be made or changed.
#[derive(InputObject)]
struct PutTaxonomyInput {
    /// Name that jobs call it by.
    name: String,
    /// What to look for: data points with labels, patterns and types, and keywords.
    definition: Json,
}

/// A taxonomy as it is after a change.
#[derive(SimpleObject)]
struct TaxonomyPayload {
    /// The taxonomy, in its newest version.
    taxonomy: Taxonomy,
}

#[derive(Default)]
pub(super) struct TaxonomyQuery;

#[Object]
impl TaxonomyQuery {
    /// The taxonomy of this name; null where there is none.
    async fn taxonomy(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Name of the taxonomy.")] name: String,
    ) -> Option<Result<Taxonomy>> {
        let found: Result<Option<Taxonomy>> = async {
            ctx.actor()?;
            Ok(taxonomies::by_name(ctx.app()?.db.read(), &name).await?.map(Taxonomy::from))
        }
        .await;
        found.transpose()
    }

    /// Every taxonomy of this server, by name.
    async fn taxonomies(&self, ctx: &Context<'_>) -> Result<Vec<Taxonomy>> {
        ctx.actor()?;
        let db = ctx.app()?.db.read();
        if ctx.look_ahead().field("definition").exists() {
            return Ok(taxonomies::list(db).await?.into_iter().map(Taxonomy::from).collect());
        }
        let headings = taxonomies::headings(db).await?.into_iter();
        Ok(headings.map(|heading| Taxonomy { heading, definition: None }).collect())
    }
}

#[derive(Default)]
pub(super) struct TaxonomyMutation;

#[Object]
impl TaxonomyMutation {
    /// Makes a taxonomy, or a new version of one of the viewer's. Jobs that exist keep the version that they began with.
    async fn put_taxonomy(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name, and what to look for.")] input: PutTaxonomyInput,
    ) -> Result<TaxonomyPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let PutTaxonomyInput { name, definition } = input;
        let row =
            taxonomies::put(&app.db, &app.clock, actor, &name, definition.0, &app.config.limits).await?;
        Ok(TaxonomyPayload { taxonomy: row.into() })
    }
}
