//! Jobs: the GraphQL type, its queries, and its mutations.

mod collaboration;
mod content;
mod mutation;
mod query;
mod rows;
mod step;
mod timing;

use async_graphql::connection::EmptyFields;
use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::account::{KeyMode, User};
use super::context::RequestContext;
use super::document::load_user;
use super::history::JobEvent;
use super::job_input::JobStatus;
use super::job_type::JobType;
use super::loader::{ContentsOf, EventsOf};
use super::paging::{Connection, DEFAULT_PAGE_SIZE, connection};
use super::review::Review;
use super::scalar::JsonObject;
use crate::entity::{job, task};
use crate::error::Result;
use crate::job::state::Failure;
use crate::job::view::{self, JobRows, JobView};
use crate::job::{history, progress};
use crate::page::{self, Page};
use collaboration::Collaboration;
use rows::LazyRows;
use step::Progress;
use timing::JobTiming;

pub(super) use content::Content;
pub(super) use mutation::{JobMutation, JobPayload};
pub(super) use query::JobQuery;
pub(super) use step::JobStep;

/// Work that turns an input document into an output document.
#[derive(Clone)]
pub(super) struct Job {
    row: job::Model,
    /// Task that was read together with the row; the outer `None` means that it was not read.
    task: Option<Option<task::Model>>,
}

impl Job {
    pub(super) fn new(row: job::Model) -> Self {
        Self { row, task: None }
    }

    pub(super) fn with_task(row: job::Model, task: Option<task::Model>) -> Self {
        Self { row, task: Some(task) }
    }

    /// Returns what the viewer may see of the job.
    fn view<'a>(&'a self, ctx: &'a Context<'a>) -> JobView<LazyRows<'a>> {
        JobView::new(LazyRows { job: self, ctx })
    }

    /// Returns the step with the given name.
    pub(super) fn step(&self, name: &str, task: Option<&task::Model>) -> Result<Option<JobStep>> {
        let steps = progress::steps_now(&self.row, task)?;
        Ok(steps.into_iter().find(|step| step.step.name == name).map(JobStep))
    }
}

/// Work that turns an input document into an output document.
#[Object]
impl Job {
    /// UUID of the job.
    pub(super) async fn id(&self) -> ID {
        self.row.id.to_string().into()
    }

    /// Job type, in the version that the job started with.
    #[graphql(name = "type")]
    async fn job_type(&self, ctx: &Context<'_>) -> Result<JobType> {
        Ok(JobType(ctx.app()?.jobs.types.version(&self.row.type_id, self.row.type_version).await?))
    }

    /// Current status of the job.
    #[graphql(name = "status")]
    async fn job_status(&self) -> JobStatus {
        self.row.status.into()
    }

    /// Estimated progress of the job, for progress bars.
    async fn progress(&self, ctx: &Context<'_>) -> Result<Progress> {
        let progress::Progress { current, total, fraction } = self.view(ctx).progress().await?;
        Ok(Progress { current, total, fraction })
    }

    /// User who created the job and has every permission on it.
    /// Steps with `fourEyes` are an exception.
    async fn owner(&self, ctx: &Context<'_>) -> Result<User> {
        load_user(ctx, self.row.owner_id).await
    }

    /// Current input of the job.
    /// It is visible to everyone who can see the job.
    async fn input_content(&self, ctx: &Context<'_>) -> Result<Content> {
        self.view(ctx).input().await.map(Content::of)
    }

    /// Current output of the job.
    /// Null until the job has completed, and if the viewer has no access to the step that produces it.
    async fn output_content(&self, ctx: &Context<'_>) -> Option<Result<Content>> {
        self.view(ctx).output().await.map(|output| output.map(Content::of)).transpose()
    }

    /// Contents that the viewer can see, newest first.
    /// By default, the list contains only the current version of each role.
    async fn contents(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Role of the contents; all roles by default.")] role: Option<String>,
        #[graphql(desc = "Whether to include superseded versions.", default_with = "Some(false)")]
        superseded: Option<bool>,
    ) -> Result<Vec<Content>> {
        let key = ContentsOf { job: self.row.id, role, superseded: superseded.unwrap_or_default() };
        let found = ctx.loaders()?.rows.load_one(key).await?.unwrap_or_default();
        Ok(self.view(ctx).visible_contents(found).await?.into_iter().map(Content::of).collect())
    }

    /// Collaborators of the job, and the steps that each of them has access to.
    async fn collaboration(&self, ctx: &Context<'_>) -> Result<Collaboration> {
        Collaboration::load(ctx, self.view(ctx).collaborators().await?).await
    }

