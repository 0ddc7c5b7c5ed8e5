//! Bytes in the object store, with their name. `job_id` is set on outputs of steps, which are deleted with their job.

use super::enums::Mode;
use crate::id::{DocumentId, JobId, UserId};
use sea_orm::entity::prelude::*;

/// Bytes in the object store, with their name. `job_id` is set on outputs of steps, which are deleted with their job.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "document")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DocumentId,
    pub name: String,
    pub media_type: String,
    pub size: i64,
    pub sha256: String,
    pub storage_key: String,
    pub owner_id: UserId,
    pub job_id: Option<JobId>,
    /// Mode of the API key of the upload, or of the job whose step produced it.
    pub mode: Mode,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
