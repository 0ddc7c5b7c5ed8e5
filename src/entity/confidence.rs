//! How sure a step was of what it found, and what people made of it: one row per content and confidence.

use crate::id::{ContentId, JobId};
use sea_orm::entity::prelude::*;

/// How sure a step was of what it found, and what people made of it: one row per content and confidence.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "confidence")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub content_id: ContentId,
    /// Confidence in thousandths.
    #[sea_orm(primary_key, auto_increment = false)]
    pub thousandths: i32,
    /// What is required and was not found: looked at under any threshold but 0.
    #[sea_orm(primary_key, auto_increment = false)]
    pub missing: bool,
    pub job_id: JobId,
    pub type_id: String,
    pub step: String,
    pub at: DateTimeUtc,
    /// Things of this confidence.
    pub items: i32,
    /// Those that a person was asked to look at.
    pub due: i32,
    /// Those that a person has looked at.
    pub reviewed: i32,
    /// Those that a person has corrected.
    pub corrected: i32,
}

impl ActiveModelBehavior for ActiveModel {}
