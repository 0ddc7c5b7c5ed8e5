//! Webhooks: events of jobs, sent to a URL and signed as the Standard Webhooks specification requires.
//!
//! ```text
//!  event ──same transaction──► PENDING ──2xx──► DELIVERED
//!  (events::outbox)              │  ▲  └─ retried too long, target not allowed, webhook disabled ──► GIVEN_UP
//!                                └──┘ otherwise: retried          DELIVERED, GIVEN_UP ── redeliver ──► PENDING
//! ```
//!
//! A webhook gets the events of one job one at a time, in order: [`queue`] claims no event while an earlier one has not
//! ended. [`dispatch`] sends deliveries, and [`target`] checks their URLs.

pub mod dispatch;
mod end;
mod message;
pub mod queue;
mod send;
mod signature;
pub mod target;

use std::sync::Arc;

use chrono::TimeDelta;
use sea_orm::sea_query::{IntoCondition, LockType};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect, Set,
};
use serde_json::json;

use crate::access::{self, Actor, View};
use crate::audit::{self, AuditEvent, Outcome};
use crate::config::Webhooks as Settings;
use crate::db::{self, Work};

use crate::entity::enums::DeliveryStatus;
pub use crate::entity::enums::DisabledReason;
use crate::entity::{job, webhook, webhook_delivery};
use crate::error::{Error, Problem, Result};
use crate::id::{DeliveryId, JobId, WebhookId};
use crate::job::record::EventKind;
use crate::job::{Jobs, not_found};
use crate::limit;
use crate::page::{Direction, Page, Window};
use target::Targets;

/// The input for creating a webhook.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// The URL to send events to.
    pub url: String,
    /// The only job whose events are sent, or `None` for all jobs.
    pub job: Option<JobId>,
    /// The kinds of events that are sent; empty for all kinds.
    pub kinds: Vec<EventKind>,
    /// A description for people.
    pub description: String,
}

/// The input for changing a webhook; `None` leaves a field unchanged.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The URL to send events to.
    pub url: Option<String>,
    /// The kinds of events that are sent; empty for all kinds.
    pub kinds: Option<Vec<EventKind>>,
    /// A description for people.
    pub description: Option<String>,
    /// Whether events are sent.
    pub enabled: Option<bool>,
}

/// The webhooks of this server. Clones share their state.
#[derive(Debug, Clone)]
pub struct Webhooks {
    jobs: Jobs,
    settings: Arc<Settings>,
    targets: Targets,
}

impl Webhooks {
    /// Creates the webhooks for the events of `jobs`.
    pub fn new(jobs: Jobs, settings: &Settings) -> Self {
        Self { jobs, settings: Arc::new(settings.clone()), targets: Targets::new(settings) }
    }

