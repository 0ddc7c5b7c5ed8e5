//! Deterministic batches for the lookups of one operation.
//!
//! The loaders of async-graphql collect keys for a fixed delay and run each lookup in a separate task. The scheduler
//! then decides which keys share a batch. Here an operation and its lookups alternate: lookups start only when the
//! operation cannot continue without them. A batch therefore contains every key that the operation could request, and
//! the operation continues when a batch is complete. A page of thirty jobs needs as many statements as a page of three,
//! and no lookup waits for a timer.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, poll_fn};
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{Stream, StreamExt};

type Lookup = BoxFuture<'static, ()>;

/// Pending lookups of an operation. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Batches(Arc<Mutex<Vec<Lookup>>>);

impl Batches {
    /// Adds a lookup, which runs once the operation waits.
    pub(super) fn add(&self, lookup: Lookup) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lookup);
    }

    /// Runs an operation and its lookups alternately.
    pub(super) async fn run<F: Future>(self, operation: F) -> F::Output {
        let (mut operation, mut running) = (pin!(operation), FuturesUnordered::new());
        poll_fn(|cx| {
            loop {
                match operation.as_mut().poll(cx) {
                    Poll::Pending if self.poll_lookups(&mut running, cx) => {}
                    poll => return poll,
                }
            }
        })
        .await
    }

    /// Runs an operation that has any number of responses, alternating with its lookups.
    pub(super) fn run_stream<S: Stream + Unpin>(self, mut responses: S) -> impl Stream<Item = S::Item> {
        let mut running = FuturesUnordered::new();
        stream::poll_fn(move |cx| {
            loop {
                match responses.poll_next_unpin(cx) {
                    Poll::Pending if self.poll_lookups(&mut running, cx) => {}
                    poll => return poll,
                }
            }
        })
    }

    /// Polls the lookups, and returns whether any of them has finished so that the operation can continue.
    fn poll_lookups(&self, running: &mut FuturesUnordered<Lookup>, cx: &mut Context<'_>) -> bool {
        running.extend(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)));
        let mut has_finished = false;
        while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {
            has_finished = true;
        }
        has_finished
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;
    use std::time::Duration;

    use async_graphql::dataloader::{DataLoader, Loader};
    use futures_util::future::join_all;

    use super::*;

    /// Records the number of keys in each batch.
    struct BatchSizes(Mutex<Vec<usize>>);

    impl Loader<u32> for BatchSizes {
        type Value = u32;
        type Error = Infallible;

        async fn load(&self, keys: &[u32]) -> Result<HashMap<u32, u32>, Infallible> {
            self.0.lock().unwrap().push(keys.len());
            tokio::task::yield_now().await;
            Ok(keys.iter().map(|key| (*key, key + 100)).collect())
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn concurrent_lookups_share_one_batch() {
        let batches = Batches::default();
        let add = batches.clone();
        let loader = DataLoader::new(BatchSizes(Mutex::default()), move |lookup| add.add(lookup));
        let loader = loader.delay(Duration::ZERO);
        let load_twice = |key: u32| {
            let loader = &loader;
            async move {
                // Sleeps longer than the timer of a loader would wait.
                std::thread::sleep(Duration::from_millis(1));
                let first = loader.load_one(key).await.unwrap().unwrap();
                loader.load_one(first).await.unwrap().unwrap()
            }
        };
        let found = batches.run(join_all((0..20).map(load_twice))).await;
        assert_eq!(found, (200..220).collect::<Vec<_>>());
        assert_eq!(*loader.loader().0.lock().unwrap(), [20, 20]);
    }
}
