//! One WebSocket connection with one subscription, by the protocol graphql-transport-ws.
//!
//! The handshake (RFC 6455, section 4.1) is an upgrade of the HTTP client's own connection.

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
/// Each connection carries one operation; this is its ID.
const OPERATION: &str = "1";
/// Bytes of one message of the server.
const LARGEST_MESSAGE: usize = 16 << 20;
/// Bytes of the buffer for reading: a state of a job fits well.
const READ_BUFFER: usize = 16 << 10;
/// Close code of RFC 6455 for a connection that broke off without one.
const ABNORMAL: u16 = 1006;

/// What a server sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromServer {
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
    /// Connects, says who asks, and subscribes.
    pub(super) async fn open(client: &'c Client, query: &str, variables: &Value) -> Result<Self> {
        let opening = async {
            let mut socket = Self { client, stream: upgrade(client).await? };
            let mut who = json!({});
            if let Some(credential) = &client.credential {
                who = json!({"Authorization": format!("Bearer {}", credential.expose())});
            }
            socket.send(&json!({"type": "connection_init", "payload": who})).await?;
            loop {
                match socket.receive().await? {
                    FromServer::ConnectionAck => break,
                    FromServer::Ping => socket.send(&json!({"type": "pong"})).await?,
                    FromServer::Pong => {}
                    other => return Err(out_of_turn(&other)),
                }
            }
            let payload = json!({"query": query, "variables": variables});
            socket.send(&json!({"type": "subscribe", "id": OPERATION, "payload": payload})).await?;
            Ok(socket)
        };
        timeout(client.patience.answer, opening)
            .await
            .map_err(|_| client.silent("it does not finish the handshake of the WebSocket"))?
    }

    /// The next event; None after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            match self.receive().await? {
                FromServer::Next { payload } => return payload.into_data().map(Some),
                FromServer::Error { payload } => return Err(ClientError::Api(payload)),
                FromServer::Complete => return Ok(None),
                FromServer::Ping => self.send(&json!({"type": "pong"})).await?,
                FromServer::Pong => {}
                other @ FromServer::ConnectionAck => return Err(out_of_turn(&other)),
            }
        }
    }

    /// Waits for a message, and asks for a sign of life where none comes: a connection may be dead without either end
    /// having been told.
    async fn receive(&mut self) -> Result<FromServer> {
        let mut asked = false;
        loop {
            let message = match timeout(self.client.patience.idle, self.stream.next()).await {
                Ok(Some(message)) => message.map_err(|error| self.client.broken(&error))?,
                Ok(None) => return Err(closed(None)),
                Err(_) if asked => return Err(self.client.silent("its WebSocket is silent")),
                Err(_) => {
                    self.send(&json!({"type": "ping"})).await?;
                    asked = true;
                    continue;
                }
            };
            match message {
                Message::Text(text) => {
                    return read(&text)
                        .map_err(|error| ClientError::Protocol(format!("{PROTOCOL}: {error}")));
                }
                Message::Close(frame) => return Err(closed(frame)),
                // The library answers pings of the WebSocket itself; they are signs of life.
                Message::Ping(_) | Message::Pong(_) => asked = false,
                Message::Binary(_) | Message::Frame(_) => {
                    return Err(ClientError::Protocol(format!("{PROTOCOL}: a message that is not text")));
                }
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        let sent = self.stream.send(Message::text(message.to_string())).await;
        sent.map_err(|error| self.client.broken(&error))
    }
}

/// Reads a message. A tagged enum reads no numbers from text where serde_json keeps all digits, but it does from a value.
fn read(text: &str) -> serde_json::Result<FromServer> {
    serde_json::from_value(serde_json::from_str(text)?)
}

async fn upgrade(client: &Client) -> Result<WebSocketStream<Upgraded>> {
    let key = generate_key();
    let response = client
        .anonymous(Method::GET, "/graphql/ws")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .header(SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
        .send()
        .await
        .map_err(|error| client.unreachable(error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(match client.refusal(response).await {
            // Success of another kind is not one that may pass.
            ClientError::Status { status, .. } if status.is_success() => ClientError::Protocol(format!(
                "/graphql/ws answered {status} instead of becoming a WebSocket"
            )),
            other => other,
        });
    }
    check(response.headers(), &key)?;
    let connection = response.upgrade().await.map_err(|error| client.unreachable(error))?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    Ok(WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await)
}

fn check(headers: &HeaderMap, key: &str) -> Result<()> {
    let is =
        |name, expected: &str| headers.get(name).is_some_and(|value| value.as_bytes() == expected.as_bytes());
    if !is(SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes())) {
        return Err(ClientError::Protocol(
            "Sec-WebSocket-Accept is not the one that belongs to the key".into(),
        ));
    }
    if !is(SEC_WEBSOCKET_PROTOCOL, PROTOCOL) {
        return Err(ClientError::Protocol(format!("the WebSocket does not speak {PROTOCOL}")));
    }
    Ok(())
}

fn closed(frame: Option<CloseFrame>) -> ClientError {
    match frame {
        Some(frame) => {
            ClientError::Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() }
        }
        None => ClientError::Closed { code: ABNORMAL, reason: "it broke off".into() },
    }
}

fn out_of_turn(message: &FromServer) -> ClientError {
    ClientError::Protocol(format!("{PROTOCOL}: out of turn: {message:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_with_whatever_else_they_carry() {
        assert!(matches!(
            read(r#"{"type":"connection_ack","payload":{"a":1}}"#),
            Ok(FromServer::ConnectionAck)
        ));
        assert!(matches!(read(r#"{"type":"ping"}"#), Ok(FromServer::Ping)));
        assert!(matches!(read(r#"{"id":"1","type":"complete"}"#), Ok(FromServer::Complete)));
        let next = read(r#"{"id":"1","type":"next","payload":{"data":{"x":1},"extensions":{}}}"#).unwrap();
        assert!(matches!(next, FromServer::Next { payload } if payload.data.is_some()));
        let error = read(r#"{"id":"1","type":"error","payload":[{"message":"no","locations":[]}]}"#).unwrap();
        assert!(matches!(error, FromServer::Error { payload } if payload[0].message == "no"));
        let limited = r#"{"type":"error","payload":[{"message":"no","extensions":{"retryAfterSeconds":7}}]}"#;
        let FromServer::Error { payload } = read(limited).unwrap() else { panic!("no error") };
        assert_eq!(payload[0].extensions.retry_after_seconds, Some(7));
        assert!(read(r#"{"type":"made_up"}"#).is_err());
    }

    #[test]
    fn the_handshake_is_checked() {
        let key = generate_key();
        let mut headers = HeaderMap::new();
        assert!(check(&headers, &key).is_err());
        headers.insert(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()).parse().unwrap());
        assert!(check(&headers, &key).unwrap_err().to_string().contains(PROTOCOL));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, PROTOCOL.parse().unwrap());
        assert!(check(&headers, &key).is_ok());
    }
}
