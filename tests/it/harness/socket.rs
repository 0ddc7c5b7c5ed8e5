//! A client for GraphQL over WebSocket (`graphql-transport-ws`). Every wait has a time limit.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::app::TestApp;
use super::response::ApiError;

/// The time limit for one message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection with the subprotocol, on which the test sends any messages.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// A message, or the end of a connection.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    Message(Value),
    /// The close code; 1006 if the connection ended without one.
    Closed(u16),
}

impl Socket {
    /// Opens a connection without sending a message.
    pub(crate) async fn open(app: &TestApp) -> Self {
        Self::open_at(app, "/graphql/ws").await
    }

    /// Opens a connection at a path.
    pub(crate) async fn open_at(app: &TestApp, path: &str) -> Self {
        let mut request = app.url(path).replacen("http", "ws", 1).into_client_request().expect("a URL");
        let protocol = "graphql-transport-ws".parse().expect("a header");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (stream, response) = connect_async(request).await.expect("the server accepts WebSockets");
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "graphql-transport-ws");
        Self { stream }
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.stream.send(Message::text(message.to_string())).await.expect("the server reads");
    }

    /// Starts an operation.
    pub(crate) async fn run(&mut self, id: &str, query: &str, variables: &Value) {
        let payload = json!({"query": query, "variables": variables});
        self.send(&json!({"type": "subscribe", "id": id, "payload": payload})).await;
    }

    /// Returns the next message, or the end of the connection.
    pub(crate) async fn receive_any(&mut self) -> Received {
        match self.read_text().await {
            Ok(text) => Received::Message(serde_json::from_str(&text).expect("messages are JSON")),
            Err(code) => Received::Closed(code),
        }
    }

    /// Returns the text of the next message, or the close code.
    async fn read_text(&mut self) -> Result<String, u16> {
        loop {
            let next = timeout(MESSAGE_TIMEOUT, self.stream.next()).await;
            match next.unwrap_or_else(|_| panic!("no message within {MESSAGE_TIMEOUT:?}")) {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1006, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// Returns the text of the next message with its original field order.
    pub(crate) async fn receive_text(&mut self) -> String {
        let received = self.read_text().await;
        received.unwrap_or_else(|code| panic!("the connection was closed with {code}"))
    }

    /// Returns the next message, and fails the test if the connection ends instead.
    pub(crate) async fn receive(&mut self) -> Value {
        match self.receive_any().await {
            Received::Message(message) => message,
            Received::Closed(code) => panic!("the connection was closed with {code}"),
        }
    }
}

/// A subscription on its own connection, which closes when the subscription is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    socket: Socket,
}

const OPERATION_ID: &str = "1";

impl Subscription {
    pub(super) async fn start(mut socket: Socket, query: &str, variables: &Value) -> Self {
        socket.run(OPERATION_ID, query, variables).await;
        Self { socket }
    }

    /// Returns the data of the first event, or the error with which the subscription ends.
    pub(crate) async fn first(mut self) -> Result<Value, ApiError> {
        let mut message = self.socket.receive().await;
        match message["type"].as_str() {
            Some("next") => Ok(message["payload"]["data"].take()),
            Some("error") => Err(serde_json::from_value(message["payload"][0].take()).expect("an error")),
            _ => panic!("expected an event or an error, got {message}"),
        }
    }

    /// Returns the data of the next event.
    pub(crate) async fn next(&mut self) -> Value {
        let mut message = self.socket.receive().await;
        assert_eq!(message["type"], "next", "expected an event, got {message}");
        assert_eq!(message["id"], OPERATION_ID);
        let errors = &message["payload"]["errors"];
        assert!(errors.is_null(), "the event has errors: {errors}");
        message["payload"]["data"].take()
    }

    /// Returns the data of the next matching event and skips the events before it.
    pub(crate) async fn wait_for(&mut self, what: &str, is_match: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1000 {
            let event = self.next().await;
            if is_match(&event) {
                return event;
            }
        }
        panic!("none of 1000 events matched: {what}");
    }

    /// Expects the `complete` message.
    pub(crate) async fn expect_complete(mut self) {
        assert_eq!(self.socket.receive().await, json!({"id": OPERATION_ID, "type": "complete"}));
    }

    /// Returns the error with which the subscription ends, and fails the test if an event comes first.
    pub(crate) async fn expect_error(self) -> ApiError {
        match self.first().await {
            Err(error) => error,
            Ok(data) => panic!("expected an error, got {data}"),
        }
    }

    /// Waits until the connection is closed and returns the close code.
    pub(crate) async fn close_code(mut self) -> u16 {
        loop {
            if let Received::Closed(code) = self.socket.receive_any().await {
                return code;
            }
        }
    }
}
