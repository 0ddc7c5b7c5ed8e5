//! Sends what is due, in the process of an engine; nodes share the outbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::StatusCode;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use super::queue::{Busy, Claim, Outcome, SLACK, Taken};
use super::send::{NOT_ALLOWED, Sender, Signed};
use super::{Webhooks, signature};
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::telemetry::{WEBHOOK_DELIVERIES, trace};

/// The log is cleared so often.
const CLEAR_EVERY: Duration = Duration::from_secs(3600);

/// Sends events to webhooks; clones share what is under way.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    webhooks: Webhooks,
    sender: Sender,
    places: Arc<Semaphore>,
    busy: Arc<Mutex<Busy>>,
    running: TaskTracker,
}

/// A delivery under way.
struct Visit {
    busy: Arc<Mutex<Busy>>,
    host: String,
    user: UserId,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        one_less(&mut busy.hosts, &self.host);
        one_less(&mut busy.users, &self.user);
    }
}

/// A key whose last one ends is forgotten.
fn one_less<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            counts.remove(key);
        }
    }
}

impl Dispatcher {
    /// For this process; nothing is sent yet.
    pub fn new(webhooks: Webhooks) -> reqwest::Result<Self> {
        let sender = Sender::new(&webhooks.settings, &webhooks.targets)?;
        let places = Arc::new(Semaphore::new(webhooks.settings.concurrency));
        Ok(Self { webhooks, sender, places, busy: Arc::default(), running: TaskTracker::new() })
    }

    /// Sends what is due until `stop`; then waits for the attempts that are under way, which end in bounded time.
    pub async fn run(&self, stop: CancellationToken) {
        let hub = self.webhooks.jobs.hub.clone();
        let poll = Duration::from_millis(self.webhooks.settings.poll_milliseconds);
        let mut cleared: Option<Instant> = None;
        while !stop.is_cancelled() {
            if cleared.is_none_or(|at| at.elapsed() >= CLEAR_EVERY) {
                cleared = Some(Instant::now());
                self.clear().await;
            }
            match self.take(&stop).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::error!(%error, "deliveries to webhooks could not be claimed"),
            }
            tokio::select! {
                () = hub.post() => {}
                () = tokio::time::sleep(poll) => {}
                () = stop.cancelled() => {}
            }
        }
        self.running.close();
        self.running.wait().await;
    }

    /// Waits for a free place, claims as much as there are free places, and starts it.
    async fn take(&self, stop: &CancellationToken) -> Result<usize> {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(0),
            place = Arc::clone(&self.places).acquire_owned() => place,
        };
        let Ok(first) = first else { return Ok(0) };
        let mut places = vec![first];
        while let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            places.push(place);
        }
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let claims = self.webhooks.claim(places.len(), &busy).await?;
        let taken = claims.len();
        for (claim, place) in claims.into_iter().zip(places) {
            let (dispatcher, visit) = (self.clone(), self.visit(&claim));
            let (webhook, id) = (claim.webhook.id.to_string(), claim.delivery.id.to_string());
            let span = trace::delivery(&webhook, &id, claim.delivery.attempts);
            let delivered = async move {
                dispatcher.deliver(claim).await;
                drop((visit, place));
                // The next event of the job, or another that waited for the place, may go.
                dispatcher.webhooks.jobs.hub.posted();
            };
            self.running.spawn(delivered.instrument(span));
        }
        Ok(taken)
    }

    fn visit(&self, claim: &Claim) -> Visit {
        let (host, user) = (claim.webhook.host.clone(), claim.webhook.account_id);
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        *busy.hosts.entry(host.clone()).or_default() += 1;
        *busy.users.entry(user).or_default() += 1;
        Visit { busy: Arc::clone(&self.busy), host, user }
    }

    async fn deliver(&self, claim: Claim) {
        let outcome = match self.attempt(&claim).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(delivery.id = %claim.delivery.id, %error, "a delivery could not be prepared");
                let error = "The server could not prepare the message.".to_owned();
                Outcome::Failed { status: None, error, retry_after: None }
            }
        };
        let taken = match self.webhooks.finish(&claim, outcome.clone()).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(delivery.id = %claim.delivery.id, %error, "what came of a delivery could not be written down");
                Taken::Lost
            }
        };
        let outcome_name = match taken {
            Taken::Delivered => "delivered",
            Taken::Again => "failed",
            Taken::GivenUp => "given_up",
            Taken::Dropped => "dropped",
            Taken::Lost => "lost",
        };
        metrics::counter!(WEBHOOK_DELIVERIES, "outcome" => outcome_name).increment(1);
        // Not the address: its path and parameters may be a secret.
        let (id, webhook, host) = (claim.delivery.id, claim.webhook.id, claim.webhook.host);
        let attempt = claim.delivery.attempts;
        if taken == Taken::GivenUp {
            tracing::warn!(delivery.id = %id, webhook.id = %webhook, webhook.host = host, attempt, ?outcome, "a delivery is given up");
        } else {
            tracing::debug!(delivery.id = %id, webhook.id = %webhook, webhook.host = host, attempt, ?outcome, "a delivery was tried");
        }
    }

    /// What comes of sending once.
    async fn attempt(&self, claim: &Claim) -> Result<Outcome> {
        let Ok(url) = self.webhooks.targets.check(&claim.webhook.url) else {
            return Ok(Outcome::Refused(NOT_ALLOWED.to_owned()));
        };
        // What is sent later than this could meet the next attempt of somebody who takes this claim for lost.
        let longest = (SLACK / 2).to_std().map_err(Error::internal)?;
        let message = tokio::time::timeout(longest, self.webhooks.message(claim)).await;
        let message = message.map_err(|_| Error::Unavailable("The database is busy.".into()))??;
        let Some(body) = message else { return Ok(Outcome::Dropped) };
        let (id, at) = (claim.delivery.id, self.webhooks.jobs.clock.now());
        let signature = signature::sign(&claim.webhook, id, at, &body)?;
        let span = Span::current();
        trace::asked(&span, &url);
        let signed = Signed { id: id.to_string(), at, signature, trace: trace::headers(&span) };
        let outcome = self.sender.send(url, signed, body).await;
        ended(&span, &outcome);
        Ok(outcome)
    }

    async fn clear(&self) {
        let days = TimeDelta::days(self.webhooks.settings.log_days.into());
        match self.webhooks.clear(self.webhooks.jobs.clock.now() - days).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "old deliveries to webhooks were removed from the log"),
            Err(error) => tracing::error!(%error, "old deliveries to webhooks could not be removed"),
        }
    }
}

/// Has a span say what came of its attempt.
fn ended(span: &Span, outcome: &Outcome) {
    let (status, error) = match outcome {
        Outcome::Delivered(status) => (Some(*status), None),
        Outcome::Gone => (Some(StatusCode::GONE.as_u16()), None),
        Outcome::Failed { status, .. } => (*status, Some("failed")),
        Outcome::Refused(_) => (None, Some("not_allowed")),
        Outcome::Dropped => (None, None),
    };
    trace::delivered(span, status, error);
}
