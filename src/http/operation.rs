//! Runs GraphQL operations for all transports: finds and measures the document, runs it, and encodes and counts the
//! response.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response, value};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::layout::DataLayout;
use super::parameters::Parameters;
use super::persisted::{FoundDocument, GraphqlDocuments};
use super::response::{EncodedResponse, failed};
use super::{Server, deadline, tracking};
use crate::access::Viewer;
use crate::config::Switch;
use crate::document::Staged;
use crate::error::{Code, Error, Result};
use crate::graphql::guard::{self, LimitUsage};
use crate::graphql::{SchemaTypes, Uploads, variable_problems};
use crate::job::queue::external::Caller;
use crate::telemetry::{OPERATIONS, SUBSCRIPTIONS};

/// Maximum number of operation names with a label of their own in the metrics. Clients choose the names.
const MAX_COUNTED_NAMES: usize = 200;
/// Maximum length of a counted name.
const MAX_NAME_BYTES: usize = 100;
/// Time between the latest end of a wait inside a mutation and the time limit of the mutation.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// An operation that is ready to run.
pub(super) struct Prepared {
    request: Request,
    pub(super) kind: OperationType,
    /// Cost of the operation, and its limit.
    cost: LimitUsage,
    found: FoundDocument,
    layout: Arc<DataLayout>,
}

/// Finds the document of a request, lets the guard check it with its variables, and counts its cost for the viewer.
pub(super) fn prepare(
    server: &Server,
    viewer: &Viewer,
    parameters: Parameters,
    tracking: &str,
) -> Result<Prepared, Box<EncodedResponse>> {
    let limits = &server.app.config.graphql;
    let name = parameters.operation_name.as_deref();
    let found = server.graphql_documents.find(&parameters).and_then(|found| {
        let operation = guard::measure(&found.parsed.document, name, &parameters.variables, limits)?;
        Ok((found, operation))
    });
    let refuse = |response: Response| {
        let layout = DataLayout::default();
        let encoded = EncodedResponse::new(response, OperationType::Query, &layout, limits, tracking);
        count_operation(name, "none", encoded.error_code);
        Box::new(encoded)
    };
    let (found, operation) = found.map_err(|refusal| refuse(refusal.into()))?;
    let definitions = guard::variable_definitions(&found.parsed.document, name);
    let (types, shows_names) = (SchemaTypes::of_server(), limits.introspection == Switch::On);
    let problems = variable_problems(types, definitions, &parameters.variables, limits.problems, shows_names);
    if !problems.is_empty() {
        return Err(refuse(failed(&Error::Invalid(problems))));
    }
    server.rate_limits.count_cost(viewer, &operation).map_err(|error| refuse(failed(&error)))?;
    let (kind, cost) = (operation.kind, LimitUsage::from((operation.cost, limits.cost)));
    let mut request = Request::new(parameters.query.unwrap_or_default()).variables(parameters.variables);
    operation.fill_defaults(&mut request.variables);
    let layout = found.parsed.layout(name, &request.variables);
    request.operation_name = parameters.operation_name;
    request.set_parsed_query(found.parsed.runnable().clone());
    Ok(Prepared { request, kind, cost, found, layout })
}

/// Runs a query or mutation and returns its response.
pub(super) async fn run(
    server: &Server,
    viewer: Viewer,
    prepared: Prepared,
    uploads: Option<Uploads>,
) -> EncodedResponse {
    let mut responses = stream(server, viewer, prepared, uploads);
    responses.next().await.unwrap_or_else(|| panic_response(server))
}

/// Runs an operation. The stream has one response for a query or mutation, and any number for a subscription.
///
/// A panic ends the operation with an error.
pub(super) fn stream(
    server: &Server,
    viewer: Viewer,
    prepared: Prepared,
    uploads: Option<Uploads>,
) -> BoxStream<'static, EncodedResponse> {
    let Prepared { request, kind, cost, found, layout } = prepared;
    let name = request.operation_name.clone();
    let uploads = Arc::new(uploads.unwrap_or_default());
    let request = request.data(viewer).data(Arc::clone(&uploads));
    let open = (kind == OperationType::Subscription).then(OpenSubscription::new);
    let (server, tracking) = (server.clone(), tracking::current());
    let responses = match kind {
        OperationType::Subscription => {
            crate::graphql::execute_stream(&server.schema, &server.app, request).boxed()
        }
        _ => {
            let server = server.clone();
            let result = async move { execute(&server, kind, request, uploads).await };
            stream::once(result.map(|result| result.unwrap_or_else(|error| failed(&error)))).boxed()
        }
    };
    let (mut is_counted, documents) = (false, Arc::clone(&server.graphql_documents));
    let cost = value!({"requested": (cost.requested), "limit": (cost.limit)});
    let encoded = AssertUnwindSafe(responses).catch_unwind().map(move |response| {
        let _open = &open;
        let encoded = match response {
            Ok(response) => {
                let response = response.extension("cost", cost.clone());
                EncodedResponse::new(response, kind, &layout, &server.app.config.graphql, &tracking)
            }
            Err(_) => panic_response(&server),
        };
        if !std::mem::replace(&mut is_counted, true) {
            count_operation(name.as_deref(), &kind.to_string(), encoded.error_code);
        }
        encoded
    });
    cache_once_valid(encoded.boxed(), documents, found, kind)
}

