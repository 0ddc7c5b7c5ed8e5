//! The outbox as a queue: claims due deliveries and records their results.
//!
//! A claim is a lease with a token, like those of the engine. It is not renewed, because an attempt takes a bounded
//! time. After it expires, the next dispatcher that polls sends the event again, under the same ID.

use std::collections::HashMap;

use chrono::TimeDelta;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, IntoCondition, LockBehavior, LockType, Order, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, IdenStatic,
    QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait, SelectA, SelectTwoRequiredModel,
    SelectorTrait, Set,
};

use super::Webhooks;
use super::end::{disable, give_up, remove_deliveries};
use crate::audit::{self, AuditEvent, AuditOrigin};
use crate::clock::Timestamp;
use crate::config::Webhooks as Settings;
use crate::db::{self, Work};
use crate::entity::enums::{DeliveryStatus, DisabledReason};
use crate::entity::webhook_delivery::Column;
use crate::entity::{job, webhook, webhook_delivery};
use crate::error::Result;
use crate::id::{DeliveryId, LeaseToken, UserId};
use crate::job::retry::backoff_within;

/// How much longer a lease is than an attempt: time to read the event and to record the result.
pub(super) const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(30);

/// The number of deliveries in flight on this node.
#[derive(Debug, Clone, Default)]
pub struct InFlight {
    /// Deliveries to each host and port.
    pub(crate) hosts: HashMap<String, usize>,
    /// Deliveries to all webhooks of each user.
    pub users: HashMap<UserId, usize>,
}

impl InFlight {
    /// Adds a delivery and returns true, unless the host or the user has reached its concurrency limit.
    fn try_add(&mut self, host: String, user: UserId, settings: &Settings) -> bool {
        let (host, user) = (self.hosts.entry(host).or_default(), self.users.entry(user).or_default());
        let free = *host < settings.host_concurrency && *user < settings.user_concurrency;
        if free {
            (*host, *user) = (*host + 1, *user + 1);
        }
        free
    }
}

/// Returns the keys whose count has reached `limit`.
fn keys_at_limit<K: Clone>(counts: &HashMap<K, usize>, limit: usize) -> Vec<K> {
    counts.iter().filter(|(_, count)| **count >= limit).map(|(key, _)| key.clone()).collect()
}

/// A claimed delivery.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    /// Proof of the claim.
    pub token: LeaseToken,
    /// The delivery to send; its number of attempts includes this one.
    pub delivery: webhook_delivery::Model,
    /// The webhook to send it to.
    pub webhook: webhook::Model,
}

/// The outcome of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptOutcome {
    /// The target accepted the message with this status.
    Delivered(u16),
    /// The attempt failed.
    Failed {
        /// Status of the response, if there was one.
        status: Option<u16>,
        /// Message for the log of the webhook.
        error: String,
        /// The wait that the target requested.
        retry_after: Option<TimeDelta>,
    },
    /// The target is not allowed.
    Refused(String),
    /// The target returned 410 Gone.
    Gone,
    /// The owner of the webhook no longer sees the job, so there is no message.
    Dropped,
}

/// The state of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It was delivered.
    Delivered,
    /// It failed and will be retried.
    Retrying,
    /// It failed and will not be retried.
    GivenUp,
    /// It was removed.
    Dropped,
    /// Unchanged: the lease has expired, or the delivery no longer exists.
    LeaseLost,
}

