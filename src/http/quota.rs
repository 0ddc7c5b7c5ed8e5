//! Quotas of connections, streams and transfers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::log_throttle::LogThrottle;
use crate::access::{Actor, Viewer};
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::limit::network;

/// The holder of a quota or rate limit: a user, or a network for all of its clients that have not signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum QuotaHolder {
    User(UserId),
    Network(Option<IpAddr>),
}

impl From<&Viewer> for QuotaHolder {
    fn from(viewer: &Viewer) -> Self {
        match &viewer.actor {
            Some(actor) => actor.into(),
            None => Self::Network(viewer.address.map(network)),
        }
    }
}

impl From<&Actor> for QuotaHolder {
    fn from(actor: &Actor) -> Self {
        Self::User(actor.user.id)
    }
}

impl From<IpAddr> for QuotaHolder {
    fn from(address: IpAddr) -> Self {
        Self::Network(Some(network(address)))
    }
}

/// A limit on the number of things that one user or network may have open at once. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    counts: Arc<Mutex<HashMap<QuotaHolder, usize>>>,
    limit: usize,
    noun: &'static str,
}

impl Quota {
    /// Creates a quota. `noun` is the plural of the things that it limits.
    pub(super) fn new(limit: usize, noun: &'static str) -> Self {
        Self { counts: Arc::default(), limit, noun }
    }

    /// Acquires a permit, which counts until it is dropped.
    pub(super) fn acquire(&self, holder: impl Into<QuotaHolder>) -> Result<QuotaPermit> {
        let holder = holder.into();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(holder).or_default();
        if *count >= self.limit {
            let Self { limit, noun, .. } = self;
            return Err(Error::Unavailable(format!(
                "You have {limit} {noun} open, which is the limit. Close one first."
            )));
        }
        *count += 1;
        Ok(QuotaPermit { counts: Arc::clone(&self.counts), holder })
    }
}

/// A permit of a [`Quota`].
#[derive(Debug)]
pub(super) struct QuotaPermit {
    counts: Arc<Mutex<HashMap<QuotaHolder, usize>>>,
    holder: QuotaHolder,
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.holder);
            }
        }
    }
}

/// The quota of uploads and downloads, each of which has a file open. Clones share it.
///
/// It limits the transfers of one user or network, and all transfers together to an eighth of the open files.
#[derive(Debug, Clone)]
pub(super) struct TransferQuota {
    per_holder: Quota,
    total: Arc<Semaphore>,
    limit_log: Arc<LogThrottle>,
}

impl TransferQuota {
    pub(super) fn new(per_holder: usize) -> Self {
        let total = (open_file_limit() / 8).clamp(1, Semaphore::MAX_PERMITS);
        let per_holder = per_holder.min(three_quarters(total));
        Self {
            per_holder: Quota::new(per_holder, "uploads and downloads"),
            total: Arc::new(Semaphore::new(total)),
            limit_log: Arc::default(),
        }
    }

    /// Acquires a permit, which counts until it is dropped.
    pub(super) fn acquire(&self, holder: impl Into<QuotaHolder>) -> Result<TransferPermit> {
        let permit = self.per_holder.acquire(holder)?;
        let busy = |_| {
            self.limit_log.log(|| tracing::warn!("transfer limit reached; refusing uploads and downloads"));
            Error::Unavailable("Too many uploads and downloads are running. Try again shortly.".into())
        };
        Ok(TransferPermit(permit, Arc::clone(&self.total).try_acquire_owned().map_err(busy)?))
    }
}

/// A permit of a [`TransferQuota`].
#[derive(Debug)]
pub(super) struct TransferPermit(
    #[expect(dead_code, reason = "held")] QuotaPermit,
    #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
);

/// Returns three quarters of a total, the share of one holder; at least 1.
pub(super) fn three_quarters(all: usize) -> usize {
    (all - all.div_ceil(4)).max(1)
}

/// Returns the number of files that this process may have open.
pub(super) fn open_file_limit() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_counts_each_viewer_and_dropped_permits_return() {
        let quota = Quota::new(2, "streams");
        let viewer = |last: u8| Viewer { actor: None, address: Some(IpAddr::from([127, 0, 0, last])) };
        let (ada, bob) = (viewer(1), viewer(2));
        let held = [quota.acquire(&ada).unwrap(), quota.acquire(&ada).unwrap()];
        assert!(
            matches!(quota.acquire(&ada), Err(Error::Unavailable(message)) if message.contains("2 streams"))
        );
        drop(quota.acquire(&bob).unwrap());
        drop(held);
        drop(quota.acquire(&ada).unwrap());
        assert!(quota.counts.lock().unwrap().is_empty(), "no count of zero is kept");
    }

    #[test]
    fn all_transfers_together_are_limited() {
        let viewer = |last: u8| Viewer { actor: None, address: Some(IpAddr::from([127, 0, 0, last])) };
        let quota = TransferQuota { total: Arc::new(Semaphore::new(2)), ..TransferQuota::new(10) };
        let held = [quota.acquire(&viewer(1)).unwrap(), quota.acquire(&viewer(2)).unwrap()];
        assert!(matches!(quota.acquire(&viewer(3)), Err(Error::Unavailable(_))));
        drop(held);
        drop(quota.acquire(&viewer(3)).unwrap());
        assert!(quota.per_holder.counts.lock().unwrap().is_empty(), "refused viewers leave no count");
    }
}
