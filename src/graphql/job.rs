//! Jobs.

use async_graphql::connection::{Connection, EmptyFields};
use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::account::{KeyMode, Team, User};
use super::context::RequestContext;
use super::document::{DeletePayload, Document, user};
use super::history::JobEvent;
use super::job_input::{
    AddCollaboratorInput, CreateJobInput, JobFilter, JobOrder, JobStatus, RemoveCollaboratorInput,
    RewindJobInput, UpdateJobInput,
};
use super::job_type::{JobType, StepKind};
use super::loader::{self, AccessOf, ContentsOf, EventsOf, InputOf, OutputOf, ReviewOf, TaskOf};
use super::paging::{USUAL, connection};
use super::review::Review;
use super::scalar::{JsonObject, Url};
use crate::access::policy::{self, Action, Standing, Verdict, works_on};
use crate::access::{self, Cancel, Delete, Edit, Share, View};
use crate::collaboration;
use crate::entity::{content, document, job, task};
use crate::error::{Error, Problem, Result};
use crate::id::{JobId, TeamId, UserId};
use crate::job::control::Changes;
use crate::job::query::{Filter, OrderBy};
use crate::job::record::{failure, state, unname};
use crate::job::state::{Mode, Status, Step, StepStatus as State};
use crate::job::timing::Spent;
use crate::job::{contents, history};
use crate::page::{self, Cursor, Direction, Page, Paging};

/// Work that turns an input document into an output document.
#[derive(Clone)]
pub(super) struct Job {
    row: job::Model,
    /// Where it was read together with the row.
    task: Option<Option<task::Model>>,
}

impl Job {
    pub(super) fn new(row: job::Model) -> Self {
        Self { row, task: None }
    }

    pub(super) fn with_task(row: job::Model, task: Option<task::Model>) -> Self {
        Self { row, task: Some(task) }
    }

    async fn task(&self, ctx: &Context<'_>) -> Result<Option<task::Model>> {
        match &self.task {
            Some(task) => Ok(task.clone()),
            None => ctx.loaders()?.rows.load_one(TaskOf(self.row.id)).await,
        }
    }

    async fn standing(&self, ctx: &Context<'_>) -> Result<Standing> {
        ctx.loaders()?.standing(ctx.actor()?, &self.row).await
    }

    fn status(&self) -> Result<Status> {
        unname(&self.row.status)
    }

    fn steps_now(&self) -> Result<Vec<Step>> {
        Vec::<Step>::deserialize(&self.row.steps).map_err(Error::internal)
    }

    /// What reviewers said is for those who work on the step.
    async fn withhold(&self, ctx: &Context<'_>, steps: impl Iterator<Item = &mut JobStep>) -> Result<()> {
        let said: Vec<_> = steps.filter(|view| view.step.comment.is_some()).collect();
        if said.is_empty() {
            return Ok(());
        }
        let standing = self.standing(ctx).await?;
        for view in said.into_iter().filter(|view| !works_on(&standing, &view.step.name)) {
            view.step.comment = None;
        }
        Ok(())
    }

    fn step_views(&self, task: Option<&task::Model>) -> Result<Vec<JobStep>> {
        let view = |step: Step| {
            let mine = task.filter(|task| task.step == step.name);
            let fraction = match step.status {
                State::Completed | State::Skipped => 1.0,
                State::Running => mine.map_or(0.0, |task| task.fraction),
                _ => step.fraction,
            };
            JobStep { fraction, message: mine.and_then(|task| task.message.clone()), step }
        };
        Ok(self.steps_now()?.into_iter().map(view).collect())
    }
}

/// Work that turns an input document into an output document.
#[Object]
impl Job {
    /// UUID of the job.
    pub(super) async fn id(&self) -> ID {
        self.row.id.to_string().into()
    }

    /// The process that it goes through, in the version that it began with.
    #[graphql(name = "type")]
    async fn job_type(&self, ctx: &Context<'_>) -> Result<JobType> {
        Ok(JobType(ctx.app()?.jobs.types.version(&self.row.type_id, self.row.type_version).await?))
    }

    /// What it is doing.
    #[graphql(name = "status")]
    async fn job_status(&self) -> Result<JobStatus> {
        Ok(self.status()?.into())
    }

