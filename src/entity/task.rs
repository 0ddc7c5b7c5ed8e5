//! The one step of a job that is queued or leased.

use crate::id::{JobId, LeaseToken};
use sea_orm::entity::prelude::*;

/// The one step of a job that is queued or leased.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: JobId,
    pub type_id: String,
    pub step: String,
    pub priority: i32,
    pub run_at: DateTimeUtc,
    pub fence: i64,
    pub lease_token: Option<LeaseToken>,
    pub lease_owner: Option<String>,
    pub lease_until: Option<DateTimeUtc>,
    pub deadline: Option<DateTimeUtc>,
    pub fraction: f64,
    pub message: Option<String>,
    #[sea_orm(belongs_to, from = "job_id", to = "id")]
    pub job: BelongsTo<super::job::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// Lets a query for jobs read their tasks too. It stands here because a task refers to its job, and not the reverse.
impl Related<Entity> for super::job::Entity {
    fn to() -> RelationDef {
        Relation::Job.def().rev()
    }
}
