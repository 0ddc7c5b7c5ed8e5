//! A job. Its row is the lock of everything that belongs to the job.

use super::enums::{Mode, Status};
use crate::id::{JobId, UserId};
use sea_orm::entity::prelude::*;

/// A job. Its row is the lock of everything that belongs to the job.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "job")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: JobId,
    pub type_id: String,
    pub type_version: i32,
    pub owner_id: UserId,
    pub status: Status,
    pub mode: Mode,
    pub metadata: Json,
    pub priority: i32,
    /// Sequence of the last event.
    pub seq: i64,
    /// Fence of the last claim.
    pub fence: i64,
    /// Current state of the steps.
    pub steps: Json,
    pub failure: Option<Json>,
    pub idempotency_key: Option<String>,
    pub input_hash: Option<String>,
    /// Name of the input document in lower case, for searching.
    pub input_name: String,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub started_at: Option<DateTimeUtc>,
    pub finished_at: Option<DateTimeUtc>,
    /// Time spent on the job, by kind.
    pub timing: Option<Json>,
}

impl ActiveModelBehavior for ActiveModel {}
