//! A WebSocket connection with one subscription, by the protocol graphql-transport-ws.
//!
//! The handshake (RFC 6455, section 4.1) upgrades a connection of the HTTP client.

use futures_util::{SinkExt, StreamExt};
use reqwest::header::{
    CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
};
use reqwest::header::{SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{Method, StatusCode, Upgraded};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::{ApiError, Client, ClientError, Execution, Result};

const PROTOCOL: &str = "graphql-transport-ws";
/// The ID of the operation; each connection carries only one.
const OPERATION: &str = "1";
/// Maximum size of a message from the server in bytes.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Size of the read buffer in bytes; the state of a job fits into it.
const READ_BUFFER_BYTES: usize = 16 << 10;
/// Close code of RFC 6455 for a connection that was lost without one.
const ABNORMAL_CLOSURE: u16 = 1006;

/// A message from the server.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ServerMessage {
    ConnectionAck,
    Ping,
    Pong,
    Next { payload: Execution },
    Error { payload: Vec<ApiError> },
    Complete,
}

/// An open connection.
pub(super) struct Socket<'c> {
    client: &'c Client,
    stream: WebSocketStream<Upgraded>,
}

impl<'c> Socket<'c> {
    /// Connects, authenticates, and subscribes with the payload of a `subscribe` message.
    pub(super) async fn open(client: &'c Client, request: &Value) -> Result<Self> {
        let opening = async {
            let mut socket = Self { client, stream: upgrade(client).await? };
            let mut payload = json!({});
            if let Some(credential) = &client.credential {
                payload = json!({"Authorization": format!("Bearer {}", credential.expose())});
            }
            socket.send(&json!({"type": "connection_init", "payload": payload})).await?;
            loop {
                match socket.receive().await? {
                    ServerMessage::ConnectionAck => break,
                    ServerMessage::Ping => socket.send(&json!({"type": "pong"})).await?,
                    ServerMessage::Pong => {}
                    other => return Err(unexpected_message(&other)),
                }
            }
            socket.send(&json!({"type": "subscribe", "id": OPERATION, "payload": request})).await?;
            Ok(socket)
        };
        timeout(client.policy.response_timeout, opening)
            .await
            .map_err(|_| client.unreachable("the WebSocket handshake timed out"))?
    }

