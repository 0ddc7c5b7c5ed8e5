//! The change poller: finds the changes of all nodes and broadcasts them on this node.

use std::collections::BTreeSet;
use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::broadcast::{ChangeBroadcast, Changes, FeedRange};
use super::remote::RemoteState;
use crate::access::Audience;
use crate::entity::enums::EventKind;
use crate::entity::job_event;
use crate::error::Result;
use crate::events::ChangeBatch;
use crate::events::feed::{self, FeedPosition};
use crate::id::{JobId, ReviewId};
use crate::job::Jobs;

/// Maximum time between two polls on PostgreSQL. Other nodes write to the feed without a wake-up here, and events of this
/// node appear only when all older transactions have ended.
const SHARED_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum time between two polls on SQLite, which one node uses alone.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Minimum time between two polls. Changes within it are broadcast together.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Events of the feed in one read.
const PAGE: u64 = 1_000;
/// Maximum number of jobs in a broadcast. If more have changed, the broadcast is [`Changes::missed`].
const MAX_JOBS: usize = 1_000;

/// Finds the changes of all nodes. One runs on each node.
#[derive(Debug)]
pub struct ChangePoller {
    jobs: Jobs,
    broadcast: ChangeBroadcast,
    /// The position up to which the feed was read; `None` while nobody subscribes.
    from: Option<FeedPosition>,
    remote: RemoteState,
}

/// Whether a poll has found the events of all wake-ups.
enum Polled {
    /// The feed contains all of them.
    Complete,
    /// Some events are hidden behind an older transaction, which will end soon.
    Lagging,
}

impl ChangePoller {
    /// Returns a poller that broadcasts all changes from now on. Call it before the first subscription.
    pub async fn start(jobs: &Jobs, broadcast: &ChangeBroadcast) -> Result<Self> {
        let from = FeedPosition::before(feed::horizon(&jobs.db).await?);
        Ok(Self { from: Some(from), ..Self::restart(jobs, broadcast) })
    }

    /// Returns a poller that replaces one that has panicked. It starts with a broadcast that changes were missed.
    pub(crate) fn restart(jobs: &Jobs, broadcast: &ChangeBroadcast) -> Self {
        let (jobs, broadcast) = (jobs.clone(), broadcast.clone());
        Self { jobs, broadcast, from: None, remote: RemoteState::default() }
    }

