//! What clients send, as far as it is the same for every route: who they are, where they point, and JSON whose fields may
//! be written in any case.

use std::collections::HashSet;

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use super::super::documents::signed_in;
use super::super::{Server, graphql};
use crate::access::Actor;
use crate::error::{Error, Problem, Result};
use crate::graphql::Viewer;
use crate::graphql::guard::NO_NUL;
use crate::job_type::metadata::escape;

/// Parameters in the query of a list.
const MOST_PARAMETERS: usize = 100;
/// Characters of what serde says of a malformed body, which quotes the client.
const LONGEST_SAYING: usize = 300;

/// Who sent a request, with a good credential.
pub(super) struct Caller(pub(super) Actor);

impl FromRequestParts<Server> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Server) -> Result<Self> {
        signed_in(parts.extensions.get::<Viewer>().cloned().unwrap_or_default()).map(Self)
    }
}

/// The parameters in a path.
pub(super) struct Place<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Server> for Place<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self> {
        if parts.uri.path().contains("%00") {
            return Err(Error::invalid("", "INVALID", NO_NUL));
        }
        let path = Path::<T>::from_request_parts(parts, server).await;
        path.map(|Path(path)| Self(path)).map_err(|error| Error::invalid("", "PATH", error.body_text()))
    }
}

/// The parameters of a query, in the order in which they came.
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl FromRequestParts<Server> for Parameters {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, server).await;
        let Query(pairs) = query.map_err(|error| Error::invalid("", "QUERY", error.body_text()))?;
        if pairs.len() > MOST_PARAMETERS {
            let message = format!("A request has {MOST_PARAMETERS} parameters at the most.");
            return Err(Error::invalid("", "TOO_MANY", message));
        }
        match pairs.iter().find(|(name, value)| name.contains('\0') || value.contains('\0')) {
            Some(_) => Err(Error::invalid("", "INVALID", NO_NUL)),
            None => Ok(Self(pairs)),
        }
    }
}

/// A body that is a JSON object.
pub(super) struct JsonObject(Map<String, Value>);

impl FromRequest<Server> for JsonObject {
    type Rejection = Error;

    async fn from_request(request: Request, server: &Server) -> Result<Self> {
        let missing = || Error::invalid("", "REQUIRED", "The request has no body.");
        object(request, server).await?.map(Self).ok_or_else(missing)
    }
}

impl OptionalFromRequest<Server> for JsonObject {
    type Rejection = Error;

    async fn from_request(request: Request, server: &Server) -> Result<Option<Self>> {
        Ok(object(request, server).await?.map(Self))
    }
}

/// The body of a request, where it has one.
async fn object(request: Request, server: &Server) -> Result<Option<Map<String, Value>>> {
    let given = request.headers().get(header::CONTENT_TYPE).cloned();
    let bytes = graphql::body(request, server.app.config.limits.request_bytes).await?;
    let media_type = given.as_ref().map(|value| value.to_str().unwrap_or_default().parse::<mime::Mime>());
    let is_json = match &media_type {
        None => bytes.is_empty(),
        Some(Ok(mime)) => mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON),
        Some(Err(_)) => false,
    };
    if !is_json {
        return Err(Error::UnsupportedMedia("Send the request as application/json.".into()));
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let json = serde_json::from_slice(&bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Error::invalid("", "JSON", format!("The body is not JSON: it ends or goes wrong at {place}."))
    })?;
    match json {
        json if has_nul(&json) => Err(Error::invalid("", "INVALID", NO_NUL)),
        Value::Object(object) => Ok(Some(object)),
        _ => Err(Error::invalid("", "SHAPE", "The body is a JSON object.")),
    }
}

/// Whether there is a U+0000 anywhere in a value, which PostgreSQL could not store.
pub(super) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// The fields that an object is known to have, each with those of the objects in it. Below one without fields nothing is
/// looked at: it is a plain value, or the client's own.
pub(super) struct Names(pub(super) &'static [(&'static str, Self)]);

