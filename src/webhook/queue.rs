//! The outbox as a queue: claiming what is due, and saying what came of it.
//!
//! A claim is a lease with a token, as the engine's are. It is not renewed, because an attempt takes a bounded time; when
//! it runs out, whoever looks next sends the event again, under the same ID.

use std::collections::HashMap;

use chrono::TimeDelta;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, IntoCondition, LockBehavior, LockType, Order, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait,
    QueryFilter, QueryOrder, QuerySelect, Set, UpdateMany,
};

use super::{DisabledReason, Webhooks};
use crate::audit::{self, By, Event};
use crate::clock::Timestamp;
use crate::config::Webhooks as Settings;
use crate::db::{self, Db, Work};
use crate::entity::enums::DeliveryStatus;
use crate::entity::webhook_delivery::Column;
use crate::entity::{job, webhook, webhook_delivery};
use crate::error::{Error, Result};
use crate::id::{DeliveryId, LeaseToken, UserId};
use crate::job::retry::backoff_within;

/// What a claim holds beyond the time of an attempt: to read what is to be sent, and to write down what came of it.
pub(super) const SLACK: TimeDelta = TimeDelta::seconds(30);
/// Rows removed by one statement.
const PAGE: u64 = 1_000;

/// How many deliveries this node has under way.
#[derive(Debug, Clone, Default)]
pub struct Busy {
    /// To each host.
    pub hosts: HashMap<String, usize>,
    /// To all webhooks of each user.
    pub users: HashMap<UserId, usize>,
}

impl Busy {
    /// Counts one more, where neither has its most already.
    fn take(&mut self, host: String, user: UserId, settings: &Settings) -> bool {
        let (host, user) = (self.hosts.entry(host).or_default(), self.users.entry(user).or_default());
        let free = *host < settings.host_concurrency && *user < settings.user_concurrency;
        if free {
            (*host, *user) = (*host + 1, *user + 1);
        }
        free
    }
}

/// The keys that have reached a number.
fn full<K: Clone>(counts: &HashMap<K, usize>, most: usize) -> Vec<K> {
    counts.iter().filter(|(_, count)| **count >= most).map(|(key, _)| key.clone()).collect()
}

/// Somebody's hold on a delivery.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Proof of it.
    pub token: LeaseToken,
    /// What is to be sent; its attempts count this one.
    pub delivery: webhook_delivery::Model,
    /// Where to.
    pub webhook: webhook::Model,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was taken, with this status.
    Delivered(u16),
    /// It was not.
    Failed {
        /// What was answered, where anything was.
        status: Option<u16>,
        /// For the log.
        error: String,
        /// How long the receiver wants to be left alone.
        retry_after: Option<TimeDelta>,
    },
    /// It must not be sent there.
    Refused(String),
    /// The receiver wants nothing more (410).
    Gone,
    /// The owner of the webhook does not see the job any more, so that there is nothing to tell.
    Dropped,
}

/// What was made of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It has ended well.
    Delivered,
    /// It will be tried again.
    Again,
    /// It will not.
    GivenUp,
    /// It is not there any more.
    Dropped,
    /// The claim had run out, or the delivery was gone: nothing was changed.
    Lost,
}

