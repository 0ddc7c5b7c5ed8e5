//! The details of jobs for one viewer, with a number of statements that does not depend on the number of jobs.

use std::collections::HashMap;
use std::future::ready;
use std::hash::Hash;
use std::sync::Arc;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::Jobs;
use super::progress::{Progress, StepNow};
use super::state::{Failure, Status};
use super::view::{BlockingStep, ContentWithDocument, JobRows, JobView, VisibleClaim};
use crate::access::policy::Standing;
use crate::access::{self, Actor};
use crate::clock::Timestamp;
use crate::entity::enums::{PrincipalKind, ReviewStatus};
use crate::entity::{access as access_rows, account, job, review, task, team};
use crate::error::{Error, Result};
use crate::id::{JobId, TeamId, UserId};
use crate::job_type::JobType;

/// A job as one viewer sees it.
#[derive(Debug)]
pub(crate) struct Details {
    /// The row of the job.
    pub job: job::Model,
    /// The owner.
    pub owner: account::Model,
    /// The steps, in order, without the comments that the viewer may not see.
    pub steps: Vec<StepNow>,
    /// The step that is running, queued or blocked.
    pub current_step: Option<StepNow>,
    /// The estimated progress.
    pub progress: Progress,
    /// The current input.
    pub input: ContentWithDocument,
    /// The current output, if the viewer may see it.
    pub output: Option<ContentWithDocument>,
    /// The current content of each role that the viewer may see, newest first.
    pub contents: Vec<ContentWithDocument>,
    /// The teams with access, and their steps.
    pub teams: Vec<(team::Model, Vec<String>)>,
    /// The users with access, and their steps.
    pub users: Vec<(account::Model, Vec<String>)>,
    /// The step that waits for a person.
    pub blocking_step: Option<BlockingStep>,
    /// The reviewer who has claimed the review of the blocking step, if the viewer may know.
    pub claimed_by: Option<account::Model>,
    /// The reason for which the job failed.
    pub failure: Option<Failure>,
}

/// The rows of one job, which were read together with those of other jobs.
struct PageRows<'a> {
    job: &'a job::Model,
    job_type: Arc<JobType>,
    standing: &'a Standing,
    task: Option<&'a task::Model>,
    access: &'a [access_rows::Model],
    review: Option<&'a review::Model>,
    contents: &'a [ContentWithDocument],
}

impl JobRows for PageRows<'_> {
    fn job(&self) -> &job::Model {
        self.job
    }

    fn standing(&self) -> impl Future<Output = Result<Standing>> + Send {
        ready(Ok(self.standing.clone()))
    }

    fn job_type(&self) -> impl Future<Output = Result<Arc<JobType>>> + Send {
        ready(Ok(Arc::clone(&self.job_type)))
    }

    fn task(&self) -> impl Future<Output = Result<Option<task::Model>>> + Send {
        ready(Ok(self.task.cloned()))
    }

    fn current_content(
        &self,
        role: &'static str,
    ) -> impl Future<Output = Result<Option<ContentWithDocument>>> + Send {
        ready(Ok(self.contents.iter().find(|(content, _)| content.role == role).cloned()))
    }

    fn undecided_review(&self) -> impl Future<Output = Result<Option<review::Model>>> + Send {
        ready(Ok(self.review.cloned()))
    }

    fn access(&self) -> impl Future<Output = Result<Vec<access_rows::Model>>> + Send {
        ready(Ok(self.access.to_vec()))
    }
}

