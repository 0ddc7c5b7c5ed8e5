//! What clients send about jobs.

use async_graphql::{Enum, ID, InputObject, OneofObject};
use chrono::{DateTime, Utc};

use super::scalar::{JsonObject, Url};
use crate::clock;
use crate::error::{Error, Result};
use crate::id::TeamId;
use crate::job::collaborator::PrincipalRef;
use crate::job::query::{Filter, OrderBy, Ownership};
use crate::job::request::{NewJob, Source};
use crate::job::state::Status;
use crate::page::Direction;

/// Where a job stands. COMPLETED, CANCELLED and FAILED are final: only `retryJob` and `rewindJob` lead out of
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Status")]
pub(super) enum JobStatus {
    /// Accepted, waiting for a worker.
    Queued,
    /// Being processed.
    Running,
    /// Paused for human review.
    Blocked,
    /// Done; the output is ready.
    Completed,
    /// Deliberately cancelled; contents are likely incomplete.
    Cancelled,
    /// Cannot continue; contents are likely incomplete.
    Failed,
}

/// A document of this server, by ID or by its contentsUri.
#[derive(OneofObject)]
pub(super) enum ContentSource {
    /// UUID of a document that the viewer may read.
    DocumentId(ID),
    /// Its contentsUri. No other address is taken: the server fetches nothing.
    Uri(Url),
}

impl From<ContentSource> for Source {
    fn from(source: ContentSource) -> Self {
        match source {
            ContentSource::DocumentId(id) => Self::Document(id.0),
            ContentSource::Uri(uri) => Self::Uri(uri.0),
        }
    }
}

/// A document that a job is given, and what it is to the job.
#[derive(InputObject)]
pub(super) struct ContentInput {
    /// A role of the job's type other than `input`.
    role: String,
    /// Which document it is.
    source: ContentSource,
}

impl From<ContentInput> for (String, Source) {
    fn from(content: ContentInput) -> Self {
        (content.role, content.source.into())
    }
}

/// A team or a user: by ID, or by name and by address.
#[derive(OneofObject)]
pub(super) enum CollaboratorRef {
    /// UUID of a team.
    TeamId(ID),
    /// Name of a team.
    TeamName(String),
    /// UUID of a user.
    UserId(ID),
    /// Address of a user.
    UserEmail(String),
}

impl From<CollaboratorRef> for PrincipalRef {
    fn from(reference: CollaboratorRef) -> Self {
        match reference {
            CollaboratorRef::TeamId(id) => Self::TeamId(id.0),
            CollaboratorRef::TeamName(name) => Self::TeamName(name),
            CollaboratorRef::UserId(id) => Self::UserId(id.0),
            CollaboratorRef::UserEmail(email) => Self::UserEmail(email),
        }
    }
}

/// Somebody who is let in, and to what.
#[derive(InputObject)]
pub(super) struct CollaboratorInput {
    /// The team or the person, by ID or by name and address.
    collaborator: CollaboratorRef,
    /// Step names of the job's type; `"*"` stands for all.
    #[graphql(default_with = "vec![\"*\".to_owned()]")]
    steps: Vec<String>,
}

/// A job to be made.
#[derive(InputObject)]
pub(super) struct CreateJobInput {
    /// Job type, e.g. data-point-extraction.
    #[graphql(name = "type")]
    job_type: ID,
    /// The document that is to be worked on.
    input: ContentSource,
    /// Further contents, by role.
    contents: Option<Vec<ContentInput>>,
    /// Fields that the type needs, and any others of the client's own. Dotted keys are paths. A number has at most 100 digits,
    /// written out without an exponent.
    metadata: Option<JsonObject>,
    /// Teams and people who may see the job and work on steps of it, besides its owner.
    collaboration: Option<Vec<CollaboratorInput>>,
    /// Same key, same owner, same input: the same job is returned; with another input, CONFLICT.
    idempotency_key: Option<String>,
    /// Runs before those with a lower one; -1000 to 1000.
    #[graphql(default_with = "Some(0)")]
    priority: Option<i32>,
}

impl From<CreateJobInput> for NewJob {
    fn from(input: CreateJobInput) -> Self {
        let contents = input.contents.unwrap_or_default().into_iter();
        let collaboration = input.collaboration.unwrap_or_default().into_iter();
        Self {
            type_id: input.job_type.0,
            input: input.input.into(),
            contents: contents.map(Into::into).collect(),
            metadata: input.metadata.map(|object| object.0).unwrap_or_default(),
            collaboration: collaboration.map(|one| (one.collaborator.into(), one.steps)).collect(),
            idempotency_key: input.idempotency_key,
            priority: input.priority.unwrap_or_default(),
        }
    }
}

