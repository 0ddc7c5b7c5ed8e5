//! A client for GraphQL over server-sent events. Every wait has a time limit.

use std::time::Duration;

use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;

/// The time limit for one event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);

/// An item that a client reads from an event stream.
#[derive(Debug, PartialEq)]
pub(crate) enum StreamItem {
    /// A result of the operation.
    Next(Value),
    Complete,
    /// A comment that keeps an idle stream open.
    Comment,
    /// The end of the body.
    End,
}

/// A stream of server-sent events.
#[derive(Debug)]
pub(crate) struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    /// Checks that a response is an event stream, and wraps it.
    pub(crate) fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// Returns the next item, including comments.
    pub(crate) async fn next_item(&mut self) -> StreamItem {
        self.next_text().await.map_or(StreamItem::End, |event| parse_event(event.trim_end()))
    }

    /// Returns the text of the next event with its original field order, or `None` at the end of the body.
    pub(crate) async fn next_text(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                return Some(self.buffer.drain(..end + 2).collect());
            }
            let chunk = timeout(EVENT_TIMEOUT, self.response.chunk()).await;
            match chunk.unwrap_or_else(|_| panic!("no event within {EVENT_TIMEOUT:?}")) {
                Ok(Some(chunk)) => self.buffer.push_str(std::str::from_utf8(&chunk).expect("UTF-8")),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Returns the next result and skips comments.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.next_item().await {
                StreamItem::Next(result) => return result,
                StreamItem::Comment => {}
                other => panic!("expected a result, got {other:?}"),
            }
        }
    }

    /// Expects the `complete` event and then the end of the stream.
    pub(crate) async fn expect_complete(&mut self) {
        loop {
            match self.next_item().await {
                StreamItem::Complete => break,
                StreamItem::Comment => {}
                other => panic!("expected the `complete` event, got {other:?}"),
            }
        }
        assert_eq!(self.next_item().await, StreamItem::End);
    }
}

fn parse_event(event: &str) -> StreamItem {
    if event.starts_with(':') {
        return StreamItem::Comment;
    }
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match (field("event:"), field("data:")) {
        (Some("next"), Some(data)) => StreamItem::Next(serde_json::from_str(data).expect("results are JSON")),
        (Some("complete"), Some("")) => StreamItem::Complete,
        _ => panic!("not an event of the protocol: {event:?}"),
    }
}
