//! Scalars of the API.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use serde_json::Map;

use super::json::value_from_json;
use super::upload::FILE_VARIABLE_PREFIX;

/// Any JSON value.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Json(pub serde_json::Value);

/// Any JSON value: object, array, string, number, boolean, or null.
/// It is sent and received as it is, without a selection of fields.
#[Scalar(name = "JSON", specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value.into_json()?))
    }

    fn to_value(&self) -> Value {
        value_from_json(self.0.clone())
    }
}

/// A JSON object.
#[derive(Debug, Clone)]
pub(super) struct JsonObject(pub Map<String, serde_json::Value>);

/// A JSON object.
/// It is sent and received as it is, without a selection of fields.
#[Scalar(name = "JSONObject", specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259#section-4")]
impl ScalarType for JsonObject {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value.into_json()? {
            serde_json::Value::Object(object) => Ok(Self(object)),
            _ => Err(InputValueError::custom("expected a JSON object")),
        }
    }

    fn to_value(&self) -> Value {
        value_from_json(serde_json::Value::Object(self.0.clone()))
    }
}

/// A whole number of at most 53 bits, as a JSON number.
#[derive(Debug, Clone, Copy)]
pub(super) struct SafeInt(pub i64);

/// The largest whole number that every JSON parser represents exactly (RFC 7493 section 2.2).
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

impl SafeInt {
    /// Returns whether a number has at most 53 bits.
    pub(super) fn fits(number: i64) -> bool {
        (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&number)
    }
}

/// A whole number of at most 53 bits, as a JSON number.
/// Every client represents it exactly, and its range is larger than that of Int.
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc7493#section-2.2")]
impl ScalarType for SafeInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::Number(number) => match number.as_i64().filter(|number| Self::fits(*number)) {
                Some(number) => Ok(Self(number)),
                None => Err(InputValueError::custom("expected a whole number of at most 53 bits")),
            },
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::from(self.0)
    }
}

/// An absolute URL.
#[derive(Debug, Clone)]
pub(super) struct Url(pub String);

/// An absolute URL, for example `https://docket.example.com/documents/…/contents`.
#[Scalar(name = "URL", specified_by_url = "https://www.rfc-editor.org/rfc/rfc3986")]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::from(self.0.as_str())
    }
}

/// A file of a multipart request (GraphQL multipart request specification).
/// Its variable is null, and the map of the request assigns the file to the variable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upload(pub usize);

/// A file of a multipart request (GraphQL multipart request specification).
/// Its variable is null, and the map of the request assigns the file to the variable.
#[Scalar(specified_by_url = "https://github.com/jaydenseric/graphql-multipart-request-spec")]
impl ScalarType for Upload {
    fn parse(value: Value) -> InputValueResult<Self> {
        let index = match &value {
            Value::String(text) => {
                text.strip_prefix(FILE_VARIABLE_PREFIX).and_then(|index| index.parse().ok())
            }
            _ => None,
        };
        index.map(Self).ok_or_else(|| InputValueError::custom("expected a file of a multipart request"))
    }

    fn to_value(&self) -> Value {
        Value::Null
    }
}