    /// How far it is: an estimate, for progress bars.
    async fn progress(&self, ctx: &Context<'_>) -> Result<Progress> {
        let task = self.task(ctx).await?;
        let steps = self.step_views(task.as_ref())?;
        let total = steps.len();
        let current =
            steps.iter().filter(|view| matches!(view.step.status, State::Completed | State::Skipped)).count();
        let sum: f64 = steps.iter().map(|view| view.fraction).sum();
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Ok(Progress {
            current: count(current),
            total: count(total),
            fraction: sum / f64::from(count(total.max(1))),
        })
    }

    /// Who made it.
    async fn owner(&self, ctx: &Context<'_>) -> Result<User> {
        user(ctx, self.row.owner_id).await
    }

    /// Visible to everyone who can see the job.
    async fn input_content(&self, ctx: &Context<'_>) -> Result<Content> {
        let held = ctx.loaders()?.rows.load_one(InputOf(self.row.id)).await?;
        held.map(Content::of).ok_or_else(|| Error::Internal(format!("job {} has no input", self.row.id)))
    }

    /// Null until the job has completed.
    async fn output_content(&self, ctx: &Context<'_>) -> Option<Result<Content>> {
        let found: Result<Option<Content>> = async {
            if self.status()? != Status::Completed {
                return Ok(None);
            }
            let standing = self.standing(ctx).await?;
            let job_type = ctx.app()?.jobs.types.version(&self.row.type_id, self.row.type_version).await?;
            if !contents::visible(&standing, &job_type, crate::job_type::OUTPUT) {
                return Ok(None);
            }
            Ok(ctx.loaders()?.rows.load_one(OutputOf(self.row.id)).await?.map(Content::of))
        }
        .await;
        found.transpose()
    }

    /// Every content the viewer may see, optionally of one role, newest first; superseded versions too where asked for.
    async fn contents(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this role.")] role: Option<String>,
        #[graphql(desc = "Whether earlier versions are wanted too.", default_with = "Some(false)")]
        superseded: Option<bool>,
    ) -> Result<Vec<Content>> {
        let standing = self.standing(ctx).await?;
        let job_type = ctx.app()?.jobs.types.version(&self.row.type_id, self.row.type_version).await?;
        let key = ContentsOf { job: self.row.id, role, superseded: superseded.unwrap_or_default() };
        let found = ctx.loaders()?.rows.load_one(key).await?.unwrap_or_default();
        let seen =
            |(content, _): &(content::Model, _)| contents::visible(&standing, &job_type, &content.role);
        Ok(found.into_iter().filter(seen).map(Content::of).collect())
    }

    /// Who was let in besides the owner, and to which steps.
    async fn collaboration(&self, ctx: &Context<'_>) -> Result<Collaboration> {
        let loaders = ctx.loaders()?;
        let rows = loaders.rows.load_one(AccessOf(self.row.id)).await?.unwrap_or_default();
        let (mut teams, mut users) = (Vec::new(), Vec::new());
        for row in rows {
            let steps = access::steps(&row.steps);
            match row.kind.as_str() {
                "TEAM" => {
                    let found = loaders.rows.load_one(loader::Team(TeamId(row.principal_id))).await?;
                    teams.extend(found.map(|team| TeamCollaborator { team: Team(team), steps }));
                }
                "USER" => {
                    users.push(UserCollaborator { user: user(ctx, UserId(row.principal_id)).await?, steps });
                }
                _ => {}
            }
        }
        Ok(Collaboration { teams, users })
    }

    /// The client's own JSON, and what the type needs, its defaults filled in.
    async fn metadata(&self, ctx: &Context<'_>) -> Result<JsonObject> {
        ctx.budget()?.show(&self.row.metadata)?;
        Ok(JsonObject(self.row.metadata.as_object().cloned().unwrap_or_default()))
    }

    /// Every step of the type, in order, as it stands.
    async fn steps(&self, ctx: &Context<'_>) -> Result<Vec<JobStep>> {
        let task = self.task(ctx).await?;
        let mut steps = self.step_views(task.as_ref())?;
        self.withhold(ctx, steps.iter_mut()).await?;
        Ok(steps)
    }

    /// The step being run, waited for or blocked on; null after a final status.
    async fn current_step(&self, ctx: &Context<'_>) -> Option<Result<JobStep>> {
        let found: Result<Option<JobStep>> = async {
            if self.status()?.is_final() {
                return Ok(None);
            }
            let task = self.task(ctx).await?;
            let open =
                |view: &JobStep| matches!(view.step.status, State::Queued | State::Running | State::Blocked);
            let mut step = self.step_views(task.as_ref())?.into_iter().find(open);
            self.withhold(ctx, step.iter_mut()).await?;
            Ok(step)
        }
        .await;
        found.transpose()
    }

