//! Fan-out: who waits for a change of a job, of any job, and for work in the queue; the [`feed`] over all jobs; and the
//! [`outbox`] of what is sent to webhooks.
//!
//! A hint says only that something changed; it may come twice, late, or not at all. Whoever is woken reads the rows. For
//! each job that somebody watches there is one channel, and one shared reading per change however many watch it. Hints at
//! any job gather in a [`ChangeBatch`], which [`crate::job::news`] makes news of for whoever follows many.

mod event;
pub mod feed;
pub mod outbox;

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tokio::sync::{Notify, OnceCell, watch};

use crate::error::Result;
use crate::id::{JobId, ReviewId};
pub use event::{EventHead, NewEvent};

/// One state of a job between two hints: whoever needs it first reads it, the others share what was read.
#[derive(Debug)]
pub struct Generation<T> {
    reading: OnceCell<Arc<T>>,
    began: Instant,
}

impl<T> Default for Generation<T> {
    fn default() -> Self {
        Self { reading: OnceCell::new(), began: Instant::now() }
    }
}

impl<T> Generation<T> {
    /// The shared reading, made by `read` where nobody has made it yet.
    pub async fn get<F: Future<Output = Result<T>>>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>> {
        self.reading.get_or_try_init(|| async { read().await.map(Arc::new) }).await.cloned()
    }
}

type Channels<T> = Mutex<HashMap<JobId, watch::Sender<Arc<Generation<T>>>>>;

/// Changes that are kept until somebody takes them; beyond, it is only known that there were some.
const BACKLOG: usize = 10_000;

/// Jobs of which it is known what this process has hinted at.
const ANNOUNCED: u64 = 10_000;

/// What has changed since it was last asked, and when that was last said: who follows from later on has seen it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ChangeBatch {
    /// Jobs with something new in their history.
    pub jobs: BTreeMap<JobId, Instant>,
    /// Jobs whose running step has got further.
    pub progress: BTreeMap<JobId, Instant>,
    /// Reviews that opened or changed, with their jobs.
    pub reviews: BTreeMap<ReviewId, (JobId, Instant)>,
    /// There was more than could be kept: anything may have changed.
    pub missed: bool,
}

impl ChangeBatch {
    fn add(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        if self.jobs.len() + self.progress.len() + self.reviews.len() > BACKLOG {
            *self = Self { missed: true, ..Self::default() };
        }
    }
}

/// The hints of one process; clones share it. `T` is what watchers share a reading of.
#[derive(Debug)]
pub struct Hub<T> {
    jobs: Arc<Channels<T>>,
    queue: Arc<Notify>,
    outbox: Arc<Notify>,
    changes: Arc<(Mutex<ChangeBatch>, Notify)>,
    /// The last events of each job that this process has hinted at itself, without a gap.
    announced: Cache<JobId, RangeInclusive<i64>>,
    access_version: Arc<AtomicU64>,
}

impl<T> Clone for Hub<T> {
    fn clone(&self) -> Self {
        Self {
            jobs: Arc::clone(&self.jobs),
            queue: Arc::clone(&self.queue),
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
            queue: Arc::default(),
            outbox: Arc::default(),
            changes: Arc::default(),
            announced: Cache::new(ANNOUNCED),
            access_version: Arc::default(),
        }
    }
}

impl<T> Hub<T> {
    /// This process hints at these events of a job itself, and need not hear of them by other ways.
    pub fn record_announced(&self, id: JobId, sequences: RangeInclusive<i64>) {
        let first = match self.announced.get(&id) {
            // They follow those before without one of another process in between.
            Some(known) if known.end() + 1 >= *sequences.start() => *known.start().min(sequences.start()),
            _ => *sequences.start(),
        };
        self.announced.insert(id, first..=*sequences.end());
    }

    /// Whether this process has hinted at an event itself.
    pub fn has_announced(&self, id: JobId, sequence: i64) -> bool {
        self.announced.get(&id).is_some_and(|known| known.contains(&sequence))
    }

    /// A job has changed. Called after the commit, never inside a transaction.
    pub fn changed(&self, id: JobId) {
        self.wake(id);
        self.record_change(|batch| {
            batch.jobs.insert(id, Instant::now());
        });
    }

    /// The last state of a job, for whoever watches it: its rows are about to go.
    pub fn publish(&self, id: JobId, end: T) {
        let reading = OnceCell::from(Arc::new(end));
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = jobs.get(&id) {
            channel.send_replace(Arc::new(Generation { reading, began: Instant::now() }));
        }
    }

    /// The running step of a job has got further.
    pub fn progressed(&self, id: JobId) {
        self.wake(id);
        self.record_change(|batch| {
            batch.progress.insert(id, Instant::now());
        });
    }

    /// A review of a job has opened or changed.
    pub fn review_changed(&self, id: ReviewId, job: JobId) {
        self.record_change(|batch| {
            batch.reviews.insert(id, (job, Instant::now()));
        });
    }

    /// Somebody may have gained or lost access to a job: what was read for them before may be too much.
    pub fn access_changed(&self) {
        self.access_version.fetch_add(1, Ordering::Release);
    }

    /// How often [`Hub::access_changed`] was called.
    pub fn access_version(&self) -> u64 {
        self.access_version.load(Ordering::Acquire)
    }

