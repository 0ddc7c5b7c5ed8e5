//! Webhooks and what was sent to them.

use async_graphql::connection::EmptyFields;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::context::RequestContext;
use super::document::DeletePayload;
use super::history::JobEventKind;
use super::job::Job;
use super::loader::JobOf;
use super::paging::{Connection, USUAL, connection};
use super::scalar::Url;
use crate::entity::{webhook, webhook_delivery};
use crate::error::{Error, Result};
use crate::events::outbox::BEHIND;
use crate::id::{DeliveryId, JobId, WebhookId};
use crate::job::record::EventKind;
use crate::job::rows::unname;
use crate::page::{Cursor, List, Paging};
use crate::webhook::{Change, DisabledReason, NewWebhook};

/// An address that events of jobs are sent to by POST, signed as the Standard Webhooks specification says. Only whoever made
/// it sees it.
#[derive(Clone)]
pub(super) struct Webhook(pub webhook::Model);

/// An address that events of jobs are sent to by POST, signed as the Standard Webhooks specification says. Only whoever made
/// it sees it.
#[Object]
impl Webhook {
    /// UUID of the webhook.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Where events are sent.
    async fn url(&self) -> Url {
        Url(self.0.url.clone())
    }

    /// What it is for, for people; may be empty.
    async fn description(&self) -> &str {
        &self.0.description
    }

    /// The one job that it is about. Null where it is about every job that its user made or was let in to, and while that
    /// user does not see the job.
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

    /// Kinds of events that are sent; all kinds where it is empty.
    async fn event_kinds(&self) -> Result<Vec<JobEventKind>> {
        let kinds = Vec::<EventKind>::deserialize(&self.0.event_kinds).map_err(Error::internal)?;
        Ok(kinds.into_iter().map(JobEventKind::from).collect())
    }

    /// Whether anything is sent.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// Why nothing is sent; null where it is enabled.
    async fn disabled_reason(&self) -> Option<Result<WebhookDisabledReason>> {
        let reason = self.0.disabled_reason.as_deref()?;
        Some(unname::<DisabledReason>(reason).map(WebhookDisabledReason::from))
    }

    /// When the first attempt failed after which none has succeeded; null where the last one did.
    async fn failing_since(&self) -> Option<DateTime<Utc>> {
        self.0.failing_since
    }

    /// Until when the secret before the present one signs beside it; null where it was never replaced.
    async fn previous_secret_expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.old_secret_until
    }

    /// What was sent and what waits, the newest event first. What has ended is kept for some days.
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Size of the page, 20 where it is not given.")] first: Option<i32>,
        #[graphql(desc = "Cursor that the page comes after.")] after: Option<String>,
    ) -> Result<Connection<WebhookDelivery>> {
        let app = ctx.app()?;
        let paging = Paging { first, after, ..Paging::default() };
        let window = paging.window(List::Deliveries, USUAL, app.config.limits.page_size)?;
        let page = app.webhooks.deliveries(&self.0, window).await?;
        Ok(connection(page, EmptyFields, |row| {
            let cursor = Cursor { at: row.created_at, id: row.id.0 }.encode(List::Deliveries);
            (cursor, WebhookDelivery { row, webhook: self.0.clone() })
        }))
    }

    /// When the webhook was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When its settings last changed.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

/// Why a webhook is sent nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "DisabledReason")]
pub(super) enum WebhookDisabledReason {
    /// Its user disabled it.
    ByOwner,
    /// Its target answered 410 Gone.
    Gone,
    /// Nothing could be delivered for several days.
    Failing,
}

/// An event on its way to a webhook, or one that was sent.
#[derive(Clone)]
pub(super) struct WebhookDelivery {
    pub(super) row: webhook_delivery::Model,
    pub(super) webhook: webhook::Model,
}

/// An event on its way to a webhook, or one that was sent.
#[Object]
impl WebhookDelivery {
    /// UUID of the delivery: what its receiver gets as `webhook-id`, the same at every attempt.
    pub(super) async fn id(&self) -> ID {
        self.row.id.to_string().into()
    }

    /// Where it goes.
    async fn webhook(&self) -> Webhook {
        Webhook(self.webhook.clone())
    }

    /// UUID of the job whose event it is.
    async fn job_id(&self) -> ID {
        self.row.job_id.to_string().into()
    }

    /// The event's place in the history of its job.
    async fn sequence(&self) -> i64 {
        self.row.sequence
    }

    /// What kind of event it is.
    async fn kind(&self) -> Result<JobEventKind> {
        Ok(unname::<EventKind>(&self.row.kind)?.into())
    }

    /// Where it stands.
    async fn status(&self) -> Result<WebhookDeliveryStatus> {
        unname(&self.row.status)
    }

    /// How often it was tried since it was put into the queue, the attempt that is under way included.
    async fn attempts(&self) -> i32 {
        self.row.attempts
    }

    /// When the last attempt began; null before the first.
    async fn last_attempt_at(&self) -> Option<DateTime<Utc>> {
        self.row.last_attempt_at
    }

    /// HTTP status that the last attempt was answered with; null where there was no answer.
    async fn last_status_code(&self) -> Option<i32> {
        self.row.last_status_code
    }

    /// Why the last attempt failed; null where it did not.
    async fn last_error(&self) -> Option<&str> {
        self.row.last_error.as_deref()
    }

