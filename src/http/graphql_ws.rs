//! GraphQL over WebSocket: the server side of the subprotocol `graphql-transport-ws`.
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>)
//!
//! ```text
//!  upgrade ──► waiting for connection_init ──ack──► open: concurrent operations
//!   │ 4406       4408 too late, 4403 refused,          4409 id in use, 4429 second init, 4401 credential ended,
//!   ▼            4401 early subscribe                  1001 server stops, 4499 peer is silent, 4400 invalid message
//! ```
//! One task serves a connection: it reads a message, or writes one response of one operation before it polls for the
//! next. So a slow reader slows only its own operations down, and the server holds one message for it. This module does
//! not depend on the schema or on credentials, which [`Operations`] provides. The stream of an operation is dropped
//! when the client completes it or disconnects, so a mutation runs in its own task.

mod close;
mod connection;
mod message;
mod operations;
#[cfg(test)]
mod tests;

use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response as HttpResponse;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::connection::Connection;
pub(crate) use self::operations::Operations;
pub(crate) use self::operations::{InitRefusal, PROTOCOL};
use super::tracking;
pub(crate) use crate::config::websocket::Settings;
use crate::telemetry::trace;

/// Answers an upgrade request and serves the connection until it ends. A client that does not offer [`PROTOCOL`] gets
/// close code 4406.
///
/// `tasks` tracks the connection. The cancellation of `stopping` completes every operation and closes the connection.
pub(crate) fn upgrade<O: Operations>(
    upgrade: WebSocketUpgrade,
    operations: O,
    settings: Settings,
    tasks: &TaskTracker,
    stopping: CancellationToken,
) -> HttpResponse {
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(settings.read_buffer_bytes)
        .write_buffer_size(settings.read_buffer_bytes)
        .max_message_size(settings.message_bytes)
        .max_frame_size(settings.message_bytes);
    let is_supported = upgrade.selected_protocol().is_some();
    let token = tasks.token();
    // All work of the connection has the ID of the upgrade request, which itself ends here.
    let tracking = tracking::current();
    let span = trace::connection_span(&tracking);
    upgrade.on_upgrade(move |socket| {
        let serve = async move {
            let connection = Connection::new(socket, operations, settings);
            if is_supported {
                connection.serve(&stopping).await;
            } else {
                connection.refuse_protocol().await;
            }
            drop(token);
        };
        tracking::with_id(tracking, serve).instrument(span)
    })
}
