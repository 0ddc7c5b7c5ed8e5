//! The ID of this database: one row with a random UUID. Only copies of the database have the same ID.

use sea_orm::entity::prelude::*;

/// The ID of this database: one row with a random UUID. Only copies of the database have the same ID.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    pub database_id: Uuid,
}

impl ActiveModelBehavior for ActiveModel {}
