//! The parts of requests that all routes share: the caller, the parameters, and JSON bodies with field names in any
//! case.

use std::borrow::Cow;
use std::collections::HashSet;

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use mime::Mime;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::{Server, body};
use crate::access::{Actor, Viewer};
use crate::error::{Error, Problem, Result};
use crate::json::{is_json, pointer, storage_problem};

/// Charsets whose text is UTF-8.
const UTF_8: [&str; 4] = ["utf-8", "utf8", "us-ascii", "ascii"];
/// Maximum number of parameters in the query of a list.
const MAX_QUERY_PARAMETERS: usize = 100;
/// Maximum length of a message from serde, which may quote the request.
const MAX_SERDE_MESSAGE_CHARACTERS: usize = 300;

/// The authenticated sender of a request.
pub(super) struct Caller(pub(super) Actor);

impl FromRequestParts<Server> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Server) -> Result<Self> {
        let viewer = parts.extensions.get::<Viewer>().cloned().unwrap_or_default();
        viewer.require_actor().cloned().map(Self)
    }
}

/// The parameters in a path.
pub(super) struct JsonPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Server> for JsonPath<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self> {
        body::refuse_nul(&Cow::from(percent_decode_str(parts.uri.path())))?;
        let path = Path::<T>::from_request_parts(parts, server).await;
        path.map(|Path(path)| Self(path)).map_err(|error| Error::invalid("", "PATH", error.body_text()))
    }
}

/// The parameters of a query, in their order.
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl FromRequestParts<Server> for Parameters {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, server).await;
        let Query(pairs) = query.map_err(|error| Error::invalid("", "QUERY", error.body_text()))?;
        if pairs.len() > MAX_QUERY_PARAMETERS {
            let message = format!("A request may have at most {MAX_QUERY_PARAMETERS} parameters.");
            return Err(Error::invalid("", "TOO_MANY", message));
        }
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            body::refuse_nul(text.as_bytes())?;
        }
        Ok(Self(pairs))
    }
}

/// A body that is a JSON object.
pub(super) struct JsonObject(Map<String, Value>);

impl FromRequest<Server> for JsonObject {
    type Rejection = Error;

    async fn from_request(request: Request, server: &Server) -> Result<Self> {
        let accepts_any_type = accepts_any_type(&request);
        Self::required(request, server, accepts_any_type).await
    }
}

impl OptionalFromRequest<Server> for JsonObject {
    type Rejection = Error;

    async fn from_request(request: Request, server: &Server) -> Result<Option<Self>> {
        let accepts_any_type = accepts_any_type(&request);
        Ok(object(request, server, accepts_any_type).await?.map(Self))
    }
}

impl JsonObject {
    /// Reads a JSON body of any content type.
    pub(super) async fn of_any_type(request: Request, server: &Server) -> Result<Self> {
        Self::required(request, server, true).await
    }

    async fn required(request: Request, server: &Server, accepts_any_type: bool) -> Result<Self> {
        let missing = || Error::invalid("", "REQUIRED", "The request must have a JSON body.");
        object(request, server, accepts_any_type).await?.map(Self).ok_or_else(missing)
    }
}

/// Returns whether a body of any content type may be JSON. A browser sends `Authorization` to another site only after a
/// preflight request.
fn accepts_any_type(request: &Request) -> bool {
    request.headers().contains_key(header::AUTHORIZATION)
}

/// Returns the body of a request, if it has one.
async fn object(
    request: Request,
    server: &Server,
    accepts_any_type: bool,
) -> Result<Option<Map<String, Value>>> {
    let headers = request.headers();
    let media_type = media_type(headers);
    let bytes = body::read(request, server.app.config.limits.request_bytes).await?;
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Ok(None);
    }
    media_type.as_ref().map_or(Ok(()), utf_8)?;
    let is_json = media_type.as_ref().is_some_and(is_json);
    let unsupported = || Error::UnsupportedMedia("Send the request as application/json.".into());
    if !is_json && !accepts_any_type {
        return Err(unsupported());
    }
    let json = match body::parse_json(bytes) {
        Err(_) if !is_json && media_type.is_some() => return Err(unsupported()),
        parsed => parsed?,
    };
    if let Some(problem) = storage_problem(&json) {
        return Err(Error::Invalid(vec![problem]));
    }
    match json {
        Value::Object(object) => Ok(Some(object)),
        _ => Err(Error::invalid("", "SHAPE", "The body must be a JSON object.")),
    }
}

