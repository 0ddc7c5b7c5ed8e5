//! What an answer is written as: the `Accept` header of GraphQL over HTTP and over server-sent events.

use std::cmp::Reverse;

use axum::extract::Request;
use axum::http::header::Entry;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use mime::Mime;

use super::rejected;

/// The one type of answers that clients of old know.
const JSON: &str = "application/json";
/// The type whose status says what became of the request.
const RESPONSE_JSON: &str = "application/graphql-response+json";
const EVENT_STREAM: &str = "text/event-stream";

/// One of the two types of an answer that is sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// `application/json`
    Json,
    /// `application/graphql-response+json`
    ResponseJson,
}

impl Whole {
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json; charset=utf-8",
            Self::ResponseJson => "application/graphql-response+json; charset=utf-8",
        })
    }
}

/// What a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The best of the types of a whole answer.
    pub(super) whole: Option<Whole>,
    /// An event stream, by name.
    pub(super) events: bool,
}

/// Of `/graphql`: whole answers, and event streams for whoever names them.
pub(super) async fn answers(request: Request, next: Next) -> Response {
    let accept = Accept::of(request.headers());
    let accepted = Accepted { whole: accept.whole(), events: accept.quality(EVENT_STREAM, Match::Named) > 0 };
    if !request.headers().contains_key(header::UPGRADE) && accepted.whole.is_none() && !accepted.events {
        let message = format!("Answers are {RESPONSE_JSON} or {JSON}; subscriptions are {EVENT_STREAM}.");
        return rejected(StatusCode::NOT_ACCEPTABLE, "ACCEPT", message);
    }
    answer(accepted, request, next).await
}

/// Of `/graphql/stream`: event streams only.
pub(super) async fn events(request: Request, next: Next) -> Response {
    if Accept::of(request.headers()).quality(EVENT_STREAM, Match::Any) == 0 {
        let message = format!("Answers are {EVENT_STREAM} here; /graphql has others.");
        return rejected(StatusCode::NOT_ACCEPTABLE, "ACCEPT", message);
    }
    answer(Accepted { whole: None, events: true }, request, next).await
}

/// Runs the request, and labels its answer as the client wants it, refusals by other layers too. Answers depend on who
/// asks and on when, so that nothing on the way may keep them.
async fn answer(accepted: Accepted, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(accepted);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if accepted.whole == Some(Whole::ResponseJson)
        && let Entry::Occupied(mut found) = headers.entry(header::CONTENT_TYPE)
        && found.get().as_bytes().starts_with(JSON.as_bytes())
    {
        found.insert(Whole::ResponseJson.content_type());
    }
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// How a type is to be named so that it counts as accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    /// Itself, or as `text/*`.
    Named,
    /// Also as `*/*`, or by no header at all.
    Any,
}

/// The media ranges of a request in the order in which they are listed, each with its quality in thousandths (RFC 9110,
/// section 12.5.1).
struct Accept(Vec<(Mime, u16)>);

impl Accept {
    /// Ranges that cannot be read are passed over; without a header anything is accepted.
    fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::ACCEPT).iter().peekable();
        if values.peek().is_none() {
            return Self(vec![(mime::STAR_STAR, 1000)]);
        }
        let ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
        let ranges = ranges.filter_map(|range| range.trim().parse::<Mime>().ok());
        let weighed = ranges.map(|range| {
            let weight = weight(&range);
            (range, weight)
        });
        Self(weighed.collect())
    }

    /// The type of a whole answer that is wanted most. Of two that are wanted alike it is the one that is listed first; by
    /// a wildcard, what clients of old know.
    fn whole(&self) -> Option<Whole> {
        let wanted = [(Whole::Json, JSON), (Whole::ResponseJson, RESPONSE_JSON)];
        let wanted = wanted.into_iter().filter_map(|(whole, name)| {
            let (place, quality) = self.find(name, Match::Any)?;
            (quality > 0).then_some((quality, Reverse(place), whole))
        });
        // The first of equals counts, so the order is turned around for `max_by_key`.
        let best = wanted.rev().max_by_key(|(quality, place, _)| (*quality, *place));
        best.map(|(_, _, whole)| whole)
    }

    fn quality(&self, name: &str, how: Match) -> u16 {
        self.find(name, how).map_or(0, |(_, quality)| quality)
    }

    /// Place and quality of the range that says most about a type.
    fn find(&self, name: &str, how: Match) -> Option<(usize, u16)> {
        let (kind, _) = name.split_once('/')?;
        let found = self.0.iter().enumerate().filter_map(|(place, (range, quality))| {
            let foreign = range.get_param(mime::CHARSET).is_some_and(|charset| charset != mime::UTF_8);
            let exact = if range.essence_str() == name {
                2
            } else if range.type_() == kind && range.subtype() == mime::STAR {
                1
            } else if range.type_() == mime::STAR && how == Match::Any {
                0
            } else {
                return None;
            };
            (!foreign).then_some((exact, Reverse(place), *quality))
        });
        found.max().map(|(_, Reverse(place), quality)| (place, quality))
    }
}

/// `q` in thousandths; 1 where there is none that can be read.
fn weight(range: &Mime) -> u16 {
    let given = range.get_param("q").and_then(|q| q.as_str().parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 1000")]
    let thousandths = |q: f64| (q.clamp(0.0, 1.0) * 1000.0) as u16;
    given.filter(|q| q.is_finite()).map_or(1000, thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, text.parse().unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn the_type_that_is_wanted_most_is_taken() {
        use Whole::{Json, ResponseJson};
        assert_eq!(Accept::of(&HeaderMap::new()).whole(), Some(Json));
        for (text, whole) in [
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
            assert_eq!(accept(text).whole(), whole, "{text}");
        }
    }

    #[test]
    fn event_streams_are_for_who_names_them() {
        for (text, named, any) in [
            ("text/event-stream", 1000, 1000),
            ("application/json, text/event-stream;q=0.5", 500, 500),
            ("text/*", 1000, 1000),
            ("*/*", 0, 1000),
            ("text/event-stream;q=0, */*", 0, 0),
            ("application/json", 0, 0),
        ] {
            let accept = accept(text);
            let found = [Match::Named, Match::Any].map(|how| accept.quality(EVENT_STREAM, how));
            assert_eq!(found, [named, any], "{text}");
        }
    }
}