impl Webhooks {
    /// Takes up to `limit` deliveries that are due, the longest due first: of each job and webhook none but the first that
    /// has not ended. `busy` is what this node has under way.
    pub async fn claim(&self, limit: usize, busy: &Busy) -> Result<Vec<Claim>> {
        let (clock, mut busy, settings) = (self.jobs.clock.clone(), busy.clone(), self.settings.clone());
        let holds = TimeDelta::seconds(self.settings.attempt_seconds.into()) + SLACK;
        let claims = self.jobs.db.write(move |tx| -> Work<'_, Vec<Claim>> {
            Box::pin(async move {
                let (now, mut chosen) = (db::now(tx, &clock).await?, Vec::new());
                let hosts = full(&busy.hosts, settings.host_concurrency);
                let users = full(&busy.users, settings.user_concurrency);
                for (id, host, user) in due(tx, now, hosts, users, limit).await? {
                    if busy.take(host, user, &settings) {
                        chosen.push(id);
                    }
                }
                if chosen.is_empty() {
                    return Ok(Vec::new());
                }
                let token = LeaseToken::new();
                webhook_delivery::Entity::update_many()
                    .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
                    .col_expr(Column::NextAttemptAt, Expr::value(now + holds))
                    .col_expr(Column::LeaseToken, Expr::value(token))
                    .col_expr(Column::LastAttemptAt, Expr::value(now))
                    .filter(Column::Id.is_in(chosen.iter().copied()))
                    .exec(tx)
                    .await?;
                let rows = webhook_delivery::Entity::find()
                    .find_also_related(webhook::Entity)
                    .filter(Column::Id.is_in(chosen))
                    .all(tx)
                    .await?;
                let claim =
                    |(delivery, webhook): (_, Option<_>)| Some(Claim { token, delivery, webhook: webhook? });
                Ok(rows.into_iter().filter_map(claim).collect())
            })
        });
        claims.await
    }

    /// Writes down what came of an attempt, and lets the next event of the job go.
    pub async fn finish(&self, claim: &Claim, outcome: Outcome) -> Result<Taken> {
        let (clock, settings) = (self.jobs.clock.clone(), self.settings.clone());
        let (id, token) = (claim.delivery.id, claim.token);
        let (job, of) = (claim.delivery.job_id, claim.webhook.id);
        let taken = self.jobs.db.write(move |tx| -> Work<'_, (Taken, bool)> {
            Box::pin(async move {
                let now = db::now(tx, &clock).await?;
                // In this order everywhere: first the job, which would take its deliveries with it, then the webhook, then what
                // is sent to it.
                let job = job::Entity::find_by_id(job).lock(LockType::KeyShare).one(tx).await?;
                if job.is_none() {
                    return Ok((Taken::Lost, false));
                }
                let webhook = webhook::Entity::find_by_id(of).lock(LockType::NoKeyUpdate).one(tx).await?;
                let mine = webhook_delivery::Entity::find_by_id(id).filter(Column::LeaseToken.eq(token));
                let (Some(webhook), Some(delivery)) = (webhook, mine.lock_exclusive().one(tx).await?) else {
                    return Ok((Taken::Lost, false));
                };
                let lane = Lane::of(&delivery);
                let mut row: webhook_delivery::ActiveModel = delivery.clone().into();
                row.lease_token = Set(None);
                if let Outcome::Dropped = outcome {
                    row.delete(tx).await?;
                    lane.go_on(tx, now).await?;
                    return Ok((Taken::Dropped, false));
                }
                let (status, error, wait) = match &outcome {
                    Outcome::Delivered(status) => (Some(*status), None, None),
                    Outcome::Failed { status, error, retry_after } => {
                        (*status, Some(error.clone()), Some(retry_after.unwrap_or_default()))
                    }
                    Outcome::Refused(error) => (None, Some(error.clone()), None),
                    Outcome::Gone | Outcome::Dropped => {
                        (Some(410), Some("The target answered 410: it wants nothing more.".to_owned()), None)
                    }
                };
                (row.last_status_code, row.last_error) = (Set(status.map(i32::from)), Set(error));
                let attempts = delivery.attempts.unsigned_abs();
                let next = wait.map(|wanted| {
                    let (first, longest) = (settings.first_retry_seconds, settings.longest_retry_seconds);
                    let own = backoff_within(first.into(), longest.into(), attempts, rand::random());
                    now + wanted.clamp(own, Ord::max(own, TimeDelta::seconds(longest.into())))
                });
                let late = delivery.queued_at + TimeDelta::seconds(settings.give_up_seconds.into());
                if let Some(next) = next.filter(|next| *next <= late) {
                    row.next_attempt_at = Set(Some(next));
                    row.update(tx).await?;
                    failing(tx, webhook, now).await?;
                    return Ok((Taken::Again, false));
                }
                let delivered = matches!(outcome, Outcome::Delivered(_));
                row.status = Set(if delivered { DeliveryStatus::Delivered } else { DeliveryStatus::GivenUp });
                (row.next_attempt_at, row.finished_at) = (Set(None), Set(Some(now)));
                row.update(tx).await?;
                lane.go_on(tx, now).await?;
                if delivered {
                    if webhook.failing_since.is_some() {
                        let mut row: webhook::ActiveModel = webhook.into();
                        row.failing_since = Set(None);
                        row.update(tx).await?;
                    }
                    return Ok((Taken::Delivered, false));
                }
                let webhook = failing(tx, webhook, now).await?;
                let patience = TimeDelta::days(settings.disable_days.into());
                let hopeless = settings.disable_days > 0
                    && webhook.failing_since.is_some_and(|since| since + patience <= now);
                let reason = match outcome {
                    Outcome::Gone => Some(DisabledReason::Gone),
                    _ => hopeless.then_some(DisabledReason::Failing),
                };
                let was_enabled = webhook.enabled;
                if let Some(reason) = reason {
                    disable(tx, webhook, reason, now).await?;
                }
                Ok((Taken::GivenUp, was_enabled && reason.is_some()))
            })
        });
        let (taken, is_disabled) = taken.await?;
        if is_disabled {
            audit::about(Event::WebhookDisabled, audit::Outcome::Ok, By::default(), of);
        }
        Ok(taken)
    }

    /// Removes from the log what ended before a time, by pages, and gives up what was written for webhooks while they were
    /// being disabled.
    pub async fn clear(&self, before: Timestamp) -> Result<u64> {
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
        remove(&self.jobs.db, Column::FinishedAt.lt(before).into_condition()).await
    }
}

