//! Inputs of job operations.

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

/// Status of a job.
/// COMPLETED, CANCELLED, and FAILED are final; only `retryJob` and `rewindJob` reopen a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Status")]
pub(super) enum JobStatus {
    /// Accepted and waiting for a worker.
    Queued,
    /// Being processed.
    Running,
    /// Paused for human review.
    Blocked,
    /// Completed; the output is ready.
    Completed,
    /// Deliberately cancelled; contents are likely incomplete.
    Cancelled,
    /// Failed and unable to continue; contents are likely incomplete.
    Failed,
}

/// A document of this server, given by its ID or its `contentsUri`.
#[derive(OneofObject)]
pub(super) enum ContentSource {
    /// UUID of a document that the viewer can read.
    DocumentId(ID),
    /// The `contentsUri` of a document that the viewer can read.
    /// Any other URL fails with BAD_USER_INPUT; the server never fetches URLs.
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

/// A document and its role in a job.
#[derive(InputObject)]
pub(super) struct ContentInput {
    /// Role of the document: a role of the job type other than `input`.
    role: String,
    /// The document.
    source: ContentSource,
}

impl From<ContentInput> for (String, Source) {
    fn from(content: ContentInput) -> Self {
        (content.role, content.source.into())
    }
}

/// A team or a user, given by ID, team name, or email address.
#[derive(OneofObject)]
pub(super) enum CollaboratorRef {
    /// UUID of the team.
    TeamId(ID),
    /// Name of the team.
    TeamName(String),
    /// UUID of the user.
    UserId(ID),
    /// Email address of the user.
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

/// A collaborator of a new job, and the steps to give access to.
#[derive(InputObject)]
pub(super) struct CollaboratorInput {
    /// The team or the user.
    collaborator: CollaboratorRef,
    /// Names of the steps that the collaborator has access to; `*` stands for all steps.
    #[graphql(default_with = "vec![\"*\".to_owned()]")]
    steps: Vec<String>,
}

/// Input for creating a job.
#[derive(InputObject)]
pub(super) struct CreateJobInput {
    /// ID of the job type, for example `data-point-extraction`.
    #[graphql(name = "type")]
    job_type: ID,
    /// Document to process.
    input: ContentSource,
    /// Further contents, at most 100, each with a different role.
    /// The role `output` and the roles of taxonomies are not allowed.
    contents: Option<Vec<ContentInput>>,
    /// Fields that the job type needs, and any others of the client's own.
    /// Dotted keys are paths. A number has at most 100 digits when written without an exponent. The metadata has at
    /// most 65,536 bytes (configurable) and 32 levels.
    metadata: Option<JsonObject>,
    /// Teams and users that the job is shared with, at most 100 (configurable).
    collaboration: Option<Vec<CollaboratorInput>>,
    /// Key that prevents duplicate jobs, 1 to 200 characters.
    /// Repeating a request with the same key, owner, and input returns the same job. The same key with other input
    /// fails with CONFLICT.
    idempotency_key: Option<String>,
    /// Priority from -1000 to 1000; jobs with a higher priority run first.
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

/// Input for changing a job, which continues to run.
#[derive(InputObject)]
pub(super) struct UpdateJobInput {
    /// UUID of the job.
    pub id: ID,
    /// Change of the metadata, as a JSON Merge Patch (RFC 7396).
    /// The taxonomy of a job cannot be changed.
    pub metadata: Option<JsonObject>,
    /// Priority from -1000 to 1000; jobs with a higher priority run first.
    pub priority: Option<i32>,
}

/// Conditions for a list of jobs, all of which must be met.
/// Omitted conditions are ignored.
#[derive(InputObject)]
pub(super) struct JobFilter {
    /// Only jobs in one of these statuses.
    status: Option<Vec<JobStatus>>,
    /// Only jobs of one of these job types.
    #[graphql(name = "type")]
    types: Option<Vec<ID>>,
    /// Only jobs of the viewer, only jobs shared with the viewer, or both.
    owner: Option<JobOwnerFilter>,
    /// Only jobs shared with the team of this UUID.
    team_id: Option<ID>,
    /// Only jobs created after this time.
    created_after: Option<DateTime<Utc>>,
    /// Only jobs created before this time.
    created_before: Option<DateTime<Utc>>,
    /// Only jobs changed after this time.
    updated_after: Option<DateTime<Utc>>,
    /// Only jobs with these values in their metadata, at most 20.
    /// Every given key must have the given value; dotted keys are paths. Numbers are compared as JSON in the server's
    /// database: exactly on PostgreSQL, as 64-bit floating point on SQLite.
    metadata: Option<JsonObject>,
    /// Only jobs whose input document has this text in its name, ignoring case.
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
            if time.is_some_and(|time| !clock::has_four_digit_year(time)) {
                let message = "The time must be in the years 1 to 9999.";
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

/// Ownership of jobs, relative to the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Ownership")]
pub(super) enum JobOwnerFilter {
    /// Jobs that the viewer owns.
    #[graphql(name = "ME")]
    Mine,
    /// Jobs of other users that are shared with the viewer.
    #[graphql(name = "SHARED_WITH_ME")]
    Shared,
    /// All jobs that the viewer can see.
    Any,
}

/// Sort order of a list of jobs.
#[derive(InputObject)]
pub(super) struct JobOrder {
    /// Time to sort by.
    #[graphql(default_with = "JobOrderField::Created")]
    pub field: JobOrderField,
    /// Direction of the sort order.
    #[graphql(default_with = "OrderDirection::Descending")]
    pub direction: OrderDirection,
}

/// Time to sort jobs by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "OrderBy")]
pub(super) enum JobOrderField {
    /// Time when the job was created.
    #[graphql(name = "CREATED_AT")]
    Created,
    /// Time when the job last changed.
    #[graphql(name = "UPDATED_AT")]
    Updated,
}

/// Direction of a sort order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Direction")]
pub(super) enum OrderDirection {
    /// Oldest first.
    #[graphql(name = "ASC")]
    Ascending,
    /// Newest first.
    #[graphql(name = "DESC")]
    Descending,
}

/// Input for taking a job back to an earlier step.
#[derive(InputObject)]
pub(super) struct RewindJobInput {
    /// UUID of the job.
    pub id: ID,
    /// Name of a step that the job has reached.
    pub to_step: String,
    /// Reason for the history, at most 10,000 characters (configurable).
    pub reason: Option<String>,
}

/// Input for adding a collaborator.
#[derive(InputObject)]
pub(super) struct AddCollaboratorInput {
    /// UUID of the job.
    pub job_id: ID,
    /// The team or the user.
    pub collaborator: CollaboratorRef,
    /// Names of the steps that the collaborator has access to; `*` stands for all steps.
    /// They replace the steps of an existing collaborator.
    #[graphql(default_with = "vec![\"*\".to_owned()]")]
    pub steps: Vec<String>,
}

/// Input for removing a collaborator.
#[derive(InputObject)]
pub(super) struct RemoveCollaboratorInput {
    /// UUID of the job.
    pub job_id: ID,
    /// The team or the user.
    pub collaborator: CollaboratorRef,
}
