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

/// The backend process of a job: its steps, what it accepts and what it produces.
pub(super) struct JobType(pub Arc<Definition>);

/// The backend process of a job: its steps, what it accepts and what it produces.
#[Object]
impl JobType {
    /// Slug, e.g. data-point-extraction.
    async fn id(&self) -> ID {
        self.0.id.clone().into()
    }

    /// The type's name for people to read.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it does, for people.
    async fn description(&self) -> &str {
        &self.0.description
    }

    /// From 1. A job keeps the version that it began with.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// MIME types accepted as input; none means any.
    async fn accepts(&self) -> &[String] {
        &self.0.accepts
    }

    /// Steps in the order in which they run.
    async fn steps(&self) -> Vec<JobTypeStep> {
        self.0.steps.iter().cloned().map(JobTypeStep).collect()
    }

    /// JSON Schema (2020-12) that a job's metadata must satisfy.
    async fn metadata_schema(&self, ctx: &Context<'_>) -> Result<Json> {
        ctx.budget()?.show(&self.0.metadata_schema)?;
        Ok(Json(self.0.metadata_schema.clone()))
    }

    /// Roles of the contents that jobs of this type carry, `input` first.
    async fn content_roles(&self) -> Vec<String> {
        self.0.content_roles()
    }
}

/// One stage of a job type.
pub(super) struct JobTypeStep(StepDefinition);

/// One stage of a job type.
#[Object]
impl JobTypeStep {
    /// Also the role name used in collaborations.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The same name for people to read.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// Whether a machine or a person does it.
    async fn kind(&self) -> StepKind {
        self.0.kind.into()
    }

    /// Contents this step reads and writes: seeing them needs access to the step.
    async fn content_roles(&self) -> &[String] {
        &self.0.content_roles
    }

    /// How often it may be tried before the job fails.
    async fn max_attempts(&self) -> u32 {
        self.0.max_attempts
    }

    /// Seconds that one attempt may take.
    async fn timeout_seconds(&self) -> u32 {
        self.0.timeout_seconds
    }

    /// Metadata field (a path such as mapping.high_confidence_threshold) that holds the step's review threshold; null
    /// where the step never asks for a review.
    async fn threshold_field(&self) -> Option<&str> {
        self.0.threshold_field.as_deref()
    }

    /// The job's owner may neither decide its reviews nor do it as a worker.
    async fn four_eyes(&self) -> bool {
        self.0.four_eyes
    }
}

/// Who does a step.
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
    /// The newest version of a job type; null where there is none.
    async fn job_type(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Slug of the type, e.g. data-point-extraction.")] id: ID,
    ) -> Option<Result<JobType>> {
        let found: Result<Option<JobType>> = async {
            ctx.actor()?;
            Ok(ctx.app()?.jobs.types.newest(&id).await?.map(JobType))
        }
        .await;
        found.transpose()
    }

    /// The newest version of every job type, by ID.
    async fn job_types(&self, ctx: &Context<'_>) -> Result<Vec<JobType>> {
        ctx.actor()?;
        Ok(ctx.app()?.jobs.types.list().await?.into_iter().map(JobType).collect())
    }
}

/// A job type to be made, or the next version of one.
#[derive(InputObject)]
struct RegisterJobTypeInput {
    /// Slug: letters, digits, dots, hyphens and underscores.
    id: ID,
    /// The type's name for people to read.
    name: String,
    /// What it does, for people.
    description: String,
    /// MIME types accepted as input; none means any.
    accepts: Vec<String>,
    /// Steps in the order in which they run.
    steps: Vec<JobTypeStepInput>,
    /// JSON Schema (2020-12) that a job's metadata must satisfy; without one anything does.
    metadata_schema: Option<Json>,
}

/// One stage of a job type to be made.
#[derive(InputObject)]
struct JobTypeStepInput {
    /// Also the role name used in collaborations; unique within the type.
    name: String,
    /// Name for people; the name where it is not given.
    title: Option<String>,
    /// Whether a machine or a person does it.
    #[graphql(default_with = "StepKind::Automatic")]
    kind: StepKind,
    /// Contents this step reads and writes.
    #[graphql(default)]
    content_roles: Vec<String>,
    /// How often it may be tried before the job fails; 1 or more.
    #[graphql(default = 3)]
    max_attempts: i32,
    /// Seconds that one attempt may take; 1 or more.
    #[graphql(default = 300)]
    timeout_seconds: i32,
    /// Metadata field (a path such as mapping.high_confidence_threshold) that holds the step's review threshold.
    threshold_field: Option<String>,
    /// The job's owner may neither decide its reviews nor do it as a worker.
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
        // What is negative becomes 0, which is refused with the rest.
        let count = |n: i32| u32::try_from(n).unwrap_or(0);
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

/// Problems of one file that are reported.
const MAX_FILE_PROBLEMS: usize = 100;

/// Reads a job type from JSON of the shape of `RegisterJobTypeInput`, with the same defaults. Reports every problem at once:
/// those of the shape, and those of the definition in everything else. A `version`, as an exported type has it, is ignored.
pub fn job_type_from_json(mut json: serde_json::Value) -> Result<Definition, Vec<Problem>> {
    if let Some(fields) = json.as_object_mut() {
        fields.remove("version");
    }
    let mut problems: Vec<_> = storage_problem(&json).into_iter().collect();
    let ty = Type { base: BaseType::Named(Name::new(RegisterJobTypeInput::type_name())), nullable: false };
    let value = value_from_json(json.clone());
    problems.extend(input_problems(SchemaTypes::of_server(), &value, &ty, MAX_FILE_PROBLEMS));
    for problem in &problems {
        stand_in(&mut json, &problem.path);
    }
    let input = RegisterJobTypeInput::parse(Some(value_from_json(json)));
    let definition = input
        .map(Definition::from)
        .map_err(|error| vec![Problem::new("", "INVALID", error.into_server_error(Pos::default()).message)]);
    let is_new =
        |found: &Problem, known: &[Problem]| !known.iter().any(|known| found.path.starts_with(&known.path));
    match definition.and_then(|definition| definition.check().map(|()| definition)) {
        Ok(definition) if problems.is_empty() => Ok(definition),
        Ok(_) => Err(problems),
        Err(more) => {
            let more: Vec<_> = more.into_iter().filter(|found| is_new(found, &problems)).collect();
            problems.extend(more);
            Err(problems)
        }
    }
}

/// Puts something harmless in the place of a problem, so that the rest of a definition can be checked.
fn stand_in(json: &mut serde_json::Value, path: &str) {
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

/// A job type as it is after a change.
#[derive(SimpleObject)]
struct JobTypePayload {
    /// The newest version, as it is now.
    job_type: JobType,
}

#[derive(Default)]
pub(super) struct JobTypeMutation;

#[Object]
impl JobTypeMutation {
    /// For admins: makes a job type, or a new version of one. Running jobs keep the version that they began with. Nothing
    /// changes where the newest version says the same.
    async fn register_job_type(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The whole definition: what it leaves out is not taken from the version before.")]
        input: RegisterJobTypeInput,
    ) -> Result<JobTypePayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        Ok(JobTypePayload {
            job_type: JobType(app.jobs.types.register(&app.clock, actor, input.into()).await?),
        })
    }
}
