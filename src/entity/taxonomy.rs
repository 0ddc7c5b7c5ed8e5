//! A named vocabulary, in its newest version.

use crate::id::{TaxonomyId, UserId};
use sea_orm::entity::prelude::*;

/// A named vocabulary, in its newest version.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "taxonomy")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TaxonomyId,
    pub name: String,
    pub version: i32,
    pub definition: Json,
    pub owner_id: UserId,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