    /// Open review that holds the job, if it is blocked and the viewer has access to the step.
    async fn review(&self, ctx: &Context<'_>) -> Option<Result<Review>> {
        let found: Result<Option<Review>> = async {
            if self.status()? != Status::Blocked {
                return Ok(None);
            }
            let standing = self.standing(ctx).await?;
            let open = ctx.loaders()?.rows.load_one(ReviewOf(self.row.id)).await?;
            Ok(open.filter(|review| works_on(&standing, &review.step)).map(Review))
        }
        .await;
        found.transpose()
    }

    /// Why it failed; null where it has not.
    async fn failure(&self) -> Option<Result<JobFailure>> {
        let found: Result<Option<JobFailure>> = async {
            Ok(failure(&self.row)?.map(|f| JobFailure { code: f.code, message: f.message, step: f.step }))
        }
        .await;
        found.transpose()
    }

    /// Whether it is for real, by the key that it was made with.
    async fn mode(&self) -> Result<KeyMode> {
        Ok(unname::<Mode>(&self.row.mode)?.into())
    }

    /// History, oldest first; every change of status, step, content, collaboration, metadata and review is in it, in
    /// order, without gaps.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Size of the page, 20 where it is not given.")] first: Option<i32>,
        #[graphql(desc = "Cursor that the page comes after.")] after: Option<String>,
    ) -> Result<Connection<String, JobEvent, EmptyFields, EmptyFields>> {
        let app = ctx.app()?;
        let standing = self.standing(ctx).await?;
        let from =
            after.as_deref().map(|cursor| history::parse_cursor_of(self.row.id, cursor)).transpose()?;
        let size = page::first(first, USUAL, app.config.limits.page_size)?;
        let limit = i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1);
        let key = EventsOf { job: self.row.id, after: from.unwrap_or(0), limit };
        let mut rows = ctx.loaders()?.rows.load_one(key).await?.unwrap_or_default();
        let job_type = app.jobs.types.version(&self.row.type_id, self.row.type_version).await?;
        let has_next = rows.len() as u64 > size;
        rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let page = Page { rows, has_next, has_previous: from.is_some_and(|sequence| sequence > 0) };
        Ok(connection(page, EmptyFields, |row| {
            let event = JobEvent::seen_by(&standing, &job_type, row, self.row.clone());
            (event.cursor_text(), event)
        }))
    }

    /// What the viewer may do.
    async fn permissions(&self, ctx: &Context<'_>) -> Result<Vec<JobPermission>> {
        let standing = self.standing(ctx).await?;
        let works = !matches!(&standing, Standing::Steps(steps) if steps.is_empty());
        let allowed = |action| policy::permits(&standing, action) == Verdict::Yes;
        let all = [
            (JobPermission::View, allowed(Action::View)),
            (JobPermission::Edit, allowed(Action::Edit)),
            (JobPermission::Work, works),
            (JobPermission::Share, allowed(Action::Share)),
            (JobPermission::Cancel, allowed(Action::Cancel)),
            (JobPermission::Delete, allowed(Action::Delete)),
        ];
        Ok(all.into_iter().filter_map(|(permission, yes)| yes.then_some(permission)).collect())
    }

    /// How long machines worked on it, people worked on it, and it waited for either.
    async fn timing(&self) -> Result<JobTiming> {
        Ok(JobTiming { row: self.row.clone() })
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.row.created_at
    }

    /// When it last changed; progress within a step does not count.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.row.updated_at
    }

    /// When a worker first took it.
    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.row.started_at
    }

    /// When it got its final status.
    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.row.finished_at
    }
}

/// An estimate, in steps.
#[derive(SimpleObject)]
struct Progress {
    /// Finished steps.
    current: i32,
    /// All steps.
    total: i32,
    /// 0 to 1, finer than the step count.
    fraction: f64,
}

/// A document in a role of a job. Nothing is overwritten: a step that runs again, or a correction, adds the next version
/// of the role.
pub(super) struct Content {
    pub content: content::Model,
    pub document: document::Model,
}

