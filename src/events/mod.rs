//! Wake-ups inside one process ([`Hub`]), the [`feed`] of all jobs, and the [`outbox`] of deliveries to webhooks.
//!
//! A wake-up tells only that something changed. It may come twice, late, or not at all; the receiver then reads the
//! database. Each job with subscribers has one channel. Its subscribers share one snapshot per change. The changes of
//! all jobs gather in a [`ChangeBatch`], which the change poller ([`crate::changes`]) reads.

mod event;
pub mod feed;
pub mod outbox;
mod queue;

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tokio::sync::{Notify, OnceCell, watch};

use crate::error::Result;
use crate::id::{JobId, ReviewId};
pub(crate) use event::EventHead;
pub use event::NewEvent;
pub(crate) use queue::{Identity, QueueWakeUps, WakeUp};

/// The state of a job between two wake-ups. The first subscriber that needs it reads it; all others share the snapshot.
#[derive(Debug)]
pub struct Generation<T> {
    snapshot: OnceCell<Arc<T>>,
    started: Instant,
}

impl<T> Default for Generation<T> {
    fn default() -> Self {
        Self { snapshot: OnceCell::new(), started: Instant::now() }
    }
}

impl<T> Generation<T> {
    /// Returns the shared snapshot. The first call reads it with `read`.
    pub async fn get<F: Future<Output = Result<T>>>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>> {
        self.snapshot.get_or_try_init(|| async { read().await.map(Arc::new) }).await.cloned()
    }
}

type Channels<T> = Mutex<HashMap<JobId, watch::Sender<Arc<Generation<T>>>>>;

/// Maximum number of changes in a batch. Further changes replace the batch by [`ChangeBatch::missed`].
const MAX_CHANGES: usize = 10_000;

/// Maximum number of jobs whose announced events are remembered.
const MAX_ANNOUNCED_JOBS: u64 = 10_000;

/// The changes since the last batch, each with its last time: a subscriber that started later has already seen the
/// change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ChangeBatch {
    /// Jobs with new events.
    pub jobs: BTreeMap<JobId, Instant>,
    /// Jobs whose running step has reported progress.
    pub progress: BTreeMap<JobId, Instant>,
    /// Reviews that were opened or changed, with their jobs.
    pub reviews: BTreeMap<ReviewId, (JobId, Instant)>,
    /// Whether there were too many changes to keep: anything may have changed.
    pub missed: bool,
}

impl ChangeBatch {
    fn add(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        if self.jobs.len() + self.progress.len() + self.reviews.len() > MAX_CHANGES {
            *self = Self { missed: true, ..Self::default() };
        }
    }
}

/// The wake-ups of one process. Clones share them. `T` is the snapshot that the subscribers of a job share.
#[derive(Debug)]
pub struct Hub<T> {
    jobs: Arc<Channels<T>>,
    queue: QueueWakeUps,
    outbox: Arc<Notify>,
    changes: Arc<(Mutex<ChangeBatch>, Notify)>,
    /// The last events of each job that this process has announced itself, without gaps.
    announced: Cache<JobId, RangeInclusive<i64>>,
    access_version: Arc<AtomicU64>,
}

impl<T> Clone for Hub<T> {
    fn clone(&self) -> Self {
        Self {
            jobs: Arc::clone(&self.jobs),
            queue: self.queue.clone(),
            outbox: Arc::clone(&self.outbox),
            changes: Arc::clone(&self.changes),
            announced: self.announced.clone(),
            access_version: Arc::clone(&self.access_version),
        }
    }
}

impl<T> Default for Hub<T> {
    fn default() -> Self {
        Self {
            jobs: Arc::default(),
            queue: QueueWakeUps::default(),
            outbox: Arc::default(),
            changes: Arc::default(),
            announced: Cache::new(MAX_ANNOUNCED_JOBS),
            access_version: Arc::default(),
        }
    }
}

