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
#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response as HttpResponse;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use tracing::Instrument;

use self::connection::Connection;
use super::{EncodedResponse, Parameters, tracking};
use crate::telemetry::trace;

/// The name of the subprotocol in `Sec-WebSocket-Protocol`.
pub const PROTOCOL: &str = "graphql-transport-ws";

/// Limits of a connection. Times are in milliseconds; no value may be 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Time from the upgrade to the acknowledgment of `connection_init`; then close code 4408. Default 10,000.
    pub init_milliseconds: u64,
    /// Interval of WebSocket pings to the client. Default 20,000.
    pub ping_milliseconds: u64,
    /// How long the client may be silent after a ping; then close code 4499. Default 10,000.
    pub pong_milliseconds: u64,
    /// Time limit for writing one message, and for the closing handshake; then the connection is dropped. Default
    /// 10,000.
    pub write_milliseconds: u64,
    /// Maximum number of connections of one user, or of one address without sign-in. Above it the close code is 1013,
    /// upon which clients retry later. Default 2,000.
    pub connections: usize,
    /// Maximum number of concurrent operations of a connection. Above it the operation gets an `error`. Default 100.
    pub operations: usize,
    /// Maximum length of an operation's ID in UTF-8 bytes; a longer one is close code 4400. Default 256.
    pub id_bytes: usize,
    /// Maximum size of a message from the client in bytes; a longer one is close code 4400. Default 65,536.
    pub message_bytes: usize,
    /// Size of the read buffer of each open connection, in bytes. Default 4,096.
    pub read_buffer_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            init_milliseconds: 10_000,
            ping_milliseconds: 20_000,
            pong_milliseconds: 10_000,
            write_milliseconds: 10_000,
            connections: 2_000,
            operations: 100,
            id_bytes: 256,
            message_bytes: 65_536,
            read_buffer_bytes: 4_096,
        }
    }
}

impl Settings {
    /// Checks that no setting is 0. The error names the first one that is.
    pub fn check(&self) -> Result<(), String> {
        let zero = [
            ("init_milliseconds", self.init_milliseconds == 0),
            ("ping_milliseconds", self.ping_milliseconds == 0),
            ("pong_milliseconds", self.pong_milliseconds == 0),
            ("write_milliseconds", self.write_milliseconds == 0),
            ("connections", self.connections == 0),
            ("operations", self.operations == 0),
            ("id_bytes", self.id_bytes == 0),
            ("message_bytes", self.message_bytes == 0),
            ("read_buffer_bytes", self.read_buffer_bytes == 0),
        ];
        match zero.iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(format!("{name} must be at least 1")),
            None => Ok(()),
        }
    }

    fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_milliseconds)
    }
}

/// The work of the server for one connection.
pub trait Operations: Send + Sync + 'static {
    /// The authenticated state of a connection.
    type Session: Send + Sync + 'static;

    /// Authenticates `connection_init`. `payload` is an object, or null if the client sent none.
    fn init(
        &self,
        payload: serde_json::Value,
    ) -> impl Future<Output = Result<Self::Session, InitRefusal>> + Send;

    /// Resolves when the session's credential has expired or was revoked; never for a credential without an end.
    fn credential_ended(&self, session: &Self::Session) -> impl Future<Output = ()> + Send + 'static;

    /// Starts an operation. Implementations return at once and do the work when the stream is polled.
    ///
    /// The stream has one response for a query or mutation, and any number for a subscription. A response with request
    /// errors becomes an `error` and ends the operation; other responses become `next`. A panic ends only this
    /// operation.
    fn execute(&self, session: &Self::Session, parameters: Parameters)
    -> BoxStream<'static, EncodedResponse>;
}

/// The reason why `connection_init` is refused. The texts go to the client, truncated to 123 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitRefusal {
    /// The credentials are missing or wrong: close code 4403.
    Forbidden(String),
    /// The server cannot accept the connection now: close code 1013, upon which clients retry later.
    Unavailable(String),
    /// An internal error: close code 4500, without its cause.
    Internal,
}

/// Answers an upgrade request and serves the connection until it ends. A client that does not offer [`PROTOCOL`] gets
/// close code 4406.
///
/// `tasks` tracks the connection. The cancellation of `stopping` completes every operation and closes the connection.
pub fn upgrade<O: Operations>(
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