    /// Somebody has joined or left a team, and with it any number of jobs: every watcher looks again.
    pub fn membership_changed(&self) {
        self.access_changed();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in jobs.values() {
            channel.send_replace(Arc::default());
        }
    }

    /// Wakes those who watch a job, and nobody else.
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

    /// Waits for a change of anything; one that came while nobody waited is not lost.
    pub async fn wait_for_change(&self) {
        self.changes.1.notified().await;
    }

    /// Takes what has changed since it was last taken: for one taker.
    pub fn take_changes(&self) -> ChangeBatch {
        std::mem::take(&mut *self.changes.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something may be in the queue.
    pub fn notify_workers(&self) {
        self.queue.notify_one();
    }

    /// Waits for [`Hub::notify_workers`]; one that came while nobody waited is not lost.
    pub async fn wait_for_work(&self) {
        self.queue.notified().await;
    }

    /// Something may be to be sent to a webhook.
    pub fn notify_dispatcher(&self) {
        self.outbox.notify_one();
    }

    /// Waits for [`Hub::notify_dispatcher`]; one that came while nobody waited is not lost.
    pub async fn wait_for_deliveries(&self) {
        self.outbox.notified().await;
    }

    /// Watches a job from now on. Subscribe first, then read: what changes in between wakes the watcher.
    pub fn subscribe(&self, id: JobId) -> ChangeSubscription<T> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = jobs.entry(id).or_insert_with(|| watch::Sender::new(Arc::default()));
        ChangeSubscription { receiver: Some(channel.subscribe()), id, hub: self.clone() }
    }

    /// How many jobs somebody watches.
    pub fn subscribed_jobs(&self) -> usize {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn forget(&self, id: JobId) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.get(&id).is_some_and(|channel| channel.receiver_count() == 0) {
            jobs.remove(&id);
        }
    }
}

/// Somebody's eye on a job.
#[derive(Debug)]
pub struct ChangeSubscription<T> {
    receiver: Option<watch::Receiver<Arc<Generation<T>>>>,
    id: JobId,
    hub: Hub<T>,
}

impl<T> ChangeSubscription<T> {
    /// The state since the last hint; later hints count from here.
    pub fn current(&mut self) -> Arc<Generation<T>> {
        match &mut self.receiver {
            Some(receiver) => Arc::clone(&receiver.borrow_and_update()),
            None => Arc::default(),
        }
    }

    /// Begins a new state where the one there is older than `floor`: for changes that nobody of this process hints at. Of
    /// many watchers one does so for all.
    pub fn refresh(&self, floor: Duration) {
        if let Some(receiver) = &self.receiver
            && receiver.borrow().began.elapsed() >= floor
        {
            self.hub.wake(self.id);
        }
    }

    /// Waits for a hint after the last [`ChangeSubscription::current`].
    pub async fn changed(&mut self) {
        let alive = match &mut self.receiver {
            Some(receiver) => receiver.changed().await.is_ok(),
            None => false,
        };
        if !alive {
            // The sender lives in the hub for as long as anybody watches, so this is not reached.
            std::future::pending::<()>().await;
        }
    }
}

impl<T> Drop for ChangeSubscription<T> {
    fn drop(&mut self) {
        self.receiver = None;
        self.hub.forget(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn many_watchers_share_one_reading_per_change() {
        let hub = Hub::<usize>::default();
        let id = JobId::new();
        let reads = AtomicUsize::new(0);
        let mut watchers: Vec<_> = (0..50).map(|_| hub.subscribe(id)).collect();
        for change in 1..=3 {
            for watcher in &mut watchers {
                let read = || async { Ok(reads.fetch_add(1, Ordering::Relaxed)) };
                assert_eq!(*watcher.current().get(read).await.unwrap(), change - 1);
            }
            hub.changed(id);
            for watcher in &mut watchers {
                watcher.changed().await;
            }
        }
        assert_eq!(reads.into_inner(), 3);
    }

    #[test]
    fn what_another_process_wrote_in_between_is_not_taken_for_announced() {
        let (hub, id) = (Hub::<()>::default(), JobId::new());
        hub.record_announced(id, 1..=3);
        hub.record_announced(id, 4..=4);
        assert!((1..=4).all(|sequence| hub.has_announced(id, sequence)));
        hub.record_announced(id, 6..=7);
        assert!(!hub.has_announced(id, 5) && hub.has_announced(id, 6));
    }

    #[tokio::test]
    async fn what_changed_is_taken_once_and_it_is_known_when_there_was_too_much() {
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
        for _ in 0..=BACKLOG {
            hub.progressed(JobId::new());
        }
        hub.progressed(job);
        let batch = hub.take_changes();
        assert!(batch.missed && batch.progress.contains_key(&job));
    }

    #[tokio::test]
    async fn a_change_between_watching_and_waiting_is_seen_and_nothing_is_kept_of_who_leaves() {
        let hub = Hub::<()>::default();
        let id = JobId::new();
        let mut watch = hub.subscribe(id);
        let _seen = watch.current();
        hub.changed(id);
        hub.changed(id);
        watch.changed().await;
        drop(watch);
        assert_eq!(hub.subscribed_jobs(), 0);
    }
}
