//! Webhooks and their deliveries.

use async_graphql::connection::EmptyFields;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::context::RequestContext;
use super::document::DeletePayload;
use super::history::JobEventKind;
use super::job::Job;
use super::loader::JobOf;
use super::paging::{Connection, DEFAULT_PAGE_SIZE, connection};
use super::scalar::Url;
use crate::entity::enums::DeliveryStatus;
use crate::entity::{webhook, webhook_delivery};
use crate::error::{Error, Result};
use crate::events::outbox::WAITING_DUE_TIME;
use crate::id::{DeliveryId, JobId, WebhookId};
use crate::job::record::EventKind;
use crate::page::{Cursor, List, Paging};
use crate::webhook::{Change, DisabledReason, NewWebhook};

/// A URL that receives events of jobs by POST, signed according to the Standard Webhooks specification.
/// Only the user who created a webhook can see it.
#[derive(Clone)]
pub(super) struct Webhook(pub webhook::Model);

/// A URL that receives events of jobs by POST, signed according to the Standard Webhooks specification.
/// Only the user who created a webhook can see it.
#[Object]
impl Webhook {
    /// UUID of the webhook.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// URL that events are sent to.
    async fn url(&self) -> Url {
        Url(self.0.url.clone())
    }

    /// Human-readable description of the webhook, which can be empty.
    async fn description(&self) -> &str {
        &self.0.description
    }

