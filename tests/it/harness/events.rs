//! GraphQL over server-sent events, the client's side. Nothing here waits for ever.

use std::time::Duration;

use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;

/// What an event may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What comes over a stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Sent {
    /// A result of the operation.
    Next(Value),
    Complete,
    /// What keeps a silent stream open.
    Comment,
    /// The end of the body.
    End,
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    /// The body of a response that is one.
    pub(crate) fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// What comes next, comments too.
    pub(crate) async fn sent(&mut self) -> Sent {
        self.event().await.map_or(Sent::End, |event| parse(event.trim_end()))
    }

    /// The text of the next event, in which the order of fields shows; `None` at the end of the body.
    pub(crate) async fn event(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                return Some(self.buffer.drain(..end + 2).collect());
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await;
            match chunk.unwrap_or_else(|_| panic!("nothing came within {PATIENCE:?}")) {
                Ok(Some(chunk)) => self.buffer.push_str(std::str::from_utf8(&chunk).expect("UTF-8")),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next result, comments aside.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.sent().await {
                Sent::Next(result) => return result,
                Sent::Comment => {}
                other => panic!("a result was to come instead of {other:?}"),
            }
        }
    }

    /// The stream says that it is complete, and ends.
    pub(crate) async fn completed(&mut self) {
        loop {
            match self.sent().await {
                Sent::Complete => break,
                Sent::Comment => {}
                other => panic!("the end was to come instead of {other:?}"),
            }
        }
        assert_eq!(self.sent().await, Sent::End);
    }
}

fn parse(event: &str) -> Sent {
    if event.starts_with(':') {
        return Sent::Comment;
    }
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match (field("event:"), field("data:")) {
        (Some("next"), Some(data)) => Sent::Next(serde_json::from_str(data).expect("results are JSON")),
        (Some("complete"), Some("")) => Sent::Complete,
        _ => panic!("no event of the protocol: {event:?}"),
    }
}
