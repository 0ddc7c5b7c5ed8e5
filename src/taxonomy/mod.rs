//! Taxonomies: named vocabularies that jobs map onto. Everybody signed in can use one; its owner and admins change it.

use docket_extract::taxonomy::Taxonomy;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
};
use serde_json::Value;

use crate::access::Actor;
use crate::clock::Clock;
use crate::db::Db;
use crate::entity::taxonomy;
use crate::error::{Error, Problem, Result, unique_or};
use crate::id::TaxonomyId;

const LONGEST_NAME: usize = 200;

/// All taxonomies, by name.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<taxonomy::Model>> {
    Ok(taxonomy::Entity::find().order_by_asc(taxonomy::Column::Name).all(db).await?)
}

/// The taxonomy of this name.
pub async fn by_name(db: &impl ConnectionTrait, name: &str) -> Result<Option<taxonomy::Model>> {
    Ok(taxonomy::Entity::find().filter(taxonomy::Column::Name.eq(name)).one(db).await?)
}

/// Makes a taxonomy, or the next version of one of the actor's. Jobs that began keep the version that they began with.
pub async fn put(
    db: &Db,
    clock: &Clock,
    actor: &Actor,
    name: &str,
    definition: Value,
    largest: usize,
) -> Result<taxonomy::Model> {
    let definition = checked(name, definition, largest)?;
    let (actor, name, now) = (actor.clone(), name.to_owned(), clock.now());
    db.write(move |tx| {
        Box::pin(async move {
            let there = taxonomy::Entity::find()
                .filter(taxonomy::Column::Name.eq(&name))
                .lock_exclusive()
                .one(tx)
                .await?;
            let Some(there) = there else {
                let row = taxonomy::ActiveModel {
                    id: Set(TaxonomyId::new()),
                    name: Set(name),
                    version: Set(1),
                    definition: Set(definition),
                    owner_id: Set(actor.user.id),
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
