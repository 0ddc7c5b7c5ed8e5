//! What the server answers.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

/// One of `errors`, as clients read it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ApiError {
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) path: Vec<Value>,
    #[serde(default)]
    pub(crate) extensions: Map<String, Value>,
}

impl ApiError {
    /// `extensions.code`; empty where there is none.
    pub(crate) fn code(&self) -> &str {
        self.extensions.get("code").and_then(Value::as_str).unwrap_or_default()
    }

    /// The paths and codes of `extensions.problems`, in the order of the paths.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        let list = self.extensions.get("problems").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |problem: &Value, key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        let mut pairs: Vec<_> =
            list.iter().map(|problem| (text(problem, "path"), text(problem, "code"))).collect();
        pairs.sort();
        pairs
    }
}

/// A whole answer to a GraphQL request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) data: Value,
    pub(crate) errors: Vec<ApiError>,
}

impl Answer {
    /// The data, where nothing went wrong; else the first error.
    pub(crate) fn into_data(self) -> Result<Value, ApiError> {
        match self.errors.into_iter().next() {
            None => Ok(self.data),
            Some(error) => Err(error),
        }
    }

    /// The code of the first error; empty where there is none.
    pub(crate) fn code(&self) -> &str {
        self.errors.first().map_or("", ApiError::code)
    }
}
