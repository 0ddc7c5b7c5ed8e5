//! An event on its way to a webhook: the outbox, and the log of what was sent.

use super::enums::{DeliveryStatus, EventKind};
use crate::id::{DeliveryId, JobId, LeaseToken, WebhookId};
use sea_orm::entity::prelude::*;

/// An event on its way to a webhook.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_delivery")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeliveryId,
    pub webhook_id: WebhookId,
    pub job_id: JobId,
    /// Of the event in its job's history.
    pub sequence: i64,
    pub kind: EventKind,
    pub status: DeliveryStatus,
    /// Sent again because somebody asked for it: it neither waits for others of its job nor holds them up.
    pub redelivery: bool,
    pub attempts: i32,
    /// When it was last put into the queue; the time for trying counts from here.
    pub queued_at: DateTimeUtc,
    /// Set while it waits or is being sent: then it is when the claim runs out.
    pub next_attempt_at: Option<DateTimeUtc>,
    /// Of the attempt that is under way.
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
