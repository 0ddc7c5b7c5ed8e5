//! Taxonomies: named vocabularies that jobs map onto. Everybody signed in can use one; its owner and admins change it.

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

const LONGEST_NAME: usize = 200;

/// A taxonomy without what it defines, which may be large.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
#[expect(missing_docs, reason = "the columns of taxonomy, documented there")]
pub struct Heading {
    pub id: TaxonomyId,
    pub name: String,
    pub version: i32,
    pub owner_id: UserId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<taxonomy::Model> for Heading {
    fn from(row: taxonomy::Model) -> Self {
        let taxonomy::Model { id, name, version, definition: _, owner_id, created_at, updated_at } = row;
        Self { id, name, version, owner_id, created_at, updated_at }
    }
}

/// All taxonomies, by name.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<taxonomy::Model>> {
    Ok(taxonomy::Entity::find().order_by_asc(taxonomy::Column::Name).all(db).await?)
}

/// The headings of all taxonomies, by name.
pub async fn headings(db: &impl ConnectionTrait) -> Result<Vec<Heading>> {
    let columns = taxonomy::Column::iter().filter(|column| !matches!(column, taxonomy::Column::Definition));
    let all = taxonomy::Entity::find().select_only().columns(columns);
    Ok(all.order_by_asc(taxonomy::Column::Name).into_model().all(db).await?)
}

/// What a taxonomy defines now.
pub async fn definition(db: &impl ConnectionTrait, id: TaxonomyId) -> Result<Value> {
    let found = taxonomy::Entity::find_by_id(id).one(db).await?;
    Ok(found.ok_or_else(|| Error::not_found("taxonomy"))?.definition)
}

/// The taxonomy of this name.
pub async fn by_name(db: &impl ConnectionTrait, name: &str) -> Result<Option<taxonomy::Model>> {
    Ok(taxonomy::Entity::find().filter(taxonomy::Column::Name.eq(name)).one(db).await?)
}

/// Compiling patterns can keep a core busy for seconds, so that one definition is checked at a time.
static CHECKS: Semaphore = Semaphore::const_new(1);

/// Makes a taxonomy, or the next version of one of the actor's. Jobs that began keep the version that they began with.
pub async fn put(
    db: &Db,
    clock: &Clock,
    actor: &Actor,
    name: &str,
    definition: Value,
    limits: &Limits,
) -> Result<taxonomy::Model> {
    let (largest, most) = (limits.taxonomy_bytes, limits.taxonomies);
    let (actor, name, now) = (actor.clone(), name.to_owned(), clock.now());
    let (definition, name) = {
        let _turn = CHECKS.acquire().await.map_err(Error::internal)?;
        let check = move || checked(&name, definition, largest).map(|definition| (definition, name));
        tokio::task::spawn_blocking(check).await.map_err(Error::internal)??
    };
    db.write(move |tx| {
        Box::pin(async move {
            let named = || taxonomy::Entity::find().filter(taxonomy::Column::Name.eq(&name)).lock_exclusive();
            let owner = actor.user.id;
            let mut there = named().one(tx).await?;
            if there.is_none() {
                // Somebody may have made it while this one waited for its turn.
                limit::in_turn(tx, owner).await?;
                there = named().one(tx).await?;
            }
            let Some(there) = there else {
                let mine = taxonomy::Entity::find().filter(taxonomy::Column::OwnerId.eq(owner));
                let full = format!("You have {most} taxonomies, which is the most that the operator allows (limits.taxonomies).");
                limit::one_more(tx, mine, most, full).await?;
                let row = taxonomy::ActiveModel {
                    id: Set(TaxonomyId::new()),
                    name: Set(name),
                    version: Set(1),
                    definition: Set(definition),
                    owner_id: Set(owner),
                    created_at: Set(now),
                    updated_at: Set(now),
                };
                let meanwhile = "Somebody else made a taxonomy of this name at the same time.";
                return row.insert(tx).await.map_err(|e| unique_or(e, meanwhile));
            };
            if there.owner_id != actor.user.id && !actor.user.is_admin {
                return Err(Error::Forbidden(
                    "This taxonomy is somebody else's. Choose another name.".into(),
                ));
            }
            if there.definition == definition {
                return Ok(there);
            }
            let version = there.version + 1;
            let mut row: taxonomy::ActiveModel = there.into();
            row.version = Set(version);
            row.definition = Set(definition);
            row.updated_at = Set(now);
            Ok(row.update(tx).await?)
        })
    })
    .await
}

/// A definition that an executor can work with, under the name that it is stored by.
fn checked(name: &str, mut definition: Value, largest: usize) -> Result<Value> {
    let mut problems = Vec::new();
    if name.trim() != name || name.is_empty() || name.chars().count() > LONGEST_NAME {
        let message =
            format!("A taxonomy's name has 1 to {LONGEST_NAME} characters and no space around them.");
        problems.push(Problem::new("/name", "INVALID", message));
    }
    if definition.to_string().len() > largest {
        return Err(Error::TooLarge(format!("A taxonomy has {largest} bytes of JSON at the most.")));
    }
    if let Some(object) = definition.as_object_mut() {
        object.entry("name").or_insert_with(|| name.into());
    }
    if let Err(found) = Taxonomy::parse(&definition) {
        let under = |p: docket_extract::taxonomy::Problem| {
            Problem::new(format!("/definition{}", p.path), p.code, p.message)
        };
        problems.extend(found.into_iter().map(under));
    }
    if problems.is_empty() { Ok(definition) } else { Err(Error::Invalid(problems)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::app::tests::{actor, open};
    use crate::job::state::Mode;

    #[tokio::test]
    async fn definitions_are_read_where_they_are_asked_for() {
        let (app, _dir) = open(|_| ()).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let defined = json!({"name": "t", "data_points": [{"name": "a", "type": "string"}]});
        let row = put(&app.db, &app.clock, &ada, "t", defined.clone(), &app.config.limits).await.unwrap();
        assert_eq!(headings(app.db.read()).await, Ok(vec![Heading::from(row.clone())]));
        assert_eq!(definition(app.db.read(), row.id).await, Ok(defined));
    }

    #[tokio::test]
    async fn one_definition_is_checked_at_a_time() {
        let (app, _dir) = open(|_| ()).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let defined = json!({"data_points": [{"name": "a", "type": "string"}]});
        let put = |name: &'static str| {
            Box::pin(put(&app.db, &app.clock, &ada, name, defined.clone(), &app.config.limits))
        };
        let (mut first, mut second) = (put("first"), put("second"));
        for name in [&mut first, &mut second] {
            assert!(futures_util::poll!(name).is_pending());
            assert_eq!(CHECKS.available_permits(), 0, "it is checked, or waits for another that is");
        }
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_ok() && second.is_ok());
    }
}
