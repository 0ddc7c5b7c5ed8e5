//! Subscriptions. Each registers for hints first, then reads rows: what a hint says is never trusted, and one that is
//! lost costs nothing but the next reading. Access is checked again at every change: a job that the viewer may no longer
//! see is not sent, and a subscription to it alone ends with the error FORBIDDEN.

mod many;
mod one;
mod queue;

use async_graphql::MergedSubscription;

use crate::access::Actor;
use crate::account::expired;
use crate::app::App;
use crate::error::{Error, Result};

/// Rows read at once.
const PAGE: u64 = 200;

/// Everything that can be followed as it changes, over WebSocket (`graphql-transport-ws`) or as an event stream (GraphQL
/// over SSE).
#[derive(MergedSubscription, Default)]
pub struct Subscription(one::JobSubscription, many::ListSubscription, queue::QueueSubscription);

/// Waits for something; an error when the viewer's credential runs out before it.
async fn while_good<T>(app: &App, actor: &Actor, something: impl Future<Output = T>) -> Result<T> {
    let Some(expires_at) = actor.credential.expires_at else { return Ok(something.await) };
    tokio::pin!(something);
    loop {
        let left = (expires_at - app.clock.now()).to_std().unwrap_or_default();
        if let Ok(done) = tokio::time::timeout(left, &mut something).await {
            return Ok(done);
        }
        if expired(Some(expires_at), app.clock.now()) {
            let message = "The credential of this subscription has expired.";
            return Err(Error::Unauthenticated(message.into()));
        }
    }
}
