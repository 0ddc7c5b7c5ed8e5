//! The confidence of a step in its findings, and the decisions of reviewers: one row per content and confidence.

use crate::id::{ContentId, JobId};
use sea_orm::entity::prelude::*;

/// The confidence of a step in its findings, and the decisions of reviewers: one row per content and confidence.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "confidence")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub content_id: ContentId,
    /// Confidence in thousandths.
    #[sea_orm(primary_key, auto_increment = false)]
    pub thousandths: i32,
    /// Whether the findings are required and missing. They need a review under every threshold but 0.
    #[sea_orm(primary_key, auto_increment = false)]
    pub missing: bool,
    pub job_id: JobId,
    pub type_id: String,
    pub step: String,
    pub at: DateTimeUtc,
    /// Number of findings with this confidence.
    pub items: i32,
    /// Number of those that needed a review.
    pub due: i32,
    /// Number of those that a person has reviewed.
    pub reviewed: i32,
    /// Number of those that a person has corrected.
    pub corrected: i32,
}

impl ActiveModelBehavior for ActiveModel {}
