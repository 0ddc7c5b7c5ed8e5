//! The front door: what every operation goes through, whatever it came by. Its document is found, measured and run, its
//! response written and counted.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response as Answer, ServerError, value};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout;
use tracing::Instrument;

use super::answer::Written;
use super::layout::DataLayout;
use super::parameters::Parameters;
use super::persisted::{Documents, Found};
use super::{Server, tracking};
use crate::config::Switch;
use crate::document::Staged;
use crate::error::{Code, Error, Result};
use crate::graphql::guard::{self, Bound};
use crate::graphql::{SchemaTypes, Uploads, Viewer, extensions, log_internal, variable_problems};
use crate::telemetry::{OPERATIONS, SUBSCRIPTIONS};

/// Names of operations that are counted apart; clients choose them, so there has to be an end.
const COUNTED_NAMES: usize = 200;
/// Bytes of a name that is counted.
const LONGEST_NAME: usize = 100;

/// An operation that may be run.
pub(super) struct Prepared {
    request: Request,
    pub(super) kind: OperationType,
    /// What it asks for, and what it may.
    cost: Bound,
    found: Found,
    layout: Arc<DataLayout>,
}

/// Finds the document of a request, has the guard look at it with its variables, and counts its cost as the viewer's.
pub(super) fn prepare(
    server: &Server,
    viewer: &Viewer,
    asked: Parameters,
    tracking: &str,
) -> Result<Prepared, Box<Written>> {
    let limits = &server.app.config.graphql;
    let name = asked.operation_name.as_deref();
    let found = server.documents.find(&asked).and_then(|found| {
        let operation = guard::measure(&found.parsed.document, name, &asked.variables, limits)?;
        Ok((found, operation))
    });
    let refused = |answer: Answer| {
        let layout = DataLayout::default();
        let written = Written::new(answer, OperationType::Query, &layout, limits, tracking);
        count(name, "none", written.outcome);
        Box::new(written)
    };
    let (found, operation) = found.map_err(|refusal| refused(refusal.into()))?;
    let definitions = guard::variable_definitions(&found.parsed.document, name);
    let (types, shows_names) = (SchemaTypes::of_server(), limits.introspection == Switch::On);
    let problems = variable_problems(types, definitions, &asked.variables, limits.problems, shows_names);
    if !problems.is_empty() {
        return Err(refused(failed(&Error::Invalid(problems))));
    }
    server.rates.operation(viewer, &operation).map_err(|error| refused(failed(&error)))?;
    let (kind, cost) = (operation.kind, Bound::from((operation.cost, limits.cost)));
    let mut request = Request::new(asked.query.unwrap_or_default()).variables(asked.variables);
    operation.fill_defaults(&mut request.variables);
    let layout = found.parsed.layout(name, &request.variables);
    request.operation_name = asked.operation_name;
    request.set_parsed_query(found.parsed.runnable().clone());
    Ok(Prepared { request, kind, cost, found, layout })
}

/// Runs a query or mutation.
pub(super) async fn run(
    server: &Server,
    viewer: Viewer,
    prepared: Prepared,
    uploads: Option<Uploads>,
) -> Written {
    let mut responses = stream(server, viewer, prepared, uploads);
    // A query or mutation has one response.
    responses.next().await.unwrap_or_else(|| broken(server))
}

/// Runs any operation: one response of a query or mutation, any number of a subscription. A panic ends it with an error.
pub(super) fn stream(
    server: &Server,
    viewer: Viewer,
    prepared: Prepared,
    uploads: Option<Uploads>,
) -> BoxStream<'static, Written> {
    let Prepared { request, kind, cost, found, layout } = prepared;
    let name = request.operation_name.clone();
    let uploads = Arc::new(uploads.unwrap_or_default());
    let request = request.data(viewer).data(Arc::clone(&uploads));
    let open = (kind == OperationType::Subscription).then(Open::new);
    let (server, tracking) = (server.clone(), tracking::current());
    let answers = match kind {
        OperationType::Subscription => {
            crate::graphql::execute_stream(&server.schema, &server.app, request).boxed()
        }
        _ => {
            let server = server.clone();
            let answer = async move { execute(&server, kind, request, uploads).await };
            stream::once(answer.map(|ran| ran.unwrap_or_else(|error| failed(&error)))).boxed()
        }
    };
    let (mut counted, documents) = (false, Arc::clone(&server.documents));
    let cost = value!({"requested": (cost.requested), "limit": (cost.limit)});
    let written = AssertUnwindSafe(answers).catch_unwind().map(move |answer| {
        let _open = &open;
        let written = match answer {
            Ok(answer) => {
                let answer = answer.extension("cost", cost.clone());
                Written::new(answer, kind, &layout, &server.app.config.graphql, &tracking)
            }
            Err(_) => broken(&server),
        };
        if !std::mem::replace(&mut counted, true) {
            count(name.as_deref(), &kind.to_string(), written.outcome);
        }
        written
    });
    keep_once_valid(written.boxed(), documents, found, kind)
}

