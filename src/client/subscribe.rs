//! A subscription that outlives its connections.
//!
//! A broken connection is made again and the operation subscribed anew, a bounded number of times in a row and ever
//! more slowly. That loses nothing where an operation begins with the present state, as `jobUpdated` does.

use futures_util::{Stream, stream};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::socket::Socket;
use super::{Client, ClientError, Result};

impl Client {
    /// The `data` of every event, until the server completes the operation. After an error nothing follows: those that
    /// may pass are waited out here.
    pub fn subscribe(&self, query: &'static str, variables: Value) -> impl Stream<Item = Result<Value>> {
        let subscription =
            Subscription { client: self, query, variables, socket: None, failures: 0, ended: false };
        stream::unfold(subscription, |mut subscription| async {
            let event = subscription.next().await?;
            Some((event, subscription))
        })
    }
}

struct Subscription<'c> {
    client: &'c Client,
    query: &'static str,
    variables: Value,
    socket: Option<(Socket<'c>, Instant)>,
    /// In a row.
    failures: u32,
    ended: bool,
}

impl Subscription<'_> {
    async fn next(&mut self) -> Option<Result<Value>> {
        if self.ended {
            return None;
        }
        loop {
            let error = match self.event().await {
                Ok(Some(data)) => return Some(Ok(data)),
                Ok(None) => {
                    self.ended = true;
                    return None;
                }
                Err(error) => error,
            };
            let patience = &self.client.patience;
            // A connection counts as good by how long it held, not by what came: one that gives the present state and
            // breaks off at once, each time, must not go on for ever.
            if self.socket.take().is_some_and(|(_, since)| since.elapsed() >= patience.longest_wait) {
                self.failures = 0;
            }
            if !error.is_transient() {
                self.ended = true;
                return Some(Err(error));
            }
            if self.failures >= patience.attempts {
                self.ended = true;
                return Some(Err(ClientError::Lost { attempts: self.failures, cause: Box::new(error) }));
            }
            self.failures += 1;
            sleep(patience.wait(self.failures)).await;
        }
    }

    async fn event(&mut self) -> Result<Option<Value>> {
        let (socket, _) = match &mut self.socket {
            Some(open) => open,
            none => {
                none.insert((Socket::open(self.client, self.query, &self.variables).await?, Instant::now()))
            }
        };
        socket.next().await
    }
}