/// A change of a job that goes on with its work meanwhile.
#[derive(InputObject)]
pub(super) struct UpdateJobInput {
    /// UUID of the job.
    pub id: ID,
    /// JSON Merge Patch (RFC 7396).
    pub metadata: Option<JsonObject>,
    /// Runs before those with a lower one; -1000 to 1000.
    pub priority: Option<i32>,
}

/// Which jobs. What is not given does not matter.
#[derive(InputObject)]
pub(super) struct JobFilter {
    /// In one of these statuses.
    status: Option<Vec<JobStatus>>,
    /// Of one of these types.
    #[graphql(name = "type")]
    types: Option<Vec<ID>>,
    /// The viewer's own, others' that were shared with the viewer, or both.
    owner: Option<JobOwnerFilter>,
    /// Shared with this team.
    team_id: Option<ID>,
    /// Made after this time.
    created_after: Option<DateTime<Utc>>,
    /// Made before this time.
    created_before: Option<DateTime<Utc>>,
    /// Changed after this time.
    updated_after: Option<DateTime<Utc>>,
    /// Metadata equality: every key given must have the given value. Dotted keys are paths. Numbers compare as the JSON of
    /// the server's database does: exactly on PostgreSQL, as 64-bit floating point on SQLite.
    metadata: Option<JsonObject>,
    /// Substring of the input document's name, case-insensitive.
    input_name: Option<String>,
}

impl JobFilter {
    pub(super) fn parse(self) -> Result<Filter> {
        let times = [
            ("createdAfter", self.created_after),
            ("createdBefore", self.created_before),
            ("updatedAfter", self.updated_after),
        ];
        for (field, time) in times {
            if time.is_some_and(|time| !clock::is_usual(time)) {
                let message = "A time in the years 1 to 9999 is wanted.";
                return Err(Error::invalid(format!("/filter/{field}"), "RANGE", message));
            }
        }
        let team = match self.team_id {
            Some(id) => Some(TeamId::parse(&id).ok_or_else(|| {
                Error::invalid("/filter/teamId", "INVALID", "This is not the UUID of a team.")
            })?),
            None => None,
        };
        Ok(Filter {
            status: self.status.map(|list| list.into_iter().map(Into::into).collect()),
            types: self.types.map(|list| list.into_iter().map(|id| id.0).collect()),
            ownership: self.owner.map(Into::into),
            team,
            created_after: self.created_after,
            created_before: self.created_before,
            updated_after: self.updated_after,
            metadata: self.metadata.map(|object| object.0),
            input_name: self.input_name,
            blocked_at: None,
        })
    }
}

/// Whose jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Ownership")]
pub(super) enum JobOwnerFilter {
    /// The viewer's own.
    #[graphql(name = "ME")]
    Mine,
    /// Others' that the viewer was let in to.
    #[graphql(name = "SHARED_WITH_ME")]
    Shared,
    /// All that the viewer may see.
    Any,
}

/// How a list of jobs is ordered.
#[derive(InputObject)]
pub(super) struct JobOrder {
    /// The moment of each job that counts.
    #[graphql(default_with = "JobOrderField::Created")]
    pub field: JobOrderField,
    /// Whether the newest or the oldest comes first.
    #[graphql(default_with = "OrderDirection::Descending")]
    pub direction: OrderDirection,
}

/// The moments that jobs can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "OrderBy")]
pub(super) enum JobOrderField {
    /// When they were made.
    #[graphql(name = "CREATED_AT")]
    Created,
    /// When they last changed.
    #[graphql(name = "UPDATED_AT")]
    Updated,
}

/// Which way a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Direction")]
pub(super) enum OrderDirection {
    /// The oldest first.
    #[graphql(name = "ASC")]
    Ascending,
    /// The newest first.
    #[graphql(name = "DESC")]
    Descending,
}

/// Where a job is taken back to.
#[derive(InputObject)]
pub(super) struct RewindJobInput {
    /// UUID of the job.
    pub id: ID,
    /// Name of a step that the job has reached before.
    pub to_step: String,
    /// Why, for the history.
    pub reason: Option<String>,
}

/// Somebody who is let in to a job that exists, and to what.
#[derive(InputObject)]
pub(super) struct AddCollaboratorInput {
    /// UUID of the job.
    pub job_id: ID,
    /// The team or the person, by ID or by name and address.
    pub collaborator: CollaboratorRef,
    /// Step names of the job's type; `"*"` stands for all. They replace those of somebody who is in already.
    #[graphql(default_with = "vec![\"*\".to_owned()]")]
    pub steps: Vec<String>,
}

/// Somebody who is let out of a job.
#[derive(InputObject)]
pub(super) struct RemoveCollaboratorInput {
    /// UUID of the job.
    pub job_id: ID,
    /// The team or the person, by ID or by name and address.
    pub collaborator: CollaboratorRef,
}
