//! What a review is about: columns of the same table that may hold megabytes, and that few who ask for reviews ask for.

use sea_orm::entity::prelude::*;

use crate::id::ReviewId;

/// The parts of a content that need a decision, and corrections that wait for it.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "review")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ReviewId,
    pub items: Json,
    pub draft: Option<Json>,
}

impl ActiveModelBehavior for ActiveModel {}