    /// Creates a webhook of the actor. Returns its secret, which no other call returns. Fails with NOT_FOUND for a job
    /// that the actor cannot see.
    pub async fn create(&self, actor: &Actor, new: NewWebhook) -> Result<(String, webhook::Model)> {
        let (target, described) =
            (self.targets.check_and_resolve(&new.url).await, self.description_problem(&new.description));
        let (host, mut problems) = match target {
            Ok(url) => (host(&url), Vec::new()),
            Err(problem) => (String::new(), vec![problem]),
        };
        problems.extend(described);
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        if let Some(job) = new.job {
            access::job::<View>(self.jobs.db.read(), actor, job).await?;
        }
        let (owner, now, secret) = (actor.user.id, self.jobs.clock.now(), signature::secret());
        let row = webhook::ActiveModel {
            id: Set(WebhookId::new()),
            account_id: Set(owner),
            job_id: Set(new.job),
            url: Set(new.url),
            host: Set(host),
            description: Set(new.description),
            event_kinds: Set(json!(new.kinds)),
            enabled: Set(true),
            disabled_reason: Set(None),
            failing_since: Set(None),
            secret: Set(secret.clone()),
            old_secret: Set(None),
            old_secret_until: Set(None),
            created_at: Set(now),
            updated_at: Set(now),
        };
        let (quota, job_id) = (self.settings.per_user, new.job);
        let created = self.jobs.db.write(move |tx| -> Work<'_, webhook::Model> {
            Box::pin(async move {
                if let Some(job_id) = job_id {
                    // The job may have been deleted since the check.
                    let job = job::Entity::find_by_id(job_id).lock(LockType::KeyShare).one(tx).await?;
                    job.ok_or_else(not_found)?;
                }
                limit::lock_account(tx, owner).await?;
                let owned = webhook::Entity::find().filter(webhook::Column::AccountId.eq(owner));
                let message = format!("You already have {quota} webhooks, the maximum. Delete one first.");
                limit::check_quota(tx, owned, quota, message).await?;
                Ok(row.insert(tx).await?)
            })
        });
        let created = created.await?;
        audit::record_with_subject(AuditEvent::WebhookCreated, Outcome::Ok, actor.into(), created.id);
        Ok((secret.0, created))
    }

    /// Changes a webhook of the actor. Disabling a webhook gives up its pending deliveries.
    pub async fn update(&self, actor: &Actor, id: WebhookId, change: Change) -> Result<webhook::Model> {
        let Change { url, kinds, description, enabled } = change;
        let mut problems = Vec::new();
        let url = match url {
            None => None,
            Some(text) => match self.targets.check_and_resolve(&text).await {
                Ok(parsed) => Some((text, host(&parsed))),
                Err(problem) => {
                    problems.push(problem);
                    None
                }
            },
        };
        problems.extend(description.as_deref().and_then(|text| self.description_problem(text)));
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let now = self.jobs.clock.now();
        let is_updated = url.is_some() || kinds.is_some() || description.is_some();
        let changed = self.change(actor, id, move |tx, owned| -> Work<'_, (bool, webhook::Model)> {
            Box::pin(async move {
                let was_enabled = owned.enabled;
                let mut row: webhook::ActiveModel = owned.into();
                if let Some((url, host)) = url {
                    (row.url, row.host) = (Set(url), Set(host));
                }
                if let Some(kinds) = kinds {
                    row.event_kinds = Set(json!(kinds));
                }
                if let Some(description) = description {
                    row.description = Set(description);
                }
                if enabled == Some(true) {
                    (row.enabled, row.disabled_reason, row.failing_since) = (Set(true), Set(None), Set(None));
                }
                row.updated_at = Set(now);
                let changed = row.update(tx).await?;
                let changed = match enabled {
                    Some(false) if was_enabled => {
                        end::disable(tx, changed, DisabledReason::ByOwner, now).await?
                    }
                    _ => changed,
                };
                Ok((was_enabled, changed))
            })
        });
        let (was_enabled, changed) = changed.await?;
        let switched = match (was_enabled, changed.enabled) {
            (false, true) => Some(AuditEvent::WebhookEnabled),
            (true, false) => Some(AuditEvent::WebhookDisabled),
            _ => None,
        };
        for event in is_updated.then_some(AuditEvent::WebhookUpdated).into_iter().chain(switched) {
            audit::record_with_subject(event, Outcome::Ok, actor.into(), id);
        }
        Ok(changed)
    }

    /// Gives a webhook of the actor a new secret and returns it. No other call returns it. The previous secret also
    /// signs for `webhooks.old_secret_seconds`; the secret before that ends at once.
    pub async fn rotate(&self, actor: &Actor, id: WebhookId) -> Result<(String, webhook::Model)> {
        let (now, secret) = (self.jobs.clock.now(), signature::secret());
        let until = now + TimeDelta::seconds(self.settings.old_secret_seconds.into());
        let new_secret = secret.clone();
        let rotated = self.change(actor, id, move |tx, owned| {
            Box::pin(async move {
                let old = owned.secret.clone();
                let mut row: webhook::ActiveModel = owned.into();
                row.secret = Set(new_secret);
                (row.old_secret, row.old_secret_until) = (Set(Some(old)), Set(Some(until)));
                row.updated_at = Set(now);
                Ok(row.update(tx).await?)
            })
        });
        let rotated = rotated.await?;
        audit::record_with_subject(AuditEvent::WebhookSecretRotated, Outcome::Ok, actor.into(), id);
        Ok((secret.0, rotated))
    }

    /// Deletes a webhook of the actor with its log and its pending deliveries.
    pub async fn delete(&self, actor: &Actor, id: WebhookId) -> Result<()> {
        let now = self.jobs.clock.now();
        // Disabling it first stops new deliveries. Its log is then removed by pages, so no event waits for all of that.
        let disabled = self.change(actor, id, move |tx, owned| {
            Box::pin(async move {
                if owned.enabled {
                    end::disable(tx, owned, DisabledReason::ByOwner, now).await
                } else {
                    Ok(owned)
                }
            })
        });
        disabled.await?;
        end::remove_deliveries(&self.jobs.db, webhook_delivery::Column::WebhookId.eq(id).into_condition())
            .await?;
        let removed = self.change(actor, id, move |tx, owned| {
            Box::pin(async move {
                webhook::Entity::delete_by_id(owned.id).exec(tx).await?;
                Ok(())
            })
        });
        removed.await?;
        audit::record_with_subject(AuditEvent::WebhookDeleted, Outcome::Ok, actor.into(), id);
        Ok(())
    }

    /// Sends an event again, under the same ID. An ended delivery is sent outside the order of its job. A pending
    /// delivery is sent at once, but not before an earlier one of its job.
    pub(crate) async fn redeliver(&self, actor: &Actor, id: DeliveryId) -> Result<webhook_delivery::Model> {
        let missing = || Error::not_found("delivery");
        // One statement, so that the delivery of another user takes as long as one that does not exist.
        let (_, webhook) = self.deliveries_among(actor, [id]).await?.pop().ok_or_else(missing)?;
        let webhook_id = webhook.id;
        let clock = self.jobs.clock.clone();
        let sent = self.change(actor, webhook_id, move |tx, owned| -> Work<'_, webhook_delivery::Model> {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                let found = webhook_delivery::Entity::find_by_id(id).lock_exclusive().one(tx).await?;
                let found = found.ok_or_else(missing)?;
                if !owned.enabled {
                    return Err(Error::conflict("The webhook is disabled. Enable it first."));
                }
                if found.lease_token.is_some() && found.next_attempt_at.is_some_and(|until| until > now) {
                    return Err(Error::conflict("An attempt is in progress. Retry after it ends."));
                }
                let is_redelivery = found.redelivery || found.status != DeliveryStatus::Pending;
                let mut row: webhook_delivery::ActiveModel = found.into();
                (row.status, row.redelivery, row.attempts) =
                    (Set(DeliveryStatus::Pending), Set(is_redelivery), Set(0));
                (row.queued_at, row.next_attempt_at) = (Set(now), Set(Some(now)));
                (row.lease_token, row.finished_at) = (Set(None), Set(None));
                Ok(row.update(tx).await?)
            })
        });
        let sent = sent.await.map_err(|error| match error {
            Error::NotFound(_) => missing(),
            other => other,
        })?;
        self.jobs.hub.notify_dispatcher();
        Ok(sent)
    }

    /// Returns a webhook of the actor.
    pub async fn get(&self, actor: &Actor, id: WebhookId) -> Result<webhook::Model> {
        self.among(actor, [id]).await?.pop().ok_or_else(|| Error::not_found("webhook"))
    }

    /// Returns those of the given webhooks that belong to the actor.
    pub async fn among(
        &self,
        actor: &Actor,
        ids: impl IntoIterator<Item = WebhookId>,
    ) -> Result<Vec<webhook::Model>> {
        let owned = webhook::Entity::find().filter(webhook::Column::AccountId.eq(actor.user.id));
        Ok(owned.filter(webhook::Column::Id.is_in(ids)).all(self.jobs.db.read()).await?)
    }

    /// Returns a page of the actor's webhooks, newest first.
    pub async fn list(&self, actor: &Actor, window: Window) -> Result<Page<webhook::Model>> {
        let owned = webhook::Entity::find().filter(webhook::Column::AccountId.eq(actor.user.id));
        let (time, id) = (webhook::Column::CreatedAt, webhook::Column::Id);
        let query = window.select(owned, Direction::Descending, time, id);
        Ok(window.page(query.all(self.jobs.db.read()).await?))
    }

    /// Returns those of the given deliveries that go to the actor's webhooks, each with its webhook.
    pub(crate) async fn deliveries_among(
        &self,
        actor: &Actor,
        ids: impl IntoIterator<Item = DeliveryId>,
    ) -> Result<Vec<(webhook_delivery::Model, webhook::Model)>> {
        let owned = webhook_delivery::Entity::find()
            .find_also_related(webhook::Entity)
            .filter(webhook::Column::AccountId.eq(actor.user.id))
            .filter(webhook_delivery::Column::Id.is_in(ids));
        let rows = owned.all(self.jobs.db.read()).await?.into_iter();
        Ok(rows.filter_map(|(row, webhook)| Some((row, webhook?))).collect())
    }

    /// Returns a page of the log of a webhook, newest first.
    pub async fn deliveries(
        &self,
        webhook: &webhook::Model,
        window: Window,
    ) -> Result<Page<webhook_delivery::Model>> {
        let log = webhook_delivery::Entity::find().filter(webhook_delivery::Column::WebhookId.eq(webhook.id));
        let (time, id) = (webhook_delivery::Column::CreatedAt, webhook_delivery::Column::Id);
        let query = window.select(log, Direction::Descending, time, id);
        Ok(window.page(query.all(self.jobs.db.read()).await?))
    }

    /// Locks a webhook of the actor and changes it.
    async fn change<T: Send + 'static>(
        &self,
        actor: &Actor,
        id: WebhookId,
        change: impl for<'c> FnOnce(&'c DatabaseTransaction, webhook::Model) -> Work<'c, T> + Send + 'static,
    ) -> Result<T> {
        let owner = actor.user.id;
        self.jobs
            .db
            .write(move |tx| {
                Box::pin(async move {
                    let owned = webhook::Entity::find_by_id(id).filter(webhook::Column::AccountId.eq(owner));
                    // This lock allows events to be written meanwhile: their transactions share the key.
                    let owned = owned.lock(LockType::NoKeyUpdate).one(tx).await?;
                    change(tx, owned.ok_or_else(|| Error::not_found("webhook"))?).await
                })
            })
            .await
    }

    fn description_problem(&self, text: &str) -> Option<Problem> {
        self.jobs.limits.comment_problem(Some(text), "/description")
    }
}

/// Returns host and port, by which concurrent deliveries are counted.
fn host(url: &reqwest::Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}
