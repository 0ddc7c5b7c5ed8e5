//! A review. [`super::review_items`] has the columns of the same table that may be large.

use sea_orm::entity::prelude::*;

use super::enums::ReviewStatus;
use crate::id::{ContentId, JobId, ReviewId, UserId};

/// A request for a person to decide on the result of a step.
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
    /// SHA-256 of the content on which the decision rests.
    pub receipt: Option<String>,
    /// The user who may not decide it: the owner of the job, if the step is a four-eyes step.
    pub barred_id: Option<UserId>,
    pub created_at: DateTimeUtc,
    pub updated_at: Option<DateTimeUtc>,
    #[sea_orm(belongs_to, from = "job_id", to = "id")]
    pub job: BelongsTo<super::job::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns the user whose claim is valid at `now`, and when the claim expires.
    pub fn claim_at(&self, now: DateTimeUtc) -> Option<(UserId, DateTimeUtc)> {
        self.claimed_by.zip(self.claim_expires_at).filter(|(_, until)| *until > now)
    }
}
