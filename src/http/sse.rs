//! GraphQL over server-sent events, in distinct connections: one operation, one stream.
//! (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>)
//!
//! The body of the response takes one result of the operation and writes it out before it takes the next, so that a slow
//! reader slows down only itself. Every stream ends with `complete`, also when the server stops and when the credential
//! ends. Whoever reads nothing at all is cut off with the connection ([`super::connections`]).

use std::time::Duration;

use async_graphql::parser::types::OperationType;
use axum::body::Body;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tracing::{Instrument, Span};

use super::answer::Written;
use super::operation::{self, Prepared};
use super::session::{Place, credential_ended};
use super::{Server, refuse, tracking};
use crate::error::Error;
use crate::graphql::{Uploads, Viewer};

/// Proxies that gather answers let this one through as it comes.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Runs an operation and answers with the stream of its results; refused where the viewer has too many.
pub(super) async fn run(
    server: &Server,
    viewer: Viewer,
    prepared: Prepared,
    uploads: Option<Uploads>,
) -> Response {
    let place = match server.streams.take(&viewer) {
        Ok(place) => place,
        Err(error) => {
            if let Some(uploads) = uploads {
                operation::discard(server, uploads.rest()).await;
            }
            return refuse(&error);
        }
    };
    let (end, uploads) = match (prepared.kind, uploads) {
        (OperationType::Subscription, uploads) => {
            // Nothing in a subscription takes files.
            operation::discard(server, uploads.map(|uploads| uploads.rest()).unwrap_or_default()).await;
            (end(server, &viewer).boxed(), None)
        }
        // These end soon, and with their result.
        (_, uploads) => (std::future::pending().boxed(), uploads),
    };
    let results = operation::stream(server, viewer, prepared, uploads);
    answer(Stream { results, end, keep_alive: keep_alive(server), _place: Some(place) })
}

/// Answers with a stream of one result.
pub(super) fn once(server: &Server, result: Written) -> Response {
    let results = stream::once(async { result }).boxed();
    let end = std::future::pending().boxed();
    answer(Stream { results, end, keep_alive: keep_alive(server), _place: None })
}

fn keep_alive(server: &Server) -> Duration {
    Duration::from_millis(server.app.config.sse.keep_alive_milliseconds)
}

/// Resolves when a stream is to end from this side, to what is said then.
fn end(server: &Server, viewer: &Viewer) -> impl Future<Output = Option<Written>> + Send + use<> {
    let (server, stopping) = (server.clone(), server.app.stopping.clone());
    let ended = credential_ended(&server.app, viewer);
    async move {
        tokio::select! {
            biased;
            () = stopping.cancelled() => None,
            () = ended => {
                let message = "The credential of this subscription has ended.";
                Some(operation::ended(&server, &Error::Unauthenticated(message.into())))
            }
        }
    }
}

struct Stream {
    results: BoxStream<'static, Written>,
    end: BoxFuture<'static, Option<Written>>,
    keep_alive: Duration,
    _place: Option<Place>,
}

impl Stream {
    /// What is to be sent next, and the stream where more may come.
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

/// A comment, which clients pass over.
const KEEP_ALIVE: &str = ":\n\n";
/// It has data, though empty: browsers drop an event without, and some clients read whatever data there is as a result.
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// JSON has no line breaks of its own, so one line holds it.
fn event(result: &Written) -> String {
    format!("event: next\ndata: {}\n\n", result.json)
}

fn answer(stream: Stream) -> Response {
    // What is done while the body is written belongs to the request too.
    let (span, tracking) = (Span::current(), tracking::current());
    let events = stream::unfold(Some(stream), move |stream| {
        let next = async move { Some(stream?.next().await) };
        tracking::within(tracking.clone(), next).instrument(span.clone())
    });
    let body = Body::from_stream(events.map(Ok::<_, std::convert::Infallible>));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (ACCEL_BUFFERING, "no"),
    ];
    (headers, body).into_response()
}
