//! The messages of the protocol as JSON.

use async_graphql::ServerError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::http::Parameters;

/// A message from the client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientMessage {
    ConnectionInit {
        #[serde(default)]
        payload: Option<Map<String, Value>>,
    },
    Ping {
        #[serde(default)]
        payload: Option<Map<String, Value>>,
    },
    Pong,
    Subscribe {
        id: String,
        payload: Parameters,
    },
    Complete {
        id: String,
    },
}

impl ClientMessage {
    /// Parses a message. The error goes to the client.
    pub(super) fn parse(text: &str, id_bytes: usize) -> Result<Self, String> {
        let message: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match &message {
            Self::Subscribe { id, .. } if id.is_empty() => Err("id must not be empty".into()),
            Self::Subscribe { id, .. } if id.len() > id_bytes => {
                Err(format!("id has {} bytes; the limit is {id_bytes}", id.len()))
            }
            _ => Ok(message),
        }
    }
}

/// Returns the message `next` with a payload that is encoded as JSON.
pub(super) fn next(id: &str, payload: &str) -> String {
    format!(r#"{{"type":"next","id":{},"payload":{payload}}}"#, Value::from(id))
}

/// A message to the client. [`next`] writes the message `next`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerMessage<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Map<String, Value>>,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}
