//! GraphQL over server-sent events in the distinct connections mode: one stream for each operation.
//! (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>)
//!
//! The body of the response writes one result of the operation before it polls for the next, so a slow reader slows
//! down only its own operation. Every stream ends with `complete`, also when the server stops and when the credential
//! ends. [`super::connections`] closes the connection of a client that reads nothing.

use std::time::Duration;

use async_graphql::parser::types::OperationType;
use axum::body::Body;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tracing::{Instrument, Span};

use super::auth::credential_ended;
use super::operation::{self, Prepared};
use super::quota::QuotaPermit;
use super::response::EncodedResponse;
use super::{Server, refuse, tracking};
use crate::access::Viewer;
use crate::error::Error;
use crate::graphql::Uploads;

/// Header that turns off response buffering in nginx and similar proxies.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Runs an operation and returns the stream of its results, or an error if the viewer has too many streams.
pub(super) async fn run(
    server: &Server,
    viewer: Viewer,
    prepared: Prepared,
    uploads: Option<Uploads>,
) -> Response {
    let permit = match server.stream_quota.acquire(&viewer) {
        Ok(permit) => permit,
        Err(error) => {
            if let Some(uploads) = uploads {
                operation::discard_files(server, uploads.take_remaining()).await;
            }
            return refuse(&error);
        }
    };
    let (end, uploads) = match (prepared.kind, uploads) {
        (OperationType::Subscription, uploads) => {
            // No subscription takes files.
            operation::discard_files(
                server,
                uploads.map(|uploads| uploads.take_remaining()).unwrap_or_default(),
            )
            .await;
            (wait_for_end(server, &viewer).boxed(), None)
        }
        // Queries and mutations end by themselves, with their result.
        (_, uploads) => (std::future::pending().boxed(), uploads),
    };
    let results = operation::stream(server, viewer, prepared, uploads);
    stream_response(EventStream { results, end, keep_alive: keep_alive(server), _permit: Some(permit) })
}

/// Returns a stream of one result.
pub(super) fn once(server: &Server, result: EncodedResponse) -> Response {
    let results = stream::once(async { result }).boxed();
    let end = std::future::pending().boxed();
    stream_response(EventStream { results, end, keep_alive: keep_alive(server), _permit: None })
}

fn keep_alive(server: &Server) -> Duration {
    Duration::from_millis(server.app.config.sse.keep_alive_milliseconds)
}

/// Resolves when the server must end a stream, to the last result of the stream.
fn wait_for_end(
    server: &Server,
    viewer: &Viewer,
) -> impl Future<Output = Option<EncodedResponse>> + Send + use<> {
    let (server, stopping) = (server.clone(), server.app.stopping.clone());
    let ended = credential_ended(&server.app, viewer);
    async move {
        tokio::select! {
            biased;
            () = stopping.cancelled() => None,
            () = ended => {
                let message = "The credential of this subscription has expired or was revoked.";
                Some(operation::error_response(&server, &Error::Unauthenticated(message.into())))
            }
        }
    }
}

struct EventStream {
    results: BoxStream<'static, EncodedResponse>,
    end: BoxFuture<'static, Option<EncodedResponse>>,
    keep_alive: Duration,
    _permit: Option<QuotaPermit>,
}

impl EventStream {
    /// Returns the next event, and the stream unless that event is the last one.
    async fn next(mut self) -> (String, Option<Self>) {
        let last = tokio::select! {
            biased;
            last = &mut self.end => last,
            result = self.results.next() => match result {
                Some(result) => return (event(&result), Some(self)),
                None => None,
            },
            () = tokio::time::sleep(self.keep_alive) => return (KEEP_ALIVE.to_owned(), Some(self)),
        };
        (last.as_ref().map(event).unwrap_or_default() + COMPLETE, None)
    }
}

/// A comment, which clients ignore.
const KEEP_ALIVE: &str = ":\n\n";
/// The last event. Its data is empty: browsers drop an event without data, and some clients parse other data as a
/// result.
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// Formats a result as an event. Compact JSON has no line breaks, so it fits in one line.
fn event(result: &EncodedResponse) -> String {
    format!("event: next\ndata: {}\n\n", result.json)
}

fn stream_response(stream: EventStream) -> Response {
    // The work during the body belongs to the request too.
    let (span, tracking) = (Span::current(), tracking::current());
    let events = stream::unfold(Some(stream), move |stream| {
        let next = async move { Some(stream?.next().await) };
        tracking::with_id(tracking.clone(), next).instrument(span.clone())
    });
    let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (ACCEL_BUFFERING, "no"),
    ];
    (headers, body).into_response()
}
