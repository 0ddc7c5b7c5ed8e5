//! A response as it goes out: codes and tracking ID in every error, bounded in every way, and written once.

use std::io::Write;

use async_graphql::parser::types::OperationType;
use async_graphql::{Response, ServerError, Value};
use serde::Serialize;
use serde::ser::SerializeMap;

use super::layout::DataLayout;
use super::operation::failed;
use crate::error::{Code, Error};
use crate::graphql::guard::Limits;

/// A response that is written as JSON, for any transport.
#[derive(Debug, Clone)]
pub struct Written {
    /// `data`, `errors` and `extensions` as JSON. There is no `data` where nothing was run.
    pub json: String,
    /// The errors of a request that could not be run, or of a subscription that ends with them; else none.
    pub refused: Vec<ServerError>,
    /// The code of the first error, where there is one.
    pub(super) outcome: Option<Code>,
    pub(super) ran: bool,
}

impl Written {
    /// Writes the response of an operation. One that is too long becomes an error that says so.
    pub(super) fn new(
        mut response: Response,
        kind: OperationType,
        layout: &DataLayout,
        limits: &Limits,
        tracking: &str,
    ) -> Self {
        finish(&mut response, limits, tracking);
        let json = match write(&response, layout, limits.response_bytes) {
            Ok(json) => json,
            Err(error) => {
                tracing::debug!(%error, "a response is too long");
                let most = limits.response_bytes;
                let message = format!("The response has more than {most} bytes, which is the most.");
                let done = match kind {
                    OperationType::Mutation => " What was asked for is done.",
                    _ => "",
                };
                let ask = " Ask for fewer entries or fields.";
                response = failed(&Error::TooLarge(format!("{message}{done}{ask}")));
                finish(&mut response, limits, tracking);
                write(&response, layout, usize::MAX).unwrap_or_default()
            }
        };
        let outcome = outcome(&response);
        let ran = ran(&response);
        let refused = if is_refusal(kind, &response) { response.errors } else { Vec::new() };
        Self { json, refused, outcome, ran }
    }
}

/// Whether there is and will be no result, rather than that a field has none. A subscription that cannot begin fails in its
/// one root field.
fn is_refusal(kind: OperationType, response: &Response) -> bool {
    let root = usize::from(kind == OperationType::Subscription);
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.len() <= root)
}

/// Whether anything was run: then there is `data`, be it null.
fn ran(response: &Response) -> bool {
    !is_refusal(OperationType::Query, response)
}

/// Gives every error its code and the request's ID, and cuts what is too long.
fn finish(response: &mut Response, limits: &Limits, tracking: &str) {
    response.errors.truncate(limits.errors.max(1));
    for error in &mut response.errors {
        let request_error = error.path.is_empty();
        cut(&mut error.message, limits.message_characters);
        // One error of validation may stand in many places.
        error.locations.truncate(limits.problems.max(1));
        let values = error.extensions.get_or_insert_default();
        if values.get("code").is_none() {
            // Without a code of ours it is async-graphql's own: validation before the run, a scalar that did not parse in it.
            let code = if request_error { Code::ValidationFailed } else { Code::BadInput };
            values.set("code", code.as_str());
        }
        if let Some(Value::List(problems)) = values.get("problems") {
            let mut problems = problems.clone();
            problems.truncate(limits.problems.max(1));
            for problem in &mut problems {
                let Value::Object(fields) = problem else { continue };
                for text in fields.values_mut() {
                    let Value::String(text) = text else { continue };
                    cut(text, limits.message_characters);
                }
            }
            values.set("problems", Value::List(problems));
        }
        values.set("tracking", tracking);
    }
}

/// Cuts a text after so many characters, and shows it.
pub(super) fn cut(text: &mut String, characters: usize) {
    if let Some((end, _)) = text.char_indices().nth(characters) {
        text.truncate(end);
        text.push('…');
    }
}

