//! Which database this is: one row, with a random UUID that a copy of the database has too, and no other.

use sea_orm::entity::prelude::*;

/// Which database this is: one row, with a random UUID that a copy of the database has too, and no other.
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
