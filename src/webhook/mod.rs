//! Webhooks: events of jobs, sent to where somebody wants them, signed as the Standard Webhooks specification says.
//!
//! ```text
//!  event ──same transaction──► PENDING ──2xx──► DELIVERED
//!  (events::outbox)              │  ▲  └─ too long without, no permitted target, webhook disabled ──► GIVEN_UP
//!                                └──┘ anything else: again later          any of the two ── redeliver ──► PENDING
//! ```
//!
//! Of one job a webhook is sent one event at a time, in their order: [`queue`] hands out none while an earlier one has not
//! ended. [`dispatch`] sends; [`target`] says where to.

pub mod dispatch;
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
use crate::audit::{self, Event, Outcome};
use crate::config::Webhooks as Settings;
use crate::db::{self, Work};

use crate::entity::enums::DeliveryStatus;
pub use crate::entity::enums::DisabledReason;
use crate::entity::{job, webhook, webhook_delivery};
use crate::error::{Error, Problem, Result};
use crate::id::{DeliveryId, JobId, WebhookId};
use crate::job::record::EventKind;
use crate::job::{Jobs, gone};
use crate::limit;
use crate::page::{Direction, Page, Window};
use target::Targets;

/// A webhook that somebody wants.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Where to.
    pub url: String,
    /// Of this job only.
    pub job: Option<JobId>,
    /// Of these kinds only, where any is named.
    pub kinds: Vec<EventKind>,
    /// For people.
    pub description: String,
}

/// What should become of a webhook; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Where to.
    pub url: Option<String>,
    /// Of these kinds only, where any is named.
    pub kinds: Option<Vec<EventKind>>,
    /// For people.
    pub description: Option<String>,
    /// Whether it is sent anything.
    pub enabled: Option<bool>,
}

/// The webhooks of this server; clones share them.
#[derive(Debug, Clone)]
pub struct Webhooks {
    jobs: Jobs,
    settings: Arc<Settings>,
    targets: Targets,
}

impl Webhooks {
    /// About these jobs.
    pub fn new(jobs: Jobs, settings: &Settings) -> Self {
        Self { jobs, settings: Arc::new(settings.clone()), targets: Targets::new(settings) }
    }

