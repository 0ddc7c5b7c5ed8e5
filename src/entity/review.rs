//! A person's turn on a job.

use sea_orm::entity::prelude::*;

use crate::id::{ContentId, JobId, ReviewId, UserId};

/// A person's turn on a job.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "review")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ReviewId,
    pub job_id: JobId,
    pub type_id: String,
    pub step: String,
    pub status: String,
    pub reason: String,
    pub content_id: Option<ContentId>,
    pub items: Json,
    pub draft: Option<Json>,
    pub claimed_by: Option<UserId>,
    pub claim_expires_at: Option<DateTimeUtc>,
    pub decided_by: Option<UserId>,
    pub decided_at: Option<DateTimeUtc>,
    pub comment: Option<String>,
    pub receipt: Option<String>,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
