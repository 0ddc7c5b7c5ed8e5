//! The look-ups of one operation, in batches that do not depend on chance.
//!
//! async-graphql's loaders gather keys for a time and look them up in a task of their own; which keys come in that time is
//! up to the scheduler. Here an operation and its look-ups take turns: look-ups begin when the operation cannot go on
//! without them, so that whatever it could ask for is in the batch, and it goes on when a batch is whole. A page of
//! thirty jobs then costs as many statements as a page of three, and nobody waits for a timer.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, poll_fn};
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{Stream, StreamExt};

type Lookup = BoxFuture<'static, ()>;

/// What an operation waits for; clones share it.
#[derive(Clone, Default)]
pub(super) struct Batches(Arc<Mutex<Vec<Lookup>>>);

impl Batches {
    /// Adds a look-up, to be run once the operation waits.
    pub(super) fn add(&self, lookup: Lookup) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lookup);
    }

    /// Runs an operation and its look-ups by turns.
    pub(super) async fn run<F: Future>(self, operation: F) -> F::Output {
        let (mut operation, mut running) = (pin!(operation), FuturesUnordered::new());
        poll_fn(|cx| {
            loop {
                match operation.as_mut().poll(cx) {
                    Poll::Pending if self.look_up(&mut running, cx) => {}
                    turn => return turn,
                }
            }
        })
        .await
    }

    /// The same for an operation that has any number of responses.
    pub(super) fn run_stream<S: Stream + Unpin>(self, mut responses: S) -> impl Stream<Item = S::Item> {
        let mut running = FuturesUnordered::new();
        stream::poll_fn(move |cx| {
            loop {
                match responses.poll_next_unpin(cx) {
                    Poll::Pending if self.look_up(&mut running, cx) => {}
                    turn => return turn,
                }
            }
        })
    }

    /// Takes look-ups as far as they go; whether any has ended, so that the operation can go on.
    fn look_up(&self, running: &mut FuturesUnordered<Lookup>, cx: &mut Context<'_>) -> bool {
        running.extend(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)));
        let mut ended = false;
        while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {
            ended = true;
        }
        ended
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

    /// Notes how many keys each batch has.
    struct Sizes(Mutex<Vec<usize>>);

    impl Loader<u32> for Sizes {
        type Value = u32;
        type Error = Infallible;

        async fn load(&self, keys: &[u32]) -> Result<HashMap<u32, u32>, Infallible> {
            self.0.lock().unwrap().push(keys.len());
            tokio::task::yield_now().await;
            Ok(keys.iter().map(|key| (*key, key + 100)).collect())
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_asked_for_at_once_is_looked_up_at_once() {
        let batches = Batches::default();
        let add = batches.clone();
        let loader = DataLoader::new(Sizes(Mutex::default()), move |lookup| add.add(lookup));
        let loader = loader.delay(Duration::ZERO);
        let twice = |key: u32| {
            let loader = &loader;
            async move {
                // Slower than any timer of a loader would wait.
                std::thread::sleep(Duration::from_millis(1));
                let first = loader.load_one(key).await.unwrap().unwrap();
                loader.load_one(first).await.unwrap().unwrap()
            }
        };
        let found = batches.run(join_all((0..20).map(twice))).await;
        assert_eq!(found, (200..220).collect::<Vec<_>>());
        assert_eq!(*loader.loader().0.lock().unwrap(), [20, 20]);
    }
}
