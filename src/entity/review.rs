//! A person's turn on a job. What may be large of it is [`super::review_matter`]'s.

use sea_orm::entity::prelude::*;

use super::enums::ReviewStatus;
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
    pub status: ReviewStatus,
    pub reason: String,
    pub content_id: Option<ContentId>,
    pub claimed_by: Option<UserId>,
    pub claim_expires_at: Option<DateTimeUtc>,
    pub decided_by: Option<UserId>,
    pub decided_at: Option<DateTimeUtc>,
    pub comment: Option<String>,
    /// SHA-256 of the content that the decision rests on.
    pub receipt: Option<String>,
    /// Who may not decide it: the job's owner, where the step is decided by four eyes.
    pub barred_id: Option<UserId>,
    pub created_at: DateTimeUtc,
    pub updated_at: Option<DateTimeUtc>,
    #[sea_orm(belongs_to, from = "job_id", to = "id")]
    pub job: BelongsTo<super::job::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns who holds the review at `now`, and until when.
    pub fn claim_at(&self, now: DateTimeUtc) -> Option<(UserId, DateTimeUtc)> {
        self.claimed_by.zip(self.claim_expires_at).filter(|(_, until)| *until > now)
    }
}
