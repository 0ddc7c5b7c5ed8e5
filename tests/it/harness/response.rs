//! Responses of the GraphQL API.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

/// An entry of `errors` in a response.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ApiError {
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) path: Vec<Value>,
    #[serde(default)]
    pub(crate) extensions: Map<String, Value>,
}

impl ApiError {
    /// Returns `extensions.code`, or an empty string without one.
    pub(crate) fn code(&self) -> &str {
        self.extensions.get("code").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the paths and codes of `extensions.problems`, sorted by path.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        let list = self.extensions.get("problems").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |problem: &Value, key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        let mut pairs: Vec<_> =
            list.iter().map(|problem| (text(problem, "path"), text(problem, "code"))).collect();
        pairs.sort();
        pairs
    }
}

/// A complete response to a GraphQL request.
#[derive(Debug, Clone)]
pub(crate) struct GqlResponse {
    pub(crate) status: StatusCode,
    pub(crate) data: Value,
    pub(crate) errors: Vec<ApiError>,
}

impl GqlResponse {
    /// Returns the data, or the first error if there is one.
    pub(crate) fn into_data(self) -> Result<Value, ApiError> {
        match self.errors.into_iter().next() {
            None => Ok(self.data),
            Some(error) => Err(error),
        }
    }

    /// Returns the code of the first error, or an empty string without errors.
    pub(crate) fn code(&self) -> &str {
        self.errors.first().map_or("", ApiError::code)
    }
}