/// The code of the first error.
fn outcome(response: &Response) -> Option<Code> {
    let code = |error: &ServerError| match error.extensions.as_ref().and_then(|values| values.get("code")) {
        Some(Value::String(code)) => Code::named(code),
        _ => None,
    };
    response.errors.first().map(|error| code(error).unwrap_or(Code::Internal))
}

/// As GraphQL wants it (section "Response Format"): no `data` after a request error, `errors` before it.
struct Body<'a>(&'a Response, &'a DataLayout);

impl Serialize for Body<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(response, layout) = self;
        let mut map = serializer.serialize_map(None)?;
        if !response.errors.is_empty() {
            map.serialize_entry("errors", &response.errors)?;
        }
        if ran(response) {
            map.serialize_entry("data", &layout.arrange(&response.data))?;
        }
        if !response.extensions.is_empty() {
            map.serialize_entry("extensions", &response.extensions)?;
        }
        map.end()
    }
}

fn write(response: &Response, layout: &DataLayout, most: usize) -> Result<String, serde_json::Error> {
    let mut bounded = Bounded { bytes: Vec::new(), most };
    serde_json::to_writer(&mut bounded, &Body(response, layout))?;
    String::from_utf8(bounded.bytes).map_err(serde::ser::Error::custom)
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        if more.len() > self.most - self.bytes.len() {
            return Err(std::io::Error::other("there is no room left"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{PathSegment, Pos, value};
    use serde_json::{Value as Json, json};

    use super::*;

    fn written(response: Response, limits: &Limits) -> (Json, Written) {
        let layout = DataLayout::default();
        let written = Written::new(response, OperationType::Query, &layout, limits, "t-1");
        (serde_json::from_str(&written.json).unwrap(), written)
    }

    #[test]
    fn there_is_no_data_where_nothing_was_run() {
        let refused = Response::from_errors(vec![ServerError::new("no", None)]);
        let (json, refused) = written(refused, &Limits::default());
        assert_eq!(json.get("data"), None);
        assert_eq!(
            json["errors"][0]["extensions"],
            json!({"code": "GRAPHQL_VALIDATION_FAILED", "tracking": "t-1"})
        );
        assert_eq!((refused.ran, refused.refused.len()), (false, 1));
        let mut failed = ServerError::new("no", None);
        failed.path = vec![PathSegment::Field("viewer".into())];
        let (json, failed) = written(Response::from_errors(vec![failed]), &Limits::default());
        assert_eq!(json.get("data"), Some(&Json::Null));
        assert_eq!((failed.ran, failed.refused.len()), (true, 0));
    }

    #[test]
    fn errors_are_bounded() {
        let limits = Limits { errors: 2, message_characters: 5, problems: 3, ..Limits::default() };
        let mut error = ServerError::new("äääääää", None);
        error.locations = vec![Pos { line: 1, column: 1 }; 7];
        let problem = value!({"path": "/a", "code": "LENGTH", "message": "zzzzzzz"});
        error.extensions.get_or_insert_default().set("problems", Value::List(vec![problem; 7]));
        let (json, _) = written(Response::from_errors(vec![error; 9]), &limits);
        assert_eq!(json["errors"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["errors"][1]["message"], "äääää…");
        assert_eq!(json["errors"][0]["locations"].as_array().map(Vec::len), Some(3));
        let problems = json["errors"][0]["extensions"]["problems"].as_array().unwrap();
        assert_eq!((problems.len(), &problems[2]["message"]), (3, &json!("zzzzz…")));
    }

    #[test]
    fn a_response_that_is_too_long_says_so() {
        let limits = Limits { response_bytes: 100, ..Limits::default() };
        let short = "x".repeat(80);
        assert_eq!(written(Response::new(value!({"a": short})), &limits).1.outcome, None);
        let long = "x".repeat(100);
        let (json, long) = written(Response::new(value!({"a": long})), &limits);
        assert_eq!((long.outcome, long.ran), (Some(Code::TooLarge), false));
        assert!(json["errors"][0]["message"].as_str().unwrap().contains("more than 100 bytes"), "{json}");
    }
}
