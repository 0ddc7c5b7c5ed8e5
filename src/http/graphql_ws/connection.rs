//! One connection, driven by one task.

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{ErrorExtensionValues, ServerError};
use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamMap;
use tokio_util::sync::CancellationToken;

use super::close::End;
use super::message::{ClientMessage, ServerMessage, next};
use super::{Operations, Refused, Settings};
use crate::error::Code;
use crate::http::{Parameters, Written, tracking};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How far the handshake is.
enum Phase<S> {
    /// Nothing has come yet.
    Waiting,
    /// `connection_init` has come and is being looked at.
    Initialising(BoxFuture<Result<S, Refused>>),
    /// Acknowledged. The future resolves when the credential ends.
    Open(S, BoxFuture<()>),
}

/// What an operation has to say.
enum Output {
    Response(Written),
    Panicked,
    Done,
}

/// What happens next.
enum Event<S> {
    Stopping,
    Expired,
    InitTimeout,
    Initialised(Result<S, Refused>),
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
    opened: Instant,
    next_ping: Instant,
    /// When the peer must have been heard; `None` where it was since the last ping.
    pong_due: Option<Instant>,
}

impl<O: Operations> Connection<O> {
    pub(super) fn new(socket: WebSocket, operations: O, settings: Settings) -> Self {
        let opened = Instant::now();
        Self {
            socket,
            operations: Arc::new(operations),
            phase: Phase::Waiting,
            running: StreamMap::new(),
            opened,
            next_ping: opened + Duration::from_millis(settings.ping_milliseconds),
            pong_due: None,
            settings,
        }
    }

    /// Serves the connection until it ends and says goodbye.
    pub(super) async fn serve(mut self, stopping: &CancellationToken) {
        let end = loop {
            let event = self.event(stopping).await;
            if let Err(end) = self.handle(event).await {
                break end;
            }
        };
        self.close(end).await;
    }

    /// Says goodbye to who speaks another subprotocol.
    pub(super) async fn refuse(self) {
        self.close(End::foreign_protocol()).await;
    }