    /// Metadata of the job: the fields of the job type with their defaults, and the client's own fields.
    /// Numbers keep all their digits.
    async fn metadata(&self, ctx: &Context<'_>) -> Result<JsonObject> {
        ctx.budget()?.charge_value(&self.row.metadata)?;
        Ok(JsonObject(self.row.metadata.as_object().cloned().unwrap_or_default()))
    }

    /// Steps of the job, in the order in which they run.
    async fn steps(&self, ctx: &Context<'_>) -> Result<Vec<JobStep>> {
        Ok(self.view(ctx).steps().await?.into_iter().map(JobStep).collect())
    }

    /// Step that is running, queued, or blocked.
    /// Null after a final status.
    async fn current_step(&self, ctx: &Context<'_>) -> Option<Result<JobStep>> {
        self.view(ctx).current_step().await.map(|step| step.map(JobStep)).transpose()
    }

    /// Open review that blocks the job.
    /// Null if the job is not BLOCKED, or if the viewer has no access to the step.
    async fn review(&self, ctx: &Context<'_>) -> Option<Result<Review>> {
        self.view(ctx).open_review().await.map(|review| review.map(Review)).transpose()
    }

    /// Reason for the failure.
    /// Null if the job has not failed.
    async fn failure(&self, ctx: &Context<'_>) -> Option<Result<JobFailure>> {
        self.view(ctx).failure().map(|failure| failure.map(JobFailure::from)).transpose()
    }

    /// Mode of the API key that the job was created with.
    /// Jobs created with an access token are LIVE.
    async fn mode(&self) -> KeyMode {
        self.row.mode.into()
    }

    /// History of the job, oldest first.
    /// It contains every change of status, step, content, collaboration, metadata, and review, in order and without
    /// gaps.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size, 20 by default and at most 100 (configurable).")] first: Option<i32>,
        #[graphql(desc = "Cursor of an entry; the page starts after it.")] after: Option<String>,
    ) -> Result<Connection<JobEvent>> {
        let (app, rows) = (ctx.app()?, LazyRows { job: self, ctx });
        let standing = rows.standing().await?;
        let start =
            after.as_deref().map(|cursor| history::parse_job_cursor(self.row.id, cursor)).transpose()?;
        let size = page::forward_page_size(first, DEFAULT_PAGE_SIZE, app.config.limits.page_size)?;
        let limit = i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1);
        let key = EventsOf { job: self.row.id, after: start.unwrap_or(0), limit };
        let mut events = ctx.loaders()?.rows.load_one(key).await?.unwrap_or_default();
        let job_type = rows.job_type().await?;
        let has_next = events.len() as u64 > size;
        events.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let page = Page { rows: events, has_next, has_previous: start.is_some_and(|sequence| sequence > 0) };
        Ok(connection(page, EmptyFields, |row| {
            let event = JobEvent::visible_to(&standing, &job_type, row, self.row.clone());
            (event.encode_cursor(), event)
        }))
    }

    /// Actions that the viewer can take on the job.
    async fn permissions(&self, ctx: &Context<'_>) -> Result<Vec<JobPermission>> {
        Ok(self.view(ctx).permissions().await?.into_iter().map(Into::into).collect())
    }

    /// Time that the job has spent with workers, with people, and waiting.
    async fn timing(&self) -> Result<JobTiming> {
        Ok(JobTiming { row: self.row.clone() })
    }

    /// Time when the job was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.row.created_at
    }

    /// Time when the job last changed.
    /// Progress within a step does not count as a change.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.row.updated_at
    }

    /// Time when a worker first claimed a step of the job.
    /// Null before that.
    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.row.started_at
    }

    /// Time when the job reached its final status.
    /// Null before that.
    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.row.finished_at
    }
}

/// Reason why a job failed.
#[derive(SimpleObject)]
struct JobFailure {
    /// Machine-readable error code, for example DOCUMENT_ENCRYPTED.
    code: String,
    /// Human-readable explanation of the failure and a possible remedy.
    message: String,
    /// Name of the step that failed.
    step: Option<String>,
}

impl From<Failure> for JobFailure {
    fn from(Failure { code, message, step }: Failure) -> Self {
        Self { code, message, step }
    }
}

/// Action that a viewer can take on a job.
/// Actions that are not listed in `Job.permissions` would be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "view::JobPermission")]
enum JobPermission {
    /// View the job, its input, metadata, steps, and history.
    View,
    /// Change the metadata and the priority of the job.
    Edit,
    /// Work on steps of the job: reviews, manual steps, and contents.
    Work,
    /// Add and remove collaborators.
    Share,
    /// Cancel, retry, and rewind the job.
    Cancel,
    /// Delete the job, its history, and all documents that its steps produced.
    Delete,
}