impl JsonObject {
    /// The body as a type whose fields may be written in any case: `InputContent`, `input-content` and `INPUT_CONTENT` are
    /// `input_content`.
    pub(super) fn read<T: DeserializeOwned>(self, names: &Names) -> Result<T> {
        let mut problems = Vec::new();
        let value = renamed(Value::Object(self.0), names, "", &mut problems);
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        serde_path_to_error::deserialize(&value).map_err(|error| {
            let path: String = error.path().iter().filter_map(pointer).collect();
            let said: String = error.into_inner().to_string().chars().take(LONGEST_SAYING).collect();
            Error::invalid(path, "SHAPE", format!("The request is malformed: {said}."))
        })
    }
}

fn pointer(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } => Some(format!("/{}", escape(key))),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn renamed(value: Value, names: &Names, at: &str, problems: &mut Vec<Problem>) -> Value {
    match value {
        Value::Object(fields) if !names.0.is_empty() => {
            let (mut known, mut rest) = (Map::new(), Map::new());
            let mut seen = HashSet::new();
            for (key, value) in fields {
                let Some((name, inner)) = names.0.iter().find(|(name, _)| plain(name) == plain(&key)) else {
                    rest.insert(key, value);
                    continue;
                };
                let path = format!("{at}/{name}");
                if !seen.insert(*name) {
                    problems.push(Problem::new(
                        &path,
                        "DUPLICATE",
                        format!("{key:?} says {name} once more."),
                    ));
                }
                known.insert((*name).to_owned(), renamed(value, inner, &path, problems));
            }
            known.extend(rest);
            Value::Object(known)
        }
        Value::Array(values) => {
            // Of what has fields, the reader would take a list for the fields in their order.
            let wrong = |(_, value): &(usize, &Value)| !names.0.is_empty() && !value.is_object();
            if let Some((i, _)) = values.iter().enumerate().find(wrong) {
                problems.push(Problem::new(format!("{at}/{i}"), "SHAPE", "An object is wanted."));
            }
            let entries = values.into_iter().enumerate();
            Value::Array(
                entries.map(|(i, value)| renamed(value, names, &format!("{at}/{i}"), problems)).collect(),
            )
        }
        other => other,
    }
}

/// A name without what differs between the ways to write it.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// The same error with its problems where this client wrote what they are about; the longest place that fits counts.
pub(super) fn relocated(error: Error, places: &[(String, String)]) -> Error {
    let Error::Invalid(mut problems) = error else { return error };
    for problem in &mut problems {
        let fits = |(from, _): &&(String, String)| {
            problem
                .path
                .strip_prefix(from.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some((from, to)) = places.iter().filter(fits).max_by_key(|(from, _)| from.len()) {
            problem.path = format!("{to}{}", &problem.path[from.len()..]);
        }
    }
    Error::Invalid(problems)
}

/// The one of two ways to say something that was taken.
pub(super) fn one_of<T>(
    found: [Option<T>; 2],
    path: &str,
    names: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match found {
        [Some(one), None] | [None, Some(one)] => Some(one),
        _ => {
            problems.push(Problem::new(path, "ONE_OF", format!("Give one of {names}, and only one.")));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAMES: Names = Names(&[("input_content", Names(&[("uri", Names(&[]))])), ("metadata", Names(&[]))]);

    fn read(value: &Value) -> Result<Value> {
        JsonObject(value.as_object().unwrap().clone()).read(&NAMES)
    }

    #[test]
    fn known_fields_are_known_in_any_case() {
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
    fn what_is_malformed_is_said_with_its_place() {
        let read = JsonObject(json!({"a": {"b": [1, "x"]}}).as_object().unwrap().clone());
        let error = read
            .read::<std::collections::HashMap<String, std::collections::HashMap<String, Vec<u8>>>>(&Names(
                &[],
            ));
        let Err(Error::Invalid(problems)) = error else { panic!("{error:?}") };
        assert_eq!(problems[0].path, "/a/b/1");
    }

    #[test]
    fn problems_move_to_where_the_client_wrote() {
        let places = [
            ("/contents/0".to_owned(), "/contents/1".to_owned()),
            ("/contents/0/source".into(), "/x".into()),
        ];
        let error = |path: &str| match relocated(Error::invalid(path, "C", "m"), &places) {
            Error::Invalid(problems) => problems[0].path.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(error("/contents/0/role"), "/contents/1/role");
        assert_eq!(error("/contents/0/source/uri"), "/x/uri");
        assert_eq!(error("/contents/01"), "/contents/01");
    }
}
