//! A subscription that reconnects.
//!
//! After a lost connection the client reconnects and subscribes again, a limited number of times in a row and with
//! exponential backoff. No state is lost if the operation begins with the current state, as `jobUpdated` does.

use futures_util::{Stream, StreamExt, stream};
use graphql_client::GraphQLQuery;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::socket::Socket;
use super::{Client, ClientError, Result, parse_data};

impl Client {
    /// Streams the `data` of every event until the server completes the operation. Transient errors are retried; any
    /// other error ends the stream.
    pub fn subscribe<Q: GraphQLQuery>(
        &self,
        variables: Q::Variables,
    ) -> impl Stream<Item = Result<Q::ResponseData>> {
        // This cannot fail: generated variables are structs, enums, strings, numbers and JSON.
        let request = json!(Q::build_query(variables));
        let subscription = Subscription { client: self, request, socket: None, failures: 0, ended: false };
        let events = stream::unfold(subscription, |mut subscription| async {
            let event = subscription.next().await?;
            Some((event, subscription))
        });
        events.map(|data| parse_data(data?))
    }
}

struct Subscription<'c> {
    client: &'c Client,
    /// The document, the name of the operation, and its variables.
    request: Value,
    socket: Option<(Socket<'c>, Instant)>,
    /// Consecutive failures.
    failures: u32,
    ended: bool,
}

impl Subscription<'_> {
    async fn next(&mut self) -> Option<Result<Value>> {
        if self.ended {
            return None;
        }
        loop {
            let error = match self.receive_event().await {
                Ok(Some(data)) => return Some(Ok(data)),
                Ok(None) => {
                    self.ended = true;
                    return None;
                }
                Err(error) => error,
            };
            let policy = &self.client.policy;
            // Only the duration of a connection resets the failures. Otherwise a connection that sends the current
            // state and breaks off every time would be retried forever.
            if self.socket.take().is_some_and(|(_, since)| since.elapsed() >= policy.max_backoff) {
                self.failures = 0;
            }
            if !error.is_transient() {
                self.ended = true;
                return Some(Err(error));
            }
            if self.failures >= policy.max_attempts {
                self.ended = true;
                return Some(Err(ClientError::Lost { attempts: self.failures, cause: Box::new(error) }));
            }
            self.failures += 1;
            sleep(policy.backoff(self.failures)).await;
        }
    }

    async fn receive_event(&mut self) -> Result<Option<Value>> {
        let (socket, _) = match &mut self.socket {
            Some(open) => open,
            closed => closed.insert((Socket::open(self.client, &self.request).await?, Instant::now())),
        };
        socket.next().await
    }
}
