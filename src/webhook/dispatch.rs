//! The dispatcher sends due deliveries in the process of an engine. Nodes share the outbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::StatusCode;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use super::queue::{AttemptOutcome, ClaimedDelivery, InFlight, LEASE_MARGIN, Resolution};
use super::send::{NOT_ALLOWED, Sender, Signed};
use super::{Webhooks, signature};
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::telemetry::{WEBHOOK_DELIVERIES, trace};

/// Time between two removals of old deliveries from the log.
const CLEAR_INTERVAL: Duration = Duration::from_secs(3600);

/// Sends events to webhooks. Clones share the deliveries in flight.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    webhooks: Webhooks,
    sender: Sender,
    permits: Arc<Semaphore>,
    in_flight: Arc<Mutex<InFlight>>,
    running: TaskTracker,
}

/// Counts a delivery as in flight until it is dropped.
struct InFlightGuard {
    in_flight: Arc<Mutex<InFlight>>,
    host: String,
    user: UserId,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        decrement(&mut in_flight.hosts, &self.host);
        decrement(&mut in_flight.users, &self.user);
    }
}

/// Decrements the count of a key, and removes the key at zero.
fn decrement<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            counts.remove(key);
        }
    }
}

impl Dispatcher {
    /// Creates the dispatcher of this process without starting it.
    pub fn new(webhooks: Webhooks) -> reqwest::Result<Self> {
        let sender = Sender::new(&webhooks.settings, &webhooks.targets)?;
        let permits = Arc::new(Semaphore::new(webhooks.settings.concurrency));
        Ok(Self { webhooks, sender, permits, in_flight: Arc::default(), running: TaskTracker::new() })
    }