    async fn close(mut self, end: End) {
        tracing::debug!(?end, "websocket ends");
        if end == End::Gone {
            return;
        }
        self.running.clear();
        // The peer's answer is awaited, since data that nobody reads would reset the connection under the close frame.
        let goodbye = async {
            if let Some(frame) = end.frame() {
                self.socket.send(Message::Close(Some(frame))).await?;
            }
            while self.socket.recv().await.transpose()?.is_some() {}
            Ok::<_, axum::Error>(())
        };
        match timeout(self.settings.write_timeout(), goodbye).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "websocket broke while closing"),
            Err(_) => tracing::debug!("websocket peer did not answer the close frame"),
        }
    }

    /// Waits for whatever comes first. What ends the connection precedes what the peer can flood it with, and reading
    /// precedes writing, so that `complete` is heard in time.
    async fn event(&mut self, stopping: &CancellationToken) -> Event<O::Session> {
        let init_due = self.opened + Duration::from_millis(self.settings.init_milliseconds);
        let heartbeat = self.pong_due.map_or(self.next_ping, |due| due.min(self.next_ping));
        let opening = !matches!(self.phase, Phase::Open(..));
        let handshake = async {
            match &mut self.phase {
                Phase::Waiting => pending().await,
                Phase::Initialising(init) => Event::Initialised(init.await),
                Phase::Open(_, ended) => {
                    ended.await;
                    Event::Expired
                }
            }
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => Event::Stopping,
            event = handshake => event,
            () = sleep_until(init_due), if opening => Event::InitTimeout,
            received = self.socket.recv() => Event::Received(received),
            output = self.running.next(), if !self.running.is_empty() => Event::Output(output),
            () = sleep_until(heartbeat) => Event::Heartbeat,
        }
    }

    async fn handle(&mut self, event: Event<O::Session>) -> Result<(), End> {
        match event {
            Event::Stopping => Err(self.stop().await),
            Event::Expired => Err(End::expired()),
            Event::InitTimeout => Err(End::init_timeout()),
            Event::Initialised(session) => {
                let session = session?;
                let ended = Box::pin(self.operations.ended(&session));
                self.phase = Phase::Open(session, ended);
                self.tell(&ServerMessage::ConnectionAck).await
            }
            Event::Received(None) => Err(End::Gone),
            // Whether it was too long, not UTF-8 or no frame at all: where the peer is still there, it is told.
            Event::Received(Some(Err(error))) => Err(End::invalid(error)),
            Event::Received(Some(Ok(message))) => {
                self.pong_due = None;
                self.receive(message).await
            }
            Event::Output(Some((id, output))) => self.output(&id, output).await,
            Event::Output(None) => Ok(()),
            Event::Heartbeat => self.heartbeat().await,
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                return Err(End::invalid("a binary frame; messages are JSON in text frames"));
            }
            // A ping is answered beneath.
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::ClosedByPeer),
        };
        match ClientMessage::parse(&text, self.settings.id_bytes).map_err(End::invalid)? {
            ClientMessage::ConnectionInit { payload } => self.init(payload),
            ClientMessage::Ping { payload } => self.tell(&ServerMessage::Pong { payload }).await,
            ClientMessage::Pong => Ok(()),
            ClientMessage::Subscribe { id, payload } => self.subscribe(id, payload).await,
            ClientMessage::Complete { id } => {
                // It may have ended by itself while the message was under way.
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
        self.phase = Phase::Initialising(Box::pin(async move { operations.init(payload).await }));
        Ok(())
    }

    async fn subscribe(&mut self, id: String, asked: Parameters) -> Result<(), End> {
        let Phase::Open(session, _) = &self.phase else { return Err(End::too_early()) };
        if self.running.contains_key(&id) {
            return Err(End::duplicate(&id));
        }
        if self.running.len() >= self.settings.operations {
            let most = self.settings.operations;
            let message =
                format!("{most} operations run on this connection, which is the most. Complete one first.");
            return self
                .tell(&ServerMessage::Error { id: &id, payload: &[error("UNAVAILABLE", message)] })
                .await;
        }
        let responses = self.operations.execute(session, asked);
        let outputs = AssertUnwindSafe(responses)
            .catch_unwind()
            .map(|response| response.map_or(Output::Panicked, Output::Response));
        self.running.insert(id, outputs.chain(stream::once(async { Output::Done })).boxed());
        Ok(())
    }

    async fn output(&mut self, id: &str, output: Output) -> Result<(), End> {
        match output {
            Output::Response(response) if !response.refused.is_empty() => {
                self.running.remove(id);
                self.tell(&ServerMessage::Error { id, payload: &response.refused }).await
            }
            Output::Response(response) => self.write(Message::Text(next(id, &response.json).into())).await,
            Output::Panicked => {
                self.running.remove(id);
                tracing::error!(id, "an operation panicked");
                let message = "Something went wrong on the server.".into();
                self.tell(&ServerMessage::Error { id, payload: &[error(Code::Internal.as_str(), message)] })
                    .await
            }
            Output::Done => {
                self.running.remove(id);
                self.tell(&ServerMessage::Complete { id }).await
            }
        }
    }

    async fn heartbeat(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.pong_due.is_some_and(|due| due <= now) {
            return Err(End::silent());
        }
        self.next_ping = now + Duration::from_millis(self.settings.ping_milliseconds);
        self.pong_due.get_or_insert(now + Duration::from_millis(self.settings.pong_milliseconds));
        self.write(Message::Ping(Bytes::new())).await
    }

    /// Completes every operation, all within the time of one write.
    async fn stop(&mut self) -> End {
        let ids: Vec<String> = self.running.keys().cloned().collect();
        self.running.clear();
        let limit = self.settings.write_timeout();
        let complete = async {
            for id in ids {
                self.tell(&ServerMessage::Complete { id: &id }).await?;
            }
            Ok::<_, End>(())
        };
        match timeout(limit, complete).await {
            Ok(Ok(())) => End::stopping(),
            _ => End::Gone,
        }
    }

    async fn tell(&mut self, message: &ServerMessage<'_>) -> Result<(), End> {
        let text = serde_json::to_string(message).map_err(|error| {
            tracing::error!(%error, "a message cannot be written as JSON");
            End::from(Refused::Internal)
        })?;
        self.write(Message::Text(text.into())).await
    }

    /// Returns when the message has left for the network. Until then nothing else of this connection goes on, which is
    /// what keeps a slow reader from filling the server.
    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.settings.write_timeout(), self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "websocket broke");
                Err(End::Gone)
            }
            Err(_) => {
                tracing::debug!(
                    milliseconds = self.settings.write_milliseconds,
                    "websocket peer reads too slowly"
                );
                Err(End::Gone)
            }
        }
    }
}

fn error(code: &str, message: String) -> ServerError {
    let mut error = ServerError::new(message, None);
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code);
    extensions.set("tracking", tracking::current());
    error.extensions = Some(extensions);
    error
}
