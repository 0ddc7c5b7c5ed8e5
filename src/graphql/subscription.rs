//! Subscriptions. Each registers for hints first, then reads rows: what a hint says is never trusted, and one that is
//! lost costs nothing but the next reading.

use std::collections::VecDeque;

use async_graphql::{Context, ID};
use futures_util::Stream;
use futures_util::stream::try_unfold;

use super::context::RequestContext;
use super::history::JobEvent;
use super::job::Job;
use crate::access::policy::Standing;
use crate::access::{self, Actor, View};
use crate::account::expired;
use crate::app::App;
use crate::entity::job_event;
use crate::error::{Error, Result};
use crate::events::Watch;
use crate::id::JobId;
use crate::job::record::unname;
use crate::job::state::Status;
use crate::job::{Snapshot, history};

/// Events read at once.
const PAGE: u64 = 200;

/// What can be followed.
pub struct Subscription;

/// Streams that follow jobs. Access is checked again at every change: a job that the viewer may no longer see is not
/// sent, and a subscription to it alone ends with the error FORBIDDEN.
#[async_graphql::Subscription]
impl Subscription {
    /// The job now, then again at every change of status, step or progress; ends after a final status.
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
                    let ended = is_final(&snapshot)?;
                    let job = Job::with_task(snapshot.job.clone(), snapshot.task.clone());
                    return Ok(Some((job, (watcher, sent, ended))));
                }
                watcher.wait().await?;
            }
        }))
    }

    /// History from just after `after` (from the start where it is null), then live: every event once, in order. Ends
    /// after a final status.
    async fn job_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] job_id: ID,
        #[graphql(desc = "Cursor of the last event that was seen.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<JobEvent>> + use<>> {
        let watcher = Watcher::start(ctx, &job_id).await?;
        let from = after
            .as_deref()
            .map(|cursor| history::parse_cursor(watcher.id, cursor))
            .transpose()?
            .unwrap_or(0);
        let pending: VecDeque<job_event::Model> = VecDeque::new();
        Ok(try_unfold((watcher, from, pending), |(mut watcher, mut last, mut pending)| async move {
            loop {
                if let Some(row) = pending.pop_front() {
                    last = row.sequence;
                    let event = JobEvent::seen_by(&watcher.standing, row);
                    return Ok(Some((event, (watcher, last, pending))));
                }
                let Some(snapshot) = watcher.look().await? else { return Ok(None) };
                if snapshot.job.seq > last {
                    pending = watcher.app.jobs.history(watcher.id, last, PAGE).await?.into();
                    if !pending.is_empty() {
                        continue;
                    }
                }
                if is_final(&snapshot)? {
                    return Ok(None);
                }
                watcher.wait().await?;
            }
        }))
    }
}

/// What makes a difference to somebody who follows a job.
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

fn is_final(snapshot: &Snapshot) -> Result<bool> {
    Ok(unname::<Status>(&snapshot.job.status)?.is_final())
}

/// One viewer's eye on one job.
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

    /// The job since the last hint, shared with whoever else watches it; `None` once it is gone.
    async fn look(&mut self) -> Result<Option<std::sync::Arc<Snapshot>>> {
        let generation = self.watch.now();
        let read = || async { self.app.jobs.snapshot(self.id).await?.ok_or_else(|| Error::not_found("job")) };
        let snapshot = match generation.get(read).await {
            Ok(snapshot) => snapshot,
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let standing = access::standing(self.app.db.read(), &self.actor, &snapshot.job).await?;
        self.standing =
            standing.ok_or_else(|| Error::Forbidden("This job is not shared with you any more.".into()))?;
        Ok(Some(snapshot))
    }

    /// Waits for the next hint; an error when the viewer's credential runs out before it.
    async fn wait(&mut self) -> Result<()> {
        let expires_at = self.actor.credential.expires_at;
        let left = expires_at.map(|at| (at - self.app.clock.now()).to_std().unwrap_or_default());
        match left {
            Some(left) => {
                if tokio::time::timeout(left, self.watch.changed()).await.is_err()
                    && expired(expires_at, self.app.clock.now())
                {
                    return Err(Error::Unauthenticated(
                        "The credential of this subscription has expired.".into(),
                    ));
                }
            }
            None => self.watch.changed().await,
        }
        Ok(())
    }
}
