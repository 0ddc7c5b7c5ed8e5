//! What a job, a document and a person look like here.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::document::Links;
use crate::entity::{account, content, document};
use crate::error::Result;
use crate::job::details::{Details, OpenReview, SeenClaim};
use crate::job::progress::{self, StepNow};
use crate::job::query::Ownership;
use crate::job::rows;
use crate::job::state::{Mode, Status, StepKind, StepStatus};
use crate::job_type::{INPUT, OUTPUT};

/// A person.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct User {
    /// UUID of the account.
    id: Uuid,
    /// Address that the person signs in with.
    #[schema(example = "ada@example.com")]
    email: String,
    /// Name for people.
    #[schema(example = "Ada")]
    name: String,
}

impl From<&account::Model> for User {
    fn from(account: &account::Model) -> Self {
        Self { id: account.id.0, email: account.email.clone(), name: account.name.clone() }
    }
}

/// Bytes with a name.
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
    /// Bytes.
    #[schema(minimum = 0)]
    size: i64,
    /// SHA-256 of the bytes, lower case hexadecimal; also the ETag of the contents.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// Where the bytes can be fetched; what a job takes as `uri`.
    #[schema(format = "uri")]
    contents_uri: String,
    /// Who uploaded it, or owns the job whose step made it.
    owner: User,
    /// When its bytes were whole.
    created_at: DateTime<Utc>,
}

