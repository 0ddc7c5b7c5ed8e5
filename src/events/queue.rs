//! Wake-ups for those that wait for queued steps, by job type: a step of one type wakes nobody who waits for other types.
//!
//! Subscribers only announce steps, so a step wakes all of them. [`Claimer`]s take steps, so a step wakes one of them. A
//! claimer that does not take a step, because it may not or because its client has gone, passes the wake-up on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, oneshot};

/// The wake-ups of one process. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueueWakeUps(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    subscribers: HashMap<String, Vec<Weak<Notify>>>,
    /// In the order in which they began to wait.
    claimers: Vec<WaitingClaimer>,
    next_claimer: u64,
}

#[derive(Debug)]
struct WaitingClaimer {
    id: u64,
    types: Arc<[String]>,
    sender: oneshot::Sender<WakeUp>,
}

impl WaitingClaimer {
    fn waits_for(&self, job_type: &str) -> bool {
        self.types.iter().any(|own| own == job_type)
    }
}

/// A claimer that waits for a step of certain types.
#[derive(Debug)]
pub(crate) struct Claimer {
    wake_ups: QueueWakeUps,
    id: u64,
    receiver: oneshot::Receiver<WakeUp>,
}

/// The wake-up by one queued step. If it is dropped, the next claimer gets it.
#[derive(Debug)]
pub(crate) struct WakeUp {
    wake_ups: QueueWakeUps,
    job_type: String,
    /// How many more claimers may get it, so that a step that nobody may take does not go around for ever.
    remaining: usize,
}

impl WakeUp {
    /// Ends the wake-up, because its claimer has taken steps.
    pub(crate) fn end(mut self) {
        self.remaining = 0;
    }
}

impl Drop for WakeUp {
    fn drop(&mut self) {
        if let Some(remaining) = self.remaining.checked_sub(1) {
            self.wake_ups.wake_claimer(std::mem::take(&mut self.job_type), remaining);
        }
    }
}

