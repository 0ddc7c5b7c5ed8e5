//! GraphQL over server-sent events, in distinct connections: one operation, one stream.
//! (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>)
//!
//! The body of the response takes one result of the operation and writes it out before it takes the next, so that a slow
//! reader slows down only itself. Every stream ends with `complete`, also when the server stops and when the credential
//! ends. Whoever reads nothing at all is cut off with the connection ([`super::connections`]).

use std::time::Duration;

use async_graphql::parser::types::OperationType;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
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
    answer(server, Stream { results, end, _place: Some(place) })
}

/// Answers with a stream of one result.
pub(super) fn once(server: &Server, result: Written) -> Response {
    let results = stream::once(async { result }).boxed();
    answer(server, Stream { results, end: std::future::pending().boxed(), _place: None })
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
    _place: Option<Place>,
}

impl Stream {
    /// What is to be sent next, and the stream where more may come.
    async fn next(mut self) -> (Vec<Event>, Option<Self>) {
        let last = tokio::select! {
            biased;
            last = &mut self.end => last,
            result = self.results.next() => match result {
                Some(result) => return (vec![next(result)], Some(self)),
                None => None,
            },
        };
        // Data, though empty: browsers drop an event without.
        let complete = Event::default().event("complete").data("");
        (last.map(next).into_iter().chain([complete]).collect(), None)
    }
}

fn next(result: Written) -> Event {
    Event::default().event("next").data(result.json)
}

fn answer(server: &Server, stream: Stream) -> Response {
    // What is done while the body is written belongs to the request too.
    let (span, tracking) = (Span::current(), tracking::current());
    let events = stream::unfold(Some(stream), move |stream| {
        let next = async move { Some(stream?.next().await) };
        tracking::within(tracking.clone(), next).instrument(span.clone())
    });
    let events =
        events.flat_map(|events| stream::iter(events.into_iter().map(Ok::<_, std::convert::Infallible>)));
    let every = Duration::from_millis(server.app.config.sse.keep_alive_milliseconds);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(every)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