    /// Makes a webhook of an actor's; the secret is returned here and never again. NOT_FOUND for a job that they do not see.
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
        let (most, watched) = (self.settings.per_user, new.job);
        let made = self.jobs.db.write(move |tx| -> Work<'_, webhook::Model> {
            Box::pin(async move {
                if let Some(job) = watched {
                    // It may have gone since.
                    let job = job::Entity::find_by_id(job).lock(LockType::KeyShare).one(tx).await?;
                    job.ok_or_else(gone)?;
                }
                limit::in_turn(tx, owner).await?;
                let mine = webhook::Entity::find().filter(webhook::Column::AccountId.eq(owner));
                let full = format!("You have {most} webhooks already; delete one first.");
                limit::one_more(tx, mine, most, full).await?;
                Ok(row.insert(tx).await?)
            })
        });
        let made = made.await?;
        audit::about(Event::WebhookCreated, Outcome::Ok, actor.into(), made.id);
        Ok((secret.0, made))
    }

    /// Changes a webhook of an actor's. What waits for one that is disabled is given up.
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
        let changed = self.change(actor, id, move |tx, mine| -> Work<'_, (bool, webhook::Model)> {
            Box::pin(async move {
                let was = mine.enabled;
                let mut row: webhook::ActiveModel = mine.into();
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
                    Some(false) if was => queue::disable(tx, changed, DisabledReason::ByOwner, now).await?,
                    _ => changed,
                };
                Ok((was, changed))
            })
        });
        let (was_enabled, changed) = changed.await?;
        let switched = match (was_enabled, changed.enabled) {
            (false, true) => Some(Event::WebhookEnabled),
            (true, false) => Some(Event::WebhookDisabled),
            _ => None,
        };
        for event in is_updated.then_some(Event::WebhookUpdated).into_iter().chain(switched) {
            audit::about(event, Outcome::Ok, actor.into(), id);
        }
        Ok(changed)
    }

    /// Gives a webhook of an actor's a new secret, which is returned here and never again. The one before goes on signing
    /// beside it for a while; the one before that ends.
    pub async fn rotate(&self, actor: &Actor, id: WebhookId) -> Result<(String, webhook::Model)> {
        let (now, secret) = (self.jobs.clock.now(), signature::secret());
        let until = now + TimeDelta::seconds(self.settings.old_secret_seconds.into());
        let fresh = secret.clone();
        let rotated = self.change(actor, id, move |tx, mine| {
            Box::pin(async move {
                let old = mine.secret.clone();
                let mut row: webhook::ActiveModel = mine.into();
                row.secret = Set(fresh);
                (row.old_secret, row.old_secret_until) = (Set(Some(old)), Set(Some(until)));
                row.updated_at = Set(now);
                Ok(row.update(tx).await?)
            })
        });
        let rotated = rotated.await?;
        audit::about(Event::WebhookSecretRotated, Outcome::Ok, actor.into(), id);
        Ok((secret.0, rotated))
    }

    /// Removes a webhook of an actor's with its log and what waits for it.
    pub async fn delete(&self, actor: &Actor, id: WebhookId) -> Result<()> {
        let now = self.jobs.clock.now();
        // First nothing more is written for it, then its log goes by pages: whoever writes an event does not wait for long.
        let disabled = self.change(actor, id, move |tx, mine| {
            Box::pin(async move {
                if mine.enabled {
                    queue::disable(tx, mine, DisabledReason::ByOwner, now).await
                } else {
                    Ok(mine)
                }
            })
        });
        disabled.await?;
        queue::remove(&self.jobs.db, webhook_delivery::Column::WebhookId.eq(id).into_condition()).await?;
        let removed = self.change(actor, id, move |tx, mine| {
            Box::pin(async move {
                webhook::Entity::delete_by_id(mine.id).exec(tx).await?;
                Ok(())
            })
        });
        removed.await?;
        audit::about(Event::WebhookDeleted, Outcome::Ok, actor.into(), id);
        Ok(())
    }

    /// Sends an event again, under the same ID: one that has ended, outside of the order of its job; one that waits, at once,
    /// but not before an earlier one of its job.
    pub async fn redeliver(&self, actor: &Actor, id: DeliveryId) -> Result<webhook_delivery::Model> {
        let missing = || Error::not_found("delivery");
        // In one statement, so that somebody else's takes as long as one that does not exist.
        let (_, of) = self.deliveries_among(actor, [id]).await?.pop().ok_or_else(missing)?;
        let of = of.id;
        let clock = self.jobs.clock.clone();
        let sent = self.change(actor, of, move |tx, mine| -> Work<'_, webhook_delivery::Model> {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                let found = webhook_delivery::Entity::find_by_id(id).lock_exclusive().one(tx).await?;
                let found = found.ok_or_else(missing)?;
                if !mine.enabled {
                    return Err(Error::conflict("The webhook is disabled. Enable it first."));
                }
                if found.lease_token.is_some() && found.next_attempt_at.is_some_and(|until| until > now) {
                    return Err(Error::conflict("It is being sent at this moment."));
                }
                let again = found.redelivery || found.status != DeliveryStatus::Pending;
                let mut row: webhook_delivery::ActiveModel = found.into();
                (row.status, row.redelivery, row.attempts) =
                    (Set(DeliveryStatus::Pending), Set(again), Set(0));
                (row.queued_at, row.next_attempt_at) = (Set(now), Set(Some(now)));
                (row.lease_token, row.finished_at) = (Set(None), Set(None));
                Ok(row.update(tx).await?)
            })
        });
        let sent = sent.await.map_err(|error| match error {
            Error::NotFound(_) => missing(),
            other => other,
        })?;
        self.jobs.hub.posted();
        Ok(sent)
    }

    /// A webhook of an actor's.
    pub async fn get(&self, actor: &Actor, id: WebhookId) -> Result<webhook::Model> {
        self.among(actor, [id]).await?.pop().ok_or_else(|| Error::not_found("webhook"))
    }

    /// Those of some webhooks that are an actor's.
    pub async fn among(
        &self,
        actor: &Actor,
        ids: impl IntoIterator<Item = WebhookId>,
    ) -> Result<Vec<webhook::Model>> {
        let mine = webhook::Entity::find().filter(webhook::Column::AccountId.eq(actor.user.id));
        Ok(mine.filter(webhook::Column::Id.is_in(ids)).all(self.jobs.db.read()).await?)
    }

    /// A page of an actor's webhooks, the newest first.
    pub async fn list(&self, actor: &Actor, window: Window) -> Result<Page<webhook::Model>> {
        let mine = webhook::Entity::find().filter(webhook::Column::AccountId.eq(actor.user.id));
        let (time, id) = (webhook::Column::CreatedAt, webhook::Column::Id);
        let query = window.select(mine, Direction::Descending, time, id);
        Ok(window.page(query.all(self.jobs.db.read()).await?))
    }

    /// Those of some deliveries that go to an actor's webhooks, each with its webhook.
    pub async fn deliveries_among(
        &self,
        actor: &Actor,
        ids: impl IntoIterator<Item = DeliveryId>,
    ) -> Result<Vec<(webhook_delivery::Model, webhook::Model)>> {
        let mine = webhook_delivery::Entity::find()
            .find_also_related(webhook::Entity)
            .filter(webhook::Column::AccountId.eq(actor.user.id))
            .filter(webhook_delivery::Column::Id.is_in(ids));
        let rows = mine.all(self.jobs.db.read()).await?.into_iter();
        Ok(rows.filter_map(|(row, webhook)| Some((row, webhook?))).collect())
    }

    /// A page of the log of a webhook, the newest first.
    pub async fn deliveries(
        &self,
        of: &webhook::Model,
        window: Window,
    ) -> Result<Page<webhook_delivery::Model>> {
        let log = webhook_delivery::Entity::find().filter(webhook_delivery::Column::WebhookId.eq(of.id));
        let (time, id) = (webhook_delivery::Column::CreatedAt, webhook_delivery::Column::Id);
        let query = window.select(log, Direction::Descending, time, id);
        Ok(window.page(query.all(self.jobs.db.read()).await?))
    }

    /// Locks a webhook of an actor's and changes it.
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
                    let mine = webhook::Entity::find_by_id(id).filter(webhook::Column::AccountId.eq(owner));
                    // Events are written meanwhile: their transactions share the key.
                    let mine = mine.lock(LockType::NoKeyUpdate).one(tx).await?;
                    change(tx, mine.ok_or_else(|| Error::not_found("webhook"))?).await
                })
            })
            .await
    }

    fn description_problem(&self, text: &str) -> Option<Problem> {
        self.jobs.limits.comment_problem(Some(text), "/description")
    }
}

/// What deliveries at once are counted by.
fn host(url: &reqwest::Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}