impl Webhooks {
    /// Claims up to `limit` due deliveries, the longest due first. For each job and webhook it claims only the first
    /// delivery that has not ended. `in_flight` counts the deliveries in flight on this node.
    ///
    /// A delivery that this version cannot read keeps its lease unsent. When the lease expires, a node of a newer version
    /// may send it.
    pub async fn claim(&self, limit: usize, in_flight: &InFlight) -> Result<Vec<ClaimedDelivery>> {
        let (clock, mut in_flight, settings) =
            (self.jobs.clock.clone(), in_flight.clone(), self.settings.clone());
        let lease = TimeDelta::seconds(self.settings.attempt_seconds.into()) + LEASE_MARGIN;
        let claims = self.jobs.db.write(move |tx| -> Work<'_, Vec<ClaimedDelivery>> {
            Box::pin(async move {
                let (now, mut chosen) = (db::now(tx, &clock).await?, Vec::new());
                let hosts = keys_at_limit(&in_flight.hosts, settings.host_concurrency);
                let users = keys_at_limit(&in_flight.users, settings.user_concurrency);
                for (id, host, user) in select_due(tx, now, hosts, users, limit).await? {
                    if in_flight.try_add(host, user, &settings) {
                        chosen.push(id);
                    }
                }
                if chosen.is_empty() {
                    return Ok(Vec::new());
                }
                let token = LeaseToken::new();
                webhook_delivery::Entity::update_many()
                    .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
                    .col_expr(Column::NextAttemptAt, Expr::value(now + lease))
                    .col_expr(Column::LeaseToken, Expr::value(token))
                    .col_expr(Column::LastAttemptAt, Expr::value(now))
                    .filter(Column::Id.is_in(chosen.iter().copied()))
                    .exec(tx)
                    .await?;
                let rows = webhook_delivery::Entity::find()
                    .find_also_related(webhook::Entity)
                    .filter(Column::Id.is_in(chosen));
                let rows = tx.query_all(&rows.into_query()).await?;
                Ok(rows.into_iter().filter_map(|row| read_claim(row, token)).collect())
            })
        });
        claims.await
    }

    /// Records the outcome of an attempt: the delivery ends, or a retry is due later. The end of a delivery releases the next
    /// event of its job.
    pub async fn record_attempt(
        &self,
        claim: &ClaimedDelivery,
        outcome: AttemptOutcome,
    ) -> Result<Resolution> {
        let (clock, settings) = (self.jobs.clock.clone(), self.settings.clone());
        let (id, token) = (claim.delivery.id, claim.token);
        let (job_id, webhook_id) = (claim.delivery.job_id, claim.webhook.id);
        let resolution = self.jobs.db.write(move |tx| -> Work<'_, (Resolution, bool)> {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                // The lock order everywhere: the job, whose deletion deletes its deliveries; the webhook; its
                // deliveries.
                let job = job::Entity::find_by_id(job_id).lock(LockType::KeyShare).one(tx).await?;
                if job.is_none() {
                    return Ok((Resolution::LeaseLost, false));
                }
                let webhook =
                    webhook::Entity::find_by_id(webhook_id).lock(LockType::NoKeyUpdate).one(tx).await?;
                let claimed = webhook_delivery::Entity::find_by_id(id).filter(Column::LeaseToken.eq(token));
                let (Some(webhook), Some(delivery)) = (webhook, claimed.lock_exclusive().one(tx).await?)
                else {
                    return Ok((Resolution::LeaseLost, false));
                };
                let successors = Successors::of(&delivery);
                let mut row: webhook_delivery::ActiveModel = delivery.clone().into();
                row.lease_token = Set(None);
                if let AttemptOutcome::Dropped = outcome {
                    row.delete(tx).await?;
                    successors.release_next(tx, now).await?;
                    return Ok((Resolution::Dropped, false));
                }
                let (status, error, wait) = match &outcome {
                    AttemptOutcome::Delivered(status) => (Some(*status), None, None),
                    AttemptOutcome::Failed { status, error, retry_after } => {
                        (*status, Some(error.clone()), Some(retry_after.unwrap_or_default()))
                    }
                    AttemptOutcome::Refused(error) => (None, Some(error.clone()), None),
                    AttemptOutcome::Gone | AttemptOutcome::Dropped => {
                        (Some(410), Some("The target returned 410 Gone.".to_owned()), None)
                    }
                };
                (row.last_status_code, row.last_error) = (Set(status.map(i32::from)), Set(error));
                let attempts = delivery.attempts.unsigned_abs();
                let next = wait.map(|retry_after| {
                    let (first, longest) = (settings.first_retry_seconds, settings.longest_retry_seconds);
                    let backoff = backoff_within(first.into(), longest.into(), attempts, rand::random());
                    now + retry_after.clamp(backoff, Ord::max(backoff, TimeDelta::seconds(longest.into())))
                });
                let give_up_at = delivery.queued_at + TimeDelta::seconds(settings.give_up_seconds.into());
                if let Some(next) = next.filter(|next| *next <= give_up_at) {
                    row.next_attempt_at = Set(Some(next));
                    row.update(tx).await?;
                    mark_failing(tx, webhook, now).await?;
                    return Ok((Resolution::Retrying, false));
                }
                let delivered = matches!(outcome, AttemptOutcome::Delivered(_));
                row.status = Set(if delivered { DeliveryStatus::Delivered } else { DeliveryStatus::GivenUp });
                (row.next_attempt_at, row.finished_at) = (Set(None), Set(Some(now)));
                row.update(tx).await?;
                successors.release_next(tx, now).await?;
                if delivered {
                    if webhook.failing_since.is_some() {
                        let mut row: webhook::ActiveModel = webhook.into();
                        row.failing_since = Set(None);
                        row.update(tx).await?;
                    }
                    return Ok((Resolution::Delivered, false));
                }
                let webhook = mark_failing(tx, webhook, now).await?;
                let disable_after = TimeDelta::days(settings.disable_days.into());
                let is_failing_too_long = settings.disable_days > 0
                    && webhook.failing_since.is_some_and(|since| since + disable_after <= now);
                let reason = match outcome {
                    AttemptOutcome::Gone => Some(DisabledReason::Gone),
                    _ => is_failing_too_long.then_some(DisabledReason::Failing),
                };
                let was_enabled = webhook.enabled;
                if let Some(reason) = reason {
                    disable(tx, webhook, reason, now).await?;
                }
                Ok((Resolution::GivenUp, was_enabled && reason.is_some()))
            })
        });
        let (resolution, is_disabled) = resolution.await?;
        if is_disabled {
            audit::record_with_subject(
                AuditEvent::WebhookDisabled,
                audit::Outcome::Ok,
                AuditOrigin::default(),
                webhook_id,
            );
        }
        Ok(resolution)
    }

    /// Removes the deliveries that ended before a time, page by page. First gives up deliveries that were written for
    /// webhooks while these were being disabled. Returns the number of removed deliveries.
    pub async fn clear_log(&self, before: Timestamp) -> Result<u64> {
        let clock = self.jobs.clock.clone();
        let given_up = self.jobs.db.write(move |tx| {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                let disabled = Query::select()
                    .column(webhook::Column::Id)
                    .from(webhook::Entity)
                    .and_where(Expr::cust("NOT enabled"))
                    .to_owned();
                give_up(now).filter(Column::WebhookId.in_subquery(disabled)).exec(tx).await?;
                Ok(())
            })
        });
        given_up.await?;
        remove_deliveries(&self.jobs.db, Column::FinishedAt.lt(before).into_condition()).await
    }
}