/// Caches the document of an operation as soon as it is known to be valid: at the first response, or when a
/// subscription waits for its first event.
fn cache_once_valid(
    mut responses: BoxStream<'static, EncodedResponse>,
    documents: Arc<GraphqlDocuments>,
    found: FoundDocument,
    kind: OperationType,
) -> BoxStream<'static, EncodedResponse> {
    let mut found = Some(found);
    stream::poll_fn(move |context| {
        let next = responses.poll_next_unpin(context);
        let is_valid = match &next {
            Poll::Ready(Some(first)) => first.has_run || first.error_code != Some(Code::ValidationFailed),
            Poll::Ready(None) => false,
            // async-graphql validates before its first wait. A mutation runs in its own task.
            Poll::Pending => kind == OperationType::Subscription,
        };
        if is_valid && let Some(found) = found.take() {
            documents.cache(&found);
        } else if next.is_ready() {
            found = None;
        }
        next
    })
    .boxed()
}

/// Runs a query or mutation within the time limit of requests.
///
/// At the limit a query is dropped, but a mutation continues in the background. After the operation the files that it
/// did not take are removed.
async fn execute(
    server: &Server,
    kind: OperationType,
    request: Request,
    uploads: Arc<Uploads>,
) -> Result<Response> {
    if kind != OperationType::Mutation {
        let query = crate::graphql::execute(&server.schema, &server.app, request);
        let result = deadline::run_read(server, "query", query.map(Ok)).await;
        discard_files(server, uploads.take_remaining()).await;
        return result;
    }
    let own = server.clone();
    // The guard is dropped with this future: by the client, at the deadline, or at the end.
    let gone = server.app.stopping.child_token();
    let _waiting = gone.clone().drop_guard();
    let time_limit = Duration::from_secs(server.app.config.http.execution_seconds);
    let answer_by = Instant::now() + time_limit.saturating_sub(ANSWER_TIME);
    let request = request.data(Caller { gone, answer_by });
    let mutation = async move {
        let response = crate::graphql::execute(&own.schema, &own.app, request).await;
        discard_files(&own, uploads.take_remaining()).await;
        Ok(response)
    };
    deadline::run_change(server, "mutation", mutation).await
}

/// Returns the encoded response for an error that ends an operation.
pub(super) fn error_response(server: &Server, error: &Error) -> EncodedResponse {
    let limits = &server.app.config.graphql;
    EncodedResponse::new(
        failed(error),
        OperationType::Query,
        &DataLayout::default(),
        limits,
        &tracking::current(),
    )
}

fn panic_response(server: &Server) -> EncodedResponse {
    error_response(server, &Error::internal("an operation panicked"))
}

/// Counts an operation in the metrics.
fn count_operation(name: Option<&str>, kind: &str, error_code: Option<Code>) {
    static NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let name = name.unwrap_or("(none)");
    let name = if name.len() > MAX_NAME_BYTES { "(other)" } else { name };
    let has_label = {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        // A failed operation adds no name, so that invalid requests cannot use up the limit.
        let may_add = error_code.is_none() && names.len() < MAX_COUNTED_NAMES;
        names.contains(name) || (may_add && names.insert(name.to_owned()))
    };
    let name = if has_label { name } else { "(other)" }.to_owned();
    let labels = [
        ("graphql_operation_name", name),
        ("graphql_operation_type", kind.to_owned()),
        ("code", error_code.map_or("OK", Code::as_str).to_owned()),
    ];
    metrics::counter!(OPERATIONS, &labels).increment(1);
}

/// Counts a subscription in the metrics while it is open.
struct OpenSubscription;

impl OpenSubscription {
    fn new() -> Self {
        metrics::gauge!(SUBSCRIPTIONS).increment(1.0);
        Self
    }
}

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        metrics::gauge!(SUBSCRIPTIONS).decrement(1.0);
    }
}

/// Removes uploaded files that no operation has taken.
pub(super) async fn discard_files(server: &Server, files: Vec<Staged>) {
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
    async fn slow_query_times_out() {
        let (app, _dir) = open(|config| {
            config.http.execution_seconds = 1;
            config.database_connections = 1;
        })
        .await;
        let viewer = Viewer { actor: Some(actor(&app, "ada", Mode::Live).await), address: None };
        let server = super::super::tests::server(app.clone());
        let _held = app.db.read().get_sqlite_connection_pool().acquire().await.unwrap();
        let parameters = Parameters::try_from(json!({"query": "{ teams { id } }"})).unwrap();
        let Ok(prepared) = prepare(&server, &viewer, parameters, "t") else {
            panic!("the operation was refused")
        };
        let response = run(&server, viewer, prepared, None).await;
        assert_eq!(response.error_code, Some(Code::TimedOut), "{response:?}");
    }

    #[tokio::test]
    async fn slow_mutation_times_out_and_continues_in_the_background() {
        let (app, _dir) = open(|config| config.http.execution_seconds = 1).await;
        let viewer = Viewer { actor: Some(actor(&app, "ada", Mode::Live).await), address: None };
        let server = super::super::tests::server(app.clone());
        let (started, has_started) = oneshot::channel();
        let (finish, may_finish) = oneshot::channel();
        let db = app.db.clone();
        // Another task holds the only write connection.
        app.spawn(async move {
            let write = db.write(|_| {
                Box::pin(async move {
                    started.send(()).unwrap();
                    may_finish.await.unwrap();
                    Ok(())
                })
            });
            write.await.unwrap();
        });
        has_started.await.unwrap();
        let text = "mutation { createTeam(input: {name: \"t\"}) { team { id } } }";
        let parameters = Parameters::try_from(json!({"query": text})).unwrap();
        let Ok(prepared) = prepare(&server, &viewer, parameters, "t") else {
            panic!("the operation was refused")
        };
        let response = run(&server, viewer, prepared, None).await;
        assert_eq!(response.error_code, Some(Code::TimedOut), "{response:?}");
        finish.send(()).unwrap();
        app.drain().await;
        assert_eq!(team::Entity::find().count(app.db.read()).await, Ok(1));
    }
}
