//! Everything that some jobs say of themselves to one viewer, in a fixed number of statements however many they are.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::progress::{StepNow, steps_now, withhold_comments};
use super::state::{Status, StepStatus};
use super::{Jobs, contents};
use crate::access::{self, Actor, policy};
use crate::clock::Timestamp;
use crate::entity::enums::{PrincipalKind, ReviewStatus};
use crate::entity::{access as access_rows, account, content, document, job, review, task, team};
use crate::error::{Error, Result};
use crate::id::{JobId, TeamId, UserId};
use crate::job_type::JobType;

/// A job as somebody sees it.
#[derive(Debug, Clone)]
pub struct Details {
    /// Its row.
    pub job: job::Model,
    /// In the version that it began with.
    pub job_type: Arc<JobType>,
    /// Who made it.
    pub owner: account::Model,
    /// In order; what is not for the viewer is left out.
    pub steps: Vec<StepNow>,
    /// The current content of each role that the viewer may see, newest first.
    pub contents: Vec<(content::Model, document::Model)>,
    /// Teams that were let in, and to which steps.
    pub teams: Vec<(team::Model, Vec<String>)>,
    /// People who were let in, and to which steps.
    pub users: Vec<(account::Model, Vec<String>)>,
    /// The review that the job is blocked on.
    pub open_review: Option<VisibleReview>,
}

/// The review that a job is blocked on, as somebody sees it.
#[derive(Debug, Clone)]
pub struct VisibleReview {
    /// The step that waits for a person.
    pub step: String,
    /// The person who holds it, and until when. It is `Hidden` from everybody who does not work on the step.
    pub claim: VisibleClaim,
}

/// The claim on a review as somebody sees it.
#[derive(Debug, Clone)]
pub enum VisibleClaim {
    /// The viewer does not work on the step.
    Hidden,
    /// Nobody holds the review.
    Free,
    /// Somebody holds it until then.
    Held(account::Model, Timestamp),
}

impl Details {
    /// The current content of a role, where the viewer may see it.
    pub fn content(&self, role: &str) -> Option<&(content::Model, document::Model)> {
        self.contents.iter().find(|(content, _)| content.role == role)
    }
}

impl Jobs {
    /// Those of some jobs that exist for an actor, in the same order.
    pub async fn details(&self, actor: &Actor, jobs: Vec<job::Model>) -> Result<Vec<Details>> {
        let db = self.db.read();
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let standings = access::standings(db, actor, &jobs).await?;
        let tasks = task::Entity::find().filter(task::Column::JobId.is_in(ids.clone())).all(db).await?;
        let tasks: HashMap<_, _> = tasks.into_iter().map(|task| (task.job_id, task)).collect();
        let rows = access_rows::Entity::find().filter(access_rows::Column::JobId.is_in(ids.clone()));
        let rows = rows.all(db).await?;
        let reviews = self.open_reviews(&jobs).await?;
        let (teams, people) = self.principals(&rows, &jobs, &reviews).await?;
        let read_at = self.clock.now();
        let mut held: HashMap<JobId, Vec<_>> = HashMap::new();
        for (content, document) in self.contents(ids, None, false).await? {
            held.entry(content.job_id).or_default().push((content, document));
        }
        let mut all = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Some(standing) = standings.get(&job.id) else { continue };
            let job_type = self.types.version(&job.type_id, job.type_version).await?;
            let mut steps = steps_now(&job, tasks.get(&job.id))?;
            withhold_comments(standing, &mut steps);
            let mut contents = held.remove(&job.id).unwrap_or_default();
            contents.retain(|(content, _)| contents::is_visible(standing, &job_type, &content.role));
            let owner = people.get(&job.owner_id).cloned();
            let owner = owner.ok_or_else(|| Error::internal("a job whose owner is gone"))?;
            let mine = rows.iter().filter(|row| row.job_id == job.id);
            let (mut of_teams, mut of_users) = (Vec::new(), Vec::new());
            for row in mine {
                let (id, steps) = (row.principal_id, access::steps(&row.steps));
                match row.kind {
                    PrincipalKind::Team => {
                        of_teams.extend(teams.get(&TeamId(id)).cloned().map(|team| (team, steps)))
                    }
                    PrincipalKind::User => {
                        of_users.extend(people.get(&UserId(id)).cloned().map(|user| (user, steps)))
                    }
                    PrincipalKind::Owner => {}
                }
            }
            // The review may have been decided since the job was read.
            let blocked_at = steps.iter().find(|now| now.step.status == StepStatus::Blocked);
            let open_review = blocked_at.filter(|_| job.status == Status::Blocked).map(|now| {
                let step = now.step.name.clone();
                let held = reviews.get(&job.id).filter(|review| review.step == step);
                let held = held.and_then(|review| review.claim_at(read_at));
                let held = held.and_then(|(by, until)| Some((people.get(&by)?.clone(), until)));
                let claim = match held {
                    _ if !policy::works_on(standing, &step) => VisibleClaim::Hidden,
                    Some((by, until)) => VisibleClaim::Held(by, until),
                    None => VisibleClaim::Free,
                };
                VisibleReview { step, claim }
            });
            let (teams, users) = (of_teams, of_users);
            all.push(Details { job, job_type, owner, steps, contents, teams, users, open_review });
        }
        Ok(all)
    }

    /// Returns who holds the open review of a job, and until when.
    pub async fn claim_on(&self, job: JobId) -> Result<Option<(UserId, Timestamp)>> {
        let open = review::Entity::find()
            .filter(review::Column::JobId.eq(job))
            .filter(review::Column::Status.eq(ReviewStatus::Claimed));
        let now = self.clock.now();
        Ok(open.one(self.db.read()).await?.and_then(|open| open.claim_at(now)))
    }

    /// The reviews that blocked jobs wait for.
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

    /// The teams and people that rows of `access` name, the owners of the jobs, and who holds their reviews.
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
        let people: Vec<Uuid> = of_kind(PrincipalKind::User)
            .chain(jobs.iter().map(|job| job.owner_id.0))
            .chain(reviews.values().filter_map(|review| review.claimed_by).map(|by| by.0))
            .collect();
        let teams = match teams.is_empty() {
            true => Vec::new(),
            false => team::Entity::find().filter(team::Column::Id.is_in(teams)).all(db).await?,
        };
        let people = account::Entity::find().filter(account::Column::Id.is_in(people)).all(db).await?;
        Ok((
            teams.into_iter().map(|team| (team.id, team)).collect(),
            people.into_iter().map(|account| (account.id, account)).collect(),
        ))
    }
}