/// Keeps the document of an operation as soon as it is known to be valid: at its first response, and at once where a
/// subscription waits for its first event.
fn keep_once_valid(
    mut written: BoxStream<'static, Written>,
    documents: Arc<Documents>,
    found: Found,
    kind: OperationType,
) -> BoxStream<'static, Written> {
    let mut found = Some(found);
    stream::poll_fn(move |context| {
        let next = written.poll_next_unpin(context);
        let is_valid = match &next {
            Poll::Ready(Some(first)) => first.ran || first.outcome != Some(Code::ValidationFailed),
            Poll::Ready(None) => false,
            // async-graphql validates before it waits for anything; a mutation runs in a task of its own.
            Poll::Pending => kind == OperationType::Subscription,
        };
        if is_valid && let Some(found) = found.take() {
            documents.keep(&found);
        } else if next.is_ready() {
            found = None;
        }
        next
    })
    .boxed()
}

/// Runs a query or mutation, for so long as anybody is to wait. A query that takes longer is dropped. A mutation that began
/// ends, whether or not somebody still waits for it; then the bytes of files that it did not take are removed.
async fn execute(
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
    let mut answer = ServerError::new(error.message(), None);
    answer.extensions = Some(extensions(error));
    Answer::from_errors(vec![answer])
}

/// What a viewer is told as the last thing, where an error ends what was begun.
pub(super) fn ended(server: &Server, error: &Error) -> Written {
    let limits = &server.app.config.graphql;
    Written::new(failed(error), OperationType::Query, &DataLayout::default(), limits, &tracking::current())
}

fn broken(server: &Server) -> Written {
    ended(server, &Error::internal("an operation panicked"))
}

/// Counts an operation.
fn count(name: Option<&str>, kind: &str, outcome: Option<Code>) {
    static NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let name = name.unwrap_or("(none)");
    let name = if name.len() > LONGEST_NAME { "(other)" } else { name };
    let counted = {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever makes up names for what does not run takes no place from those that do.
        let room = outcome.is_none() && names.len() < COUNTED_NAMES;
        names.contains(name) || (room && names.insert(name.to_owned()))
    };
    let name = if counted { name } else { "(other)" }.to_owned();
    let labels = [
        ("graphql_operation_name", name),
        ("graphql_operation_type", kind.to_owned()),
        ("code", outcome.map_or("OK", Code::as_str).to_owned()),
    ];
    metrics::counter!(OPERATIONS, &labels).increment(1);
}

/// Counts a subscription for as long as it is open.
struct Open;

impl Open {
    fn new() -> Self {
        metrics::gauge!(SUBSCRIPTIONS).increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(SUBSCRIPTIONS).decrement(1.0);
    }
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
    use serde_json::json;
    use tokio::sync::oneshot;

    use super::*;
    use crate::app::tests::{actor, open};
    use crate::entity::team;
    use crate::job::state::Mode;

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_given_up() {
        let (app, _dir) = open(|config| {
            config.http.execution_seconds = 1;
            config.database_connections = 1;
        })
        .await;
        let viewer = Viewer { actor: Some(actor(&app, "ada", Mode::Live).await), address: None };
        let server = super::super::tests::server(app.clone());
        let _held = app.db.read().get_sqlite_connection_pool().acquire().await.unwrap();
        let asked = Parameters::try_from(json!({"query": "{ teams { id } }"})).unwrap();
        let Ok(prepared) = prepare(&server, &viewer, asked, "t") else { panic!("it may be run") };
        let answer = run(&server, viewer, prepared, None).await;
        assert_eq!(answer.outcome, Some(Code::TimedOut), "{answer:?}");
    }

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
        let asked = Parameters::try_from(json!({"query": text})).unwrap();
        let Ok(prepared) = prepare(&server, &viewer, asked, "t") else { panic!("it may be run") };
        let answer = run(&server, viewer, prepared, None).await;
        assert_eq!(answer.outcome, Some(Code::TimedOut), "{answer:?}");
        go_on.send(()).unwrap();
        app.drain().await;
        assert_eq!(team::Entity::find().count(app.db.read()).await, Ok(1));
    }
}
