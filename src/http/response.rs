//! The encoding of GraphQL responses: adds codes and the tracking ID to errors, limits all sizes, and writes the JSON
//! once.

use std::io::Write;

use async_graphql::parser::types::OperationType;
use async_graphql::{Response, ServerError, Value};
use serde::Serialize;
use serde::ser::SerializeMap;

use super::layout::DataLayout;
use super::refusal::truncate;
use crate::error::{Code, Error};
use crate::graphql::guard::Limits;
use crate::graphql::{extensions, log_internal};

/// A response encoded as JSON, for any transport.
#[derive(Debug, Clone)]
pub(crate) struct EncodedResponse {
    /// `data`, `errors` and `extensions` as JSON. There is no `data` if the operation did not run.
    pub json: String,
    /// Errors of a request that did not run, or of a subscription that they end; otherwise empty.
    pub(crate) request_errors: Vec<ServerError>,
    /// Code of the first error, if there is one.
    pub(super) error_code: Option<Code>,
    pub(super) has_run: bool,
}

impl EncodedResponse {
    /// Encodes the response of an operation. A response above the size limit becomes a TOO_LARGE error.
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
                tracing::debug!(%error, "response exceeds the size limit");
                let limit = limits.response_bytes;
                let message = format!("The response has more than {limit} bytes, which is the limit.");
                let done = match kind {
                    OperationType::Mutation => " The mutation has been executed.",
                    _ => "",
                };
                let hint = " Request fewer entries or fields.";
                response = failed(&Error::TooLarge(format!("{message}{done}{hint}")));
                finish(&mut response, limits, tracking);
                write(&response, layout, usize::MAX).unwrap_or_default()
            }
        };
        let error_code = error_code(&response);
        let has_run = has_run(&response);
        let request_errors = if is_request_error(kind, &response) { response.errors } else { Vec::new() };
        Self { json, request_errors, error_code, has_run }
    }
}

/// Returns whether the request as a whole has failed, not only some fields. A subscription that cannot start fails in
/// its only root field.
fn is_request_error(kind: OperationType, response: &Response) -> bool {
    let root = usize::from(kind == OperationType::Subscription);
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.len() <= root)
}

/// Returns whether the operation has run. Then the response has `data`, which may be null.
fn has_run(response: &Response) -> bool {
    !is_request_error(OperationType::Query, response)
}

/// Adds a code and the tracking ID to every error, and truncates long texts and lists.
fn finish(response: &mut Response, limits: &Limits, tracking: &str) {
    response.errors.truncate(limits.errors.max(1));
    for error in &mut response.errors {
        let is_request_error = error.path.is_empty();
        truncate(&mut error.message, limits.message_characters);
        // A validation error may have many locations.
        error.locations.truncate(limits.problems.max(1));
        let values = error.extensions.get_or_insert_default();
        if values.get("code").is_none() {
            // An error without a code is from async-graphql: a validation error, or an invalid scalar in a field.
            let code = if is_request_error { Code::ValidationFailed } else { Code::BadInput };
            values.set("code", code.as_str());
        }
        if let Some(Value::List(problems)) = values.get("problems") {
            let mut problems = problems.clone();
            problems.truncate(limits.problems.max(1));
            for problem in &mut problems {
                let Value::Object(fields) = problem else { continue };
                for text in fields.values_mut() {
                    let Value::String(text) = text else { continue };
                    truncate(text, limits.message_characters);
                }
            }
            values.set("problems", Value::List(problems));
        }
        values.set("tracking", tracking);
    }
}

/// Returns the code of the first error.
fn error_code(response: &Response) -> Option<Code> {
    let code = |error: &ServerError| match error.extensions.as_ref().and_then(|values| values.get("code")) {
        Some(Value::String(code)) => Code::named(code),
        _ => None,
    };
    response.errors.first().map(|error| code(error).unwrap_or(Code::Internal))
}

/// The body in the format of the GraphQL specification ("Response Format"): `errors` first, no `data` for request
/// errors.
struct Body<'a>(&'a Response, &'a DataLayout);

