//! GraphQL over WebSocket: the subprotocol `graphql-transport-ws`, server side.
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>)
//!
//! ```text
//!  upgrade ──► waiting for connection_init ──ack──► open: any number of operations at once
//!   │ 4406       4408 too late, 4403 refused,          4409 id in use, 4429 second init, 4401 credential ended,
//!   ▼            4401 subscribe comes first            1001 server stops, 4499 peer is silent, 4400 nonsense
//! ```
//! One task serves a connection: it reads a message, or takes one response of one operation and writes it out before it
//! takes the next. So a slow reader slows its own operations down, and the server holds one message for it. This module
//! knows nothing of the schema or of credentials; [`Operations`] does. Streams of operations are dropped when the client
//! completes them or goes away: what must finish once begun (a mutation) runs in a task of its own.

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
use super::{Parameters, Written, tracking};
use crate::telemetry::trace;

/// The name of the subprotocol in `Sec-WebSocket-Protocol`.
pub const PROTOCOL: &str = "graphql-transport-ws";

/// What a connection is allowed. Times are in milliseconds, none may be 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// From the upgrade until `connection_init` is acknowledged; then close code 4408. Default 10,000.
    pub init_milliseconds: u64,
    /// Between WebSocket pings to the client. Default 20,000.
    pub ping_milliseconds: u64,
    /// How long the client may be silent after a ping; then close code 4499. Default 10,000.
    pub pong_milliseconds: u64,
    /// How long one message may take to be written, and a closing handshake to be answered; then the connection is
    /// dropped. Default 10,000.
    pub write_milliseconds: u64,
    /// Connections that one user may have, or one address of users who are not signed in; one more is close code 1013, upon
    /// which clients try again later. Default 2,000.
    pub connections: usize,
    /// Operations that run at once. One more gets an `error`. Default 100.
    pub operations: usize,
    /// UTF-8 bytes of an operation's ID; a longer one is close code 4400. Default 256.
    pub id_bytes: usize,
    /// Bytes of a message from the client; a longer one is close code 4400. Default 65,536.
    pub message_bytes: usize,
    /// Bytes of the buffer that each connection reads into, held as long as it is open. Default 4,096.
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
    /// The error names the first setting that is 0.
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
            Some((name, _)) => Err(format!("{name} is 0; it needs 1 or more")),
            None => Ok(()),
        }
    }

    fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_milliseconds)
    }
}

/// What the server does for one connection.
pub trait Operations: Send + Sync + 'static {
    /// Who is connected.
    type Session: Send + Sync + 'static;

    /// Answers `connection_init`. `payload` is an object, or null where the client sent none.
    fn init(&self, payload: serde_json::Value)
    -> impl Future<Output = Result<Self::Session, Refused>> + Send;

    /// Resolves when the session's credential has expired or was revoked; never, where it does not end.
    fn ended(&self, session: &Self::Session) -> impl Future<Output = ()> + Send + 'static;

    /// Starts an operation. It should return at once and work where its stream is polled.
    ///
    /// There is one response of a query or mutation, any number of a subscription. What is refused goes out as `error` and
    /// ends the operation; any other response goes out as `next`. A panic in the stream ends this operation only.
    fn execute(&self, session: &Self::Session, asked: Parameters) -> BoxStream<'static, Written>;
}

/// Why `connection_init` is not acknowledged. The texts go to the client, cut to 123 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The credentials are missing or wrong: close code 4403.
    Forbidden(String),
    /// Not now: close code 1013, upon which clients try again later.
    Unavailable(String),
    /// A fault of ours: close code 4500, without a word on its cause.
    Internal,
}

/// Answers an upgrade request and serves the connection until it ends; at once with 4406 where the client does not offer
/// [`PROTOCOL`].
///
/// `tasks` waits for the connection. When `stopping` is cancelled, every operation is completed and the connection closed.
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
    let spoken = upgrade.selected_protocol().is_some();
    let token = tasks.token();
    // Everything on the connection belongs to the request that it began with, by its ID. The request itself ends here.
    let tracking = tracking::current();
    let span = trace::connection(&tracking);
    upgrade.on_upgrade(move |socket| {
        let serve = async move {
            let connection = Connection::new(socket, operations, settings);
            if spoken {
                connection.serve(&stopping).await;
            } else {
                connection.refuse().await;
            }
            drop(token);
        };
        tracking::within(tracking, serve).instrument(span)
    })
}
