//! Jobs, documents and users as this API shows them.

use chrono::{DateTime, Utc};
use sea_orm::Iterable;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::document::Links;
use crate::entity::{account, document};
use crate::job::details::Details;
use crate::job::progress::{self, StepNow};
use crate::job::query::Ownership;
use crate::job::state::{Mode, Status, StepKind, StepStatus};
use crate::job::view::{BlockingStep, ContentWithDocument, VisibleClaim};

/// A user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct User {
    /// UUID of the account.
    id: Uuid,
    /// E-mail address that the user signs in with.
    #[schema(example = "ada@example.com")]
    email: String,
    /// Display name.
    #[schema(example = "Ada")]
    name: String,
}

impl From<&account::Model> for User {
    fn from(account: &account::Model) -> Self {
        Self { id: account.id.0, email: account.email.clone(), name: account.name.clone() }
    }
}

/// A document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Document {
    /// UUID of the document.
    id: Uuid,
    /// File name.
    #[schema(example = "invoice.pdf")]
    name: String,
    /// MIME type.
    #[serde(rename = "type")]
    #[schema(example = "application/pdf")]
    media_type: String,
    /// Size in bytes.
    #[schema(minimum = 0)]
    size: i64,
    /// SHA-256 of the bytes, lower case hexadecimal; also the ETag of the contents.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// URL of the bytes. Jobs take it as `uri`.
    #[schema(format = "uri")]
    contents_uri: String,
    /// User who uploaded the document, or who owns the job whose step produced it.
    owner: User,
    /// Time at which the upload was complete.
    created_at: DateTime<Utc>,
}

impl Document {
    pub(super) fn new(document: &document::Model, owner: &account::Model, links: &Links) -> Self {
        Self {
            id: document.id.0,
            name: document.name.clone(),
            media_type: document.media_type.clone(),
            size: document.size,
            sha256: document.sha256.clone(),
            contents_uri: links.contents(document.id),
            owner: owner.into(),
            created_at: document.created_at,
        }
    }
}

/// A document in a role of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Content {
    /// Role of the document in the job.
    #[schema(example = "input")]
    role: String,
    /// Version in this role, starting at 1.
    #[schema(minimum = 1)]
    version: i32,
    /// URL of the bytes.
    #[schema(format = "uri")]
    uri: String,
    /// Step that produced the content, or that takes it; null for the input.
    step: Option<String>,
    /// UUID of the document.
    document_id: Uuid,
    /// File name.
    #[schema(example = "invoice.pdf")]
    name: String,
    /// MIME type.
    #[serde(rename = "type")]
    #[schema(example = "application/pdf")]
    media_type: String,
    /// Size in bytes.
    #[schema(minimum = 0)]
    size: i64,
    /// SHA-256 of the bytes, lower case hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// Time at which the content was added to the job.
    created_at: DateTime<Utc>,
}

impl Content {
    pub(super) fn new((content, document): &ContentWithDocument, links: &Links) -> Self {
        Self {
            role: content.role.clone(),
            version: content.version,
            uri: links.contents(document.id),
            step: content.step.clone(),
            document_id: document.id.0,
            name: document.name.clone(),
            media_type: document.media_type.clone(),
            size: document.size,
            sha256: document.sha256.clone(),
            created_at: content.created_at,
        }
    }
}

/// A team as collaborator.
#[derive(Debug, Serialize, ToSchema)]
struct TeamCollaborator {
    /// UUID of the team.
    id: Uuid,
    /// Name of the team.
    name: String,
    /// Steps that the team may work on; `*` stands for all.
    steps: Vec<String>,
}

/// A user as collaborator.
#[derive(Debug, Serialize, ToSchema)]
struct UserCollaborator {
    /// UUID of the account.
    id: Uuid,
    /// E-mail address of the account.
    email: String,
    /// Steps that the user may work on; `*` stands for all.
    steps: Vec<String>,
}

/// The collaborators of a job.
#[derive(Debug, Serialize, ToSchema)]
struct Collaboration {
    /// Teams. Access follows their current members.
    teams: Vec<TeamCollaborator>,
    /// Users.
    users: Vec<UserCollaborator>,
}