impl Content {
    pub(super) fn of((content, document): (content::Model, document::Model)) -> Self {
        Self { content, document }
    }
}

/// A document in a role of a job. Nothing is overwritten: a step that runs again, or a correction, adds the next version
/// of the role.
#[Object]
impl Content {
    /// What it is to the job, e.g. `input`.
    async fn role(&self) -> &str {
        &self.content.role
    }

    /// From 1, per role.
    async fn version(&self) -> i32 {
        self.content.version
    }

    /// The bytes with their name.
    async fn document(&self) -> Document {
        Document(self.document.clone())
    }

    /// Same as document.contentsUri.
    async fn uri(&self, ctx: &Context<'_>) -> Result<Url> {
        Ok(Url(ctx.app()?.jobs.documents.links().contents(self.document.id)))
    }

    /// The step that made it, or that it was given to; null for the input.
    async fn step(&self) -> Option<&str> {
        self.content.step.as_deref()
    }

    /// False once a later version of the role exists.
    async fn current(&self) -> bool {
        self.content.current
    }

    /// When it was added to the job.
    async fn created_at(&self) -> DateTime<Utc> {
        self.content.created_at
    }
}

/// What a job's time went into.
struct JobTiming {
    row: job::Model,
}

impl JobTiming {
    async fn spent(&self, ctx: &Context<'_>) -> Result<Spent> {
        let review = match unname(&self.row.status)? {
            Status::Blocked => ctx.loaders()?.rows.load_one(ReviewOf(self.row.id)).await?,
            _ => None,
        };
        let state = state(&self.row, None, review.as_ref())?;
        Ok(state.timing.spent(state.phase(), ctx.app()?.clock.now()))
    }
}

/// What a job's time went into, up to now. What passes after a final status counts for nobody.
#[Object]
impl JobTiming {
    /// Seconds that workers had it.
    async fn machine_seconds(&self, ctx: &Context<'_>) -> Result<f64> {
        Ok(self.spent(ctx).await?.machine)
    }

    /// Seconds that people had claimed its reviews.
    async fn review_seconds(&self, ctx: &Context<'_>) -> Result<f64> {
        Ok(self.spent(ctx).await?.person)
    }

    /// Seconds that it waited, for a worker or for a person.
    async fn waiting_seconds(&self, ctx: &Context<'_>) -> Result<f64> {
        Ok(self.spent(ctx).await?.waiting)
    }

    /// Range (low, high) until it ends, from the history of its type; null while there is too little of it, and after the
    /// end.
    async fn remaining_seconds(&self, ctx: &Context<'_>) -> Option<Result<Vec<f64>>> {
        let found: Result<Option<Vec<f64>>> = async {
            if unname::<Status>(&self.row.status)?.is_final() {
                return Ok(None);
            }
            let steps = Vec::<Step>::deserialize(&self.row.steps).map_err(Error::internal)?;
            let open = |step: &Step| matches!(step.status, State::Queued | State::Running | State::Blocked);
            let Some(step) = steps.into_iter().find(open) else { return Ok(None) };
            let (app, row) = (ctx.app()?, &self.row);
            let since = step.started_at.unwrap_or_else(|| app.clock.now());
            let range = app.jobs.remaining(&row.type_id, &step.name, since, app.clock.now()).await?;
            Ok(range.map(|(low, high)| vec![low, high]))
        }
        .await;
        found.transpose()
    }
}

/// Why a job failed.
#[derive(SimpleObject)]
struct JobFailure {
    /// For programs, e.g. DOCUMENT_ENCRYPTED.
    code: String,
    /// What went wrong and what would help, for people.
    message: String,
    /// The step that could not go on.
    step: Option<String>,
}

/// What somebody may do with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
enum JobPermission {
    /// See it.
    View,
    /// Change its metadata and priority.
    Edit,
    /// Work on steps of it: reviews, manual steps, contents.
    Work,
    /// Let others in.
    Share,
    /// Cancel, retry and rewind it.
    Cancel,
    /// Remove it.
    Delete,
}

/// A step of a job as it stands.
struct JobStep {
    step: Step,
    fraction: f64,
    message: Option<String>,
}

/// A step of a job as it stands.
#[Object]
impl JobStep {
    /// Also the role name used in collaborations.
    async fn name(&self) -> &str {
        &self.step.name
    }

    /// Name for people.
    async fn title(&self) -> &str {
        &self.step.title
    }