/// Reads a row of deliveries and webhooks as a claim; logs a row that cannot be read.
fn read_claim(row: QueryResult, token: LeaseToken) -> Option<ClaimedDelivery> {
    let id = row.try_get::<DeliveryId>(SelectA.as_str(), Column::Id.as_str());
    match SelectTwoRequiredModel::<webhook_delivery::Model, webhook::Model>::from_raw_query_result(row) {
        Ok((delivery, webhook)) => Some(ClaimedDelivery { token, delivery, webhook }),
        Err(error) => {
            let id = id.ok().map(tracing::field::display);
            tracing::error!(delivery.id = id, %error, "webhook delivery cannot be read, skipping it until its lease expires");
            None
        }
    }
}

/// Selects and locks up to `limit` due deliveries, each with its host and the owner of its webhook. Skips deliveries to
/// `hosts` and to webhooks of `users`.
async fn select_due(
    tx: &DatabaseTransaction,
    now: Timestamp,
    hosts: Vec<String>,
    users: Vec<UserId>,
    limit: usize,
) -> Result<Vec<(DeliveryId, String, UserId)>> {
    let (this, before) = (webhook_delivery::Entity, Alias::new("earlier"));
    let earlier = |column: Column| Expr::col((before.clone(), column));
    // Redeliveries are outside the order.
    let first_of_job = Query::select()
        .expr(Expr::val(1))
        .from_as(this, before.clone())
        .and_where(earlier(Column::WebhookId).equals((this, Column::WebhookId)))
        .and_where(earlier(Column::JobId).equals((this, Column::JobId)))
        .and_where(earlier(Column::Sequence).lt(Expr::col((this, Column::Sequence))))
        .and_where(earlier(Column::NextAttemptAt).is_not_null())
        .and_where(Expr::cust("NOT earlier.redelivery"))
        .to_owned();
    let mut due = Query::select()
        .column((this, Column::Id))
        .column((webhook::Entity, webhook::Column::Host))
        .column((webhook::Entity, webhook::Column::AccountId))
        .from(this)
        .inner_join(
            webhook::Entity,
            Expr::col((this, Column::WebhookId)).equals((webhook::Entity, webhook::Column::Id)),
        )
        .and_where(Expr::col((this, Column::NextAttemptAt)).lte(now))
        .and_where(Expr::cust("webhook.enabled"))
        .and_where(Expr::col((webhook::Entity, webhook::Column::Host)).is_not_in(hosts))
        .and_where(Expr::col((webhook::Entity, webhook::Column::AccountId)).is_not_in(users))
        .and_where(Expr::cust("webhook_delivery.redelivery").or(Expr::exists(first_of_job).not()))
        .order_by((this, Column::NextAttemptAt), Order::Asc)
        .order_by((this, Column::Id), Order::Asc)
        .limit(limit as u64)
        .to_owned();
    if tx.get_database_backend() == DbBackend::Postgres {
        due.lock_with_tables_behavior(LockType::Update, [this], LockBehavior::SkipLocked);
    }
    let rows = tx.query_all(&due).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("", "id")?, row.try_get("", "host")?, row.try_get("", "account_id")?)))
        .collect()
}

