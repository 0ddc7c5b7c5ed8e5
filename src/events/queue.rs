//! Wake-ups for those that wait for queued steps, by job type: a step of one type wakes nobody who waits for other types.
//!
//! Subscribers only announce steps, so a step wakes all of them. [`Claimer`]s take steps, so a step wakes one of them. If
//! its client has gone, the next claimer gets the wake-up; if its user may not take the step, one of another user.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, oneshot};

use crate::entity::enums::Mode;
use crate::id::UserId;

/// A user with the mode of the credential. Claimers of one identity may take the same steps.
pub(crate) type Identity = (UserId, Mode);

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
    identity: Identity,
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
    /// Of the claimer that has the wake-up.
    identity: Identity,
    /// Identities that have found no step that they may take.
    refused: Vec<Identity>,
    /// Whether a poll has found steps: there may be more of them than wake-ups.
    is_polled: bool,
    is_ended: bool,
}

impl WakeUp {
    /// Ends the wake-up, because its claimer has taken steps. Returns whether there may be more steps.
    pub(crate) fn end(mut self) -> bool {
        self.is_ended = true;
        self.is_polled
    }

    /// Passes the wake-up to a claimer of another identity, because this one has found no step.
    pub(crate) fn refuse(mut self) {
        let identity = self.identity;
        self.refused.push(identity);
    }
}

impl Drop for WakeUp {
    fn drop(&mut self) {
        if !self.is_ended {
            let (job_type, refused) = (std::mem::take(&mut self.job_type), std::mem::take(&mut self.refused));
            self.wake_ups.wake_claimer(job_type, refused, self.is_polled);
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

    /// Returns whether no claimer of the same identity has waited longer for one of the types.
    pub(crate) fn is_first(&self) -> bool {
        let waiting = self.wake_ups.lock();
        let Some(own) = waiting.claimers.iter().position(|claimer| claimer.id == self.id) else {
            return false;
        };
        let (before, own) = (&waiting.claimers[..own], &waiting.claimers[own]);
        let of_same = |claimer: &&WaitingClaimer| claimer.identity == own.identity;
        !before.iter().filter(of_same).any(|claimer| own.types.iter().any(|own| claimer.waits_for(own)))
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
    pub(crate) fn wait_for(&self, types: &[String], identity: Identity) -> Claimer {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        let id = waiting.next_claimer;
        waiting.next_claimer += 1;
        waiting.claimers.push(WaitingClaimer { id, identity, types: types.into(), sender });
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
        let has_claimers = !waiting.claimers.is_empty();
        drop(waiting);
        if has_claimers {
            self.wake_claimer(job_type.to_owned(), Vec::new(), false);
        }
    }

    /// Wakes one more claimer of each type, because a poll has found steps that nobody has announced.
    pub(crate) fn wake_after_poll(&self, types: &[String]) {
        for job_type in types {
            self.wake_claimer(job_type.clone(), Vec::new(), true);
        }
    }

    /// Returns a number that grows with each wake-up. A reading of the queue that started at this number covers all
    /// wake-ups up to it.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Wakes the claimer of a type that has waited longest, except those of the identities that have refused.
    fn wake_claimer(&self, job_type: String, refused: Vec<Identity>, is_polled: bool) {
        let claimer = {
            let mut waiting = self.lock();
            let may_take = |claimer: &WaitingClaimer| {
                claimer.waits_for(&job_type) && !refused.contains(&claimer.identity)
            };
            let found = waiting.claimers.iter().position(may_take);
            found.map(|index| waiting.claimers.remove(index))
        };
        if let Some(claimer) = claimer {
            // Without the lock: if the claimer has gone, the returned wake-up is dropped and goes to the next one.
            let (wake_ups, identity) = (self.clone(), claimer.identity);
            let wake_up = WakeUp { wake_ups, job_type, identity, refused, is_polled, is_ended: false };
            drop(claimer.sender.send(wake_up));
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

    fn identity(n: u128) -> Identity {
        (UserId(uuid::Uuid::from_u128(n)), Mode::Live)
    }

    #[tokio::test]
    async fn step_wakes_the_claimer_that_has_waited_longest() {
        let wake_ups = QueueWakeUps::default();
        let wait_for = |names: &[&str]| wake_ups.wait_for(&types(names), identity(1));
        let (mut other, mut first, mut second) = (wait_for(&["b"]), wait_for(&["a"]), wait_for(&["a", "b"]));
        assert!(other.is_first() && first.is_first() && !second.is_first());
        wake_ups.notify("a");
        assert!(!first.woken().await.end());
        assert!(second.woken().now_or_never().is_none() && other.woken().now_or_never().is_none());
        wake_ups.wake_after_poll(&types(&["a"]));
        assert!(second.woken().await.end());
    }

    #[tokio::test]
    async fn wake_up_of_a_claimer_that_goes_wakes_the_next_one() {
        let wake_ups = QueueWakeUps::default();
        let wait_for = || wake_ups.wait_for(&types(&["a"]), identity(1));
        let (first, mut second, third) = (wait_for(), wait_for(), wait_for());
        wake_ups.notify("a");
        drop((first, third));
        drop(second.woken().await);
        assert!(wake_ups.lock().claimers.is_empty());
    }

    #[tokio::test]
    async fn refused_wake_up_goes_to_other_users_once_and_ends() {
        let wake_ups = QueueWakeUps::default();
        let wait_for = |user| wake_ups.wait_for(&types(&["a"]), identity(user));
        let (mut ada, mut ada_too, mut bob) = (wait_for(1), wait_for(1), wait_for(2));
        assert!(ada.is_first() && !ada_too.is_first() && bob.is_first());
        wake_ups.notify("a");
        let wake_up = ada.woken().await;
        let mut ada = wait_for(1);
        wake_up.refuse();
        let wake_up = bob.woken().await;
        let mut bob = wait_for(2);
        wake_up.refuse();
        for claimer in [&mut ada, &mut ada_too, &mut bob] {
            assert!(claimer.woken().now_or_never().is_none());
        }
    }
}
