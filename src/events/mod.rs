//! Fan-out: who waits for a change of a job, and for work in the queue.
//!
//! A hint says only that something changed; it may come twice, late, or not at all. Whoever is woken reads the rows. For
//! each job that somebody watches there is one channel, and one shared reading per change however many watch it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OnceCell, watch};

use crate::error::Result;
use crate::id::JobId;

/// One state of a job between two hints: whoever needs it first reads it, the others share what was read.
#[derive(Debug)]
pub struct Generation<T> {
    reading: OnceCell<Arc<T>>,
}

impl<T> Default for Generation<T> {
    fn default() -> Self {
        Self { reading: OnceCell::new() }
    }
}

impl<T> Generation<T> {
    /// The shared reading, made by `read` where nobody has made it yet.
    pub async fn get<F: Future<Output = Result<T>>>(&self, read: impl FnOnce() -> F) -> Result<Arc<T>> {
        self.reading.get_or_try_init(|| async { read().await.map(Arc::new) }).await.cloned()
    }
}

type Channels<T> = Mutex<HashMap<JobId, watch::Sender<Arc<Generation<T>>>>>;

/// The hints of one process; clones share it. `T` is what watchers share a reading of.
#[derive(Debug)]
pub struct Hub<T> {
    jobs: Arc<Channels<T>>,
    queue: Arc<Notify>,
}

impl<T> Clone for Hub<T> {
    fn clone(&self) -> Self {
        Self { jobs: Arc::clone(&self.jobs), queue: Arc::clone(&self.queue) }
    }
}

impl<T> Default for Hub<T> {
    fn default() -> Self {
        Self { jobs: Arc::default(), queue: Arc::default() }
    }
}

impl<T> Hub<T> {
    /// A job has changed. Called after the commit, never inside a transaction.
    pub fn changed(&self, id: JobId) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = jobs.get(&id) {
            channel.send_replace(Arc::default());
        }
    }

    /// Something may be in the queue.
    pub fn queued(&self) {
        self.queue.notify_one();
    }

    /// Waits for [`Hub::queued`]; one that came while nobody waited is not lost.
    pub async fn work(&self) {
        self.queue.notified().await;
    }

    /// Watches a job from now on. Subscribe first, then read: what changes in between wakes the watcher.
    pub fn watch(&self, id: JobId) -> Watch<T> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = jobs.entry(id).or_insert_with(|| watch::Sender::new(Arc::default()));
        Watch { receiver: Some(channel.subscribe()), id, hub: self.clone() }
    }

    /// How many jobs somebody watches.
    pub fn watched(&self) -> usize {
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
pub struct Watch<T> {
    receiver: Option<watch::Receiver<Arc<Generation<T>>>>,
    id: JobId,
    hub: Hub<T>,
}

impl<T> Watch<T> {
    /// The state since the last hint; later hints count from here.
    pub fn now(&mut self) -> Arc<Generation<T>> {
        match &mut self.receiver {
            Some(receiver) => Arc::clone(&receiver.borrow_and_update()),
            None => Arc::default(),
        }
    }

    /// Waits for a hint after the last [`Watch::now`].
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

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.receiver = None;
        self.hub.forget(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_watchers_share_one_reading_per_change() {
        let hub = Hub::<usize>::default();
        let id = JobId::new();
        let reads = AtomicUsize::new(0);
        let mut watchers: Vec<_> = (0..50).map(|_| hub.watch(id)).collect();
        for change in 1..=3 {
            for watcher in &mut watchers {
                let read = || async { Ok(reads.fetch_add(1, Ordering::Relaxed)) };
                assert_eq!(*watcher.now().get(read).await.unwrap(), change - 1);
            }
            hub.changed(id);
            for watcher in &mut watchers {
                watcher.changed().await;
            }
        }
        assert_eq!(reads.into_inner(), 3);
    }

    #[tokio::test]
    async fn a_change_between_watching_and_waiting_is_seen_and_nothing_is_kept_of_who_leaves() {
        let hub = Hub::<()>::default();
        let id = JobId::new();
        let mut watch = hub.watch(id);
        let _seen = watch.now();
        hub.changed(id);
        hub.changed(id);
        watch.changed().await;
        drop(watch);
        assert_eq!(hub.watched(), 0);
    }
}