    /// Polls until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        if self.from.is_none() {
            self.broadcast.send(Changes::missed());
        }
        let poll_forever = async {
            loop {
                let started = Instant::now();
                let interval = match self.poll().await {
                    Polled::Lagging => MIN_POLL_INTERVAL,
                    Polled::Complete if self.is_shared() => SHARED_POLL_INTERVAL,
                    Polled::Complete => POLL_INTERVAL,
                };
                sleep_until(started + MIN_POLL_INTERVAL).await;
                // The next poll is due after a wake-up or after the interval.
                let _wake_up = timeout_at(started + interval, self.jobs.hub.wait_for_change()).await;
            }
        };
        stop.run_until_cancelled(poll_forever).await;
    }

    /// Whether other nodes use the database too.
    fn is_shared(&self) -> bool {
        self.jobs.db.backend() == DbBackend::Postgres
    }

    async fn poll(&mut self) -> Polled {
        let broadcast = self.broadcast.clone();
        let _polling = broadcast.pause().await;
        let batch = self.jobs.hub.take_changes();
        if broadcast.subscribers() == 0 && !self.is_shared() {
            self.from = None;
            return Polled::Complete;
        }
        match self.read(batch).await {
            Ok((changes, polled)) => {
                if let Some(changes) = changes {
                    broadcast.send(changes);
                }
                polled
            }
            Err(error) => {
                tracing::warn!(%error, "failed to read changes");
                broadcast.send(Changes::missed());
                Polled::Complete
            }
        }
    }

    /// Reads the changes, if there are any and someone subscribes.
    async fn read(&mut self, mut batch: ChangeBatch) -> Result<(Option<Changes>, Polled)> {
        let db = &self.jobs.db;
        let horizon = FeedPosition::before(feed::horizon(db).await?);
        let from = self.from.unwrap_or(horizon);
        let woken: BTreeSet<JobId> = batch.jobs.keys().copied().collect();
        let in_feed = self.read_feed(from, horizon, &mut batch).await?;
        let to = horizon.max(from);
        // After an empty range, the next one starts at the same position, so that it contains those of all subscribers.
        self.from = Some(if in_feed.is_empty() { from } else { to });
        if self.is_shared() {
            let diff = self.remote.poll(db.read()).await?;
            if diff.memberships {
                self.jobs.hub.membership_changed();
            }
            diff.progress.iter().for_each(|job| self.jobs.hub.wake(*job));
            let now = std::time::Instant::now();
            batch.progress.extend(diff.progress.into_iter().map(|job| (job, now)));
        }
        let polled = if woken.is_subset(&in_feed) { Polled::Complete } else { Polled::Lagging };
        if self.broadcast.subscribers() == 0 {
            return Ok((None, polled));
        }
        let reviewed = batch.reviews.values().map(|(job, _)| job);
        let woken = batch.jobs.keys().chain(batch.progress.keys()).chain(reviewed);
        let all: BTreeSet<JobId> = woken.chain(&in_feed).copied().collect();
        if batch.missed || all.len() > MAX_JOBS {
            return Ok((Some(Changes::missed()), polled));
        }
        if all.is_empty() {
            return Ok((None, polled));
        }
        let audiences = Audience::of(db.read(), all).await?;
        let feed = FeedRange { from, to, jobs: in_feed };
        Ok((Some(Changes::new(batch, feed, audiences)), polled))
    }

    /// Reads a range of the feed, and returns the jobs whose events are in it. Events of other nodes become wake-ups here.
    async fn read_feed(
        &self,
        mut from: FeedPosition,
        to: FeedPosition,
        batch: &mut ChangeBatch,
    ) -> Result<BTreeSet<JobId>> {
        let Jobs { db, hub, .. } = &self.jobs;
        let mut jobs = BTreeSet::new();
        while from < to {
            // Without the data of the events, which can be large, and without their kinds, which a newer version may add.
            let rows = job_event::Entity::find()
                .select_only()
                .column(job_event::Column::Position)
                .column(job_event::Column::JobId)
                .column(job_event::Column::Sequence)
                .expr_as(job_event::Column::Kind.eq(EventKind::CollaborationChanged), "changes_access")
                .expr_as(Expr::cust("data->>'reviewId'"), "review")
                .filter(feed::after(from))
                .filter(job_event::Column::Position.lt(to.position))
                .order_by_asc(job_event::Column::Position)
                .order_by_asc(job_event::Column::JobId)
                .order_by_asc(job_event::Column::Sequence)
                .limit(PAGE);
            let rows: Vec<(i64, JobId, i64, bool, Option<String>)> = rows.into_tuple().all(db.read()).await?;
            for (_, job, sequence, changes_access, review) in &rows {
                jobs.insert(*job);
                if hub.has_announced(*job, *sequence) {
                    continue;
                }
                if *changes_access {
                    hub.access_changed();
                }
                hub.wake(*job);
                batch.jobs.insert(*job, std::time::Instant::now());
                let review = review.as_deref().and_then(ReviewId::parse);
                batch.reviews.extend(review.map(|review| (review, (*job, std::time::Instant::now()))));
            }
            match rows.last() {
                Some((position, job, sequence, ..)) if rows.len() as u64 == PAGE => {
                    from = FeedPosition { position: *position, job: *job, sequence: *sequence };
                }
                _ => break,
            }
        }
        Ok(jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{actor, new_job, open, upload};
    use crate::config::Switch;
    use crate::job::query::Filter;
    use crate::job::state::Mode;

    #[tokio::test]
    async fn changes_reach_users_with_access_and_advance_all_others() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let eve = actor(&app, "eve", Mode::Live).await;
        let position = FeedPosition::before(feed::horizon(&app.db).await.unwrap());
        let before = Instant::now();
        let mut poller = ChangePoller::start(&app.jobs, &app.changes).await.unwrap();
        let mut receiver = app.changes.subscribe();
        let input = upload(&app, &ada, "text").await;
        let job = app.jobs.create(&ada, new_job("noop", &input)).await.unwrap().id;
        poller.poll().await;
        let changes = receiver.next().await;
        let after = Instant::now();
        assert_eq!(changes.jobs(&ada, before, false).into_iter().collect::<Vec<_>>(), [job]);
        assert!(changes.jobs(&ada, after, true).is_empty(), "a subscriber from now on has read it");
        assert!(changes.is_visible(&ada, job) && !changes.is_visible(&eve, job));
        assert_eq!(changes.skip(&ada, position), None);
        let next = changes.skip(&eve, position).unwrap();
        assert!(next > position && changes.skip(&eve, next) == Some(next));
        assert_eq!(changes.skip(&eve, FeedPosition::START), None, "events before the range are unknown");
        assert_eq!(app.jobs.feed(&ada, &Filter::default(), next, 1).await.unwrap().events.len(), 0);
    }

    #[tokio::test]
    async fn event_of_unknown_kind_is_a_change_of_its_job() {
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let ada = actor(&app, "ada", Mode::Live).await;
        let before = Instant::now();
        let mut poller = ChangePoller::start(&app.jobs, &app.changes).await.unwrap();
        let mut receiver = app.changes.subscribe();
        let input = upload(&app, &ada, "text").await;
        let job = app.jobs.create(&ada, new_job("noop", &input)).await.unwrap().id;
        let newer = job_event::Entity::update_many().col_expr(job_event::Column::Kind, Expr::value("FROZEN"));
        newer.exec(app.db.writer()).await.unwrap();
        poller.poll().await;
        let changes = receiver.next().await;
        assert!(!changes.missed && changes.jobs(&ada, before, false).contains(&job));
    }
}
