//! Taxonomies.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::account::User;
use super::context::RequestContext;
use super::document::load_user;
use super::scalar::Json;
use crate::entity::taxonomy;
use crate::error::Result;
use crate::taxonomy::{self as taxonomies, TaxonomySummary};

/// A named vocabulary that extraction and indexing jobs map onto.
#[derive(Clone)]
pub(super) struct Taxonomy {
    summary: TaxonomySummary,
    /// The definition; `None` if it was not requested and therefore not read.
    definition: Option<serde_json::Value>,
}

impl From<taxonomy::Model> for Taxonomy {
    fn from(mut row: taxonomy::Model) -> Self {
        let definition = Some(row.definition.take());
        Self { summary: row.into(), definition }
    }
}

/// A named vocabulary that extraction and indexing jobs map onto.
#[Object]
impl Taxonomy {
    /// UUID of the taxonomy.
    pub(super) async fn id(&self) -> ID {
        self.summary.id.to_string().into()
    }

    /// Name of the taxonomy, unique on this server.
    /// Jobs refer to a taxonomy by its name.
    async fn name(&self) -> &str {
        &self.summary.name
    }

    /// Version of the taxonomy, from 1, increased by each change.
    async fn version(&self) -> i32 {
        self.summary.version
    }

    /// Definition of the taxonomy: data points with labels, patterns, and types, and keywords.
    async fn definition(&self, ctx: &Context<'_>) -> Result<Json> {
        let definition = match &self.definition {
            Some(read) => read.clone(),
            None => taxonomies::definition(ctx.app()?.db.read(), self.summary.id).await?,
        };
        ctx.budget()?.charge_value(&definition)?;
        Ok(Json(definition))
    }

    /// User who created the taxonomy.
    async fn owner(&self, ctx: &Context<'_>) -> Result<User> {
        load_user(ctx, self.summary.owner_id).await
    }

    /// Time when the taxonomy was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.summary.created_at
    }

    /// Time when the taxonomy last changed.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.summary.updated_at
    }
}

/// Input for creating or changing a taxonomy.
#[derive(InputObject)]
struct PutTaxonomyInput {
    /// Name of the taxonomy, 1 to 200 characters without surrounding spaces.
    /// Jobs refer to a taxonomy by its name.
    name: String,
    /// Definition of the taxonomy: data points with labels, patterns, and types, and keywords.
    /// It has at most 1 MiB of JSON (configurable).
    definition: Json,
}

/// Result of creating or changing a taxonomy.
#[derive(SimpleObject)]
struct TaxonomyPayload {
    /// The taxonomy in its newest version.
    taxonomy: Taxonomy,
}

#[derive(Default)]
pub(super) struct TaxonomyQuery;

#[Object]
impl TaxonomyQuery {
    /// Returns the taxonomy with the given name.
    /// Null if there is no such taxonomy.
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

    /// Returns every taxonomy of this server, sorted by name.
    async fn taxonomies(&self, ctx: &Context<'_>) -> Result<Vec<Taxonomy>> {
        ctx.actor()?;
        let db = ctx.app()?.db.read();
        if ctx.look_ahead().field("definition").exists() {
            return Ok(taxonomies::list(db).await?.into_iter().map(Taxonomy::from).collect());
        }
        let summaries = taxonomies::list_summaries(db).await?.into_iter();
        Ok(summaries.map(|summary| Taxonomy { summary, definition: None }).collect())
    }
}

#[derive(Default)]
pub(super) struct TaxonomyMutation;

#[Object]
impl TaxonomyMutation {
    /// Creates a taxonomy, or the next version of one of the viewer's taxonomies.
    /// Existing jobs keep the version that they started with. An unchanged definition creates no new version. Admins
    /// can change every taxonomy. Fails with FORBIDDEN if another user owns the taxonomy. Fails with BAD_USER_INPUT if
    /// the definition is invalid, or if the viewer has too many taxonomies (10,000 by default). Fails with
    /// PAYLOAD_TOO_LARGE if the definition is too large.
    async fn put_taxonomy(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Name and definition of the taxonomy.")] input: PutTaxonomyInput,
    ) -> Result<TaxonomyPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let PutTaxonomyInput { name, definition } = input;
        let row =
            taxonomies::put(&app.db, &app.clock, actor, &name, definition.0, &app.config.limits).await?;
        Ok(TaxonomyPayload { taxonomy: row.into() })
    }
}