    /// Who does it.
    async fn kind(&self) -> StepKind {
        self.step.kind.into()
    }

    /// What it is doing.
    async fn status(&self) -> StepStatus {
        self.step.status.into()
    }

    /// Which attempt, from 1; 0 before the first.
    async fn attempt(&self) -> u32 {
        self.step.attempt
    }

    /// How often it may be tried.
    async fn max_attempts(&self) -> u32 {
        self.step.max_attempts
    }

    /// 0 to 1 within the step.
    async fn fraction(&self) -> f64 {
        self.fraction
    }

    /// What is being done right now, for people.
    async fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// What a reviewer said who sent the job back to it; null where nobody did, and once it is done again.
    async fn comment(&self) -> Option<&str> {
        self.step.comment.as_deref()
    }

    /// When its newest attempt began.
    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.step.started_at
    }

    /// When it ended.
    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.step.finished_at
    }
}

/// What a step is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "State")]
enum StepStatus {
    /// Its turn has not come.
    Pending,
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Waits for a person.
    Blocked,
    /// Done.
    Completed,
    /// Not needed.
    Skipped,
    /// Given up.
    Failed,
    /// Ended with its job.
    Cancelled,
}

/// Who was let in to a job besides its owner.
#[derive(SimpleObject)]
struct Collaboration {
    /// Teams: whoever belongs to them at the time.
    teams: Vec<TeamCollaborator>,
    /// Single people.
    users: Vec<UserCollaborator>,
}

/// A team that was let in.
#[derive(SimpleObject)]
struct TeamCollaborator {
    /// The team.
    team: Team,
    /// Step names; "*" stands for all.
    steps: Vec<String>,
}

/// A person who was let in.
#[derive(SimpleObject)]
struct UserCollaborator {
    /// The person.
    user: User,
    /// Step names; "*" stands for all.
    steps: Vec<String>,
}

/// One thing that is wrong with an input.
#[derive(SimpleObject)]
struct InputProblem {
    /// JSON Pointer into the input.
    path: String,
    /// For programs, e.g. UNKNOWN_TAXONOMY.
    code: String,
    /// What is wrong and what would be right, for people.
    message: String,
}

impl From<Problem> for InputProblem {
    fn from(problem: Problem) -> Self {
        Self { path: problem.path, code: problem.code, message: problem.message }
    }
}

/// A job as it is after a change.
#[derive(SimpleObject)]
struct JobPayload {
    /// The job.
    job: Job,
}

/// What a list of jobs knows besides its page.
pub(super) struct JobList(Filter);

/// What a list of jobs knows besides its page.
#[Object]
impl JobList {
    /// Counted only when asked for.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = ctx.app()?.jobs.count(ctx.actor()?, &self.0).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

fn parse(id: &str) -> Result<JobId> {
    JobId::parse(id).ok_or_else(|| Error::not_found("job"))
}

#[derive(Default)]
pub(super) struct JobQuery;

#[Object]
impl JobQuery {
    /// Null where the job does not exist or the viewer may not see it: the two cannot be told apart.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
    ) -> Option<Result<Job>> {
        let found: Result<Option<Job>> = async {
            let actor = ctx.actor()?;
            let Some(id) = JobId::parse(&id) else { return Ok(None) };
            match access::job::<View>(ctx.app()?.db.read(), actor, id).await {
                Ok(grant) => Ok(Some(Job::new(grant.job().clone()))),
                Err(Error::NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            }
        }
        .await;
        found.transpose()
    }

    /// Jobs that the viewer may see. Pages stay stable while jobs come and go; page with `first` and `after`, or backwards
    /// with `last` and `before`.
    #[expect(clippy::too_many_arguments, reason = "the arguments are the contract's")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which jobs.")] filter: Option<JobFilter>,
        #[graphql(desc = "In which order; the newest first where it is not given.")] order_by: Option<
            JobOrder,
        >,
        #[graphql(desc = "Size of the page, 20 where it is not given.")] first: Option<i32>,
        #[graphql(desc = "Cursor that the page comes after.")] after: Option<String>,
        #[graphql(desc = "Size of the page, counted from the end.")] last: Option<i32>,
        #[graphql(desc = "Cursor that the page comes before.")] before: Option<String>,
    ) -> Result<Connection<String, Job, JobList, EmptyFields>> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let filter = filter.map(JobFilter::parse).transpose()?.unwrap_or_default();
        let (field, direction) = match order_by {
            Some(order) => (order.field.into(), order.direction.into()),
            None => (OrderBy::Created, Direction::Descending),
        };
        let paging = Paging { first, after, last, before };
        let window = paging.window(field.list(), USUAL, app.config.limits.page_size)?;
        let page = app.jobs.list(actor, &filter, (field, direction), window).await?;
        ctx.budget()?.read(page.rows.iter().map(|row| &row.metadata))?;
        Ok(connection(page, JobList(filter), |row| {
            (Cursor { at: field.of(&row), id: row.id.0 }.encode(field.list()), Job::new(row))
        }))
    }

    /// Everything that createJob would object to, all at once, and nothing created.
    async fn validate_job(&self, ctx: &Context<'_>, input: CreateJobInput) -> Result<Vec<InputProblem>> {
        let problems = ctx.app()?.jobs.validate(ctx.actor()?, &input.into()).await?;
        Ok(problems.into_iter().map(Into::into).collect())
    }
}

