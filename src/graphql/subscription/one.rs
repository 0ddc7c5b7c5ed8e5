//! Subscriptions to one job.

use std::collections::VecDeque;
use std::time::Duration;

use async_graphql::{Context, ID};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use sea_orm::DbBackend;

use super::super::context::RequestContext;
use super::super::history::JobEvent;
use super::super::job::Job;
use super::{PAGE, while_good};
use crate::access::policy::Standing;
use crate::access::{self, Actor, View};
use crate::app::App;
use crate::error::{Error, Result};
use crate::events::Watch;
use crate::id::JobId;
use crate::job::{Snapshot, history};

/// Interval at which a job is read without a wake-up, if other nodes may have changed it: a wake-up can be lost.
const FLOOR: Duration = Duration::from_secs(30);

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
        let watcher = Watcher::start(ctx, &id).await?;
        Ok(try_unfold((watcher, None, false), |(mut watcher, mut sent, ended)| async move {
            if ended {
                return Ok(None);
            }
            loop {
                let Some(snapshot) = watcher.look().await? else { return Ok(None) };
                let seen = Seen::of(&snapshot);
                if sent.as_ref() != Some(&seen) {
                    sent = Some(seen);
                    let ended = snapshot.job.status.is_final();
                    let job = Job::with_task(snapshot.job.clone(), snapshot.task.clone());
                    return Ok(Some((job, (watcher, sent, ended))));
                }
                watcher.wait().await?;
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
        let watcher = Watcher::start(ctx, &job_id).await?;
        let from = after
            .as_deref()
            .map(|cursor| history::parse_cursor_of(watcher.id, cursor))
            .transpose()?
            .unwrap_or(0);
        let pending: VecDeque<JobEvent> = VecDeque::new();
        Ok(try_unfold((watcher, from, pending), |(mut watcher, mut last, mut pending)| async move {
            loop {
                // Checked while events are pending, too: a viewer who loses access receives none of them.
                let Some(snapshot) = watcher.look().await? else { return Ok(None) };
                if let Some(event) = pending.pop_front() {
                    return Ok(Some((event, (watcher, last, pending))));
                }
                if snapshot.job.seq > last {
                    let rows = watcher.app.jobs.history(watcher.id, last, PAGE).await?;
                    if let Some(newest) = rows.last() {
                        last = newest.sequence;
                        let (types, job) = (&watcher.app.jobs.types, &snapshot.job);
                        let job_type = types.version(&job.type_id, job.type_version).await?;
                        let seen = |row| JobEvent::seen_by(&watcher.standing, &job_type, row, job.clone());
                        pending = rows.into_iter().map(seen).collect();
                        continue;
                    }
                }
                if snapshot.job.status.is_final() {
                    return Ok(None);
                }
                watcher.wait().await?;
            }
        }))
    }
}

/// The parts of a job whose change is sent to a subscriber.
#[derive(PartialEq)]
struct Seen {
    sequence: i64,
    fraction: Option<f64>,
    message: Option<String>,
}

impl Seen {
    fn of(snapshot: &Snapshot) -> Self {
        let task = snapshot.task.as_ref();
        Self {
            sequence: snapshot.job.seq,
            fraction: task.map(|task| task.fraction),
            message: task.and_then(|task| task.message.clone()),
        }
    }
}

/// The subscription of one viewer to one job.
struct Watcher {
    app: App,
    actor: Actor,
    id: JobId,
    watch: Watch<Snapshot>,
    standing: Standing,
}

impl Watcher {
    async fn start(ctx: &Context<'_>, id: &str) -> Result<Self> {
        let (app, actor) = (ctx.app()?.clone(), ctx.actor()?.clone());
        let id = JobId::parse(id).ok_or_else(|| Error::not_found("job"))?;
        let watch = app.jobs.hub.watch(id);
        let standing = access::job::<View>(app.db.read(), &actor, id).await?.standing().clone();
        Ok(Self { app, actor, id, watch, standing })
    }

    /// Returns the job as of the last wake-up, shared with its other subscribers; `None` once it is deleted.
    async fn look(&mut self) -> Result<Option<std::sync::Arc<Snapshot>>> {
        let generation = self.watch.now();
        let read = || async { self.app.jobs.snapshot(self.id).await?.ok_or_else(|| Error::not_found("job")) };
        let snapshot = match generation.get(read).await {
            Ok(snapshot) => snapshot,
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let standing = snapshot.audience.standing(&self.actor, snapshot.job.owner_id);
        self.standing =
            standing.ok_or_else(|| Error::Forbidden("This job is not shared with you any more.".into()))?;
        Ok(Some(snapshot))
    }

    /// Waits for the next wake-up. Returns an error if the viewer's credential expires first.
    async fn wait(&mut self) -> Result<()> {
        let Self { app, actor, watch, .. } = self;
        if app.db.backend() != DbBackend::Postgres {
            return while_good(app, actor, watch.changed()).await;
        }
        let hinted = tokio::time::timeout(FLOOR, watch.changed());
        if while_good(app, actor, hinted).await?.is_err() {
            watch.refresh(FLOOR);
        }
        Ok(())
    }
}
