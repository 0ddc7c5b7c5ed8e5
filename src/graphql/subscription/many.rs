//! Subscriptions to many jobs: changes as they happen, and the feed of all events.

use std::collections::VecDeque;
use std::sync::Arc;

use async_graphql::Context;
use chrono::TimeDelta;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::context::RequestContext;
use super::super::history::JobEvent;
use super::super::job::Job;
use super::super::job_input::JobFilter;
use super::super::review::{Review, ReviewFilter};
use super::wait::{BATCH_ROWS, wait_until_expiry};
use crate::access::Actor;
use crate::app::App;
use crate::changes::{ChangeReceiver, Changes, Reader, ReaderFilter};
use crate::clock::Timestamp;
use crate::db;
use crate::entity::{self, job};
use crate::error::{Error, Result};
use crate::events::feed::FeedPosition;
use crate::job::{Jobs, history, query};
use crate::review;

/// Maximum time between reading the clock and the commit of a transaction that waited for a lock.
const COMMIT_DELAY_MARGIN: TimeDelta = TimeDelta::seconds(5);

#[derive(Default)]
pub(in crate::graphql) struct ListSubscription;

#[async_graphql::Subscription]
impl ListSubscription {
    /// Sends each visible job that matches, whenever it changes.
    /// A job is sent in its current state. Changes that happen at the same time, or faster than the client reads them,
    /// are combined.
    async fn jobs_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Conditions that the jobs must meet.")] filter: Option<JobFilter>,
    ) -> Result<impl Stream<Item = Result<Job>> + use<>> {
        let filter = filter.map(JobFilter::parse).transpose()?.unwrap_or_default();
        let subscriber = ChangeSubscriber::start(ctx, ReaderFilter::Jobs(filter.clone()))?;
        // This query reports an invalid filter immediately, not at the first change.
        subscriber.app.jobs.among(&subscriber.actor, &filter, []).await?;
        let pending: VecDeque<job::Model> = VecDeque::new();
        Ok(try_unfold((subscriber, filter, pending), |(mut subscriber, filter, mut pending)| async move {
            loop {
                let (jobs, actor) = (&subscriber.app.jobs, &subscriber.actor);
                if has_access_changed(&mut subscriber.reader, jobs) && !pending.is_empty() {
                    pending = jobs.among(actor, &filter, pending.iter().map(|row| row.id)).await?.into();
                }
                if let Some(row) = pending.pop_front() {
                    return Ok(Some((Job::new(row), (subscriber, filter, pending))));
                }
                if let Some(after) = subscriber.missed_after.take() {
                    pending = jobs.changed_after(actor, &filter, after, BATCH_ROWS).await?.into();
                    if let Some(last) = pending.back().filter(|_| pending.len() as u64 == BATCH_ROWS) {
                        subscriber.missed_after = Some((last.updated_at, last.id.0));
                    }
                    continue;
                }
                let broadcast = subscriber.next().await?;
                let (jobs, actor) = (&subscriber.app.jobs, &subscriber.actor);
                let ids = broadcast.jobs(actor, subscriber.started, true);
                if !ids.is_empty() {
                    let read = || jobs.among(actor, &filter, ids.clone());
                    let rows = broadcast.job_rows.get(&subscriber.reader, ids.clone(), read).await?;
                    pending = rows.iter().cloned().collect();
                }
            }
        }))
    }

    /// Sends each review that the viewer can work on, whenever it opens or changes.
    /// A review is sent in its current state. Without a filter, decided reviews are sent too, so that lists can drop
    /// them.
    async fn reviews_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Conditions that the reviews must meet.")] filter: Option<ReviewFilter>,
    ) -> Result<impl Stream<Item = Result<Review>> + use<>> {
        let filter = filter.map(review::Filter::from).unwrap_or_default();
        let subscriber = ChangeSubscriber::start(ctx, ReaderFilter::Reviews(filter.clone()))?;
        let pending: VecDeque<entity::review::Model> = VecDeque::new();
        Ok(try_unfold((subscriber, filter, pending), |(mut subscriber, filter, mut pending)| async move {
            loop {
                let (jobs, actor) = (&subscriber.app.jobs, &subscriber.actor);
                if has_access_changed(&mut subscriber.reader, jobs) && !pending.is_empty() {
                    pending =
                        review::among(jobs, actor, &filter, pending.iter().map(|row| row.id)).await?.into();
                }
                if let Some(row) = pending.pop_front() {
                    return Ok(Some((Review(row), (subscriber, filter, pending))));
                }
                if let Some(after) = subscriber.missed_after.take() {
                    pending = review::changed_after(jobs, actor, &filter, after, BATCH_ROWS).await?.into();
                    if let Some(last) = pending.back().filter(|_| pending.len() as u64 == BATCH_ROWS) {
                        subscriber.missed_after = last.updated_at.map(|at| (at, last.id.0));
                    }
                    continue;
                }
                let broadcast = subscriber.next().await?;
                let (jobs, actor) = (&subscriber.app.jobs, &subscriber.actor);
                let ids = broadcast.reviews(actor, subscriber.started);
                if !ids.is_empty() {
                    let read = || review::among(jobs, actor, &filter, ids.clone());
                    let rows = broadcast.review_rows.get(&subscriber.reader, ids.clone(), read).await?;
                    pending = rows.iter().cloned().collect();
                }
            }
        }))
    }

    /// Sends the events of every visible job that matches, in one durable order.
    /// Events after the cursor `after` are sent first, then new events as they happen. Ends with UNAUTHENTICATED when
    /// the viewer's credential expires.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Conditions on the job when the event is read.")] filter: Option<JobFilter>,
        #[graphql(desc = "Cursor of the last event received; null means the start.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<JobEvent>> + use<>> {
        let filter = filter.map(JobFilter::parse).transpose()?.unwrap_or_default();
        let from = after.as_deref().map(history::parse_cursor).transpose()?.unwrap_or(FeedPosition::START);
        let feed = FeedSubscriber {
            subscriber: ChangeSubscriber::start(ctx, ReaderFilter::Jobs(filter.clone()))?,
            filter,
            sent: from,
            read: from,
            pending: VecDeque::new(),
            broadcast: None,
        };
        Ok(try_unfold(feed, |mut feed| async move {
            loop {
                if has_access_changed(&mut feed.subscriber.reader, &feed.subscriber.app.jobs) {
                    // Pending events may no longer be visible to the viewer, so they are read again.
                    (feed.read, feed.pending) = (feed.sent, VecDeque::new());
                }
                if let Some(history::FeedEvent { event, job, standing }) = feed.pending.pop_front() {
                    feed.sent = FeedPosition::of(&event);
                    let types = &feed.subscriber.app.jobs.types;
                    let job_type = types.version(&job.type_id, job.type_version).await?;
                    return Ok(Some((JobEvent::visible_to(&standing, &job_type, event, job), feed)));
                }
                feed.sent = feed.read;
                let ChangeSubscriber { app, actor, reader, .. } = &feed.subscriber;
                let read = || app.jobs.feed(actor, &feed.filter, feed.read, BATCH_ROWS);
                let batch = match &feed.broadcast {
                    Some(broadcast) => broadcast.feed_pages.get(reader, feed.read, read).await?,
                    None => Arc::new(read().await?),
                };
                (feed.read, feed.pending) = (batch.next, batch.events.iter().cloned().collect());
                if feed.pending.is_empty() && !batch.more {
                    feed.wait().await?;
                }
            }
        }))
    }
}