#[derive(Default)]
pub(super) struct JobMutation;

#[Object]
impl JobMutation {
    /// Makes a job and puts its first step into the queue. It is acknowledged when it is stored.
    async fn create_job(&self, ctx: &Context<'_>, input: CreateJobInput) -> Result<JobPayload> {
        let job = ctx.app()?.jobs.create(ctx.actor()?, input.into()).await?;
        Ok(JobPayload { job: Job::new(job) })
    }

    /// Changes a job's metadata or priority.
    async fn update_job(&self, ctx: &Context<'_>, input: UpdateJobInput) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Edit>(app.db.read(), ctx.actor()?, parse(&input.id)?).await?;
        let changes = Changes { metadata: input.metadata.map(|object| object.0), priority: input.priority };
        Ok(JobPayload { job: Job::new(app.jobs.update(&grant, changes).await?) })
    }

    /// Ends a job that is not final; a running worker learns of it at its next report. CONFLICT where it has ended.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
        #[graphql(desc = "Why, for the history.")] reason: Option<String>,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Cancel>(app.db.read(), ctx.actor()?, parse(&id)?).await?;
        Ok(JobPayload { job: Job::new(app.jobs.cancel(&grant, reason).await?) })
    }

    /// Runs a FAILED or CANCELLED job again from the step that stopped it.
    async fn retry_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Cancel>(app.db.read(), ctx.actor()?, parse(&id)?).await?;
        Ok(JobPayload { job: Job::new(app.jobs.retry(&grant).await?) })
    }

    /// Takes a job back to a step that it has reached before, whatever its status: what that step and later ones made is
    /// superseded, not lost.
    async fn rewind_job(&self, ctx: &Context<'_>, input: RewindJobInput) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Cancel>(app.db.read(), ctx.actor()?, parse(&input.id)?).await?;
        Ok(JobPayload { job: Job::new(app.jobs.rewind(&grant, &input.to_step, input.reason).await?) })
    }

    /// Adds a team or user, or changes the steps of one that is there.
    async fn add_collaborator(&self, ctx: &Context<'_>, input: AddCollaboratorInput) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Share>(app.db.read(), ctx.actor()?, parse(&input.job_id)?).await?;
        let shared =
            collaboration::share(&app.jobs, &grant, &input.collaborator.into(), &input.steps).await?;
        Ok(JobPayload { job: Job::new(shared) })
    }

    /// Lets a team or user out, at once: their subscriptions to the job end.
    async fn remove_collaborator(
        &self,
        ctx: &Context<'_>,
        input: RemoveCollaboratorInput,
    ) -> Result<JobPayload> {
        let app = ctx.app()?;
        let grant = access::job::<Share>(app.db.read(), ctx.actor()?, parse(&input.job_id)?).await?;
        let revoked = collaboration::revoke(&app.jobs, &grant, &input.collaborator.into()).await?;
        Ok(JobPayload { job: Job::new(revoked) })
    }

    /// Removes a job with its history and everything that its steps made. One that is not final is cancelled first.
    async fn delete_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the job.")] id: ID,
    ) -> Result<DeletePayload> {
        let app = ctx.app()?;
        let grant = access::job::<Delete>(app.db.read(), ctx.actor()?, parse(&id)?).await?;
        app.jobs.delete(&grant).await?;
        Ok(DeletePayload { deleted_id: grant.job().id.to_string().into() })
    }
}