impl Document {
    pub(super) fn of(document: &document::Model, owner: &account::Model, links: &Links) -> Self {
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
    /// What it is to the job.
    #[schema(example = "input")]
    role: String,
    /// From 1, per role.
    #[schema(minimum = 1)]
    version: i32,
    /// Where the bytes can be fetched.
    #[schema(format = "uri")]
    uri: String,
    /// The step that made it, or that it was given to; null for the input.
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
    /// Bytes.
    #[schema(minimum = 0)]
    size: i64,
    /// SHA-256 of the bytes, lower case hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// When it was added to the job.
    created_at: DateTime<Utc>,
}

impl Content {
    pub(super) fn of((content, document): &(content::Model, document::Model), links: &Links) -> Self {
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

/// A team that was let in.
#[derive(Debug, Serialize, ToSchema)]
struct TeamCollaborator {
    /// UUID of the team.
    id: Uuid,
    /// Name of the team.
    name: String,
    /// Steps that it may work on; `*` stands for all.
    steps: Vec<String>,
}

/// A person who was let in.
#[derive(Debug, Serialize, ToSchema)]
struct UserCollaborator {
    /// UUID of the account.
    id: Uuid,
    /// Address of the account.
    email: String,
    /// Steps that the person may work on; `*` stands for all.
    steps: Vec<String>,
}

/// Who was let in besides the owner.
#[derive(Debug, Serialize, ToSchema)]
struct Collaboration {
    /// Teams: whoever belongs to them at the time.
    teams: Vec<TeamCollaborator>,
    /// Single people.
    users: Vec<UserCollaborator>,
}

/// How far a job is: an estimate.
#[derive(Debug, Serialize, ToSchema)]
struct Progress {
    /// Finished steps.
    #[schema(minimum = 0)]
    current: i32,
    /// All steps.
    #[schema(minimum = 0)]
    total: i32,
    /// 0 to 1, finer than the step count.
    #[schema(minimum = 0, maximum = 1)]
    fraction: f64,
}

/// A step of a job as it stands.
#[derive(Debug, Serialize, ToSchema)]
struct Step {
    /// Also the name that a collaborator is given it by.
    name: String,
    /// Name for people.
    title: String,
    /// Who does it.
    kind: StepKindName,
    /// What it is doing.
    status: StepStatusName,
    /// Which attempt, from 1; 0 before the first.
    #[schema(minimum = 0)]
    attempt: u32,
    /// How often it may be tried.
    #[schema(minimum = 1)]
    max_attempts: u32,
    /// 0 to 1 within the step.
    #[schema(minimum = 0, maximum = 1)]
    fraction: f64,
    /// What is being done right now, for people.
    message: Option<String>,
    /// What a reviewer said who sent the job back to it, for those who work on the step.
    comment: Option<String>,
    /// When its newest attempt began.
    started_at: Option<DateTime<Utc>>,
    /// When it ended.
    finished_at: Option<DateTime<Utc>>,
}

impl From<&StepNow> for Step {
    fn from(now: &StepNow) -> Self {
        let StepNow { step, fraction, message } = now.clone();
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

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
struct JobFailure {
    /// For programs.
    #[schema(example = "DOCUMENT_ENCRYPTED")]
    code: String,
    /// What went wrong and what would help, for people.
    message: String,
    /// The step that could not go on.
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
    /// Version of the type that the job began with.
    #[schema(minimum = 1)]
    type_version: i32,
    /// What it is doing. `completed`, `failed` and `cancelled` are final.
    status: JobStatus,
    /// Whether it is for real, by the key that it was made with.
    mode: JobMode,
    /// While the job is blocked, the name of the step that waits for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    blocking_step: Option<String>,
    /// The same as `blocking_step`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    blocking_task: Option<String>,
    /// While the job is blocked, who has checked it out; null while nobody has. Callers who do not see the step do not get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_by: Option<Option<User>>,
    /// When the check-out ends unless it is renewed; null while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_expires_at: Option<Option<DateTime<Utc>>>,
    /// Runs before those with a lower one.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: i32,
    /// Who made it.
    owner: User,
    /// What it works on.
    input_content: Content,
    /// Its result; null until it has completed, and for who may not see it.
    output_content: Option<Content>,
    /// The current content of each role that the viewer may see, newest first.
    contents: Vec<Content>,
    /// Who was let in besides the owner.
    collaboration: Collaboration,
    /// The client's own JSON, and what the type needs, its defaults filled in.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// How far it is.
    progress: Progress,
    /// Name of the step being run, waited for or blocked on; null after a final status.
    current_step: Option<String>,
    /// Every step of the type, in order.
    steps: Vec<Step>,
    /// Why it failed; null where it has not.
    failure: Option<JobFailure>,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it last changed; progress within a step does not count.
    updated_at: DateTime<Utc>,
    /// When a worker first took it.
    started_at: Option<DateTime<Utc>>,
    /// When it got its final status.
    finished_at: Option<DateTime<Utc>>,
}

impl Job {
    pub(super) fn of(details: Details, links: &Links) -> Result<Self> {
        let status = details.job.status;
        let content = |role| details.content(role).map(|held| Content::of(held, links));
        let missing = || crate::error::Error::internal("a job without an input");
        let input_content = content(INPUT).ok_or_else(missing)?;
        let output_content = content(OUTPUT).filter(|_| status == Status::Completed);
        let contents = details.contents.iter().map(|held| Content::of(held, links)).collect();
        let failure = rows::failure(&details.job)?;
        let progress::Progress { current, total, fraction } = progress::Progress::of(&details.steps);
        let steps = details.steps.iter().map(Step::from).collect();
        let current_step = progress::current(details.steps).filter(|_| !status.is_final());
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
        let (blocking_step, claim) = match details.open_review {
            Some(OpenReview { step, claim }) => (Some(step), claim),
            None => (None, SeenClaim::Hidden),
        };
        let (claimed_by, claim_expires_at) = match claim {
            SeenClaim::Hidden => (None, None),
            SeenClaim::Free => (Some(None), Some(None)),
            SeenClaim::Held(by, until) => (Some(Some(User::from(&by))), Some(Some(until))),
        };
        let job = details.job;
        Ok(Self {
            id: job.id.0,
            type_id: job.type_id,
            type_version: job.type_version,
            status: JobStatus(status),
            mode: JobMode(job.mode),
            blocking_task: blocking_step.clone(),
            blocking_step,
            claimed_by,
            claim_expires_at,
            priority: job.priority,
            owner: (&details.owner).into(),
            input_content,
            output_content,
            contents,
            collaboration,
            metadata: job.metadata.as_object().cloned().unwrap_or_default(),
            progress: Progress { current, total, fraction },
            current_step: current_step.map(|now| now.step.name),
            steps,
            failure: failure.map(|f| JobFailure { code: f.code, message: f.message, step: f.step }),
            created_at: job.created_at,
            updated_at: job.updated_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        })
    }
}

/// The domain's enums as this API writes them: the names of GraphQL in lower case.
macro_rules! enums {
    ($($(#[$doc:meta])* $wire:ident($kind:ident) as $name:literal, $described:literal: $($variant:ident),*;)*) => {$(
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
                let names = [$($wire($kind::$variant).name()),*];
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($described))
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
    JobStatus(Status) as "JobStatus", "Status of a job: waiting for a worker, being processed, waiting for a person, done, ended by a user, or unable to go on.": Queued, Running, Blocked, Completed, Cancelled, Failed;
    /// Mode of a job.
    JobMode(Mode) as "Mode", "Whether a job is for real.": Live, Test;
    /// Kind of a step.
    StepKindName(StepKind) as "StepKind", "Who does a step: a machine or a person.": Automatic, Manual;
    /// Status of a step.
    StepStatusName(StepStatus) as "StepStatus", "Status of a step.": Pending, Queued, Running, Blocked, Completed, Skipped, Failed, Cancelled;
}

impl PartialSchema for Ownership {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(OWNERS.map(|(name, _)| name))).into()
    }
}

/// Written out, since the domain's names are not those of the API.
impl ToSchema for Ownership {}

/// Whose jobs, as clients write it.
pub(super) const OWNERS: [(&str, Ownership); 3] =
    [("me", Ownership::Mine), ("shared_with_me", Ownership::Shared), ("any", Ownership::Any)];
