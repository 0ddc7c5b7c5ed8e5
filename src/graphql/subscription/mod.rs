//! Subscriptions. Each registers for wake-ups first and then reads rows. A wake-up carries no trusted data, and a lost
//! wake-up only delays the next read.
//!
//! Access is checked again at every change. A job that the viewer can no longer see is
//! not sent, and a subscription to this job alone ends with FORBIDDEN.

mod many;
mod one;
mod queue;

use async_graphql::MergedSubscription;

use crate::access::Actor;
use crate::account::expired;
use crate::app::App;
use crate::error::{Error, Result};

/// Maximum number of rows in one read.
const BATCH_ROWS: u64 = 200;

/// Root of all subscriptions, over WebSocket (`graphql-transport-ws`) or as an event stream (GraphQL over SSE).
/// Access is checked again at every change. A job that the viewer can no longer see is not sent, and a subscription to
/// this job alone ends with FORBIDDEN. A subscription ends with UNAUTHENTICATED when the viewer's credential expires.
#[derive(MergedSubscription, Default)]
pub struct Subscription(one::JobSubscription, many::ListSubscription, queue::QueueSubscription);

/// Waits for a future. Returns an error if the viewer's credential expires first.
async fn wait_until_expiry<T>(app: &App, actor: &Actor, future: impl Future<Output = T>) -> Result<T> {
    let Some(expires_at) = actor.credential.expires_at else { return Ok(future.await) };
    tokio::pin!(future);
    loop {
        let remaining = (expires_at - app.clock.now()).to_std().unwrap_or_default();
        if let Ok(output) = tokio::time::timeout(remaining, &mut future).await {
            return Ok(output);
        }
        if expired(Some(expires_at), app.clock.now()) {
            let message = "The credential of this subscription has expired.";
            return Err(Error::Unauthenticated(message.into()));
        }
    }
}