    /// The one job that the webhook is limited to.
    /// Null if the webhook covers every job that its user owns or collaborates on, or if its user cannot see the job.
    async fn job(&self, ctx: &Context<'_>) -> Option<Result<Job>> {
        let found: Result<Option<Job>> = async {
            let Some(id) = self.0.job_id else { return Ok(None) };
            let loaders = ctx.loaders()?;
            let Some(job) = loaders.rows.load_one(JobOf(id)).await? else { return Ok(None) };
            match loaders.standing(ctx.actor()?, &job).await {
                Ok(_) => Ok(Some(Job::new(job))),
                Err(Error::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .await;
        found.transpose()
    }

    /// Kinds of events that are sent; an empty list means all kinds.
    async fn event_kinds(&self) -> Result<Vec<JobEventKind>> {
        let kinds = Vec::<EventKind>::deserialize(&self.0.event_kinds).map_err(Error::internal)?;
        Ok(kinds.into_iter().map(JobEventKind::from).collect())
    }

    /// Whether events are sent.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// Reason why the webhook is disabled.
    /// Null if it is enabled.
    async fn disabled_reason(&self) -> Option<WebhookDisabledReason> {
        self.0.disabled_reason.map(Into::into)
    }

    /// Time of the first failed attempt since the last successful one.
    /// Null if no attempt has failed since then.
    async fn failing_since(&self) -> Option<DateTime<Utc>> {
        self.0.failing_since
    }

    /// Time until which the previous secret signs deliveries beside the current one.
    /// Null if the secret was never rotated.
    async fn previous_secret_expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.old_secret_until
    }

    /// Log of the webhook: its pending and ended deliveries, newest event first.
    /// Ended deliveries are kept for seven days (configurable).
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size, 20 by default and at most 100 (configurable).")] first: Option<i32>,
        #[graphql(desc = "Cursor of an entry; the page starts after it.")] after: Option<String>,
    ) -> Result<Connection<WebhookDelivery>> {
        let app = ctx.app()?;
        let paging = Paging { first, after, ..Paging::default() };
        let window = paging.window(List::Deliveries, DEFAULT_PAGE_SIZE, app.config.limits.page_size)?;
        let page = app.webhooks.deliveries(&self.0, window).await?;
        Ok(connection(page, EmptyFields, |row| {
            let cursor = Cursor { at: row.created_at, id: row.id.0 }.encode(List::Deliveries);
            (cursor, WebhookDelivery { row, webhook: self.0.clone() })
        }))
    }

    /// Time when the webhook was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// Time when the settings of the webhook last changed.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

/// Reason why a webhook is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "DisabledReason")]
pub(super) enum WebhookDisabledReason {
    /// The user disabled the webhook.
    ByOwner,
    /// The receiver responded with 410 Gone.
    Gone,
    /// No delivery succeeded for five days (configurable).
    Failing,
}

/// A delivery of an event to a webhook, pending or ended.
#[derive(Clone)]
pub(super) struct WebhookDelivery {
    pub(super) row: webhook_delivery::Model,
    pub(super) webhook: webhook::Model,
}

/// A delivery of an event to a webhook, pending or ended.
#[Object]
impl WebhookDelivery {
    /// UUID of the delivery.
    /// The receiver gets it as `webhook-id`, the same at every attempt.
    pub(super) async fn id(&self) -> ID {
        self.row.id.to_string().into()
    }

    /// The webhook that the event is sent to.
    async fn webhook(&self) -> Webhook {
        Webhook(self.webhook.clone())
    }

    /// UUID of the job that the event belongs to.
    async fn job_id(&self) -> ID {
        self.row.job_id.to_string().into()
    }

    /// Number of the event in the history of its job.
    async fn sequence(&self) -> i64 {
        self.row.sequence
    }

    /// Kind of the event.
    async fn kind(&self) -> JobEventKind {
        self.row.kind.into()
    }

    /// Current status of the delivery.
    async fn status(&self) -> WebhookDeliveryStatus {
        self.row.status.into()
    }

    /// Number of attempts since the event was queued, including an attempt in progress.
    async fn attempts(&self) -> i32 {
        self.row.attempts
    }

    /// Time when the last attempt started.
    /// Null before the first attempt.
    async fn last_attempt_at(&self) -> Option<DateTime<Utc>> {
        self.row.last_attempt_at
    }

    /// HTTP status of the response to the last attempt.
    /// Null if there was no response.
    async fn last_status_code(&self) -> Option<i32> {
        self.row.last_status_code
    }

    /// Reason why the last attempt failed, or why the delivery was given up.
    /// Null if there is none.
    async fn last_error(&self) -> Option<&str> {
        self.row.last_error.as_deref()
    }

    /// Time of the next attempt.
    /// Null if the delivery has ended, or if it waits for an earlier event of its job.
    async fn next_attempt_at(&self) -> Option<DateTime<Utc>> {
        self.row.next_attempt_at.filter(|at| *at < WAITING_DUE_TIME)
    }

    /// Time of the event.
    async fn created_at(&self) -> DateTime<Utc> {
        self.row.created_at
    }

    /// Time when the event was delivered or given up.
    /// Null before that.
    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.row.finished_at
    }
}

/// Status of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "DeliveryStatus")]
pub(super) enum WebhookDeliveryStatus {
    /// Waiting for an attempt, or attempt in progress.
    Pending,
    /// Delivered; the receiver responded with a status from 200 to 299.
    Delivered,
    /// Given up; no more attempts unless `redeliverWebhook` sends it again.
    GivenUp,
}

/// Input for creating a webhook.
#[derive(InputObject)]
struct CreateWebhookInput {
    /// URL to send events to: an https address of a host with a public IP address.
    url: Url,
    /// UUID of a job that the viewer can see.
    /// Without a job, the webhook covers every job that the viewer owns or collaborates on.
    job_id: Option<ID>,
    /// Kinds of events to send; an empty list means all kinds.
    #[graphql(default)]
    event_kinds: Vec<JobEventKind>,
    /// Human-readable description of the webhook, at most 10,000 characters (configurable).
    #[graphql(default)]
    description: String,
}

/// Input for changing a webhook.
/// Omitted fields stay unchanged.
#[derive(InputObject)]
struct UpdateWebhookInput {
    /// UUID of the webhook.
    id: ID,
    /// URL to send events to from now on, including pending deliveries.
    url: Option<Url>,
    /// Kinds of events to send; an empty list means all kinds.
    /// Pending deliveries are sent even if their kind is no longer in the list.
    event_kinds: Option<Vec<JobEventKind>>,
    /// Human-readable description of the webhook, at most 10,000 characters (configurable).
    description: Option<String>,
    /// Whether events are sent.
    /// Disabling gives up all pending deliveries, and enabling does not restore them.
    enabled: Option<bool>,
}

/// Result of creating a webhook.
#[derive(SimpleObject)]
struct CreateWebhookPayload {
    /// Secret that signs deliveries (`whsec_…`), shown only once.
    secret: String,
    /// The new webhook.
    webhook: Webhook,
}

/// Result of rotating the secret of a webhook.
#[derive(SimpleObject)]
struct RotateWebhookSecretPayload {
    /// Secret that signs deliveries from now on (`whsec_…`), shown only once.
    secret: String,
    /// The webhook after the change.
    webhook: Webhook,
}

/// Result of changing a webhook.
#[derive(SimpleObject)]
struct WebhookPayload {
    /// The webhook after the change.
    webhook: Webhook,
}

/// Result of redelivering an event.
#[derive(SimpleObject)]
struct WebhookDeliveryPayload {
    /// The delivery after the change.
    delivery: WebhookDelivery,
}

fn parse_webhook_id(id: &ID) -> Result<WebhookId> {
    WebhookId::parse(id).ok_or_else(|| Error::not_found("webhook"))
}

fn distinct_kinds(kinds: Vec<JobEventKind>) -> Vec<EventKind> {
    let mut distinct = Vec::new();
    for kind in kinds.into_iter().map(EventKind::from) {
        if !distinct.contains(&kind) {
            distinct.push(kind);
        }
    }
    distinct
}

#[derive(Default)]
pub(super) struct WebhookQuery;

#[Object]
impl WebhookQuery {
    /// Returns the viewer's webhook with the given ID.
    /// Null if the viewer has no such webhook.
    async fn webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the webhook.")] id: ID,
    ) -> Option<Result<Webhook>> {
        let found: Result<Option<Webhook>> = async {
            let actor = ctx.actor()?;
            Ok(ctx.app()?.webhooks.among(actor, WebhookId::parse(&id)).await?.pop().map(Webhook))
        }
        .await;
        found.transpose()
    }

