//! GraphQL over WebSocket, the client's side of `graphql-transport-ws`. Nothing here waits for ever.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::answer::ApiError;
use super::app::TestApp;

/// What a message may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that speaks the subprotocol; what goes over it is up to the test.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What comes over a connection.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    Message(Value),
    /// With its close code; 1006 where it broke off without one.
    Closed(u16),
}

impl Socket {
    /// Connects without saying anything.
    pub(crate) async fn open(app: &TestApp) -> Self {
        Self::open_at(app, "/graphql/ws").await
    }

    /// Connects at a path.
    pub(crate) async fn open_at(app: &TestApp, path: &str) -> Self {
        let mut request = app.url(path).replacen("http", "ws", 1).into_client_request().expect("an address");
        let protocol = "graphql-transport-ws".parse().expect("a header");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (stream, response) = connect_async(request).await.expect("the server takes WebSockets");
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

    /// The next message, or the end of the connection.
    pub(crate) async fn received(&mut self) -> Received {
        match self.received_text().await {
            Ok(text) => Received::Message(serde_json::from_str(&text).expect("messages are JSON")),
            Err(code) => Received::Closed(code),
        }
    }

    /// The text of the next message, or the close code.
    async fn received_text(&mut self) -> Result<String, u16> {
        loop {
            let next = timeout(PATIENCE, self.stream.next()).await;
            match next.unwrap_or_else(|_| panic!("nothing came within {PATIENCE:?}")) {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1006, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// The text of the next message, in which the order of fields shows.
    pub(crate) async fn receive_text(&mut self) -> String {
        let received = self.received_text().await;
        received.unwrap_or_else(|code| panic!("the connection was closed with {code}"))
    }

    /// The next message; a connection that ends instead fails the test.
    pub(crate) async fn receive(&mut self) -> Value {
        match self.received().await {
            Received::Message(message) => message,
            Received::Closed(code) => panic!("the connection was closed with {code}"),
        }
    }
}

/// One subscription on a connection of its own; dropping it cuts the connection.
#[derive(Debug)]
pub(crate) struct Subscription {
    socket: Socket,
}

const ID: &str = "1";

impl Subscription {
    pub(super) async fn start(mut socket: Socket, query: &str, variables: &Value) -> Self {
        socket.run(ID, query, variables).await;
        Self { socket }
    }

    /// What comes first: the data of an event, or the error that the subscription ends with.
    pub(crate) async fn first(mut self) -> Result<Value, ApiError> {
        let mut message = self.socket.receive().await;
        match message["type"].as_str() {
            Some("next") => Ok(message["payload"]["data"].take()),
            Some("error") => Err(serde_json::from_value(message["payload"][0].take()).expect("an error")),
            _ => panic!("an event or an error was to come: {message}"),
        }
    }

    /// The data of the next event.
    pub(crate) async fn next(&mut self) -> Value {
        let mut message = self.socket.receive().await;
        assert_eq!(message["type"], "next", "an event was to come: {message}");
        assert_eq!(message["id"], ID);
        let errors = &message["payload"]["errors"];
        assert!(errors.is_null(), "an event with errors: {errors}");
        message["payload"]["data"].take()
    }

    /// The data of the first event that is as wanted; those before it are passed over.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1000 {
            let event = self.next().await;
            if wanted(&event) {
                return event;
            }
        }
        panic!("1000 events came, but none in which {what}");
    }

    /// The server has nothing more to say, and says so.
    pub(crate) async fn ended(mut self) {
        assert_eq!(self.socket.receive().await, json!({"id": ID, "type": "complete"}));
    }

    /// The error that the subscription ends with.
    pub(crate) async fn error(self) -> ApiError {
        match self.first().await {
            Err(error) => error,
            Ok(data) => panic!("an error was to come: {data}"),
        }
    }

    /// The code that the connection is closed with; events that come before it are passed over.
    pub(crate) async fn closed(mut self) -> u16 {
        loop {
            if let Received::Closed(code) = self.socket.received().await {
                return code;
            }
        }
    }
}
