//! What every operation goes through, whatever it came by: the guard, the run, its errors and its count.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response as Answer, ServerError, Value};
use tracing::Instrument;

use super::{Server, tracking};
use crate::document::Staged;
use crate::error::{Error, Result};
use crate::graphql::guard::{self, Checked};
use crate::telemetry::OPERATIONS;

/// Errors of one response: who has these to mend is not helped by more.
const MOST_ERRORS: usize = 20;
/// Names of operations that are counted apart; clients choose them, so there has to be an end.
const COUNTED_NAMES: usize = 200;
/// Bytes of a name that is counted.
const LONGEST_NAME: usize = 100;

/// Has the guard look at an operation before it is run.
pub(super) fn prepare(server: &Server, request: &Request, tracking: &str) -> Result<Checked, Box<Answer>> {
    let limits = &server.app.config.graphql;
    guard::check(&request.query, request.operation_name.as_deref(), &request.variables, limits).map_err(
        |refusal| {
            count(request.operation_name.as_deref(), "none", refusal.code.as_str());
            Box::new(finished(refusal.into(), tracking))
        },
    )
}

/// Runs a query or mutation. A mutation that began ends, whether or not its client still waits for it.
pub(super) async fn execute(server: &Server, kind: OperationType, request: Request) -> Result<Answer> {
    if kind != OperationType::Mutation {
        return Ok(crate::graphql::execute(&server.schema, &server.app, request).await);
    }
    let Server { schema, app, .. } = server.clone();
    let work = async move { crate::graphql::execute(&schema, &app, request).await }.in_current_span();
    server.app.tasks.spawn(tracking::within(tracking::current(), work)).await.map_err(Error::internal)
}

/// Gives every error its code and the request's ID.
pub(super) fn finished(mut response: Answer, tracking: &str) -> Answer {
    response.errors.truncate(MOST_ERRORS);
    for error in &mut response.errors {
        let request_error = error.path.is_empty();
        let values = error.extensions.get_or_insert_default();
        if values.get("code").is_none() {
            // Without a code of ours it is async-graphql's own: validation before the run, a scalar that did not parse in it.
            values.set("code", if request_error { "GRAPHQL_VALIDATION_FAILED" } else { "BAD_USER_INPUT" });
        }
        values.set("tracking", tracking);
    }
    response
}

/// The code of the first error, or OK: one of few, for metrics.
pub(super) fn outcome(response: &Answer) -> &str {
    let code = |error: &ServerError| match error.extensions.as_ref().and_then(|values| values.get("code")) {
        Some(Value::String(code)) => KNOWN.iter().find(|known| *known == code).copied(),
        _ => None,
    };
    response.errors.first().map_or("OK", |error| code(error).unwrap_or("INTERNAL_SERVER_ERROR"))
}

/// The codes of the contract, section 9.
const KNOWN: [&str; 15] = [
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    "BAD_USER_INPUT",
    "CONFLICT",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "RATE_LIMITED",
    "QUERY_TOO_COMPLEX",
    "TIMEOUT",
    "UNAVAILABLE",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "PERSISTED_QUERY_NOT_FOUND",
    "INTERNAL_SERVER_ERROR",
];

/// Counts an operation.
pub(super) fn count(name: Option<&str>, kind: &str, outcome: &str) {
    static NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let name = name.unwrap_or("(none)");
    let name = if name.len() > LONGEST_NAME { "(other)" } else { name };
    let counted = {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.contains(name) || (names.len() < COUNTED_NAMES && names.insert(name.to_owned()))
    };
    let name = if counted { name } else { "(other)" }.to_owned();
    let labels = [("operation", name), ("type", kind.to_owned()), ("outcome", outcome.to_owned())];
    metrics::counter!(OPERATIONS, &labels).increment(1);
}

/// Removes the bytes of files that nobody took.
pub(super) async fn discard(server: &Server, files: Vec<Staged>) {
    for file in files {
        server.app.jobs.documents.discard(file.key()).await;
    }
}