    /// Returns the viewer's own webhooks, newest first.
    async fn webhooks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size, 20 by default and at most 100 (configurable).")] first: Option<i32>,
        #[graphql(desc = "Cursor of an entry; the page starts after it.")] after: Option<String>,
    ) -> Result<Connection<Webhook>> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let paging = Paging { first, after, ..Paging::default() };
        let window = paging.window(List::Webhooks, DEFAULT_PAGE_SIZE, app.config.limits.page_size)?;
        let page = app.webhooks.list(actor, window).await?;
        Ok(connection(page, EmptyFields, |row| {
            (Cursor { at: row.created_at, id: row.id.0 }.encode(List::Webhooks), Webhook(row))
        }))
    }
}

#[derive(Default)]
pub(super) struct WebhookMutation;

#[Object]
impl WebhookMutation {
    /// Creates a webhook that receives events of jobs from now on.
    /// Fails with BAD_USER_INPUT if this server does not send to the URL, or if the viewer has too many webhooks (20 by
    /// default). Fails with NOT_FOUND if the viewer cannot see the job.
    async fn create_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "URL, job, and kinds of events.")] input: CreateWebhookInput,
    ) -> Result<CreateWebhookPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let missing = || Error::not_found("job");
        let job = input.job_id.map(|id| JobId::parse(&id).ok_or_else(missing)).transpose()?;
        let (url, kinds, description) = (input.url.0, distinct_kinds(input.event_kinds), input.description);
        let (secret, webhook) =
            app.webhooks.create(actor, NewWebhook { url, job, kinds, description }).await?;
        Ok(CreateWebhookPayload { secret, webhook: Webhook(webhook) })
    }

    /// Changes, disables, or enables one of the viewer's webhooks.
    /// Fails with BAD_USER_INPUT if this server does not send to the URL. Fails with NOT_FOUND if the viewer has no
    /// such webhook.
    async fn update_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Webhook and changes. Omitted fields stay unchanged.")] input: UpdateWebhookInput,
    ) -> Result<WebhookPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let (url, kinds) = (input.url.map(|url| url.0), input.event_kinds.map(distinct_kinds));
        let change = Change { url, kinds, description: input.description, enabled: input.enabled };
        Ok(WebhookPayload {
            webhook: Webhook(app.webhooks.update(actor, parse_webhook_id(&input.id)?, change).await?),
        })
    }

    /// Replaces the secret of one of the viewer's webhooks.
    /// The previous secret signs deliveries beside the new one for one day (configurable), so that receivers can
    /// switch. Fails with NOT_FOUND if the viewer has no such webhook.
    async fn rotate_webhook_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the webhook.")] id: ID,
    ) -> Result<RotateWebhookSecretPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let (secret, webhook) = app.webhooks.rotate(actor, parse_webhook_id(&id)?).await?;
        Ok(RotateWebhookSecretPayload { secret, webhook: Webhook(webhook) })
    }

    /// Deletes one of the viewer's webhooks, its log, and its pending deliveries.
    /// Fails with NOT_FOUND if the viewer has no such webhook.
    async fn delete_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the webhook.")] id: ID,
    ) -> Result<DeletePayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let id = parse_webhook_id(&id)?;
        app.webhooks.delete(actor, id).await?;
        Ok(DeletePayload { deleted_id: id.to_string().into() })
    }

    /// Sends an event to one of the viewer's webhooks again, with the same `webhook-id`.
    /// A pending delivery is attempted immediately, but not before an earlier event of its job. Fails with CONFLICT if
    /// an attempt is in progress or the webhook is disabled. Fails with NOT_FOUND if the viewer has no such delivery.
    async fn redeliver_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the delivery.")] delivery_id: ID,
    ) -> Result<WebhookDeliveryPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let id = DeliveryId::parse(&delivery_id).ok_or_else(|| Error::not_found("delivery"))?;
        let row = app.webhooks.redeliver(actor, id).await?;
        let webhook = app.webhooks.get(actor, row.webhook_id).await?;
        Ok(WebhookDeliveryPayload { delivery: WebhookDelivery { row, webhook } })
    }
}
