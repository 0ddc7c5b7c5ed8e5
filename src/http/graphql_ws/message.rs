//! The messages of the protocol as JSON.

use async_graphql::{Extensions, Request, Response, ServerError, Variables};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// From the client.
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
        payload: Subscribe,
    },
    Complete {
        id: String,
    },
}

/// What is to be run. `query` may be absent only where `extensions` name a persisted one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subscribe {
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Variables,
    #[serde(default)]
    extensions: Extensions,
}

impl ClientMessage {
    /// The error is for the client.
    pub(super) fn parse(text: &str, id_bytes: usize) -> Result<Self, String> {
        let message: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if let Self::Subscribe { id, payload } = &message {
            if id.len() > id_bytes {
                return Err(format!("id has {} bytes; the most is {id_bytes}", id.len()));
            }
            if payload.query.is_none() && payload.extensions.is_empty() {
                return Err("payload has no query".into());
            }
        }
        Ok(message)
    }
}

impl From<Subscribe> for Request {
    fn from(subscribe: Subscribe) -> Self {
        let mut request = Self::new(subscribe.query.unwrap_or_default()).variables(subscribe.variables);
        request.operation_name = subscribe.operation_name;
        request.extensions = subscribe.extensions;
        request
    }
}

/// To the client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerMessage<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Map<String, Value>>,
    },
    Next {
        id: &'a str,
        payload: &'a Response,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}
