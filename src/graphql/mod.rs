//! GraphQL API, a thin layer. Types and resolvers translate between clients and the domain modules, which make all
//! decisions.

mod account;
mod batch;
mod budget;
mod coercion;
mod context;
mod document;
mod error;
pub mod guard;
mod history;
mod job;
mod job_input;
mod job_type;
pub mod json;
mod loader;
mod node;
mod paging;
mod review;
mod scalar;
mod schema_types;
mod subscription;
mod taxonomy;
mod upload;
mod variable_usage;
mod webhook;
mod worker;

use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use async_graphql::parser::types::OperationType;
use async_graphql::{MergedObject, Name, Request, Response, SDLExportOptions, Value};
use futures_util::{Stream, StreamExt, stream};
use tracing::{Instrument, Span};

use crate::app::App;
use crate::clock::Timestamp;
use crate::config::switch::Switch;
use crate::telemetry::{OPERATION_SECONDS, trace};
use batch::Batches;
use budget::Budget;
use loader::Loaders;

pub(crate) use coercion::{check_literals, variable_problems};
pub use error::extensions;
pub(crate) use error::log_internal;
pub(crate) use job_type::job_type_from_json;
pub(crate) use schema_types::SchemaTypes;
pub use upload::Uploads;
pub(crate) use variable_usage::check_variable_usages;

/// Root of all queries.
/// Objects that the viewer (the authenticated user) cannot see are null or missing, as if they did not exist.
#[derive(MergedObject, Default)]
pub struct Query(
    account::AccountQuery,
    node::NodeQuery,
    document::DocumentQuery,
    taxonomy::TaxonomyQuery,
    job_type::JobTypeQuery,
    job::JobQuery,
    review::ReviewQuery,
    webhook::WebhookQuery,
);

/// Root of all mutations.
/// Fields run one after another, in the order of the request.
#[derive(MergedObject, Default)]
pub struct Mutation(
    account::AccountMutation,
    document::DocumentMutation,
    taxonomy::TaxonomyMutation,
    job_type::JobTypeMutation,
    job::JobMutation,
    review::ReviewMutation,
    worker::WorkerMutation,
    webhook::WebhookMutation,
);

/// GraphQL schema of this server.
pub type Schema = async_graphql::Schema<Query, Mutation, subscription::Subscription>;

/// Builds the schema for an application. The guard checks the limits of a request before the schema runs it.
pub fn schema(app: App) -> Schema {
    let builder = match app.config.graphql.introspection {
        Switch::On => schema_builder(),
        // Suggestions for misspelled names would reveal the schema.
        Switch::Off => schema_builder().disable_introspection().disable_suggestions(),
    };
    builder.data(app).finish()
}

/// Runs a query or mutation. The request must contain a [`Viewer`](crate::access::Viewer).
pub async fn execute(schema: &Schema, app: &App, mut request: Request) -> Response {
    let (span, kind) = operation_span(&mut request);
    let started = Instant::now();
    let batches = Batches::default();
    let budget = Arc::new(Budget::new(app.config.graphql.response_bytes));
    let request = request.data(Loaders::new(app, &batches)).data(budget);
    let response = batches.run(schema.execute(request)).instrument(span.clone()).await;
    metrics::histogram!(OPERATION_SECONDS, "graphql_operation_type" => kind)
        .record(started.elapsed().as_secs_f64());
    record_error(&span, &response);
    response
}

/// Runs any operation. A query or mutation has one response.
pub(crate) fn execute_stream(
    schema: &Schema,
    app: &App,
    mut request: Request,
) -> impl Stream<Item = Response> + use<> {
    let (span, _) = operation_span(&mut request);
    let batches = Batches::default();
    let budget = Arc::new(Budget::new(app.config.graphql.response_bytes));
    let request = request.data(Loaders::new(app, &batches)).data(Arc::clone(&budget));
    let responses = batches.run_stream(schema.execute_stream(request));
    let mut responses = responses.inspect(move |_| budget.reset()).boxed();
    stream::poll_fn(move |ctx| {
        let next = span.in_scope(|| responses.poll_next_unpin(ctx));
        if let Poll::Ready(Some(response)) = &next {
            record_error(&span, response);
        }
        next
    })
}

/// Returns a span for the operation of a request, and the type of the operation.
fn operation_span(request: &mut Request) -> (Span, &'static str) {
    let operation_name = request.operation_name.clone();
    let operation = request.parsed_query().ok().and_then(|document| {
        let mut operations = document.operations.iter();
        match operation_name {
            Some(requested) => {
                operations.find(|(name, _)| name.is_some_and(|name| name.as_str() == requested))
            }
            None => operations.next(),
        }
    });
    let kind = match operation.map(|(_, operation)| operation.node.ty) {
        Some(OperationType::Query) => "query",
        Some(OperationType::Mutation) => "mutation",
        Some(OperationType::Subscription) => "subscription",
        None => "none",
    };
    let name = operation.and_then(|(name, _)| name).map(Name::as_str);
    (trace::operation_span(kind, name), kind)
}

/// Records the first error of a response in the span.
fn record_error(span: &Span, response: &Response) {
    if let Some(error) = response.errors.first() {
        match error.extensions.as_ref().and_then(|values| values.get("code")) {
            Some(Value::String(code)) => trace::record_operation_error(span, code),
            // The semantic conventions of OpenTelemetry define this value for errors without a code.
            _ => trace::record_operation_error(span, "_OTHER"),
        }
    }
}

fn schema_builder() -> async_graphql::SchemaBuilder<Query, Mutation, subscription::Subscription> {
    Schema::build(Query::default(), Mutation::default(), subscription::Subscription::default())
        .register_output_type::<node::Node>()
        // The description of this scalar in async-graphql is written for Rust programmers.
        .override_output_type_description::<Timestamp>(
            "An instant in the format of RFC 3339, for example `2025-03-14T09:26:53.589Z`. The server returns UTC and accepts any offset.",
        )
}

/// Returns the schema definition, sorted as in `schema.graphql`.
pub fn sdl() -> String {
    let options = SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items();
    schema_builder().finish().sdl_with_options(options.include_specified_by())
}