/// Returns the media type of a body, if a header names one.
pub(super) fn media_type(headers: &HeaderMap) -> Option<Mime> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()?.parse().ok()
}

/// Refuses a charset other than UTF-8.
pub(super) fn utf_8(media_type: &Mime) -> Result<()> {
    match media_type.get_param(mime::CHARSET) {
        Some(charset) if !UTF_8.iter().any(|name| charset.as_str().eq_ignore_ascii_case(name)) => {
            let message = format!("The charset {charset} is not supported. Send the request in UTF-8.");
            Err(Error::UnsupportedMedia(message))
        }
        _ => Ok(()),
    }
}

/// The known fields of an object, each with its own known fields. A field without known fields is a plain value, or
/// JSON of the client.
pub(super) struct FieldNames(pub(super) &'static [(&'static str, Self)]);

impl JsonObject {
    /// Converts the body to a type. Its field names may be written in any case: `InputContent`, `input-content` and
    /// `INPUT_CONTENT` are `input_content`.
    pub(super) fn read<T: DeserializeOwned>(self, names: &FieldNames) -> Result<T> {
        deserialize(self.rename_fields(names)?)
    }

    /// Converts the body to a type, and returns the unknown fields separately. A flattened field of serde would lose
    /// numbers of more than 64 bits.
    pub(super) fn read_with_unknown<T: DeserializeOwned>(
        self,
        names: &FieldNames,
    ) -> Result<(T, Map<String, Value>)> {
        let mut fields = self.rename_fields(names)?;
        let known = names.split(&mut fields);
        Ok((deserialize(known)?, fields))
    }

    fn rename_fields(self, names: &FieldNames) -> Result<Map<String, Value>> {
        let mut problems = Vec::new();
        match rename_fields(Value::Object(self.0), names, "", &mut problems) {
            Value::Object(fields) if problems.is_empty() => Ok(fields),
            _ => Err(Error::Invalid(problems)),
        }
    }
}

impl FieldNames {
    /// Removes the known fields from an object and returns them.
    pub(super) fn split(&self, fields: &mut Map<String, Value>) -> Map<String, Value> {
        let take = |(name, _): &(&str, Self)| Some(((*name).to_owned(), fields.remove(*name)?));
        self.0.iter().filter_map(take).collect()
    }
}

fn deserialize<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T> {
    // From text, because serde_json reads some long numbers of a `Value` as floats.
    let text = Value::Object(fields).to_string();
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&text)).map_err(|error| {
        let path = pointer(error.path());
        let message = error.into_inner().to_string();
        // The position is in `text`, which the client has not seen.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        let message: String = message.chars().take(MAX_SERDE_MESSAGE_CHARACTERS).collect();
        Error::invalid(path, "SHAPE", format!("The request is malformed: {message}."))
    })
}

/// Replaces the keys of known fields by their names, whatever case they are written in.
fn rename_fields(value: Value, names: &FieldNames, path: &str, problems: &mut Vec<Problem>) -> Value {
    match value {
        Value::Object(fields) if !names.0.is_empty() => {
            let (mut known, mut rest) = (Map::new(), Map::new());
            let mut seen = HashSet::new();
            for (key, value) in fields {
                let Some((name, inner)) = names.0.iter().find(|(name, _)| normalize(name) == normalize(&key))
                else {
                    rest.insert(key, value);
                    continue;
                };
                let path = format!("{path}/{name}");
                if !seen.insert(*name) {
                    let message = format!("The field {name} is given more than once, also as {key:?}.");
                    problems.push(Problem::new(&path, "DUPLICATE", message));
                }
                known.insert((*name).to_owned(), rename_fields(value, inner, &path, problems));
            }
            known.extend(rest);
            Value::Object(known)
        }
        Value::Array(values) => {
            // serde would take a list for the fields of an object in their order.
            let is_wrong = |(_, value): &(usize, &Value)| !names.0.is_empty() && !value.is_object();
            if let Some((i, _)) = values.iter().enumerate().find(is_wrong) {
                problems.push(Problem::new(format!("{path}/{i}"), "SHAPE", "Expected an object."));
            }
            let entries = values.into_iter().enumerate();
            let renamed =
                entries.map(|(i, value)| rename_fields(value, names, &format!("{path}/{i}"), problems));
            Value::Array(renamed.collect())
        }
        other => other,
    }
}

