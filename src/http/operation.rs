//! What every operation goes through, whatever it came by: the guard, the run, its errors and its count.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response as Answer, ServerError, Value};
use axum::http::{HeaderValue, header};
use tokio::time::timeout;
use tracing::Instrument;

use super::{Server, tracking};
use crate::document::Staged;
use crate::error::{Error, Result};
use crate::graphql::guard::{self, Checked};
use crate::graphql::{Uploads, Viewer, extensions, log_internal};
use crate::telemetry::OPERATIONS;

/// Errors of one response: who has these to mend is not helped by more.
const MOST_ERRORS: usize = 20;
/// Names of operations that are counted apart; clients choose them, so there has to be an end.
const COUNTED_NAMES: usize = 200;
/// Bytes of a name that is counted.
const LONGEST_NAME: usize = 100;

/// Has the guard look at an operation before it is run, and counts its cost as the viewer's.
pub(super) fn prepare(
    server: &Server,
    viewer: &Viewer,
    request: &Request,
    tracking: &str,
) -> Result<Checked, Box<Answer>> {
    let limits = &server.app.config.graphql;
    let refused = |answer: Answer| {
        count(request.operation_name.as_deref(), "none", outcome(&answer));
        Box::new(finished(answer, tracking))
    };
    let checked = guard::check(&request.query, request.operation_name.as_deref(), &request.variables, limits)
        .map_err(|refusal| refused(refusal.into()))?;
    let affordable = server.rates.operation(viewer, &checked.operation);
    affordable.map_err(|error| refused(failed(&error)))?;
    Ok(checked)
}

/// Runs a query or mutation, for so long as anybody is to wait. A query that takes longer is dropped. A mutation that began
/// ends, whether or not somebody still waits for it; then the bytes of files that it did not take are removed.
pub(super) async fn execute(
    server: &Server,
    kind: OperationType,
    request: Request,
    uploads: Arc<Uploads>,
) -> Result<Answer> {
    let seconds = server.app.config.http.execution_seconds;
    let limit = Duration::from_secs(seconds);
    if kind != OperationType::Mutation {
        let ran = timeout(limit, crate::graphql::execute(&server.schema, &server.app, request)).await;
        discard(server, uploads.rest()).await;
        let late = format!("The query took longer than {seconds} s and was given up. Ask for less at once.");
        return Ok(ran.unwrap_or_else(|_| failed(&Error::TimedOut(late))));
    }
    let own = server.clone();
    let work = async move {
        let answer = crate::graphql::execute(&own.schema, &own.app, request).await;
        discard(&own, uploads.rest()).await;
        answer
    };
    let work = tracking::within(tracking::current(), work.in_current_span());
    match timeout(limit, server.app.tasks.spawn(work)).await {
        Ok(ran) => ran.map_err(Error::internal),
        Err(_) => {
            let late = format!(
                "The mutation takes longer than {seconds} s. It goes on to its end: look at what it changed before you \
                 send it again."
            );
            Ok(failed(&Error::TimedOut(late)))
        }
    }
}

/// The answer to an operation that came to nothing as a whole.
pub(super) fn failed(error: &Error) -> Answer {
    log_internal(error);
    let mut told = ServerError::new(error.message(), None);
    told.extensions = Some(extensions(error));
    let mut answer = Answer::from_errors(vec![told]);
    if let Error::RateLimited(seconds) = error {
        answer.http_headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
    }
    answer
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
    let labels = [
        ("graphql_operation_name", name),
        ("graphql_operation_type", kind.to_owned()),
        ("code", outcome.to_owned()),
    ];
    metrics::counter!(OPERATIONS, &labels).increment(1);
}

/// Removes the bytes of files that nobody took.
pub(super) async fn discard(server: &Server, files: Vec<Staged>) {
    for file in files {
        server.app.jobs.documents.discard(file.key()).await;
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{EntityTrait, PaginatorTrait};
    use tokio::sync::oneshot;

    use super::*;
    use crate::app::tests::{actor, open};
    use crate::entity::team;
    use crate::job::state::Mode;

    #[tokio::test]
    async fn whoever_waits_too_long_is_told_and_a_mutation_goes_on() {
        let (app, _dir) = open(|config| config.http.execution_seconds = 1).await;
        let viewer = Viewer { actor: Some(actor(&app, "ada", Mode::Live).await), address: None };
        let server = super::super::tests::server(app.clone());
        let (begun, writes) = oneshot::channel();
        let (go_on, end) = oneshot::channel();
        let db = app.db.clone();
        // The one connection that writes is taken.
        app.spawn(async move {
            let held = db.write(|_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    end.await.unwrap();
                    Ok(())
                })
            });
            held.await.unwrap();
        });
        writes.await.unwrap();
        let text = "mutation { createTeam(input: {name: \"t\"}) { team { id } } }";
        let request = Request::new(text).data(viewer);
        let answer = execute(&server, OperationType::Mutation, request, Arc::default()).await.unwrap();
        assert_eq!(outcome(&answer), "TIMEOUT", "{answer:?}");
        go_on.send(()).unwrap();
        app.drain().await;
        assert_eq!(team::Entity::find().count(app.db.read()).await, Ok(1));
    }
}