impl<T> Hub<T> {
    /// Records that this process has announced these events of a job itself, so that the change poller skips them.
    pub(crate) fn record_announced(&self, id: JobId, sequences: RangeInclusive<i64>) {
        let first = match self.announced.get(&id) {
            // No event of another process is in between.
            Some(known) if known.end() + 1 >= *sequences.start() => *known.start().min(sequences.start()),
            _ => *sequences.start(),
        };
        self.announced.insert(id, first..=*sequences.end());
    }

    /// Returns whether this process has announced an event itself.
    pub(crate) fn has_announced(&self, id: JobId, sequence: i64) -> bool {
        self.announced.get(&id).is_some_and(|known| known.contains(&sequence))
    }

    /// Announces that a job has changed. Call it after the commit, never inside a transaction.
    pub fn changed(&self, id: JobId) {
        self.wake(id);
        self.record_change(|batch| {
            batch.jobs.insert(id, Instant::now());
        });
    }

    /// Sends the last snapshot of a job to its subscribers, before the rows of the job are deleted.
    pub fn publish(&self, id: JobId, last: T) {
        let snapshot = OnceCell::from(Arc::new(last));
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = jobs.get(&id) {
            channel.send_replace(Arc::new(Generation { snapshot, started: Instant::now() }));
        }
    }

    /// Announces that the running step of a job has reported progress.
    pub(crate) fn progressed(&self, id: JobId) {
        self.wake(id);
        self.record_change(|batch| {
            batch.progress.insert(id, Instant::now());
        });
    }

    /// Announces that a review was opened or changed.
    pub(crate) fn review_changed(&self, id: ReviewId, job: JobId) {
        self.record_change(|batch| {
            batch.reviews.insert(id, (job, Instant::now()));
        });
    }

    /// Announces that a user may have gained or lost access to a job. Earlier readings are outdated.
    pub(crate) fn access_changed(&self) {
        self.access_version.fetch_add(1, Ordering::Release);
    }

    /// Returns the number of calls of [`Hub::access_changed`].
    pub(crate) fn access_version(&self) -> u64 {
        self.access_version.load(Ordering::Acquire)
    }

    /// Announces that a user has joined or left a team, and so gained or lost access to its jobs. Wakes all
    /// subscribers.
    pub fn membership_changed(&self) {
        self.access_changed();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in jobs.values() {
            channel.send_replace(Arc::default());
        }
    }

    /// Wakes the subscribers of a job, but not the change poller.
    pub fn wake(&self, id: JobId) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = jobs.get(&id) {
            channel.send_replace(Arc::default());
        }
    }

    fn record_change(&self, change: impl FnOnce(&mut ChangeBatch)) {
        let (batch, changed) = &*self.changes;
        batch.lock().unwrap_or_else(PoisonError::into_inner).add(change);
        changed.notify_one();
    }

    /// Waits for a change of any kind. A change between two calls is not lost.
    pub(crate) async fn wait_for_change(&self) {
        self.changes.1.notified().await;
    }

    /// Takes the changes since the last call. Only the change poller calls it.
    pub(crate) fn take_changes(&self) -> ChangeBatch {
        std::mem::take(&mut *self.changes.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The wake-ups for queued steps.
    pub(crate) fn queue(&self) -> &QueueWakeUps {
        &self.queue
    }

    /// Wakes the dispatcher: a delivery may be due.
    pub(crate) fn notify_dispatcher(&self) {
        self.outbox.notify_one();
    }

    /// Waits for [`Hub::notify_dispatcher`]. A notification between two calls is not lost.
    pub(crate) async fn wait_for_deliveries(&self) {
        self.outbox.notified().await;
    }

    /// Subscribes to the changes of a job. Subscribe first and then read, so that no change in between is lost.
    pub fn subscribe(&self, id: JobId) -> ChangeSubscription<T> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = jobs.entry(id).or_insert_with(|| watch::Sender::new(Arc::default()));
        ChangeSubscription { receiver: Some(channel.subscribe()), id, hub: self.clone() }
    }

    /// Returns the number of jobs with subscribers.
    pub fn subscribed_jobs(&self) -> usize {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn remove_unused_channel(&self, id: JobId) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.get(&id).is_some_and(|channel| channel.receiver_count() == 0) {
            jobs.remove(&id);
        }
    }
}

