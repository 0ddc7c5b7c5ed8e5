//! Sends changes to the subscribers of this node.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver};
use tokio::time::Instant;

use super::shared::{RecentReads, SharedReads};
use crate::access::{Actor, Audience};
use crate::entity::{job, review};
use crate::events::ChangeBatch;
use crate::events::feed::FeedPosition;
use crate::id::{JobId, ReviewId};
use crate::job::history::FeedPage;
use crate::job::queue::backlog::Backlog;

/// Broadcasts that wait for a slow subscriber. One that falls further behind gets [`Changes::missed`].
const CHANNEL_CAPACITY: usize = 64;

/// The changes since the last broadcast.
#[derive(Debug)]
pub struct Changes {
    /// There were more changes than a broadcast holds: anything may have changed.
    pub missed: bool,
    changed: ChangeBatch,
    feed: FeedRange,
    audiences: HashMap<JobId, Audience>,
    /// Jobs that subscribers have read after these changes, by their IDs.
    pub(crate) job_rows: SharedReads<Vec<job::Model>, BTreeSet<JobId>>,
    /// Reviews that subscribers have read after these changes, by their IDs.
    pub(crate) review_rows: SharedReads<Vec<review::Model>, Vec<ReviewId>>,
    /// The backlog of the queue after these changes.
    pub(crate) backlogs: SharedReads<Backlog>,
    /// Pages of the feed after these changes, by the position at which they start.
    pub(crate) feed_pages: SharedReads<FeedPage, FeedPosition>,
}

/// A range of the feed.
#[derive(Debug)]
pub(super) struct FeedRange {
    pub(super) from: FeedPosition,
    pub(super) to: FeedPosition,
    /// The jobs whose events are in the range.
    pub(super) jobs: BTreeSet<JobId>,
}

impl Changes {
    /// Changes of which it is only known that there were some.
    pub(super) fn missed() -> Self {
        let feed = FeedRange { from: FeedPosition::START, to: FeedPosition::START, jobs: BTreeSet::new() };
        Self { missed: true, ..Self::new(ChangeBatch::default(), feed, HashMap::new()) }
    }

    pub(super) fn new(changed: ChangeBatch, feed: FeedRange, audiences: HashMap<JobId, Audience>) -> Self {
        let missed = changed.missed;
        let (job_rows, review_rows) = (SharedReads::default(), SharedReads::default());
        let (backlogs, feed_pages) = (SharedReads::default(), SharedReads::default());
        Self { missed, changed, feed, audiences, job_rows, review_rows, backlogs, feed_pages }
    }

    /// Whether an actor may see a job that has changed.
    pub(crate) fn is_visible(&self, actor: &Actor, job: JobId) -> bool {
        actor.user.is_admin || self.audiences.get(&job).is_some_and(|audience| audience.has(actor))
    }

    /// Returns the jobs that an actor may see and that have changed after a time. Jobs whose running step has only made
    /// progress are among them if `progress` is set.
    pub fn jobs(&self, actor: &Actor, after: Instant, progress: bool) -> BTreeSet<JobId> {
        let progressed = self.changed.progress.iter().filter(|_| progress);
        let changed = self.changed.jobs.iter().chain(progressed);
        let changed = changed.filter(|(_, at)| **at >= after.into_std()).map(|(job, _)| *job);
        changed.filter(|job| self.is_visible(actor, *job)).collect()
    }

    /// Returns the reviews of jobs that an actor may see, and that were opened or changed after a time.
    pub fn reviews(&self, actor: &Actor, after: Instant) -> Vec<ReviewId> {
        let changed = self.changed.reviews.iter().filter(|(_, (_, at))| *at >= after.into_std());
        changed.filter(|(_, (job, _))| self.is_visible(actor, *job)).map(|(id, _)| *id).collect()
    }

    /// Returns the position from which a reader of the feed at `position` continues, if these changes contain nothing that
    /// the actor may see; `None` if the reader has to read.
    pub fn skip(&self, actor: &Actor, position: FeedPosition) -> Option<FeedPosition> {
        let is_empty = !self.missed
            && position >= self.feed.from
            && !self.feed.jobs.iter().any(|job| self.is_visible(actor, *job));
        is_empty.then(|| position.max(self.feed.to))
    }
}

/// The broadcast of changes on this node. Clones share it.
#[derive(Debug, Clone)]
pub struct ChangeBroadcast {
    sender: broadcast::Sender<Arc<Changes>>,
    recent: Arc<Mutex<Arc<RecentReads>>>,
    /// Held while the poller reads.
    polling: Arc<tokio::sync::Mutex<()>>,
}

impl Default for ChangeBroadcast {
    fn default() -> Self {
        let recent = Arc::new(Mutex::new(RecentReads::start()));
        Self { sender: broadcast::Sender::new(CHANNEL_CAPACITY), recent, polling: Arc::default() }
    }
}

impl ChangeBroadcast {
    /// Subscribes to all changes from now on. A subscriber subscribes first and reads then.
    pub fn subscribe(&self) -> ChangeReceiver {
        ChangeReceiver(self.sender.subscribe())
    }

    /// Stops the poller while the guard is held, for tests that count statements.
    pub async fn pause(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.polling).lock_owned().await
    }

    /// Returns the readings of the last half second.
    pub(crate) fn recent_reads(&self) -> Arc<RecentReads> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.is_outdated() {
            *recent = RecentReads::start();
        }
        Arc::clone(&recent)
    }

    pub(super) fn send(&self, changes: Changes) {
        // An error means that nobody has subscribed.
        let _subscribers = self.sender.send(Arc::new(changes));
    }

    /// Returns the number of subscribers.
    pub fn subscribers(&self) -> usize {
        self.sender.receiver_count()
    }
}

/// The receiving end of one subscriber.
#[derive(Debug)]
pub struct ChangeReceiver(Receiver<Arc<Changes>>);

impl ChangeReceiver {
    /// Waits for the next changes.
    pub async fn next(&mut self) -> Arc<Changes> {
        match self.0.recv().await {
            Ok(changes) => changes,
            Err(RecvError::Lagged(_)) => Arc::new(Changes::missed()),
            // The application, which outlives its subscribers, holds the sender.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{actor, open};
    use crate::entity::enums::Mode;

    #[tokio::test]
    async fn slow_subscriber_learns_that_it_has_missed_changes() {
        let (app, _dir) = open(|_| {}).await;
        let eve = actor(&app, "eve", Mode::Live).await;
        let mut receiver = app.changes.subscribe();
        for _ in 0..=CHANNEL_CAPACITY {
            app.changes.send(Changes { missed: false, ..Changes::missed() });
        }
        let changes = receiver.next().await;
        assert!(changes.missed && changes.skip(&eve, FeedPosition::START).is_none());
    }
}