impl Serialize for Body<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(response, layout) = self;
        let mut map = serializer.serialize_map(None)?;
        if !response.errors.is_empty() {
            map.serialize_entry("errors", &response.errors)?;
        }
        if has_run(response) {
            map.serialize_entry("data", &layout.arrange(&response.data))?;
        }
        if !response.extensions.is_empty() {
            map.serialize_entry("extensions", &response.extensions)?;
        }
        map.end()
    }
}

fn write(response: &Response, layout: &DataLayout, limit: usize) -> Result<String, serde_json::Error> {
    let mut buffer = BoundedBuffer { bytes: Vec::new(), limit };
    serde_json::to_writer(&mut buffer, &Body(response, layout))?;
    String::from_utf8(buffer.bytes).map_err(serde::ser::Error::custom)
}

/// A buffer that fails when it has more than `limit` bytes.
struct BoundedBuffer {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for BoundedBuffer {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        if more.len() > self.limit - self.bytes.len() {
            return Err(std::io::Error::other("the size limit is reached"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the response to an operation that failed as a whole.
pub(super) fn failed(error: &Error) -> Response {
    log_internal(error);
    let mut server_error = ServerError::new(error.message(), None);
    server_error.extensions = Some(extensions(error));
    Response::from_errors(vec![server_error])
}

#[cfg(test)]
mod tests {
    use async_graphql::{PathSegment, Pos, value};
    use serde_json::{Value as Json, json};

    use super::*;

    fn encode(response: Response, limits: &Limits) -> (Json, EncodedResponse) {
        let layout = DataLayout::default();
        let encoded = EncodedResponse::new(response, OperationType::Query, &layout, limits, "t-1");
        (serde_json::from_str(&encoded.json).unwrap(), encoded)
    }

    #[test]
    fn request_error_has_no_data() {
        let refused = Response::from_errors(vec![ServerError::new("no", None)]);
        let (json, refused) = encode(refused, &Limits::default());
        assert_eq!(json.get("data"), None);
        assert_eq!(
            json["errors"][0]["extensions"],
            json!({"code": "GRAPHQL_VALIDATION_FAILED", "tracking": "t-1"})
        );
        assert_eq!((refused.has_run, refused.request_errors.len()), (false, 1));
        let mut failed = ServerError::new("no", None);
        failed.path = vec![PathSegment::Field("viewer".into())];
        let (json, failed) = encode(Response::from_errors(vec![failed]), &Limits::default());
        assert_eq!(json.get("data"), Some(&Json::Null));
        assert_eq!((failed.has_run, failed.request_errors.len()), (true, 0));
    }

    #[test]
    fn errors_are_truncated_to_the_limits() {
        let limits = Limits { errors: 2, message_characters: 5, problems: 3, ..Limits::default() };
        let mut error = ServerError::new("äääääää", None);
        error.locations = vec![Pos { line: 1, column: 1 }; 7];
        let problem = value!({"path": "/a", "code": "LENGTH", "message": "zzzzzzz"});
        error.extensions.get_or_insert_default().set("problems", Value::List(vec![problem; 7]));
        let (json, _) = encode(Response::from_errors(vec![error; 9]), &limits);
        assert_eq!(json["errors"].as_array().map(Vec::len), Some(2));
        assert_eq!(json["errors"][1]["message"], "äääää…");
        assert_eq!(json["errors"][0]["locations"].as_array().map(Vec::len), Some(3));
        let problems = json["errors"][0]["extensions"]["problems"].as_array().unwrap();
        assert_eq!((problems.len(), &problems[2]["message"]), (3, &json!("zzzzz…")));
    }

    #[test]
    fn response_above_the_size_limit_is_an_error() {
        let limits = Limits { response_bytes: 100, ..Limits::default() };
        let short = "x".repeat(80);
        assert_eq!(encode(Response::new(value!({"a": short})), &limits).1.error_code, None);
        let long = "x".repeat(100);
        let (json, long) = encode(Response::new(value!({"a": long})), &limits);
        assert_eq!((long.error_code, long.has_run), (Some(Code::TooLarge), false));
        assert!(json["errors"][0]["message"].as_str().unwrap().contains("more than 100 bytes"), "{json}");
    }
}