/// A subscription to the changes of one job.
#[derive(Debug)]
pub struct ChangeSubscription<T> {
    receiver: Option<watch::Receiver<Arc<Generation<T>>>>,
    id: JobId,
    hub: Hub<T>,
}

impl<T> ChangeSubscription<T> {
    /// Returns the state since the last wake-up. [`ChangeSubscription::changed`] waits for a later one.
    pub fn current(&mut self) -> Arc<Generation<T>> {
        match &mut self.receiver {
            Some(receiver) => Arc::clone(&receiver.borrow_and_update()),
            None => Arc::default(),
        }
    }

    /// Wakes all subscribers of the job if the current state is at least `min_age` old: for changes that this process
    /// does not announce. One call serves all subscribers of the job.
    pub(crate) fn refresh(&self, min_age: Duration) {
        if let Some(receiver) = &self.receiver
            && receiver.borrow().started.elapsed() >= min_age
        {
            self.hub.wake(self.id);
        }
    }

    /// Waits for a wake-up after the last [`ChangeSubscription::current`].
    pub async fn changed(&mut self) {
        let is_open = match &mut self.receiver {
            Some(receiver) => receiver.changed().await.is_ok(),
            None => false,
        };
        if !is_open {
            // This is not reached, because the hub keeps the sender while the job has subscribers.
            std::future::pending::<()>().await;
        }
    }
}

impl<T> Drop for ChangeSubscription<T> {
    fn drop(&mut self) {
        self.receiver = None;
        self.hub.remove_unused_channel(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn subscribers_share_one_snapshot_per_change() {
        let hub = Hub::<usize>::default();
        let id = JobId::new();
        let reads = AtomicUsize::new(0);
        let mut subscribers: Vec<_> = (0..50).map(|_| hub.subscribe(id)).collect();
        for change in 1..=3 {
            for subscriber in &mut subscribers {
                let read = || async { Ok(reads.fetch_add(1, Ordering::Relaxed)) };
                assert_eq!(*subscriber.current().get(read).await.unwrap(), change - 1);
            }
            hub.changed(id);
            for subscriber in &mut subscribers {
                subscriber.changed().await;
            }
        }
        assert_eq!(reads.into_inner(), 3);
    }

    #[test]
    fn event_of_another_process_in_between_is_not_announced() {
        let (hub, id) = (Hub::<()>::default(), JobId::new());
        hub.record_announced(id, 1..=3);
        hub.record_announced(id, 4..=4);
        assert!((1..=4).all(|sequence| hub.has_announced(id, sequence)));
        hub.record_announced(id, 6..=7);
        assert!(!hub.has_announced(id, 5) && hub.has_announced(id, 6));
    }

    #[tokio::test]
    async fn changes_are_taken_once_and_overflow_is_reported() {
        let hub = Hub::<()>::default();
        let (job, review) = (JobId::new(), ReviewId::new());
        hub.changed(job);
        hub.changed(job);
        hub.review_changed(review, job);
        hub.wait_for_change().await;
        let batch = hub.take_changes();
        assert_eq!(
            (batch.jobs.len(), batch.reviews.get(&review).map(|(job, _)| *job), batch.missed),
            (1, Some(job), false)
        );
        assert_eq!(hub.take_changes(), ChangeBatch::default());
        for _ in 0..=MAX_CHANGES {
            hub.progressed(JobId::new());
        }
        hub.progressed(job);
        let batch = hub.take_changes();
        assert!(batch.missed && batch.progress.contains_key(&job));
    }

    #[tokio::test]
    async fn change_after_subscribing_is_not_lost_and_unused_channel_is_removed() {
        let hub = Hub::<()>::default();
        let id = JobId::new();
        let mut subscription = hub.subscribe(id);
        let _seen = subscription.current();
        hub.changed(id);
        hub.changed(id);
        subscription.changed().await;
        drop(subscription);
        assert_eq!(hub.subscribed_jobs(), 0);
    }
}
