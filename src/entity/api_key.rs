//! A long-lived credential. Only the hash of its secret is stored.

use super::enums::Mode;
use crate::id::{ApiKeyId, UserId};
use sea_orm::entity::prelude::*;

/// A long-lived credential. Only the hash of its secret is stored.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiKeyId,
    pub account_id: UserId,
    pub name: String,
    pub mode: Mode,
    pub prefix: String,
    pub secret_hash: String,
    pub created_at: DateTimeUtc,
    pub last_used_at: Option<DateTimeUtc>,
    pub expires_at: Option<DateTimeUtc>,
    pub revoked_at: Option<DateTimeUtc>,
    /// Whether a login of the REST API created it.
    pub is_login: bool,
    #[sea_orm(belongs_to, from = "account_id", to = "id")]
    pub account: BelongsTo<super::account::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
