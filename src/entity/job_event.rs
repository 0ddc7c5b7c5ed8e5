//! An event in the history of a job. Rows are append-only.

use super::enums::EventKind;
use crate::id::{JobId, UserId};
use sea_orm::entity::prelude::*;

/// An event in the history of a job. Rows are append-only.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "job_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: JobId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub sequence: i64,
    pub kind: EventKind,
    pub actor_id: Option<UserId>,
    /// Set if only people with access to this step may read `data`.
    pub step: Option<String>,
    pub at: DateTimeUtc,
    pub data: Json,
    /// Position of its transaction in the feed.
    pub position: i64,
}

impl ActiveModelBehavior for ActiveModel {}