/// An estimate of the progress of a job.
#[derive(Debug, Serialize, ToSchema)]
struct Progress {
    /// Number of finished steps.
    #[schema(minimum = 0)]
    current: i32,
    /// Number of all steps.
    #[schema(minimum = 0)]
    total: i32,
    /// Progress from 0 to 1, finer than the number of steps.
    #[schema(minimum = 0, maximum = 1)]
    fraction: f64,
}

/// A step of a job.
#[derive(Debug, Serialize, ToSchema)]
struct Step {
    /// Name of the step, also in the `steps` of a collaborator.
    name: String,
    /// Display name.
    title: String,
    /// Whether a worker or a person does the step.
    kind: StepKindName,
    /// Status of the step.
    status: StepStatusName,
    /// Number of the current attempt, starting at 1; 0 before the first.
    #[schema(minimum = 0)]
    attempt: u32,
    /// Maximum number of attempts.
    #[schema(minimum = 1)]
    max_attempts: u32,
    /// Progress of the step from 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    fraction: f64,
    /// Message about the current work.
    message: Option<String>,
    /// Comment of the reviewer who sent the job back to this step. Only callers with access to the step see it.
    comment: Option<String>,
    /// Start of the latest attempt.
    started_at: Option<DateTime<Utc>>,
    /// End of the step.
    finished_at: Option<DateTime<Utc>>,
}

impl From<StepNow> for Step {
    fn from(StepNow { step, fraction, message }: StepNow) -> Self {
        Self {
            name: step.name,
            title: step.title,
            kind: StepKindName(step.kind),
            status: StepStatusName(step.status),
            attempt: step.attempt,
            max_attempts: step.max_attempts,
            fraction,
            message,
            comment: step.comment,
            started_at: step.started_at,
            finished_at: step.finished_at,
        }
    }
}

/// Reason for the failure of a job.
#[derive(Debug, Serialize, ToSchema)]
struct JobFailure {
    /// Error code for programs.
    #[schema(example = "DOCUMENT_ENCRYPTED")]
    code: String,
    /// Message that describes the failure and its remedy.
    message: String,
    /// Step that failed.
    step: Option<String>,
}

/// Work that turns an input document into an output document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Job {
    /// UUID of the job.
    id: Uuid,
    /// Job type.
    #[serde(rename = "type")]
    #[schema(example = "data-point-extraction")]
    type_id: String,
    /// Version of the job type that the job uses.
    #[schema(minimum = 1)]
    type_version: i32,
    /// Status of the job. `completed`, `failed` and `cancelled` are final.
    status: JobStatus,
    /// `live` or `test`, as the API key that created the job.
    mode: JobMode,
    /// Name of the step that waits for a person. Present only while the job is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    blocking_step: Option<String>,
    /// The same as `blocking_step`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    blocking_task: Option<String>,
    /// User who has checked the job out; null if nobody has. Present only while the job is blocked, for callers with
    /// access to the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_by: Option<Option<User>>,
    /// Time at which the check-out ends unless it is renewed; null without a check-out.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_expires_at: Option<Option<DateTime<Utc>>>,
    /// Priority. Jobs with a higher priority run first.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: i32,
    /// User who created the job.
    owner: User,
    /// Input document.
    input_content: Content,
    /// Result of the job; null until the job has completed, and for callers who may not see it.
    output_content: Option<Content>,
    /// Current content of each role that the caller may see, newest first.
    contents: Vec<Content>,
    /// Collaborators of the job.
    collaboration: Collaboration,
    /// Metadata of the client and of the job type, with the defaults of the type.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// Estimated progress.
    progress: Progress,
    /// Name of the step that runs, is queued, or is blocked; null after a final status.
    current_step: Option<String>,
    /// All steps of the job type, in order.
    steps: Vec<Step>,
    /// Reason for the failure; null unless the job has failed.
    failure: Option<JobFailure>,
    /// Time at which the job was created.
    created_at: DateTime<Utc>,
    /// Time of the last change. Progress within a step does not count.
    updated_at: DateTime<Utc>,
    /// Time at which a worker first claimed a step.
    started_at: Option<DateTime<Utc>>,
    /// Time at which the job reached a final status.
    finished_at: Option<DateTime<Utc>>,
}