/// Subscription of one viewer to the feed.
struct FeedSubscriber {
    subscriber: ChangeSubscriber,
    filter: query::Filter,
    /// Position up to which every event was sent or is invisible to the viewer.
    sent: FeedPosition,
    /// Position up to which every event was read; unsent events are pending.
    read: FeedPosition,
    pending: VecDeque<history::FeedEvent>,
    /// The latest broadcast, which subscribers at the same position use to share the events that they read.
    broadcast: Option<Arc<Changes>>,
}

impl FeedSubscriber {
    /// Waits until there may be a new event for this viewer.
    async fn wait(&mut self) -> Result<()> {
        // The broadcast is exhausted. Keeping it would keep rows of other subscribers in memory.
        self.broadcast = None;
        loop {
            let broadcast = self.subscriber.next().await?;
            match broadcast.skip(&self.subscriber.actor, self.read) {
                Some(position) => self.read = position,
                None => {
                    self.broadcast = Some(broadcast);
                    break;
                }
            }
        }
        self.sent = self.read;
        Ok(())
    }
}

/// Returns whether the access of any user has changed since the last call.
fn has_access_changed(reader: &mut Reader, jobs: &Jobs) -> bool {
    let now = jobs.hub.access_version();
    std::mem::replace(&mut reader.access_version, now) != now
}

/// Receiver of the change broadcasts for one viewer.
struct ChangeSubscriber {
    app: App,
    actor: Actor,
    receiver: ChangeReceiver,
    started: Instant,
    /// Time at which the last broadcast was received; changes before it were read.
    received: Instant,
    /// Time of change and ID after which missed changes are read.
    missed_after: Option<(Timestamp, Uuid)>,
    reader: Reader,
}

impl ChangeSubscriber {
    fn start(ctx: &Context<'_>, filter: ReaderFilter) -> Result<Self> {
        let (app, actor) = (ctx.app()?.clone(), ctx.actor()?.clone());
        let started = Instant::now();
        let receiver = app.changes.subscribe();
        let reader = Reader::new(&actor, filter, app.jobs.hub.access_version());
        Ok(Self { app, actor, receiver, started, received: started, missed_after: None, reader })
    }

    /// Waits for the next broadcast, and records the start of missed changes.
    async fn next(&mut self) -> Result<Arc<Changes>> {
        let broadcast = wait_until_expiry(&self.app, &self.actor, self.receiver.next()).await?;
        let received = std::mem::replace(&mut self.received, Instant::now());
        if broadcast.missed {
            // Changes have times of the clock that all nodes share, which may differ from the clock of this node.
            let now = db::now(self.app.db.read(), &self.app.clock).await?;
            let since = TimeDelta::from_std(received.elapsed()).map_err(Error::internal)?;
            self.missed_after = Some((now - since - COMMIT_DELAY_MARGIN, Uuid::nil()));
        }
        Ok(broadcast)
    }
}
