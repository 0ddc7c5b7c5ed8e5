//! A document in a role of a job.

use crate::id::{ContentId, DocumentId, JobId};
use sea_orm::entity::prelude::*;

/// A document in a role of a job.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "content")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ContentId,
    pub job_id: JobId,
    pub role: String,
    pub version: i32,
    pub document_id: DocumentId,
    pub step: Option<String>,
    /// Whether this is the version of the role that counts: the newest that no rewind superseded. A role has at most
    /// one.
    pub current: bool,
    /// Whether a step produced it, so that a rewind supersedes it. Otherwise it was given to the job.
    pub made: bool,
    /// Whether a rewind superseded it.
    pub undone: bool,
    pub created_at: DateTimeUtc,
    #[sea_orm(belongs_to, from = "document_id", to = "id")]
    pub document: BelongsTo<super::document::Entity>,
    #[sea_orm(belongs_to, from = "job_id", to = "id")]
    pub job: BelongsTo<super::job::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