impl Jobs {
    /// Returns the details of those of the given jobs that the actor may see, in the same order.
    pub(crate) async fn details(&self, actor: &Actor, jobs: Vec<job::Model>) -> Result<Vec<Details>> {
        let db = self.db.read();
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let standings = access::standings(db, actor, &jobs).await?;
        let tasks = task::Entity::find().filter(task::Column::JobId.is_in(ids.clone())).all(db).await?;
        let tasks: HashMap<_, _> = tasks.into_iter().map(|task| (task.job_id, task)).collect();
        let rows = access_rows::Entity::find().filter(access_rows::Column::JobId.is_in(ids.clone()));
        let rows = rows.all(db).await?;
        let reviews = self.open_reviews(&jobs).await?;
        let (teams, users) = self.principals(&rows, &jobs, &reviews).await?;
        let read_at = self.clock.now();
        let access_by_job = group_by_job(rows, |row| row.job_id);
        let mut contents_by_job =
            group_by_job(self.contents(ids, None, false).await?, |(content, _)| content.job_id);
        let mut all = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Some(standing) = standings.get(&job.id) else { continue };
            let contents = contents_by_job.remove(&job.id).unwrap_or_default();
            let view = JobView::new(PageRows {
                job: &job,
                job_type: self.types.version(&job.type_id, job.type_version).await?,
                standing,
                task: tasks.get(&job.id),
                access: access_by_job.get(&job.id).map(Vec::as_slice).unwrap_or_default(),
                review: reviews.get(&job.id),
                contents: &contents,
            });
            let owner = users.get(&job.owner_id).cloned();
            let collaborators = view.collaborators().await?;
            let (steps, blocking_step) = (view.steps().await?, view.blocking_step(read_at).await?);
            all.push(Details {
                owner: owner.ok_or_else(|| Error::internal("the owner of a job does not exist"))?,
                progress: Progress::of(&steps),
                steps,
                current_step: view.current_step().await?,
                input: view.input().await?,
                output: view.output().await?,
                contents: view.visible_contents(contents.clone()).await?,
                teams: with_rows(collaborators.teams, &teams),
                users: with_rows(collaborators.users, &users),
                claimed_by: blocking_step.as_ref().and_then(|step| claimant(step, &users)),
                blocking_step,
                failure: view.failure()?,
                job,
            });
        }
        Ok(all)
    }

    /// Returns the reviewer who has claimed the open review of a job, and the time at which the claim expires.
    pub(crate) async fn claim_on(&self, job: JobId) -> Result<Option<(UserId, Timestamp)>> {
        let open = review::Entity::find()
            .filter(review::Column::JobId.eq(job))
            .filter(review::Column::Status.eq(ReviewStatus::Claimed));
        let now = self.clock.now();
        Ok(open.one(self.db.read()).await?.and_then(|open| open.claim_at(now)))
    }

    /// Returns the open reviews of those jobs that are blocked.
    async fn open_reviews(&self, jobs: &[job::Model]) -> Result<HashMap<JobId, review::Model>> {
        let is_blocked = |job: &&job::Model| job.status == Status::Blocked;
        let blocked: Vec<JobId> = jobs.iter().filter(is_blocked).map(|job| job.id).collect();
        if blocked.is_empty() {
            return Ok(HashMap::new());
        }
        let open = review::Entity::find()
            .filter(review::Column::JobId.is_in(blocked))
            .filter(review::Column::Status.is_in(ReviewStatus::UNDECIDED));
        Ok(open.all(self.db.read()).await?.into_iter().map(|review| (review.job_id, review)).collect())
    }

    /// Returns the teams and users in rows of `access`, the owners of the jobs, and the reviewers who have claimed
    /// reviews.
    async fn principals(
        &self,
        rows: &[access_rows::Model],
        jobs: &[job::Model],
        reviews: &HashMap<JobId, review::Model>,
    ) -> Result<(HashMap<TeamId, team::Model>, HashMap<UserId, account::Model>)> {
        let db = self.db.read();
        let of_kind =
            |kind: PrincipalKind| rows.iter().filter(move |row| row.kind == kind).map(|row| row.principal_id);
        let teams: Vec<Uuid> = of_kind(PrincipalKind::Team).collect();
        let users: Vec<Uuid> = of_kind(PrincipalKind::User)
            .chain(jobs.iter().map(|job| job.owner_id.0))
            .chain(reviews.values().filter_map(|review| review.claimed_by).map(|by| by.0))
            .collect();
        let teams = match teams.is_empty() {
            true => Vec::new(),
            false => team::Entity::find().filter(team::Column::Id.is_in(teams)).all(db).await?,
        };
        let users = account::Entity::find().filter(account::Column::Id.is_in(users)).all(db).await?;
        Ok((
            teams.into_iter().map(|team| (team.id, team)).collect(),
            users.into_iter().map(|account| (account.id, account)).collect(),
        ))
    }
}

/// Returns the rows of each job, in their order.
fn group_by_job<T>(rows: Vec<T>, job: impl Fn(&T) -> JobId) -> HashMap<JobId, Vec<T>> {
    let mut groups: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        groups.entry(job(&row)).or_default().push(row);
    }
    groups
}

/// Replaces the IDs of collaborators by their rows. A team that was deleted meanwhile is left out.
fn with_rows<I: Eq + Hash, M: Clone>(
    collaborators: Vec<(I, Vec<String>)>,
    rows: &HashMap<I, M>,
) -> Vec<(M, Vec<String>)> {
    let with_row = |(id, steps)| Some((rows.get(&id)?.clone(), steps));
    collaborators.into_iter().filter_map(with_row).collect()
}

/// Returns the account of the reviewer who has claimed the review of a step.
fn claimant(step: &BlockingStep, users: &HashMap<UserId, account::Model>) -> Option<account::Model> {
    match step.claim {
        VisibleClaim::Held(by, _) => users.get(&by).cloned(),
        VisibleClaim::Hidden | VisibleClaim::Free => None,
    }
}