impl Claimer {
    /// Waits for a step of the types. May be dropped at any time.
    pub(crate) async fn woken(&mut self) -> WakeUp {
        match (&mut self.receiver).await {
            Ok(wake_up) => wake_up,
            // Only the drop of this claimer removes its sender without a wake-up.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns whether no claimer of one of the types has waited longer.
    pub(crate) fn is_first(&self) -> bool {
        let waiting = self.wake_ups.lock();
        let Some(own) = waiting.claimers.iter().position(|claimer| claimer.id == self.id) else {
            return false;
        };
        let (before, types) = (&waiting.claimers[..own], &waiting.claimers[own].types);
        !before.iter().any(|claimer| types.iter().any(|own| claimer.waits_for(own)))
    }
}

impl Drop for Claimer {
    fn drop(&mut self) {
        self.wake_ups.lock().claimers.retain(|claimer| claimer.id != self.id);
        // A wake-up that was sent and not received is dropped with the receiver, and so goes to the next claimer.
    }
}

impl QueueWakeUps {
    /// Returns a handle that is notified whenever steps of these types are queued. Subscribe first and then read the
    /// queue, so that no step in between is lost.
    pub(crate) fn subscribe(&self, types: &[String]) -> Arc<Notify> {
        let handle = Arc::new(Notify::new());
        let mut waiting = self.lock();
        for job_type in types {
            let of_type = waiting.subscribers.entry(job_type.clone()).or_default();
            // A type that is never queued would otherwise keep the handles of all subscribers that have gone.
            of_type.retain(|handle| handle.strong_count() > 0);
            of_type.push(Arc::downgrade(&handle));
        }
        handle
    }

    /// Begins to wait for a step of these types. Call it first and then try to claim, so that no step in between is lost.
    pub(crate) fn wait_for(&self, types: &[String]) -> Claimer {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        let id = waiting.next_claimer;
        waiting.next_claimer += 1;
        waiting.claimers.push(WaitingClaimer { id, types: types.into(), sender });
        Claimer { wake_ups: self.clone(), id, receiver }
    }

    /// Wakes all subscribers and one claimer of a type. Call it after the commit.
    pub(crate) fn notify(&self, job_type: &str) {
        self.0.generation.fetch_add(1, Ordering::AcqRel);
        let mut waiting = self.lock();
        if let Some(of_type) = waiting.subscribers.get_mut(job_type) {
            of_type.retain(|handle| match handle.upgrade() {
                Some(handle) => {
                    handle.notify_one();
                    true
                }
                None => false,
            });
            if of_type.is_empty() {
                waiting.subscribers.remove(job_type);
            }
        }
        let claimers = waiting.claimers.len();
        drop(waiting);
        if let Some(remaining) = claimers.checked_sub(1) {
            self.wake_claimer(job_type.to_owned(), remaining);
        }
    }

    /// Returns a number that grows with each wake-up. A reading of the queue that started at this number covers all
    /// wake-ups up to it.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Wakes the claimer of a type that has waited longest.
    fn wake_claimer(&self, job_type: String, remaining: usize) {
        let claimer = {
            let mut waiting = self.lock();
            let found = waiting.claimers.iter().position(|claimer| claimer.waits_for(&job_type));
            found.map(|index| waiting.claimers.remove(index))
        };
        if let Some(claimer) = claimer {
            // Without the lock: if the claimer has gone, the returned wake-up is dropped and goes to the next one.
            drop(claimer.sender.send(WakeUp { wake_ups: self.clone(), job_type, remaining }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn types(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn step_wakes_only_subscribers_of_its_type() {
        let wake_ups = QueueWakeUps::default();
        let (a, b) = (wake_ups.subscribe(&types(&["a", "both"])), wake_ups.subscribe(&types(&["b", "both"])));
        wake_ups.notify("both");
        // A wake-up before the wait is not lost.
        a.notified().await;
        b.notified().await;
        wake_ups.notify("a");
        a.notified().await;
        assert!(b.notified().now_or_never().is_none());
    }

    #[test]
    fn dropped_subscribers_are_forgotten() {
        let wake_ups = QueueWakeUps::default();
        for _ in 0..10 {
            drop(wake_ups.subscribe(&types(&["rare"])));
        }
        assert_eq!(wake_ups.lock().subscribers["rare"].len(), 1);
        wake_ups.notify("rare");
        assert!(wake_ups.lock().subscribers.is_empty());
    }

    #[tokio::test]
    async fn step_wakes_the_claimer_that_has_waited_longest() {
        let wake_ups = QueueWakeUps::default();
        let mut other = wake_ups.wait_for(&types(&["b"]));
        let (mut first, mut second) =
            (wake_ups.wait_for(&types(&["a"])), wake_ups.wait_for(&types(&["a", "b"])));
        assert!(other.is_first() && first.is_first() && !second.is_first());
        wake_ups.notify("a");
        first.woken().await.end();
        assert!(second.woken().now_or_never().is_none() && other.woken().now_or_never().is_none());
        wake_ups.notify("a");
        second.woken().await.end();
    }

    #[tokio::test]
    async fn wake_up_of_a_claimer_that_goes_wakes_the_next_one() {
        let wake_ups = QueueWakeUps::default();
        let (first, mut second) = (wake_ups.wait_for(&types(&["a"])), wake_ups.wait_for(&types(&["a"])));
        wake_ups.notify("a");
        drop(first);
        // The second may not claim the step either: its wake-up ends, because no other claimer is left.
        drop(second.woken().await);
        assert!(wake_ups.lock().claimers.is_empty());
    }

    #[tokio::test]
    async fn wake_up_that_nobody_can_use_ends() {
        let wake_ups = QueueWakeUps::default();
        let mut claimers: Vec<_> = (0..3).map(|_| wake_ups.wait_for(&types(&["a"]))).collect();
        wake_ups.notify("a");
        for turn in 0..3 {
            let wake_up = claimers[turn % 3].woken().await;
            claimers[turn % 3] = wake_ups.wait_for(&types(&["a"]));
            drop(wake_up);
        }
        for claimer in &mut claimers {
            assert!(claimer.woken().now_or_never().is_none());
        }
    }
}
