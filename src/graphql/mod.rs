//! The GraphQL API: thin. Types and resolvers translate between clients and the nouns; what may happen is decided there.

mod account;
mod batch;
mod budget;
mod context;
mod document;
mod error;
pub mod guard;
mod history;
mod job;
mod job_input;
mod job_type;
mod loader;
mod node;
mod paging;
mod review;
mod scalar;
mod subscription;
mod taxonomy;
mod upload;

use std::sync::Arc;

use async_graphql::{MergedObject, Request, Response, SDLExportOptions};
use futures_util::{Stream, StreamExt};

use crate::app::App;
use batch::Batches;
use budget::Budget;
use loader::Loaders;

pub use context::Viewer;
pub use error::{extensions, log_internal};
pub use upload::Uploads;

/// What can be asked.
#[derive(MergedObject, Default)]
pub struct Query(
    account::AccountQuery,
    node::NodeQuery,
    document::DocumentQuery,
    taxonomy::TaxonomyQuery,
    job_type::JobTypeQuery,
    job::JobQuery,
    review::ReviewQuery,
);

/// What can be done. Fields run one after another, in the order of the request.
#[derive(MergedObject, Default)]
pub struct Mutation(
    account::AccountMutation,
    document::DocumentMutation,
    taxonomy::TaxonomyMutation,
    job_type::JobTypeMutation,
    job::JobMutation,
    review::ReviewMutation,
);

/// The schema of this server.
pub type Schema = async_graphql::Schema<Query, Mutation, subscription::Subscription>;

/// The schema over an application. Limits on requests are the guard's, in front of this.
pub fn schema(app: App) -> Schema {
    builder().data(app).finish()
}

/// Runs a query or mutation; its request carries a [`Viewer`].
pub async fn execute(schema: &Schema, app: &App, request: Request) -> Response {
    let batches = Batches::default();
    let budget = Arc::new(Budget::new(app.config.graphql.response_bytes));
    let request = request.data(Loaders::new(app, &batches)).data(budget);
    batches.run(schema.execute(request)).await
}

/// Runs any operation; a query or mutation has one response.
pub fn execute_stream(schema: &Schema, app: &App, request: Request) -> impl Stream<Item = Response> + use<> {
    let batches = Batches::default();
    let budget = Arc::new(Budget::new(app.config.graphql.response_bytes));
    let request = request.data(Loaders::new(app, &batches)).data(Arc::clone(&budget));
    batches.run_stream(schema.execute_stream(request)).inspect(move |_| budget.renew())
}

fn builder() -> async_graphql::SchemaBuilder<Query, Mutation, subscription::Subscription> {
    Schema::build(Query::default(), Mutation::default(), subscription::Subscription::default())
        .register_output_type::<node::Node>()
}

/// The schema definition, sorted, as `schema.graphql` has it.
pub fn sdl() -> String {
    let options = SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items();
    builder().finish().sdl_with_options(options)
}
