//! The GraphQL operations of the client. Their types are generated from `schema.graphql` and from the files in
//! `operations/`; a file is sent as a whole, with the name of the operation to run.

#![expect(missing_docs, reason = "the API's schema documents its types and fields")]

use graphql_client::GraphQLQuery;

pub use create_job::{
    CollaboratorInput, CollaboratorRef, ContentSource, CreateJobInput, DocumentInfo, Job, JobStatus,
};
pub use put_taxonomy::PutTaxonomyInput;
pub use sign_in::SignInInput;

/// Compiles this module again when the schema changes, as the derives do for the operations only.
const _: &str = include_str!("../../schema.graphql");

/// The type of variables of the scalar `ID`; the derives expect it here under this name.
type Id = String;

/// The Rust types of the custom scalars.
mod scalars {
    pub(super) type Json = serde_json::Value;
    pub(super) type JsonObject = serde_json::Map<String, serde_json::Value>;
    pub(super) type SafeInt = u64;
    pub(super) type Url = String;
}

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "schema.graphql",
    query_path = "src/client/operations/jobs.graphql",
    custom_scalars_module = "super::scalars",
    normalization = "rust",
    variables_derives = "Clone, Debug, PartialEq",
    response_derives = "Clone, Debug, PartialEq, Serialize"
)]
pub(crate) struct CreateJob;

/// Shares the type of the fragment `Job` with [`CreateJob`].
#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "schema.graphql",
    query_path = "src/client/operations/jobs.graphql",
    custom_scalars_module = "super::scalars",
    normalization = "rust",
    response_type = "super::Job"
)]
pub(crate) struct JobUpdated;

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "schema.graphql",
    query_path = "src/client/operations/jobs.graphql",
    custom_scalars_module = "super::scalars",
    normalization = "rust"
)]
pub(crate) struct JobContents;

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "schema.graphql",
    query_path = "src/client/operations/sign_in.graphql",
    normalization = "rust"
)]
pub(crate) struct SignIn;

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "schema.graphql",
    query_path = "src/client/operations/delete_document.graphql",
    normalization = "rust"
)]
pub(crate) struct DeleteDocument;

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "schema.graphql",
    query_path = "src/client/operations/put_taxonomy.graphql",
    custom_scalars_module = "super::scalars",
    normalization = "rust"
)]
pub(crate) struct PutTaxonomy;

impl From<job_contents::DocumentInfo> for DocumentInfo {
    fn from(document: job_contents::DocumentInfo) -> Self {
        let job_contents::DocumentInfo { id, name, type_, size, sha256 } = document;
        Self { id, name, type_, size, sha256 }
    }
}