impl Job {
    pub(super) fn new(details: Details, links: &Links) -> Self {
        let progress::Progress { current, total, fraction } = details.progress;
        let team = |(team, steps): (crate::entity::team::Model, _)| TeamCollaborator {
            id: team.id.0,
            name: team.name,
            steps,
        };
        let user =
            |(user, steps): (account::Model, _)| UserCollaborator { id: user.id.0, email: user.email, steps };
        let collaboration = Collaboration {
            teams: details.teams.into_iter().map(team).collect(),
            users: details.users.into_iter().map(user).collect(),
        };
        let claimed_by = details.claimed_by.as_ref().map(User::from);
        let (blocking_step, claim) = match details.blocking_step {
            Some(BlockingStep { name, claim }) => (Some(name), claim),
            None => (None, VisibleClaim::Hidden),
        };
        let (claimed_by, claim_expires_at) = match claim {
            VisibleClaim::Hidden => (None, None),
            VisibleClaim::Free => (Some(None), Some(None)),
            VisibleClaim::Held(_, until) => (Some(claimed_by), Some(Some(until))),
        };
        let job = details.job;
        Self {
            id: job.id.0,
            type_id: job.type_id,
            type_version: job.type_version,
            status: JobStatus(job.status),
            mode: JobMode(job.mode),
            blocking_task: blocking_step.clone(),
            blocking_step,
            claimed_by,
            claim_expires_at,
            priority: job.priority,
            owner: (&details.owner).into(),
            input_content: Content::new(&details.input, links),
            output_content: details.output.as_ref().map(|output| Content::new(output, links)),
            contents: details.contents.iter().map(|content| Content::new(content, links)).collect(),
            collaboration,
            metadata: job.metadata.as_object().cloned().unwrap_or_default(),
            progress: Progress { current, total, fraction },
            current_step: details.current_step.map(|now| now.step.name),
            steps: details.steps.into_iter().map(Step::from).collect(),
            failure: details.failure.map(|f| JobFailure { code: f.code, message: f.message, step: f.step }),
            created_at: job.created_at,
            updated_at: job.updated_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}

/// Declares wrappers of domain enums, which serialize as the GraphQL names in lower case.
macro_rules! enums {
    ($($(#[$doc:meta])* $wire:ident($kind:ident) as $name:literal, $description:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(super) struct $wire(pub(super) $kind);

        impl $wire {
            fn name(self) -> String {
                self.0.as_str().to_ascii_lowercase()
            }
        }

        impl Serialize for $wire {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.name())
            }
        }

        impl PartialSchema for $wire {
            fn schema() -> RefOr<Schema> {
                let names: Vec<_> = $kind::iter().map(|kind| $wire(kind).name()).collect();
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($description))
                    .enum_values(Some(names))
                    .into()
            }
        }

        impl ToSchema for $wire {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    )*};
}

enums! {
    /// Status of a job.
    JobStatus(Status) as "JobStatus", "Status of a job: waiting for a worker, being processed, waiting for a person, completed, ended by a user, or failed.";
    /// Mode of a job.
    JobMode(Mode) as "Mode", "`live` or `test`. Reviews of test jobs approve themselves.";
    /// Kind of a step.
    StepKindName(StepKind) as "StepKind", "Kind of a step: a worker or a person does it.";
    /// Status of a step.
    StepStatusName(StepStatus) as "StepStatus", "Status of a step.";
}

impl PartialSchema for Ownership {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(OWNERS.map(|(name, _)| name))).into()
    }
}

/// This API has its own names for the values, so the schema is not derived.
impl ToSchema for Ownership {}

/// Filter by the owner of a job.
pub(super) const OWNERS: [(&str, Ownership); 3] =
    [("me", Ownership::Mine), ("shared_with_me", Ownership::Shared), ("any", Ownership::Any)];
