//! One connection, which one task serves.

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::ServerError;
use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamMap;
use tokio_util::sync::CancellationToken;

use super::close::End;
use super::message::{ClientMessage, ServerMessage, next};
use super::{InitRefusal, Operations, Settings};
use crate::error::Error;
use crate::http::{EncodedResponse, Parameters, tracking};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The phase of the handshake.
enum Phase<S> {
    /// `connection_init` has not arrived.
    Waiting,
    /// `connection_init` has arrived and is being authenticated.
    Initializing(BoxFuture<Result<S, InitRefusal>>),
    /// `connection_init` was acknowledged. The future resolves when the credential ends.
    Open(S, BoxFuture<()>),
}

/// The next item of an operation.
enum Output {
    Response(EncodedResponse),
    Panicked,
    Done,
}

/// An event that the connection must handle.
enum ConnectionEvent<S> {
    Stopping,
    Expired,
    InitTimeout,
    Initialized(Result<S, InitRefusal>),
    Received(Option<Result<Message, axum::Error>>),
    Output(Option<(String, Output)>),
    Heartbeat,
}

pub(super) struct Connection<O: Operations> {
    socket: WebSocket,
    operations: Arc<O>,
    settings: Settings,
    phase: Phase<O::Session>,
    running: StreamMap<String, BoxStream<'static, Output>>,
    opened_at: Instant,
    next_ping_at: Instant,
    /// Deadline for the next message of the peer; `None` if one has arrived since the last ping.
    pong_deadline: Option<Instant>,
}

impl<O: Operations> Connection<O> {
    pub(super) fn new(socket: WebSocket, operations: O, settings: Settings) -> Self {
        let opened_at = Instant::now();
        Self {
            socket,
            operations: Arc::new(operations),
            phase: Phase::Waiting,
            running: StreamMap::new(),
            opened_at,
            next_ping_at: opened_at + Duration::from_millis(settings.ping_milliseconds),
            pong_deadline: None,
            settings,
        }
    }

    /// Serves the connection until it ends, and closes it.
    pub(super) async fn serve(mut self, stopping: &CancellationToken) {
        let end = loop {
            let event = self.next_event(stopping).await;
            if let Err(end) = self.handle(event).await {
                break end;
            }
        };
        self.close(end).await;
    }

    /// Closes the connection of a client that does not support the subprotocol.
    pub(super) async fn refuse_protocol(self) {
        self.close(End::unsupported_protocol()).await;
    }