    /// When it is tried next; null where it has ended, or waits for an earlier event of its job.
    async fn next_attempt_at(&self) -> Option<DateTime<Utc>> {
        self.row.next_attempt_at.filter(|at| *at < BEHIND)
    }

    /// When the event happened.
    async fn created_at(&self) -> DateTime<Utc> {
        self.row.created_at
    }

    /// When it was delivered or given up.
    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.row.finished_at
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum WebhookDeliveryStatus {
    /// It waits for an attempt, or one is under way.
    Pending,
    /// The receiver answered with a status from 200 to 299.
    Delivered,
    /// It is not tried any more; `redeliverWebhook` tries it again.
    GivenUp,
}

/// What a new webhook should be.
#[derive(InputObject)]
struct CreateWebhookInput {
    /// Where to send events: an https address with a public IP address behind it.
    url: Url,
    /// UUID of a job that the viewer sees; without one, events of every job that the viewer made or was let in to are sent.
    job_id: Option<ID>,
    /// Kinds of events to send; all kinds where it is empty.
    #[graphql(default)]
    event_kinds: Vec<JobEventKind>,
    /// What it is for, for people.
    #[graphql(default)]
    description: String,
}

/// What should change of a webhook. What is left out stays as it is.
#[derive(InputObject)]
struct UpdateWebhookInput {
    /// UUID of the webhook.
    id: ID,
    /// Where to send events from now on, those that wait included.
    url: Option<Url>,
    /// Kinds of events to send; all kinds where it is empty. What waits already is sent all the same.
    event_kinds: Option<Vec<JobEventKind>>,
    /// What it is for, for people.
    description: Option<String>,
    /// Whether anything is sent. Disabling gives up what waits; enabling does not bring it back.
    enabled: Option<bool>,
}

/// A webhook that was just made.
#[derive(SimpleObject)]
struct CreateWebhookPayload {
    /// What deliveries are signed with (`whsec_…`). Shown once.
    secret: String,
    /// The webhook.
    webhook: Webhook,
}

/// A webhook with a new secret.
#[derive(SimpleObject)]
struct RotateWebhookSecretPayload {
    /// What deliveries are signed with from now on (`whsec_…`). Shown once.
    secret: String,
    /// The webhook.
    webhook: Webhook,
}

/// A webhook as it is after a change.
#[derive(SimpleObject)]
struct WebhookPayload {
    /// The webhook.
    webhook: Webhook,
}

/// A delivery as it is after a change.
#[derive(SimpleObject)]
struct WebhookDeliveryPayload {
    /// The delivery.
    delivery: WebhookDelivery,
}

fn parse(id: &ID) -> Result<WebhookId> {
    WebhookId::parse(id).ok_or_else(|| Error::not_found("webhook"))
}

fn distinct(kinds: Vec<JobEventKind>) -> Vec<EventKind> {
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
    /// A webhook of the viewer's own; null where there is none.
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

    /// The viewer's own webhooks, newest first.
    async fn webhooks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Size of the page, 20 where it is not given.")] first: Option<i32>,
        #[graphql(desc = "Cursor that the page comes after.")] after: Option<String>,
    ) -> Result<Connection<Webhook>> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let paging = Paging { first, after, ..Paging::default() };
        let window = paging.window(List::Webhooks, USUAL, app.config.limits.page_size)?;
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
    /// Has events of jobs sent to an address, from now on. BAD_USER_INPUT where the address is not one that this server
    /// sends to.
    async fn create_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where to, and of what.")] input: CreateWebhookInput,
    ) -> Result<CreateWebhookPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let missing = || Error::not_found("job");
        let job = input.job_id.map(|id| JobId::parse(&id).ok_or_else(missing)).transpose()?;
        let (url, kinds, description) = (input.url.0, distinct(input.event_kinds), input.description);
        let (secret, made) = app.webhooks.create(actor, NewWebhook { url, job, kinds, description }).await?;
        Ok(CreateWebhookPayload { secret, webhook: Webhook(made) })
    }

    /// Changes a webhook of the viewer's own; disables or enables it.
    async fn update_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which webhook, and what should be otherwise.")] input: UpdateWebhookInput,
    ) -> Result<WebhookPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let (url, kinds) = (input.url.map(|url| url.0), input.event_kinds.map(distinct));
        let change = Change { url, kinds, description: input.description, enabled: input.enabled };
        Ok(WebhookPayload { webhook: Webhook(app.webhooks.update(actor, parse(&input.id)?, change).await?) })
    }

    /// Gives a webhook of the viewer's own a new secret. The one before goes on signing beside it for a day, so that
    /// receivers can change over.
    async fn rotate_webhook_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the webhook.")] id: ID,
    ) -> Result<RotateWebhookSecretPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let (secret, rotated) = app.webhooks.rotate(actor, parse(&id)?).await?;
        Ok(RotateWebhookSecretPayload { secret, webhook: Webhook(rotated) })
    }

    /// Removes a webhook of the viewer's own, with its log and with what waits for it.
    async fn delete_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the webhook.")] id: ID,
    ) -> Result<DeletePayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let id = parse(&id)?;
        app.webhooks.delete(actor, id).await?;
        Ok(DeletePayload { deleted_id: id.to_string().into() })
    }

    /// Sends an event to a webhook of the viewer's own again, under the same `webhook-id`, or at once where it waits for its
    /// next attempt. CONFLICT where it is being sent at this moment, or the webhook is disabled.
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