/// The later deliveries of the same job to the same webhook.
struct Successors<'d>(Option<&'d webhook_delivery::Model>);

impl<'d> Successors<'d> {
    fn of(delivery: &'d webhook_delivery::Model) -> Self {
        Self((!delivery.redelivery).then_some(delivery))
    }

    /// Makes the next of them due.
    async fn release_next(&self, tx: &DatabaseTransaction, now: Timestamp) -> Result<()> {
        let Some(delivery) = self.0 else { return Ok(()) };
        let next = webhook_delivery::Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::WebhookId.eq(delivery.webhook_id))
            .filter(Column::JobId.eq(delivery.job_id))
            .filter(Column::Sequence.gt(delivery.sequence))
            .filter(Column::NextAttemptAt.is_not_null())
            .filter(Expr::cust("NOT redelivery"))
            .order_by_asc(Column::Sequence)
            .limit(1);
        let next: Option<DeliveryId> = next.into_tuple().one(tx).await?;
        if let Some(next) = next {
            webhook_delivery::Entity::update_many()
                .col_expr(Column::NextAttemptAt, Expr::value(now))
                .filter(Column::Id.eq(next))
                .exec(tx)
                .await?;
        }
        Ok(())
    }
}

/// Records the time of the first failure since the last success.
async fn mark_failing(
    tx: &DatabaseTransaction,
    webhook: webhook::Model,
    now: Timestamp,
) -> Result<webhook::Model> {
    if webhook.failing_since.is_some() {
        return Ok(webhook);
    }
    let mut row: webhook::ActiveModel = webhook.into();
    row.failing_since = Set(Some(now));
    Ok(row.update(tx).await?)
}