    async fn close(mut self, end: End) {
        tracing::debug!(?end, "closing websocket");
        if end == End::Disconnected {
            return;
        }
        self.running.clear();
        // Reads until the peer answers, because unread data would reset the connection before the close frame arrives.
        let handshake = async {
            if let Some(frame) = end.frame() {
                self.socket.send(Message::Close(Some(frame))).await?;
            }
            while self.socket.recv().await.transpose()?.is_some() {}
            Ok::<_, axum::Error>(())
        };
        match timeout(self.settings.write_timeout(), handshake).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "websocket failed while closing"),
            Err(_) => tracing::debug!("websocket peer did not answer the close frame"),
        }
    }

    /// Waits for the next event.
    ///
    /// Events that end the connection precede events that the peer can cause in large numbers. Reading precedes
    /// writing, so that `complete` takes effect in time.
    async fn next_event(&mut self, stopping: &CancellationToken) -> ConnectionEvent<O::Session> {
        let init_deadline = self.opened_at + Duration::from_millis(self.settings.init_milliseconds);
        let heartbeat =
            self.pong_deadline.map_or(self.next_ping_at, |deadline| deadline.min(self.next_ping_at));
        let is_opening = !matches!(self.phase, Phase::Open(..));
        let handshake = async {
            match &mut self.phase {
                Phase::Waiting => pending().await,
                Phase::Initializing(init) => ConnectionEvent::Initialized(init.await),
                Phase::Open(_, ended) => {
                    ended.await;
                    ConnectionEvent::Expired
                }
            }
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => ConnectionEvent::Stopping,
            event = handshake => event,
            () = sleep_until(init_deadline), if is_opening => ConnectionEvent::InitTimeout,
            received = self.socket.recv() => ConnectionEvent::Received(received),
            output = self.running.next(), if !self.running.is_empty() => ConnectionEvent::Output(output),
            () = sleep_until(heartbeat) => ConnectionEvent::Heartbeat,
        }
    }

    async fn handle(&mut self, event: ConnectionEvent<O::Session>) -> Result<(), End> {
        match event {
            ConnectionEvent::Stopping => Err(self.stop().await),
            ConnectionEvent::Expired => Err(End::expired()),
            ConnectionEvent::InitTimeout => Err(End::init_timeout()),
            ConnectionEvent::Initialized(session) => {
                let session = session?;
                let ended = Box::pin(self.operations.credential_ended(&session));
                self.phase = Phase::Open(session, ended);
                self.send(&ServerMessage::ConnectionAck).await
            }
            ConnectionEvent::Received(None) => Err(End::Disconnected),
            // The message was too long, not UTF-8, or not a frame.
            ConnectionEvent::Received(Some(Err(error))) => Err(End::invalid(error)),
            ConnectionEvent::Received(Some(Ok(message))) => {
                self.pong_deadline = None;
                self.receive(message).await
            }
            ConnectionEvent::Output(Some((id, output))) => self.send_output(&id, output).await,
            ConnectionEvent::Output(None) => Ok(()),
            ConnectionEvent::Heartbeat => self.check_heartbeat().await,
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                return Err(End::invalid("binary frames are not supported; send JSON in text frames"));
            }
            // The WebSocket library answers pings.
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::ClosedByPeer),
        };
        match ClientMessage::parse(&text, self.settings.id_bytes).map_err(End::invalid)? {
            ClientMessage::ConnectionInit { payload } => self.init(payload),
            ClientMessage::Ping { payload } => self.send(&ServerMessage::Pong { payload }).await,
            ClientMessage::Pong => Ok(()),
            ClientMessage::Subscribe { id, payload } => self.subscribe(id, payload).await,
            ClientMessage::Complete { id } => {
                // The operation may have ended before this message arrived.
                self.running.remove(&id);
                Ok(())
            }
        }
    }

    fn init(&mut self, payload: Option<serde_json::Map<String, serde_json::Value>>) -> Result<(), End> {
        if !matches!(self.phase, Phase::Waiting) {
            return Err(End::second_init());
        }
        let operations = Arc::clone(&self.operations);
        let payload = payload.map_or(serde_json::Value::Null, serde_json::Value::Object);
        self.phase = Phase::Initializing(Box::pin(async move { operations.init(payload).await }));
        Ok(())
    }

    async fn subscribe(&mut self, id: String, parameters: Parameters) -> Result<(), End> {
        let Phase::Open(session, _) = &self.phase else { return Err(End::too_early()) };
        if self.running.contains_key(&id) {
            return Err(End::duplicate(&id));
        }
        if self.running.len() >= self.settings.operations {
            let limit = self.settings.operations;
            let message =
                format!("This connection runs {limit} operations, which is the limit. Complete one first.");
            let error = server_error(&Error::Unavailable(message));
            return self.send(&ServerMessage::Error { id: &id, payload: &[error] }).await;
        }
        let responses = self.operations.execute(session, parameters);
        let outputs = AssertUnwindSafe(responses)
            .catch_unwind()
            .map(|response| response.map_or(Output::Panicked, Output::Response));
        self.running.insert(id, outputs.chain(stream::once(async { Output::Done })).boxed());
        Ok(())
    }

    async fn send_output(&mut self, id: &str, output: Output) -> Result<(), End> {
        match output {
            Output::Response(response) if !response.request_errors.is_empty() => {
                self.running.remove(id);
                self.send(&ServerMessage::Error { id, payload: &response.request_errors }).await
            }
            Output::Response(response) => self.write(Message::Text(next(id, &response.json).into())).await,
            Output::Panicked => {
                self.running.remove(id);
                tracing::error!(id, "operation panicked");
                let error = server_error(&Error::internal("an operation panicked"));
                self.send(&ServerMessage::Error { id, payload: &[error] }).await
            }
            Output::Done => {
                self.running.remove(id);
                self.send(&ServerMessage::Complete { id }).await
            }
        }
    }

    async fn check_heartbeat(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.pong_deadline.is_some_and(|deadline| deadline <= now) {
            return Err(End::silent());
        }
        self.next_ping_at = now + Duration::from_millis(self.settings.ping_milliseconds);
        self.pong_deadline.get_or_insert(now + Duration::from_millis(self.settings.pong_milliseconds));
        self.write(Message::Ping(Bytes::new())).await
    }

    /// Completes all operations within the time limit of one write.
    async fn stop(&mut self) -> End {
        let ids: Vec<String> = self.running.keys().cloned().collect();
        self.running.clear();
        let limit = self.settings.write_timeout();
        let complete = async {
            for id in ids {
                self.send(&ServerMessage::Complete { id: &id }).await?;
            }
            Ok::<_, End>(())
        };
        match timeout(limit, complete).await {
            Ok(Ok(())) => End::stopping(),
            _ => End::Disconnected,
        }
    }

    async fn send(&mut self, message: &ServerMessage<'_>) -> Result<(), End> {
        let text = serde_json::to_string(message).map_err(|error| {
            tracing::error!(%error, "message serialization failed");
            End::from(InitRefusal::Internal)
        })?;
        self.write(Message::Text(text.into())).await
    }

    /// Writes a message to the socket. The rest of the connection waits for it, so that a slow reader cannot fill the
    /// memory of the server.
    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.settings.write_timeout(), self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "websocket failed");
                Err(End::Disconnected)
            }
            Err(_) => {
                tracing::debug!(milliseconds = self.settings.write_milliseconds, "websocket write timed out");
                Err(End::Disconnected)
            }
        }
    }
}

/// Returns the error of an operation that did not run.
fn server_error(error: &Error) -> ServerError {
    let mut extensions = crate::graphql::extensions(error);
    extensions.set("tracking", tracking::current());
    ServerError { extensions: Some(extensions), ..ServerError::new(error.message(), None) }
}
