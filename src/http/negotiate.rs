//! Content negotiation by the `Accept` header, for GraphQL over HTTP and over server-sent events.

use std::cmp::Reverse;

use axum::extract::Request;
use axum::http::header::Entry;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use mime::Mime;

use super::refuse_request;

/// The media type that older clients accept.
const JSON: &str = "application/json";
/// The media type whose status tells whether the request has failed.
const RESPONSE_JSON: &str = "application/graphql-response+json";
const EVENT_STREAM: &str = "text/event-stream";

/// A media type of a single JSON response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonType {
    /// `application/json`
    Json,
    /// `application/graphql-response+json`
    ResponseJson,
}

impl JsonType {
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json; charset=utf-8",
            Self::ResponseJson => "application/graphql-response+json; charset=utf-8",
        })
    }
}

/// The responses that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The preferred type of a single JSON response.
    pub(super) json_type: Option<JsonType>,
    /// Whether the client accepts an event stream.
    pub(super) events: bool,
}

/// Negotiates for `/graphql`: JSON responses, and event streams for clients that name the type.
pub(super) async fn negotiate_graphql(request: Request, next: Next) -> Response {
    let accept = Accept::from_headers(request.headers());
    let accepted =
        Accepted { json_type: accept.json_type(), events: accept.quality(EVENT_STREAM, Match::Named) > 0 };
    if !request.headers().contains_key(header::UPGRADE) && accepted.json_type.is_none() && !accepted.events {
        let message = format!("Accept {RESPONSE_JSON} or {JSON}; for subscriptions, accept {EVENT_STREAM}.");
        return refuse_request(StatusCode::NOT_ACCEPTABLE, "ACCEPT", message);
    }
    respond(accepted, request, next).await
}

/// Negotiates for `/graphql/stream`: event streams only.
pub(super) async fn negotiate_stream(request: Request, next: Next) -> Response {
    if Accept::from_headers(request.headers()).quality(EVENT_STREAM, Match::Any) == 0 {
        let message = format!("Accept {EVENT_STREAM} here, or use /graphql for JSON responses.");
        return refuse_request(StatusCode::NOT_ACCEPTABLE, "ACCEPT", message);
    }
    respond(Accepted { json_type: None, events: true }, request, next).await
}

/// Runs the request and sets the negotiated content type, also on errors of other layers. Caches may not store the
/// response, because it depends on the viewer and the time.
async fn respond(accepted: Accepted, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(accepted);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if accepted.json_type == Some(JsonType::ResponseJson)
        && let Entry::Occupied(mut found) = headers.entry(header::CONTENT_TYPE)
        && found.get().as_bytes().starts_with(JSON.as_bytes())
    {
        found.insert(JsonType::ResponseJson.content_type());
    }
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The ranges that count as a match for a media type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    /// The type itself, or `text/*`.
    Named,
    /// Also `*/*`, or no header at all.
    Any,
}

/// The media ranges of a request in the order in which they are listed, each with its quality in thousandths (RFC 9110,
/// section 12.5.1).
struct Accept(Vec<(Mime, u16)>);

impl Accept {
    /// Parses the header. Invalid ranges are ignored; without a header, any type is accepted.
    fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::ACCEPT).iter().peekable();
        if values.peek().is_none() {
            return Self(vec![(mime::STAR_STAR, 1000)]);
        }
        let ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
        let ranges = ranges.filter_map(|range| range.trim().parse::<Mime>().ok());
        let weighted = ranges.map(|range| {
            let weight = weight(&range);
            (range, weight)
        });
        Self(weighted.collect())
    }

    /// Returns the JSON type with the highest quality, and of equals the type that is listed first. A wildcard selects
    /// `application/json` for older clients.
    fn json_type(&self) -> Option<JsonType> {
        let types = [(JsonType::Json, JSON), (JsonType::ResponseJson, RESPONSE_JSON)];
        let accepted = types.into_iter().filter_map(|(json_type, name)| {
            let (index, quality) = self.find(name, Match::Any)?;
            (quality > 0).then_some((quality, Reverse(index), json_type))
        });
        // `max_by_key` returns the last of equals, so the order is reversed to get the first.
        let best = accepted.rev().max_by_key(|(quality, index, _)| (*quality, *index));
        best.map(|(_, _, json_type)| json_type)
    }

    fn quality(&self, name: &str, matching: Match) -> u16 {
        self.find(name, matching).map_or(0, |(_, quality)| quality)
    }

    /// Returns the index and quality of the most specific range that matches a type.
    fn find(&self, name: &str, matching: Match) -> Option<(usize, u16)> {
        let (kind, _) = name.split_once('/')?;
        let found = self.0.iter().enumerate().filter_map(|(index, (range, quality))| {
            let is_other_charset =
                range.get_param(mime::CHARSET).is_some_and(|charset| charset != mime::UTF_8);
            let specificity = if range.essence_str() == name {
                2
            } else if range.type_() == kind && range.subtype() == mime::STAR {
                1
            } else if range.type_() == mime::STAR && matching == Match::Any {
                0
            } else {
                return None;
            };
            (!is_other_charset).then_some((specificity, Reverse(index), *quality))
        });
        found.max().map(|(_, Reverse(index), quality)| (index, quality))
    }
}

/// Returns `q` in thousandths; 1000 if it is missing or invalid.
fn weight(range: &Mime) -> u16 {
    let given = range.get_param("q").and_then(|q| q.as_str().parse::<f64>().ok());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value is from 0 to 1000"
    )]
    let thousandths = |q: f64| (q.clamp(0.0, 1.0) * 1000.0) as u16;
    given.filter(|q| q.is_finite()).map_or(1000, thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, text.parse().unwrap());
        Accept::from_headers(&headers)
    }

    #[test]
    fn accepted_type_with_the_highest_quality_is_chosen() {
        use JsonType::{Json, ResponseJson};
        assert_eq!(Accept::from_headers(&HeaderMap::new()).json_type(), Some(Json));
        for (text, expected) in [
            ("application/json", Some(Json)),
            ("application/graphql-response+json", Some(ResponseJson)),
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            ("application/graphql-response+json, application/json", Some(ResponseJson)),
            ("application/json, application/graphql-response+json", Some(Json)),
            (
                "application/graphql-response+json; charset=utf-8, application/json; charset=utf-8",
                Some(ResponseJson),
            ),
            ("application/json;q=0.5, application/graphql-response+json;q=0.9", Some(ResponseJson)),
            ("application/graphql-response+json;q=0.1, */*", Some(Json)),
            ("application/json;q=0, */*;q=0.1", Some(ResponseJson)),
            ("APPLICATION/JSON", Some(Json)),
            ("application/json; charset=latin1", None),
            ("application/json;q=0", None),
            ("text/html", None),
            ("text/event-stream", None),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(accept(text).json_type(), expected, "{text}");
        }
    }

    #[test]
    fn event_stream_must_be_named_on_the_graphql_path() {
        for (text, named, any) in [
            ("text/event-stream", 1000, 1000),
            ("application/json, text/event-stream;q=0.5", 500, 500),
            ("text/*", 1000, 1000),
            ("*/*", 0, 1000),
            ("text/event-stream;q=0, */*", 0, 0),
            ("application/json", 0, 0),
        ] {
            let accept = accept(text);
            let found = [Match::Named, Match::Any].map(|matching| accept.quality(EVENT_STREAM, matching));
            assert_eq!(found, [named, any], "{text}");
        }
    }
}