/// Returns a name in lower case without separators.
pub(super) fn normalize(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Replaces the domain paths of the problems of an error by the paths of this API. The longest match of `paths` counts.
pub(super) fn map_problem_paths(error: Error, paths: &[(String, String)]) -> Error {
    let Error::Invalid(mut problems) = error else { return error };
    for problem in &mut problems {
        let matches = |(from, _): &&(String, String)| {
            problem
                .path
                .strip_prefix(from.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some((from, to)) = paths.iter().filter(matches).max_by_key(|(from, _)| from.len()) {
            problem.path = format!("{to}{}", &problem.path[from.len()..]);
        }
    }
    Error::Invalid(problems)
}

/// Returns the value of two alternatives, of which exactly one must be given.
pub(super) fn one_of<T>(
    values: [Option<T>; 2],
    path: &str,
    names: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match values {
        [Some(one), None] | [None, Some(one)] => Some(one),
        _ => {
            problems.push(Problem::new(path, "ONE_OF", format!("Give exactly one of {names}.")));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAMES: FieldNames = FieldNames(&[
        ("input_content", FieldNames(&[("uri", FieldNames(&[]))])),
        ("metadata", FieldNames(&[])),
    ]);

    fn read(value: &Value) -> Result<Value> {
        JsonObject(value.as_object().unwrap().clone()).read(&NAMES)
    }

    #[test]
    fn known_fields_may_be_written_in_any_case() {
        let expected =
            json!({"input_content": {"uri": "x"}, "metadata": {"Uri": 1}, "Own_Field": {"Uri": 1}});
        for name in ["input_content", "inputContent", "InputContent", "INPUT_CONTENT", "input-content"] {
            let given = json!({name: {"URI": "x"}, "Metadata": {"Uri": 1}, "Own_Field": {"Uri": 1}});
            assert_eq!(read(&given).unwrap(), expected, "{name}");
        }
        for (wrong, path, code) in [
            (json!({"metadata": {}, "Metadata": {}}), "/metadata", "DUPLICATE"),
            (json!({"inputContent": ["x"]}), "/input_content/0", "SHAPE"),
        ] {
            let Err(Error::Invalid(problems)) = read(&wrong) else { panic!("{wrong}") };
            assert_eq!((&*problems[0].path, &*problems[0].code), (path, code));
        }
    }

    #[test]
    fn malformed_field_is_refused_with_its_path() {
        let read = JsonObject(json!({"a": {"b": [1, "x"]}}).as_object().unwrap().clone());
        let error = read
            .read::<std::collections::HashMap<String, std::collections::HashMap<String, Vec<u8>>>>(
                &FieldNames(&[]),
            );
        let Err(Error::Invalid(problems)) = error else { panic!("{error:?}") };
        assert_eq!(problems[0].path, "/a/b/1");
    }

    #[test]
    fn problem_paths_are_mapped_to_the_request() {
        let paths = [
            ("/contents/0".to_owned(), "/contents/1".to_owned()),
            ("/contents/0/source".into(), "/x".into()),
        ];
        let error = |path: &str| match map_problem_paths(Error::invalid(path, "C", "m"), &paths) {
            Error::Invalid(problems) => problems[0].path.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(error("/contents/0/role"), "/contents/1/role");
        assert_eq!(error("/contents/0/source/uri"), "/x/uri");
        assert_eq!(error("/contents/01"), "/contents/01");
    }
}