    /// Returns the next event, or `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            match self.receive().await? {
                ServerMessage::Next { payload } => return payload.into_data().map(Some),
                ServerMessage::Error { payload } => return Err(ClientError::Api(payload)),
                ServerMessage::Complete => return Ok(None),
                ServerMessage::Ping => self.send(&json!({"type": "pong"})).await?,
                ServerMessage::Pong => {}
                other @ ServerMessage::ConnectionAck => return Err(unexpected_message(&other)),
            }
        }
    }

    /// Receives a message. Sends a ping after the idle timeout, because a connection may be dead without either end
    /// being notified.
    async fn receive(&mut self) -> Result<ServerMessage> {
        let mut is_pinged = false;
        loop {
            let message = match timeout(self.client.policy.idle_timeout, self.stream.next()).await {
                Ok(Some(message)) => message.map_err(|error| self.client.connection_error(&error))?,
                Ok(None) => return Err(closed_error(None)),
                Err(_) if is_pinged => return Err(self.client.unreachable("the WebSocket timed out")),
                Err(_) => {
                    self.send(&json!({"type": "ping"})).await?;
                    is_pinged = true;
                    continue;
                }
            };
            match message {
                Message::Text(text) => {
                    return parse_message(&text)
                        .map_err(|error| ClientError::Protocol(format!("{PROTOCOL}: {error}")));
                }
                Message::Close(frame) => return Err(closed_error(frame)),
                // The library answers WebSocket pings itself; they show that the connection is alive.
                Message::Ping(_) | Message::Pong(_) => is_pinged = false,
                Message::Binary(_) | Message::Frame(_) => {
                    return Err(ClientError::Protocol(format!(
                        "{PROTOCOL}: received a message that is not text"
                    )));
                }
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        let sent = self.stream.send(Message::text(message.to_string())).await;
        sent.map_err(|error| self.client.connection_error(&error))
    }
}

/// Parses a message. serde_json with arbitrary precision cannot parse numbers of a tagged enum from text, but from a
/// value.
fn parse_message(text: &str) -> serde_json::Result<ServerMessage> {
    serde_json::from_value(serde_json::from_str(text)?)
}

async fn upgrade(client: &Client) -> Result<WebSocketStream<Upgraded>> {
    let key = generate_key();
    let response = client
        .request_without_credential(Method::GET, "/graphql/ws")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .header(SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
        .send()
        .await
        .map_err(|error| client.request_error(error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(match client.error_from_response(response).await {
            // Another successful status will not change on a retry.
            ClientError::Status { status, .. } if status.is_success() => ClientError::Protocol(format!(
                "/graphql/ws responded with {status} instead of upgrading to a WebSocket"
            )),
            other => other,
        });
    }
    check_handshake(response.headers(), &key)?;
    let connection = response.upgrade().await.map_err(|error| client.request_error(error))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    Ok(WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await)
}

fn check_handshake(headers: &HeaderMap, key: &str) -> Result<()> {
    let is =
        |name, expected: &str| headers.get(name).is_some_and(|value| value.as_bytes() == expected.as_bytes());
    if !is(SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes())) {
        return Err(ClientError::Protocol("Sec-WebSocket-Accept does not match the key".into()));
    }
    if !is(SEC_WEBSOCKET_PROTOCOL, PROTOCOL) {
        return Err(ClientError::Protocol(format!("the server did not select the protocol {PROTOCOL}")));
    }
    Ok(())
}

fn closed_error(frame: Option<CloseFrame>) -> ClientError {
    match frame {
        Some(frame) => {
            ClientError::Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() }
        }
        None => ClientError::Closed { code: ABNORMAL_CLOSURE, reason: "the connection was lost".into() },
    }
}

fn unexpected_message(message: &ServerMessage) -> ClientError {
    ClientError::Protocol(format!("{PROTOCOL}: unexpected message: {message:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_parse_with_unknown_fields() {
        assert!(matches!(
            parse_message(r#"{"type":"connection_ack","payload":{"a":1}}"#),
            Ok(ServerMessage::ConnectionAck)
        ));
        assert!(matches!(parse_message(r#"{"type":"ping"}"#), Ok(ServerMessage::Ping)));
        assert!(matches!(parse_message(r#"{"id":"1","type":"complete"}"#), Ok(ServerMessage::Complete)));
        let next =
            parse_message(r#"{"id":"1","type":"next","payload":{"data":{"x":1},"extensions":{}}}"#).unwrap();
        assert!(matches!(next, ServerMessage::Next { payload } if payload.data.is_some()));
        let error = parse_message(r#"{"id":"1","type":"error","payload":[{"message":"no","locations":[]}]}"#)
            .unwrap();
        assert!(matches!(error, ServerMessage::Error { payload } if payload[0].message == "no"));
        let limited = r#"{"type":"error","payload":[{"message":"no","extensions":{"retryAfterSeconds":7}}]}"#;
        let ServerMessage::Error { payload } = parse_message(limited).unwrap() else { panic!("no error") };
        assert_eq!(payload[0].extensions.retry_after_seconds, Some(7));
        assert!(parse_message(r#"{"type":"made_up"}"#).is_err());
    }

    #[test]
    fn handshake_headers_are_checked() {
        let key = generate_key();
        let mut headers = HeaderMap::new();
        assert!(check_handshake(&headers, &key).is_err());
        headers.insert(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()).parse().unwrap());
        assert!(check_handshake(&headers, &key).unwrap_err().to_string().contains(PROTOCOL));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, PROTOCOL.parse().unwrap());
        assert!(check_handshake(&headers, &key).is_ok());
    }
}
