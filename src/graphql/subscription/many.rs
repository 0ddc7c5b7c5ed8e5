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
use super::{PAGE, while_good};
use crate::access::Actor;
use crate::app::App;
use crate::clock::Timestamp;
use crate::entity::{self, job};
use crate::error::Result;
use crate::events::feed::Place;
use crate::job::news::{Following, News, Reader};
use crate::job::{Jobs, history, query};
use crate::review;

/// Maximum time between reading the clock and the commit of a transaction that waited for a lock.
const MARGIN: TimeDelta = TimeDelta::seconds(5);

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
        let follower = Follower::start(ctx, &filter)?;
        // An invalid filter fails now, not at the first change.
        follower.app.jobs.among(&follower.actor, &filter, []).await?;
        let pending: VecDeque<job::Model> = VecDeque::new();
        Ok(try_unfold((follower, filter, pending), |(mut follower, filter, mut pending)| async move {
            loop {
                let (jobs, actor) = (&follower.app.jobs, &follower.actor);
                if shares_changed(&mut follower.reader, jobs) && !pending.is_empty() {
                    pending = jobs.among(actor, &filter, pending.iter().map(|row| row.id)).await?.into();
                }
                if let Some(row) = pending.pop_front() {
                    return Ok(Some((Job::new(row), (follower, filter, pending))));
                }
                if let Some(after) = follower.missed.take() {
                    pending = jobs.changed_after(actor, &filter, after, PAGE).await?.into();
                    if let Some(last) = pending.back().filter(|_| pending.len() as u64 == PAGE) {
                        follower.missed = Some((last.updated_at, last.id.0));
                    }
                    continue;
                }
                let news = follower.next().await?;
                let (jobs, actor) = (&follower.app.jobs, &follower.actor);
                let ids = news.jobs(actor, follower.began, true);
                if !ids.is_empty() {
                    let read = || jobs.among(actor, &filter, ids.clone());
                    let rows = news.job_rows.get(&follower.reader, ids.clone(), read).await?;
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
        let follower = Follower::start(ctx, &filter)?;
        let pending: VecDeque<entity::review::Model> = VecDeque::new();
        Ok(try_unfold((follower, filter, pending), |(mut follower, filter, mut pending)| async move {
            loop {
                let (jobs, actor) = (&follower.app.jobs, &follower.actor);
                if shares_changed(&mut follower.reader, jobs) && !pending.is_empty() {
                    pending =
                        review::among(jobs, actor, &filter, pending.iter().map(|row| row.id)).await?.into();
                }
                if let Some(row) = pending.pop_front() {
                    return Ok(Some((Review(row), (follower, filter, pending))));
                }
                if let Some(after) = follower.missed.take() {
                    pending = review::changed_after(jobs, actor, &filter, after, PAGE).await?.into();
                    if let Some(last) = pending.back().filter(|_| pending.len() as u64 == PAGE) {
                        follower.missed = last.updated_at.map(|at| (at, last.id.0));
                    }
                    continue;
                }
                let news = follower.next().await?;
                let (jobs, actor) = (&follower.app.jobs, &follower.actor);
                let ids = news.reviews(actor, follower.began);
                if !ids.is_empty() {
                    let read = || review::among(jobs, actor, &filter, ids.clone());
                    let rows = news.review_rows.get(&follower.reader, ids.clone(), read).await?;
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
        let from = after.as_deref().map(history::parse_cursor).transpose()?.unwrap_or(Place::START);
        let feed = Feed {
            follower: Follower::start(ctx, &filter)?,
            filter,
            sent: from,
            read: from,
            pending: VecDeque::new(),
            news: None,
        };
        Ok(try_unfold(feed, |mut feed| async move {
            loop {
                if shares_changed(&mut feed.follower.reader, &feed.follower.app.jobs) {
                    // Pending events may no longer be visible to the viewer, so they are read again.
                    (feed.read, feed.pending) = (feed.sent, VecDeque::new());
                }
                if let Some(history::FeedEvent { event, job, standing }) = feed.pending.pop_front() {
                    feed.sent = Place::of(&event);
                    let types = &feed.follower.app.jobs.types;
                    let job_type = types.version(&job.type_id, job.type_version).await?;
                    return Ok(Some((JobEvent::seen_by(&standing, &job_type, event, job), feed)));
                }
                feed.sent = feed.read;
                let Follower { app, actor, reader, .. } = &feed.follower;
                let read = || app.jobs.feed(actor, &feed.filter, feed.read, PAGE);
                let part = match &feed.news {
                    Some(news) => news.parts.get(reader, feed.read, read).await?,
                    None => Arc::new(read().await?),
                };
                (feed.read, feed.pending) = (part.next, part.events.iter().cloned().collect());
                if feed.pending.is_empty() && !part.more {
                    feed.wait().await?;
                }
            }
        }))
    }
}

/// State of a subscription to the feed.
struct Feed {
    follower: Follower,
    filter: query::Filter,
    /// Every event up to this position was sent, or is not visible to the viewer.
    sent: Place,
    /// Every event up to this position was read; those that were not sent are pending.
    read: Place,
    pending: VecDeque<history::FeedEvent>,
    /// The latest broadcast. Other readers that continue from the same position share the events read after it.
    news: Option<Arc<News>>,
}

impl Feed {
    /// Waits until there may be a new event for this viewer.
    async fn wait(&mut self) -> Result<()> {
        // The broadcast is exhausted, and keeping it would keep the rows of other readers alive.
        self.news = None;
        loop {
            let news = self.follower.next().await?;
            match news.passed(&self.follower.actor, self.read) {
                Some(place) => self.read = place,
                None => {
                    self.news = Some(news);
                    break;
                }
            }
        }
        self.sent = self.read;
        Ok(())
    }
}

/// Returns whether anyone's access has changed since the last call.
fn shares_changed(reader: &mut Reader, jobs: &Jobs) -> bool {
    let now = jobs.hub.shares();
    std::mem::replace(&mut reader.shares, now) != now
}

/// The change broadcasts that one viewer receives.
struct Follower {
    app: App,
    actor: Actor,
    following: Following,
    began: Instant,
    /// Changes before this time have been looked up.
    since: Timestamp,
    /// Position after which missed changes are looked up, by time of change and ID.
    missed: Option<(Timestamp, Uuid)>,
    reader: Reader,
}

impl Follower {
    fn start(ctx: &Context<'_>, filter: &impl std::fmt::Debug) -> Result<Self> {
        let (app, actor) = (ctx.app()?.clone(), ctx.actor()?.clone());
        let began = Instant::now();
        let (following, since) = (app.jobs.news.follow(), app.clock.now());
        let reader = Reader::new(&actor, filter, app.jobs.hub.shares());
        Ok(Self { app, actor, following, began, since, missed: None, reader })
    }

    /// Waits for the next broadcast, and notes the start of any missed changes.
    async fn next(&mut self) -> Result<Arc<News>> {
        let news = while_good(&self.app, &self.actor, self.following.next()).await?;
        let since = std::mem::replace(&mut self.since, self.app.clock.now() - MARGIN);
        if news.missed {
            self.missed = Some((since, Uuid::nil()));
        }
        Ok(news)
    }
}
