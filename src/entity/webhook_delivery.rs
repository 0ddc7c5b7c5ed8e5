//! An event for a webhook: the outbox, and the log of deliveries.

use super::enums::{DeliveryStatus, EventKind};
use crate::id::{DeliveryId, JobId, LeaseToken, WebhookId};
use sea_orm::entity::prelude::*;

/// One event for one webhook, with its attempts.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_delivery")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeliveryId,
    pub webhook_id: WebhookId,
    pub job_id: JobId,
    /// Sequence of the event in the history of its job.
    pub sequence: i64,
    pub kind: EventKind,
    pub status: DeliveryStatus,
    /// Whether a user requested it again. It then neither waits for other deliveries of its job nor delays them.
    pub redelivery: bool,
    pub attempts: i32,
    /// Time when it was last queued; the time for retries counts from here.
    pub queued_at: DateTimeUtc,
    /// Set while the delivery is pending or being sent; then it is the end of the claim.
    pub next_attempt_at: Option<DateTimeUtc>,
    /// Token of the attempt in progress.
    pub lease_token: Option<LeaseToken>,
    pub last_attempt_at: Option<DateTimeUtc>,
    pub last_status_code: Option<i32>,
    pub last_error: Option<String>,
    pub created_at: DateTimeUtc,
    pub finished_at: Option<DateTimeUtc>,
    #[sea_orm(belongs_to, from = "webhook_id", to = "id")]
    pub webhook: BelongsTo<super::webhook::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
