//! Taxonomies: named vocabularies for jobs. Every signed-in user can use one; its owner and admins can change it.

use docket_extract::taxonomy::Taxonomy;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, Iterable, QueryFilter,
    QueryOrder, QuerySelect, Set,
};
use serde_json::Value;

use tokio::sync::Semaphore;

use crate::access::Actor;
use crate::clock::{Clock, Timestamp};
use crate::config::Limits;
use crate::db::Db;
use crate::entity::taxonomy;
use crate::error::{Error, Problem, Result, unique_or};
use crate::id::{TaxonomyId, UserId};
use crate::limit;

const MAX_NAME_CHARACTERS: usize = 200;

/// A taxonomy without its definition, which may be large.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub(crate) struct TaxonomySummary {
    pub id: TaxonomyId,
    pub name: String,
    pub version: i32,
    pub owner_id: UserId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<taxonomy::Model> for TaxonomySummary {
    fn from(row: taxonomy::Model) -> Self {
        let taxonomy::Model { id, name, version, definition: _, owner_id, created_at, updated_at } = row;
        Self { id, name, version, owner_id, created_at, updated_at }
    }
}

/// Returns all taxonomies, ordered by name.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<taxonomy::Model>> {
    Ok(taxonomy::Entity::find().order_by_asc(taxonomy::Column::Name).all(db).await?)
}

/// Returns the summaries of all taxonomies, ordered by name.
pub(crate) async fn list_summaries(db: &impl ConnectionTrait) -> Result<Vec<TaxonomySummary>> {
    let columns = taxonomy::Column::iter().filter(|column| !matches!(column, taxonomy::Column::Definition));
    let all = taxonomy::Entity::find().select_only().columns(columns);
    Ok(all.order_by_asc(taxonomy::Column::Name).into_model().all(db).await?)
}

/// Returns the current definition of a taxonomy.
pub async fn definition(db: &impl ConnectionTrait, id: TaxonomyId) -> Result<Value> {
    let found = taxonomy::Entity::find_by_id(id).one(db).await?;
    Ok(found.ok_or_else(|| Error::not_found("taxonomy"))?.definition)
}

/// Returns the taxonomy with this name.
pub async fn by_name(db: &impl ConnectionTrait, name: &str) -> Result<Option<taxonomy::Model>> {
    Ok(taxonomy::Entity::find().filter(taxonomy::Column::Name.eq(name)).one(db).await?)
}

/// Limits validation to one definition at a time, because compiling patterns can keep a core busy for seconds.
static VALIDATION_PERMIT: Semaphore = Semaphore::const_new(1);

/// Creates a taxonomy, or the next version of a taxonomy of the actor. Existing jobs keep their version.
pub async fn put(
    db: &Db,
    clock: &Clock,
    actor: &Actor,
    name: &str,
    definition: Value,
    limits: &Limits,
) -> Result<taxonomy::Model> {
    let (max_bytes, quota) = (limits.taxonomy_bytes, limits.taxonomies);
    let (actor, name, now) = (actor.clone(), name.to_owned(), clock.now());
    let (definition, name) = {
        let _permit = VALIDATION_PERMIT.acquire().await.map_err(Error::internal)?;
        let task = move || validate(&name, definition, max_bytes).map(|definition| (definition, name));
        tokio::task::spawn_blocking(task).await.map_err(Error::internal)??
    };
    db.write(move |tx| {
        Box::pin(async move {
            let named = || taxonomy::Entity::find().filter(taxonomy::Column::Name.eq(&name)).lock_exclusive();
            let owner = actor.user.id;
            let mut existing = named().one(tx).await?;
            if existing.is_none() {
                // Another request may have created it while this one waited for the lock.
                limit::lock_account(tx, owner).await?;
                existing = named().one(tx).await?;
            }
            let Some(existing) = existing else {
                let owned = taxonomy::Entity::find().filter(taxonomy::Column::OwnerId.eq(owner));
                let message =
                    format!("You already have {quota} taxonomies, the maximum (limits.taxonomies).");
                limit::check_quota(tx, owned, quota, message).await?;
                let row = taxonomy::ActiveModel {
                    id: Set(TaxonomyId::new()),
                    name: Set(name),
                    version: Set(1),
                    definition: Set(definition),
                    owner_id: Set(owner),
                    created_at: Set(now),
                    updated_at: Set(now),
                };
                let conflict = "Another request created a taxonomy with this name at the same time.";
                return row.insert(tx).await.map_err(|e| unique_or(e, conflict));
            };
            if existing.owner_id != actor.user.id && !actor.user.is_admin {
                return Err(Error::Forbidden(
                    "This taxonomy belongs to another user. Choose another name.".into(),
                ));
            }
            if existing.definition == definition {
                return Ok(existing);
            }
            let version = existing.version + 1;
            let mut row: taxonomy::ActiveModel = existing.into();
            row.version = Set(version);
            row.definition = Set(definition);
            row.updated_at = Set(now);
            Ok(row.update(tx).await?)
        })
    })
    .await
}

/// Validates a definition, and adds the name to it if it has none.
fn validate(name: &str, mut definition: Value, max_bytes: usize) -> Result<Value> {
    let mut problems = Vec::new();
    if name.trim() != name || name.is_empty() || name.chars().count() > MAX_NAME_CHARACTERS {
        let message =
            format!("The name must have 1 to {MAX_NAME_CHARACTERS} characters without surrounding spaces.");
        problems.push(Problem::new("/name", "INVALID", message));
    }
    if definition.to_string().len() > max_bytes {
        return Err(Error::TooLarge(format!("A taxonomy must have at most {max_bytes} bytes of JSON.")));
    }
    if let Some(object) = definition.as_object_mut() {
        object.entry("name").or_insert_with(|| name.into());
    }
    if let Err(found) = Taxonomy::parse(&definition) {
        let to_problem = |p: docket_extract::taxonomy::Problem| {
            Problem::new(format!("/definition{}", p.path), p.code, p.message)
        };
        problems.extend(found.into_iter().map(to_problem));
    }
    if problems.is_empty() { Ok(definition) } else { Err(Error::Invalid(problems)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::app::tests::{actor, open};
    use crate::job::state::Mode;

    #[tokio::test]
    async fn summaries_are_read_without_definitions() {
        let (app, _dir) = open(|_| ()).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let expected = json!({"name": "t", "data_points": [{"name": "a", "type": "string"}]});
        let row = put(&app.db, &app.clock, &ada, "t", expected.clone(), &app.config.limits).await.unwrap();
        assert_eq!(list_summaries(app.db.read()).await, Ok(vec![TaxonomySummary::from(row.clone())]));
        assert_eq!(definition(app.db.read(), row.id).await, Ok(expected));
    }

    #[tokio::test]
    async fn definitions_are_validated_one_at_a_time() {
        let (app, _dir) = open(|_| ()).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let definition = json!({"data_points": [{"name": "a", "type": "string"}]});
        let put = |name: &'static str| {
            Box::pin(put(&app.db, &app.clock, &ada, name, definition.clone(), &app.config.limits))
        };
        let both = async { tokio::join!(put("first"), put("second")) };
        tokio::pin!(both);
        let permit = VALIDATION_PERMIT.acquire().await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(200), &mut both).await;
        assert!(waited.is_err(), "neither is validated while another definition is");
        drop(permit);
        let (first, second) = both.await;
        assert!(first.is_ok() && second.is_ok());
    }
}
