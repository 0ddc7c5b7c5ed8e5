//! `/job-types`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::Server;
use super::base::run_read;
use super::envelope::{Envelope, Failure, success};
use super::input::{Caller, JsonPath};
use super::view::StepKindName;
use crate::error::{Error, Result};
use crate::job_type;

/// A job type: its steps, accepted inputs and contents.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobType {
    /// Slug, the `type` of a job.
    #[schema(example = "data-point-extraction")]
    id: String,
    /// Display name.
    name: String,
    /// Description for people.
    description: String,
    /// Version, starting at 1. A job keeps the version with which it was created.
    #[schema(minimum = 1)]
    version: i32,
    /// MIME types accepted as input; an empty list accepts any.
    accepts: Vec<String>,
    /// Roles of the contents of jobs of this type, `input` first.
    content_roles: Vec<String>,
    /// Steps in the order in which they run.
    steps: Vec<JobTypeStep>,
    /// JSON Schema (2020-12) that a job's metadata must satisfy.
    #[schema(value_type = Object)]
    metadata_schema: Value,
}

/// One stage of a job type.
#[derive(Debug, Serialize, ToSchema)]
struct JobTypeStep {
    /// Name of the step, also in the `steps` of a collaborator.
    name: String,
    /// Display name.
    title: String,
    /// Whether a worker or a person does the step.
    kind: StepKindName,
    /// Roles that the step reads and writes. Their contents require access to the step.
    content_roles: Vec<String>,
    /// Maximum number of attempts before the job fails.
    #[schema(minimum = 1)]
    max_attempts: u32,
    /// Time limit of one attempt, in seconds.
    #[schema(minimum = 1)]
    timeout_seconds: u32,
    /// Metadata field with the review threshold of the step; null if the step never opens a review.
    threshold_field: Option<String>,
    /// Whether the owner of the job is barred from deciding reviews of the step and from doing it as a worker.
    four_eyes: bool,
}

impl From<&job_type::JobType> for JobType {
    fn from(found: &job_type::JobType) -> Self {
        let content_roles = found.content_roles();
        let job_type::JobType { id, name, description, version, accepts, steps, metadata_schema } =
            found.clone();
        let step = |step: job_type::StepDefinition| JobTypeStep {
            name: step.name,
            title: step.title,
            kind: StepKindName(step.kind),
            content_roles: step.content_roles,
            max_attempts: step.max_attempts,
            timeout_seconds: step.timeout_seconds,
            threshold_field: step.threshold_field,
            four_eyes: step.four_eyes,
        };
        let steps = steps.into_iter().map(step).collect();
        Self { id, name, description, version, accepts, content_roles, steps, metadata_schema }
    }
}

/// All job types.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobTypes {
    /// The newest version of each job type, sorted by ID.
    job_types: Vec<JobType>,
}

/// Lists the job types
///
/// Returns the newest version of each job type, sorted by ID.
#[utoipa::path(
    get,
    path = "/job-types",
    operation_id = "list_job_types",
    tag = "Job types",
    responses((status = 200, description = "The job types.", body = Envelope<JobTypes>))
)]
pub(super) async fn list(State(server): State<Server>, _: Caller) -> Result<Response> {
    let all = run_read(&server, server.app.jobs.types.list()).await?;
    Ok(success(StatusCode::OK, JobTypes { job_types: all.iter().map(|found| (&**found).into()).collect() }))
}

/// Describes a job type
///
/// Returns its newest version, which new jobs use.
#[utoipa::path(
    get,
    path = "/job-types/{id}",
    operation_id = "get_job_type",
    tag = "Job types",
    params(("id" = String, Path, description = "Slug of the type.", example = "data-point-extraction", pattern = "^[A-Za-z0-9._-]{1,100}$")),
    responses(
        (status = 200, description = "The job type.", body = Envelope<JobType>),
        (status = 404, description = "There is no such job type.", body = Envelope<Failure>),
    )
)]
pub(super) async fn describe(
    State(server): State<Server>,
    _: Caller,
    JsonPath(id): JsonPath<String>,
) -> Result<Response> {
    let found = run_read(&server, server.app.jobs.types.newest(&id)).await?;
    let found = found.ok_or_else(|| Error::not_found("job type"))?;
    Ok(success(StatusCode::OK, JobType::from(&*found)))
}