    /// Sends due deliveries until `stop`, then waits for the attempts in flight, which end in bounded time.
    pub async fn run(&self, stop: CancellationToken) {
        let hub = self.webhooks.jobs.hub.clone();
        let poll = Duration::from_millis(self.webhooks.settings.poll_milliseconds);
        let mut cleared: Option<Instant> = None;
        while !stop.is_cancelled() {
            if cleared.is_none_or(|at| at.elapsed() >= CLEAR_INTERVAL) {
                cleared = Some(Instant::now());
                self.clear_log().await;
            }
            match self.start_due(&stop).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::error!(%error, "failed to claim webhook deliveries"),
            }
            tokio::select! {
                () = hub.wait_for_deliveries() => {}
                () = tokio::time::sleep(poll) => {}
                () = stop.cancelled() => {}
            }
        }
        self.running.close();
        self.running.wait().await;
    }

    /// Waits for a free permit, claims one delivery for each free permit, and starts them. Returns their number.
    async fn start_due(&self, stop: &CancellationToken) -> Result<usize> {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(0),
            permit = Arc::clone(&self.permits).acquire_owned() => permit,
        };
        let Ok(first) = first else { return Ok(0) };
        let mut permits = vec![first];
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            permits.push(permit);
        }
        let in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let claims = self.webhooks.claim(permits.len(), &in_flight).await?;
        let started = claims.len();
        for (claim, permit) in claims.into_iter().zip(permits) {
            let (dispatcher, guard) = (self.clone(), self.track(&claim));
            let (webhook, id) = (claim.webhook.id.to_string(), claim.delivery.id.to_string());
            let span = trace::delivery_span(&webhook, &id, claim.delivery.attempts);
            let delivered = async move {
                dispatcher.deliver(claim).await;
                drop((guard, permit));
                // The next event of the job, or another delivery that waited for the permit, can start.
                dispatcher.webhooks.jobs.hub.notify_dispatcher();
            };
            self.running.spawn(delivered.instrument(span));
        }
        Ok(started)
    }

    fn track(&self, claim: &ClaimedDelivery) -> InFlightGuard {
        let (host, user) = (claim.webhook.host.clone(), claim.webhook.account_id);
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        *in_flight.hosts.entry(host.clone()).or_default() += 1;
        *in_flight.users.entry(user).or_default() += 1;
        InFlightGuard { in_flight: Arc::clone(&self.in_flight), host, user }
    }

    async fn deliver(&self, claim: ClaimedDelivery) {
        let outcome = match self.attempt(&claim).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(delivery.id = %claim.delivery.id, %error, "failed to prepare webhook delivery");
                let error = "The server could not prepare the message.".to_owned();
                AttemptOutcome::Failed { status: None, error, retry_after: None }
            }
        };
        let resolution = match self.webhooks.record_attempt(&claim, outcome.clone()).await {
            Ok(resolution) => resolution,
            Err(error) => {
                tracing::error!(delivery.id = %claim.delivery.id, %error, "failed to record the result of a webhook delivery");
                Resolution::LeaseLost
            }
        };
        let outcome_name = match resolution {
            Resolution::Delivered => "delivered",
            Resolution::Retrying => "failed",
            Resolution::GivenUp => "given_up",
            Resolution::Dropped => "dropped",
            Resolution::LeaseLost => "lost",
        };
        metrics::counter!(WEBHOOK_DELIVERIES, "outcome" => outcome_name).increment(1);
        // The URL is not logged: its path and parameters may be a secret.
        let (id, webhook, host) = (claim.delivery.id, claim.webhook.id, claim.webhook.host);
        let attempt = claim.delivery.attempts;
        if resolution == Resolution::GivenUp {
            tracing::warn!(delivery.id = %id, webhook.id = %webhook, webhook.host = host, attempt, ?outcome, "webhook delivery given up");
        } else {
            tracing::debug!(delivery.id = %id, webhook.id = %webhook, webhook.host = host, attempt, ?outcome, "webhook delivery attempted");
        }
    }

    /// Sends the message of a claim once.
    async fn attempt(&self, claim: &ClaimedDelivery) -> Result<AttemptOutcome> {
        let Ok(url) = self.webhooks.targets.check(&claim.webhook.url) else {
            return Ok(AttemptOutcome::Refused(NOT_ALLOWED.to_owned()));
        };
        // A request sent after this timeout could overlap with the next attempt, after this claim has expired.
        let build_timeout = (LEASE_MARGIN / 2).to_std().map_err(Error::internal)?;
        let message = tokio::time::timeout(build_timeout, self.webhooks.build_message(claim)).await;
        let message = message.map_err(|_| Error::Unavailable("The database is busy.".into()))??;
        let Some(body) = message else { return Ok(AttemptOutcome::Dropped) };
        let (id, at) = (claim.delivery.id, self.webhooks.jobs.clock.now());
        let signature = signature::sign(&claim.webhook, id, at, &body)?;
        let span = Span::current();
        trace::record_target(&span, &url);
        let signed = Signed { id: id.to_string(), at, signature, trace: trace::context_headers(&span) };
        let outcome = self.sender.send(url, signed, body).await;
        record_outcome(&span, &outcome);
        Ok(outcome)
    }

    async fn clear_log(&self) {
        let days = TimeDelta::days(self.webhooks.settings.log_days.into());
        match self.webhooks.clear_log(self.webhooks.jobs.clock.now() - days).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed old webhook deliveries from the log"),
            Err(error) => tracing::error!(%error, "failed to remove old webhook deliveries from the log"),
        }
    }
}

/// Records the outcome of an attempt in its span.
fn record_outcome(span: &Span, outcome: &AttemptOutcome) {
    let (status, error) = match outcome {
        AttemptOutcome::Delivered(status) => (Some(*status), None),
        AttemptOutcome::Gone => (Some(StatusCode::GONE.as_u16()), None),
        AttemptOutcome::Failed { status, .. } => (*status, Some("failed")),
        AttemptOutcome::Refused(_) => (None, Some("not_allowed")),
        AttemptOutcome::Dropped => (None, None),
    };
    trace::record_delivery(span, status, error);
}
