//! Readings of rows that subscribers share.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::access::Actor;
use crate::entity::enums::Mode;
use crate::error::Result;
use crate::id::UserId;
use crate::job::queue::backlog::Backlog;
use crate::{job, review};

/// Time for which subscribers share readings that no change has caused.
const RECENT_READS_AGE: Duration = Duration::from_millis(500);

/// A user who reads, and the filter of the subscription. Equal readers read the same rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    user: UserId,
    is_admin: bool,
    filter: Arc<ReaderFilter>,
    /// The number of changes of access before the reading; a later change makes it outdated: see [`Hub::access_version`].
    ///
    /// [`Hub::access_version`]: crate::events::Hub::access_version
    pub(crate) access_version: u64,
}

/// The filter of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ReaderFilter {
    /// Jobs, or the events of jobs.
    Jobs(job::query::Filter),
    /// Reviews.
    Reviews(review::Filter),
    /// Queued steps of these job types, for keys of this mode.
    Queue(Vec<String>, Mode),
}

impl Reader {
    /// Returns a reader for an actor.
    pub(crate) fn new(actor: &Actor, filter: ReaderFilter, access_version: u64) -> Self {
        let filter = Arc::new(filter);
        Self { user: actor.user.id, is_admin: actor.user.is_admin, filter, access_version }
    }
}

type Reading<T> = Arc<OnceCell<Arc<T>>>;

/// Readings that equal readers share: the first one that needs a reading makes it.
#[derive(Debug)]
pub(crate) struct SharedReads<T, K = ()>(Mutex<HashMap<(Reader, K), Reading<T>>>);

impl<T, K> Default for SharedReads<T, K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T, K: Eq + Hash> SharedReads<T, K> {
    /// Returns the reading of a reader for a key, for example a position in the feed. `read` makes it if it is missing.
    pub(crate) async fn get<F>(&self, reader: &Reader, key: K, read: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let reading = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry((reader.clone(), key)).or_default())
        };
        reading.get_or_try_init(|| async { read().await.map(Arc::new) }).await.cloned()
    }
}

/// Readings of rows whose changes cause no wake-up, shared by all subscribers that read within half a second.
#[derive(Debug)]
pub(crate) struct RecentReads {
    started: Instant,
    /// The backlog of the queue, by the number of wake-ups before the reading.
    pub(crate) backlogs: SharedReads<Backlog, u64>,
}

impl RecentReads {
    pub(super) fn start() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), backlogs: SharedReads::default() })
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.started.elapsed() >= RECENT_READS_AGE
    }
}