/// Removes deliveries by pages; how many.
pub(super) async fn remove(db: &Db, which: Condition) -> Result<u64> {
    let mut removed = 0;
    loop {
        let which = which.clone();
        let page = db.write(move |tx| {
            Box::pin(async move {
                let some = webhook_delivery::Entity::find()
                    .select_only()
                    .column(Column::Id)
                    .filter(which.clone())
                    .order_by_asc(Column::FinishedAt)
                    .limit(PAGE);
                let some: Vec<DeliveryId> = some.into_tuple().all(tx).await?;
                // Not what is of another kind since: sent again, perhaps.
                let remove =
                    webhook_delivery::Entity::delete_many().filter(Column::Id.is_in(some)).filter(which);
                Ok(remove.exec(tx).await?.rows_affected)
            })
        });
        let page = page.await?;
        removed += page;
        if page < PAGE {
            return Ok(removed);
        }
    }
}

/// Up to `limit` of what is due, with the host that it goes to and whose webhook it is, locked by this transaction; nothing
/// to some hosts and users.
async fn due(
    tx: &DatabaseTransaction,
    now: Timestamp,
    hosts: Vec<String>,
    users: Vec<UserId>,
    limit: usize,
) -> Result<Vec<(DeliveryId, String, UserId)>> {
    let (this, before) = (webhook_delivery::Entity, Alias::new("earlier"));
    let earlier = |column: Column| Expr::col((before.clone(), column));
    // One that was sent again on request stands outside of the order.
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

/// The events of a job that stand behind one of them, on their way to the same webhook.
struct Lane<'d>(Option<&'d webhook_delivery::Model>);

impl<'d> Lane<'d> {
    fn of(delivery: &'d webhook_delivery::Model) -> Self {
        Self((!delivery.redelivery).then_some(delivery))
    }

    /// The next of them is due.
    async fn go_on(&self, tx: &DatabaseTransaction, now: Timestamp) -> Result<()> {
        let Some(head) = self.0 else { return Ok(()) };
        let next = webhook_delivery::Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::WebhookId.eq(head.webhook_id))
            .filter(Column::JobId.eq(head.job_id))
            .filter(Column::Sequence.gt(head.sequence))
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

/// Remembers since when nothing was delivered.
async fn failing(
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

/// Sends nothing more to a webhook that this transaction has locked; what waits is given up.
pub(super) async fn disable(
    tx: &DatabaseTransaction,
    webhook: webhook::Model,
    reason: DisabledReason,
    now: Timestamp,
) -> Result<webhook::Model> {
    tracing::info!(webhook.id = %webhook.id, webhook.host = webhook.host, ?reason, "a webhook is disabled");
    give_up(now).filter(Column::WebhookId.eq(webhook.id)).exec(tx).await?;
    let mut row: webhook::ActiveModel = webhook.into();
    (row.enabled, row.disabled_reason, row.updated_at) = (Set(false), Set(Some(reason)), Set(now));
    row.update(tx).await.map_err(Error::from)
}

/// Ends what waits, without an attempt.
fn give_up(now: Timestamp) -> UpdateMany<webhook_delivery::Entity> {
    webhook_delivery::Entity::update_many()
        .col_expr(Column::Status, Expr::value(DeliveryStatus::GivenUp))
        .col_expr(Column::LastError, Expr::value("The webhook was disabled."))
        .col_expr(Column::NextAttemptAt, Expr::value(None::<Timestamp>))
        .col_expr(Column::LeaseToken, Expr::value(None::<LeaseToken>))
        .col_expr(Column::FinishedAt, Expr::value(now))
        .filter(Column::NextAttemptAt.is_not_null())
}
