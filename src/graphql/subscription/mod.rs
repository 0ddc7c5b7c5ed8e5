//! Subscriptions. Each registers for wake-ups first and then reads rows. A wake-up carries no trusted data, and a lost
//! wake-up only delays the next read.
//!
//! Access is checked again at every change. A job that the viewer can no longer see is
//! not sent, and a subscription to this job alone ends with FORBIDDEN.

mod many;
mod one;
mod queue;
mod wait;

pub(super) use wait::wait_until_expiry;

use async_graphql::MergedSubscription;

/// Root of all subscriptions, over WebSocket (`graphql-transport-ws`) or as an event stream (GraphQL over SSE).
/// Access is checked again at every change. A job that the viewer can no longer see is not sent, and a subscription to
/// this job alone ends with FORBIDDEN. A subscription ends with UNAUTHENTICATED when the viewer's credential expires.
#[derive(MergedSubscription, Default)]
pub struct Subscription(one::JobSubscription, many::ListSubscription, queue::QueueSubscription);
