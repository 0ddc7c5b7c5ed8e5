//! Section `[websocket]`: the limits of a WebSocket connection.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of a connection. Times are in milliseconds; no value may be 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Time from the upgrade to the acknowledgment of `connection_init`; then close code 4408. Default 10,000.
    pub(crate) init_milliseconds: u64,
    /// Interval of WebSocket pings to the client. Default 20,000.
    pub(crate) ping_milliseconds: u64,
    /// How long the client may be silent after a ping; then close code 4499. Default 10,000.
    pub(crate) pong_milliseconds: u64,
    /// Time limit for writing one message, and for the closing handshake; then the connection is dropped. Default
    /// 10,000.
    pub write_milliseconds: u64,
    /// Maximum number of connections of one user, or of one address without sign-in. Above it the close code is 1013,
    /// upon which clients retry later. Default 2,000.
    pub connections: usize,
    /// Maximum number of concurrent operations of a connection. Above it the operation gets an `error`. Default 100.
    pub operations: usize,
    /// Maximum length of an operation's ID in UTF-8 bytes; a longer one is close code 4400. Default 256.
    pub(crate) id_bytes: usize,
    /// Maximum size of a message from the client in bytes; a longer one is close code 4400. Default 65,536.
    pub message_bytes: usize,
    /// Size of the read buffer of each open connection, in bytes. Default 4,096.
    pub(crate) read_buffer_bytes: usize,
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

    /// Returns the time limit for writing one message.
    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_milliseconds)
    }
}
