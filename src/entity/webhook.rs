//! A user's request to have events sent to a URL.

use super::enums::DisabledReason;
use crate::id::{JobId, UserId, WebhookId};
use sea_orm::entity::prelude::*;

/// The secret that signs deliveries, in the form that its receiver has (`whsec_…`). It is stored in plain text, because
/// a hash cannot sign, and is never printed.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct SigningSecret(pub String);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(redacted)")
    }
}

/// A user's request to have events sent to a URL.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookId,
    pub account_id: UserId,
    /// Set if only events of this job are sent.
    pub job_id: Option<JobId>,
    pub url: String,
    /// Host and port of the URL, for the concurrency limit of each.
    pub host: String,
    pub description: String,
    /// Kinds of events that are sent; empty for all kinds.
    pub event_kinds: Json,
    pub enabled: bool,
    pub disabled_reason: Option<DisabledReason>,
    /// Time of the first failure since the last success.
    pub failing_since: Option<DateTimeUtc>,
    pub secret: SigningSecret,
    /// The previous secret, which also signs until `old_secret_until`.
    pub old_secret: Option<SigningSecret>,
    pub old_secret_until: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
