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
    /// It is what the role holds now: the newest that was not undone. A role has one at the most.
    pub current: bool,
    /// A step made it, so that a rewind supersedes it; otherwise it was given to the job.
    pub made: bool,
    /// The job went back behind the step that made it.
    pub undone: bool,
    pub created_at: DateTimeUtc,
    #[sea_orm(belongs_to, from = "document_id", to = "id")]
    pub document: BelongsTo<super::document::Entity>,
    #[sea_orm(belongs_to, from = "job_id", to = "id")]
    pub job: BelongsTo<super::job::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
