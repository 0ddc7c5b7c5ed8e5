//! Job types.

use std::sync::Arc;

use async_graphql::parser::types::{BaseType, Type};
use async_graphql::{Context, Enum, ID, InputObject, InputType, Name, Object, Pos, SimpleObject};

use super::coercion::input_problems;
use super::context::RequestContext;
use super::json::value_from_json;
use super::scalar::Json;
use super::schema_types::SchemaTypes;
use crate::error::{Problem, Result};
use crate::job::state::StepKind as Kind;
use crate::job_type::{JobType as Definition, StepDefinition};
use crate::json::storage_problem;

/// The backend process of a job: its steps, accepted inputs, and produced contents.
pub(super) struct JobType(pub Arc<Definition>);

/// The backend process of a job: its steps, accepted inputs, and produced contents.
#[Object]
impl JobType {
    /// Slug of the job type, for example `data-point-extraction`.
    async fn id(&self) -> ID {
        self.0.id.clone().into()
    }

    /// Human-readable name of the job type.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Human-readable description of the job type.
    async fn description(&self) -> &str {
        &self.0.description
    }

    /// Version of the job type, from 1.
    /// A job keeps the version that it started with.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// MIME types that are accepted as input; an empty list accepts any type.
    async fn accepts(&self) -> &[String] {
        &self.0.accepts
    }

    /// Steps in the order in which they run.
    async fn steps(&self) -> Vec<JobTypeStep> {
        self.0.steps.iter().cloned().map(JobTypeStep).collect()
    }

    /// JSON Schema (2020-12) that the metadata of a job must satisfy.
    async fn metadata_schema(&self, ctx: &Context<'_>) -> Result<Json> {
        ctx.budget()?.charge_value(&self.0.metadata_schema)?;
        Ok(Json(self.0.metadata_schema.clone()))
    }

    /// Roles of the contents of jobs of this type, with `input` first.
    async fn content_roles(&self) -> Vec<String> {
        self.0.content_roles()
    }
}

/// A step of a job type.
pub(super) struct JobTypeStep(StepDefinition);

/// A step of a job type.
#[Object]
impl JobTypeStep {
    /// Name of the step, also used to give collaborators access to it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Human-readable name of the step.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// Kind of the step: automatic or manual.
    async fn kind(&self) -> StepKind {
        self.0.kind.into()
    }

    /// Roles of the contents that the step reads and writes.
    /// These contents, except the input, are visible only with access to the step.
    async fn content_roles(&self) -> &[String] {
        &self.0.content_roles
    }

    /// Maximum number of attempts before the job fails.
    async fn max_attempts(&self) -> u32 {
        self.0.max_attempts
    }

    /// Maximum duration of one attempt, in seconds.
    async fn timeout_seconds(&self) -> u32 {
        self.0.timeout_seconds
    }

    /// Path of the metadata field with the review threshold of the step, for example `mapping.high_confidence_threshold`.
    /// Null if the step never asks for a review.
    async fn threshold_field(&self) -> Option<&str> {
        self.0.threshold_field.as_deref()
    }

    /// Whether the step needs a second person (four-eyes principle).
    /// If true, the owner of a job can neither decide reviews of the step nor complete it as a worker. Both fail with
    /// FORBIDDEN.
    async fn four_eyes(&self) -> bool {
        self.0.four_eyes
    }
}

/// Kind of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum StepKind {
    /// Done by a built-in executor or an external worker; may still ask for a review.
    Automatic,
    /// Done by a person.
    Manual,
}

impl From<Kind> for StepKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Automatic => Self::Automatic,
            Kind::Manual => Self::Manual,
        }
    }
}

#[derive(Default)]
pub(super) struct JobTypeQuery;

