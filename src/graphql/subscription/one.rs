//! Subscriptions to one job.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use sea_orm::DbBackend;

use super::super::context::RequestContext;
use super::super::history::JobEvent;
use super::super::job::Job;
use super::wait::{BATCH_ROWS, wait_until_expiry};
use crate::access::policy::Standing;
use crate::access::{self, Actor, View};
use crate::app::App;
use crate::error::{Error, Result};
use crate::events::ChangeSubscription;
use crate::id::JobId;
use crate::job::{Snapshot, history};

/// Interval at which a job is read without a wake-up, because wake-ups from other nodes can be lost.
const FALLBACK_POLL_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(in crate::graphql) struct JobSubscription;

#[async_graphql::Subscription]
impl JobSubscription {
    /// Sends the job now, and again at every change of status, step, or progress.
    /// Ends after a final status. Fails with NOT_FOUND if the viewer cannot see the job.
    async fn job_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
    ) -> Result<impl Stream<Item = Result<Job>> + use<>> {
        let subscriber = JobSubscriber::start(ctx, &id).await?;
        Ok(try_unfold((subscriber, None, false), |(mut subscriber, mut sent, has_ended)| async move {
            if has_ended {
                return Ok(None);
            }
            loop {
                let Some(snapshot) = subscriber.read_snapshot().await? else { return Ok(None) };
                let state = SentState::of(&snapshot);
                if sent.as_ref() != Some(&state) {
                    sent = Some(state);
                    let has_ended = snapshot.job.status.is_final();
                    let job = Job::with_task(snapshot.job.clone(), snapshot.task.clone());
                    return Ok(Some((job, (subscriber, sent, has_ended))));
                }
                subscriber.wait().await?;
            }
        }))
    }

    /// Sends the history of the job after the cursor `after`, then new events as they happen.
    /// Every event is sent once, in order. Ends after a final status. Fails with NOT_FOUND if the viewer cannot see the
    /// job.
    async fn job_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] job_id: ID,
        #[graphql(desc = "Cursor of the last event received; null means the start.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<JobEvent>> + use<>> {
        let subscriber = JobSubscriber::start(ctx, &job_id).await?;
        let start = after
            .as_deref()
            .map(|cursor| history::parse_job_cursor(subscriber.id, cursor))
            .transpose()?
            .unwrap_or(0);
        let pending: VecDeque<JobEvent> = VecDeque::new();
        Ok(try_unfold((subscriber, start, pending), |(mut subscriber, mut last, mut pending)| async move {
            loop {
                // Access is checked before each event: a viewer who loses access receives no pending events.
                let Some(snapshot) = subscriber.read_snapshot().await? else { return Ok(None) };
                if let Some(event) = pending.pop_front() {
                    return Ok(Some((event, (subscriber, last, pending))));
                }
                if snapshot.job.seq > last {
                    let rows = subscriber.app.jobs.history(subscriber.id, last, BATCH_ROWS).await?;
                    if let Some(newest) = rows.last() {
                        last = newest.sequence;
                        let (types, job) = (&subscriber.app.jobs.types, &snapshot.job);
                        let job_type = types.version(&job.type_id, job.type_version).await?;
                        let event =
                            |row| JobEvent::visible_to(&subscriber.standing, &job_type, row, job.clone());
                        pending = rows.into_iter().map(event).collect();
                        continue;
                    }
                }
                if snapshot.job.status.is_final() {
                    return Ok(None);
                }
                subscriber.wait().await?;
            }
        }))
    }
}

/// State of a job that was sent to a subscriber. Any difference causes the job to be sent again.
#[derive(PartialEq)]
struct SentState {
    sequence: i64,
    fraction: Option<f64>,
    message: Option<String>,
}

impl SentState {
    fn of(snapshot: &Snapshot) -> Self {
        let task = snapshot.task.as_ref();
        Self {
            sequence: snapshot.job.seq,
            fraction: task.map(|task| task.fraction),
            message: task.and_then(|task| task.message.clone()),
        }
    }
}

/// Subscription of one viewer to one job.
struct JobSubscriber {
    app: App,
    actor: Actor,
    id: JobId,
    subscription: ChangeSubscription<Snapshot>,
    standing: Standing,
}

impl JobSubscriber {
    async fn start(ctx: &Context<'_>, id: &str) -> Result<Self> {
        let (app, actor) = (ctx.app()?.clone(), ctx.actor()?.clone());
        let id = JobId::parse(id).ok_or_else(|| Error::not_found("job"))?;
        let subscription = app.jobs.hub.subscribe(id);
        let standing = access::job::<View>(app.db.read(), &actor, id).await?.standing().clone();
        Ok(Self { app, actor, id, subscription, standing })
    }

    /// Returns the snapshot since the last wake-up, shared with other subscribers; `None` if the job is deleted.
    async fn read_snapshot(&mut self) -> Result<Option<Arc<Snapshot>>> {
        let snapshot = loop {
            let generation = self.subscription.current();
            let read =
                || async { self.app.jobs.snapshot(self.id).await?.ok_or_else(|| Error::not_found("job")) };
            match generation.get(read).await {
                Ok(snapshot) => break snapshot,
                // The last state of a deleted job is published before its rows are deleted.
                Err(Error::NotFound(_)) if !Arc::ptr_eq(&generation, &self.subscription.current()) => {}
                Err(Error::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let standing = snapshot.audience.standing(&self.actor, snapshot.job.owner_id);
        self.standing =
            standing.ok_or_else(|| Error::Forbidden("This job is no longer shared with you.".into()))?;
        Ok(Some(snapshot))
    }

    /// Waits for the next wake-up. Returns an error if the viewer's credential expires first.
    async fn wait(&mut self) -> Result<()> {
        let Self { app, actor, subscription, .. } = self;
        if app.db.backend() != DbBackend::Postgres {
            return wait_until_expiry(app, actor, subscription.changed()).await;
        }
        let wake_up = tokio::time::timeout(FALLBACK_POLL_INTERVAL, subscription.changed());
        if wait_until_expiry(app, actor, wake_up).await?.is_err() {
            subscription.refresh(FALLBACK_POLL_INTERVAL);
        }
        Ok(())
    }
}
