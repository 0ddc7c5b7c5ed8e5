//! The items and the draft of a review. These columns may hold megabytes, and few requests need them.

use sea_orm::entity::prelude::*;

use crate::id::ReviewId;

/// The parts of a content that need a decision, and the draft of corrections.
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
