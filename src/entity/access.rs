//! Access to jobs: one row per job and principal, the owner included.

use super::enums::PrincipalKind;
use crate::id::JobId;
use sea_orm::entity::prelude::*;

/// Access to jobs: one row per job and principal, the owner included.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "access")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_id: JobId,
    /// ID of the user or team.
    #[sea_orm(primary_key, auto_increment = false)]
    pub principal_id: Uuid,
    pub kind: PrincipalKind,
    /// Step names; `*` for all steps.
    pub steps: Json,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