#[Object]
impl JobTypeQuery {
    /// Returns the newest version of a job type.
    /// Null if there is no such job type.
    async fn job_type(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Slug of the job type, for example `data-point-extraction`.")] id: ID,
    ) -> Option<Result<JobType>> {
        let found: Result<Option<JobType>> = async {
            ctx.actor()?;
            Ok(ctx.app()?.jobs.types.newest(&id).await?.map(JobType))
        }
        .await;
        found.transpose()
    }

    /// Returns the newest version of every job type, sorted by ID.
    async fn job_types(&self, ctx: &Context<'_>) -> Result<Vec<JobType>> {
        ctx.actor()?;
        Ok(ctx.app()?.jobs.types.list().await?.into_iter().map(JobType).collect())
    }
}

/// Input for creating a job type or its next version.
#[derive(InputObject)]
struct RegisterJobTypeInput {
    /// Slug of the job type: 1 to 100 letters, digits, dots, hyphens, and underscores.
    /// The slugs of built-in job types are not allowed.
    id: ID,
    /// Human-readable name of the job type.
    name: String,
    /// Human-readable description of the job type.
    description: String,
    /// MIME types that are accepted as input; an empty list accepts any type.
    accepts: Vec<String>,
    /// Steps in the order in which they run, 1 to 100.
    steps: Vec<JobTypeStepInput>,
    /// JSON Schema (2020-12) that the metadata of a job must satisfy.
    /// Without a schema, any metadata is valid.
    metadata_schema: Option<Json>,
}

/// Input for a step of a job type.
#[derive(InputObject)]
struct JobTypeStepInput {
    /// Name of the step, unique within the job type and also used to give collaborators access to it.
    /// It consists of 1 to 100 letters, digits, dots, hyphens, and underscores.
    name: String,
    /// Human-readable name of the step, equal to its name by default.
    title: Option<String>,
    /// Kind of the step: automatic or manual.
    #[graphql(default_with = "StepKind::Automatic")]
    kind: StepKind,
    /// Roles of the contents that the step reads and writes.
    #[graphql(default)]
    content_roles: Vec<String>,
    /// Maximum number of attempts before the job fails, 1 to 2,678,400.
    #[graphql(default = 3)]
    max_attempts: i32,
    /// Maximum duration of one attempt in seconds, 1 to 2,678,400 (31 days).
    #[graphql(default = 300)]
    timeout_seconds: i32,
    /// Path of the metadata field with the review threshold of the step, for example
    /// `mapping.high_confidence_threshold`.
    threshold_field: Option<String>,
    /// Whether the step needs a second person (four-eyes principle).
    /// If true, the owner of a job can neither decide reviews of the step nor complete it as a worker. Both fail with
    /// FORBIDDEN.
    #[graphql(default = false)]
    four_eyes: bool,
}

impl From<RegisterJobTypeInput> for Definition {
    fn from(input: RegisterJobTypeInput) -> Self {
        Self {
            id: input.id.0,
            name: input.name,
            description: input.description,
            version: 0,
            accepts: input.accepts,
            steps: input.steps.into_iter().map(Into::into).collect(),
            metadata_schema: input.metadata_schema.map_or_else(|| serde_json::json!({}), |schema| schema.0),
        }
    }
}

impl From<JobTypeStepInput> for StepDefinition {
    fn from(input: JobTypeStepInput) -> Self {
        // A negative number becomes 0, which the check of the definition refuses.
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        Self {
            title: input.title.unwrap_or_else(|| input.name.clone()),
            name: input.name,
            kind: match input.kind {
                StepKind::Automatic => Kind::Automatic,
                StepKind::Manual => Kind::Manual,
            },
            content_roles: input.content_roles,
            max_attempts: count(input.max_attempts),
            timeout_seconds: count(input.timeout_seconds),
            threshold_field: input.threshold_field,
            four_eyes: input.four_eyes,
        }
    }
}

/// Maximum number of problems reported for one file.
const MAX_FILE_PROBLEMS: usize = 100;

