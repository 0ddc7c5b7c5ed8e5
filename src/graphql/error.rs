//! Conversion of domain errors to GraphQL errors.

use async_graphql::ErrorExtensionValues;

use super::json::value_from_json;
use crate::error::Error;

impl From<Error> for async_graphql::Error {
    fn from(error: Error) -> Self {
        log_internal(&error);
        let mut graphql = Self::new(error.message());
        graphql.extensions = Some(extensions(&error));
        graphql
    }
}

/// Logs the cause of an internal error under the span of the request. Clients never see the cause.
pub(crate) fn log_internal(error: &Error) {
    if let Error::Internal(cause) | Error::Unreadable(cause) = error {
        tracing::error!(cause, "internal error");
    }
}

/// Returns the error code and the details that a client needs to handle the error.
pub fn extensions(error: &Error) -> ErrorExtensionValues {
    let mut values = ErrorExtensionValues::default();
    values.set("code", error.code().as_str());
    match error {
        Error::Invalid(problems) => {
            let problems = serde_json::to_value(problems).map(value_from_json);
            values.set("problems", problems.unwrap_or_default());
        }
        Error::Conflict { details, .. } => {
            for (key, value) in details {
                values.set(key, value_from_json(value.clone()));
            }
        }
        _ => {}
    }
    if let Some(seconds) = error.retry_after_seconds() {
        values.set("retryAfterSeconds", seconds);
    }
    values
}
