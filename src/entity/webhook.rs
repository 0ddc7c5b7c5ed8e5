//! Where somebody wants events sent.

use super::enums::DisabledReason;
use crate::id::{JobId, UserId, WebhookId};
use sea_orm::entity::prelude::*;

/// A secret that deliveries are signed with, as its receiver has it (`whsec_…`). It is kept as it is, since a hash signs
/// nothing; it is never printed.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct SigningSecret(pub String);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(redacted)")
    }
}

/// Where somebody wants events sent.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookId,
    pub account_id: UserId,
    /// Set where it is about one job.
    pub job_id: Option<JobId>,
    pub url: String,
    /// Host and port of the URL: deliveries at once are counted for each.
    pub host: String,
    pub description: String,
    /// Names of kinds; all kinds where there is none.
    pub event_kinds: Json,
    pub enabled: bool,
    pub disabled_reason: Option<DisabledReason>,
    /// When the first of the failures was that no success has followed.
    pub failing_since: Option<DateTimeUtc>,
    pub secret: SigningSecret,
    /// Signs beside the other until its time is over.
    pub old_secret: Option<SigningSecret>,
    pub old_secret_until: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