/// Reads a job type from JSON in the shape of `RegisterJobTypeInput`, with the same defaults.
/// Returns all problems at once: problems of the shape, and problems of the definition in all other fields. A field
/// `version`, which exported types have, is ignored.
pub(crate) fn job_type_from_json(mut json: serde_json::Value) -> Result<Definition, Vec<Problem>> {
    if let Some(fields) = json.as_object_mut() {
        fields.remove("version");
    }
    let mut problems: Vec<_> = storage_problem(&json).into_iter().collect();
    let ty = Type { base: BaseType::Named(Name::new(RegisterJobTypeInput::type_name())), nullable: false };
    let value = value_from_json(json.clone());
    problems.extend(input_problems(SchemaTypes::of_server(), &value, &ty, MAX_FILE_PROBLEMS));
    for problem in &problems {
        insert_placeholder(&mut json, &problem.path);
    }
    let input = RegisterJobTypeInput::parse(Some(value_from_json(json)));
    let definition = input
        .map(Definition::from)
        .map_err(|error| vec![Problem::new("", "INVALID", error.into_server_error(Pos::default()).message)]);
    let is_new = |problem: &Problem, known: &[Problem]| {
        !known.iter().any(|known| problem.path.starts_with(&known.path))
    };
    match definition.and_then(|definition| definition.check().map(|()| definition)) {
        Ok(definition) if problems.is_empty() => Ok(definition),
        Ok(_) => Err(problems),
        Err(more) => {
            let more: Vec<_> = more.into_iter().filter(|problem| is_new(problem, &problems)).collect();
            problems.extend(more);
            Err(problems)
        }
    }
}

/// Replaces the value at the path of a problem by a valid placeholder, so that the rest of the definition can be
/// checked.
fn insert_placeholder(json: &mut serde_json::Value, path: &str) {
    let keys: Vec<&str> = path.split('/').skip(1).collect();
    match keys.as_slice() {
        ["steps", index, field, ..] => {
            let step = index.parse().ok().and_then(|index: usize| json.get_mut("steps")?.get_mut(index));
            let Some(serde_json::Value::Object(step)) = step else { return };
            match *field {
                "name" => step.insert("name".to_owned(), format!("step-{index}").into()),
                other => step.remove(other),
            };
        }
        ["steps", index] => {
            let step = index.parse().ok().and_then(|index: usize| json.get_mut("steps")?.get_mut(index));
            if let Some(step) = step {
                *step = serde_json::json!({"name": format!("step-{index}")});
            }
        }
        [field, ..] => {
            let Some(fields) = json.as_object_mut() else { return };
            match *field {
                "id" | "name" | "description" => fields.insert((*field).to_owned(), "x".into()),
                "accepts" => fields.insert("accepts".to_owned(), serde_json::json!([])),
                "steps" => fields.insert("steps".to_owned(), serde_json::json!([{"name": "step"}])),
                other => fields.remove(other),
            };
        }
        [] => {}
    }
}

/// Result of registering a job type.
#[derive(SimpleObject)]
struct JobTypePayload {
    /// The newest version of the job type.
    job_type: JobType,
}

#[derive(Default)]
pub(super) struct JobTypeMutation;

#[Object]
impl JobTypeMutation {
    /// Creates a job type, or the next version of an existing one; for admins only.
    /// Running jobs keep the version that they started with. An unchanged definition creates no new version. Fails with
    /// FORBIDDEN if the viewer is not an admin. Fails with BAD_USER_INPUT if the definition is invalid or has the ID of
    /// a built-in job type. Fails with CONFLICT if the job type is changed at the same time.
    async fn register_job_type(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Complete definition; omitted fields are not taken from the previous version.")]
        input: RegisterJobTypeInput,
    ) -> Result<JobTypePayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        Ok(JobTypePayload {
            job_type: JobType(app.jobs.types.register(&app.clock, actor, input.into()).await?),
        })
    }
}
