//! Everything that some jobs say of themselves to one viewer, in a fixed number of statements however many they are.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::progress::{StepNow, steps_now, withhold};
use super::{Jobs, contents};
use crate::access::{self, Actor};
use crate::entity::{access as access_rows, account, content, document, job, task, team};
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
        let (teams, people) = self.principals(&rows, &jobs).await?;
        let mut held: HashMap<JobId, Vec<_>> = HashMap::new();
        for (content, document) in self.contents(ids, None, false).await? {
            held.entry(content.job_id).or_default().push((content, document));
        }
        let mut all = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Some(standing) = standings.get(&job.id) else { continue };
            let job_type = self.types.version(&job.type_id, job.type_version).await?;
            let mut steps = steps_now(&job, tasks.get(&job.id))?;
            withhold(standing, &mut steps);
            let mut contents = held.remove(&job.id).unwrap_or_default();
            contents.retain(|(content, _)| contents::visible(standing, &job_type, &content.role));
            let owner = people.get(&job.owner_id).cloned();
            let owner = owner.ok_or_else(|| Error::internal("a job whose owner is gone"))?;
            let mine = rows.iter().filter(|row| row.job_id == job.id);
            let (mut of_teams, mut of_users) = (Vec::new(), Vec::new());
            for row in mine {
                let (id, steps) = (row.principal_id, access::steps(&row.steps));
                match row.kind.as_str() {
                    "TEAM" => of_teams.extend(teams.get(&TeamId(id)).cloned().map(|team| (team, steps))),
                    "USER" => of_users.extend(people.get(&UserId(id)).cloned().map(|user| (user, steps))),
                    _ => {}
                }
            }
            let (teams, users) = (of_teams, of_users);
            all.push(Details { job, job_type, owner, steps, contents, teams, users });
        }
        Ok(all)
    }

    /// The teams and people that rows of `access` name, and the owners of the jobs.
    async fn principals(
        &self,
        rows: &[access_rows::Model],
        jobs: &[job::Model],
    ) -> Result<(HashMap<TeamId, team::Model>, HashMap<UserId, account::Model>)> {
        let db = self.db.read();
        let of_kind =
            |kind: &'static str| rows.iter().filter(move |row| row.kind == kind).map(|row| row.principal_id);
        let teams: Vec<Uuid> = of_kind("TEAM").collect();
        let people: Vec<Uuid> = of_kind("USER").chain(jobs.iter().map(|job| job.owner_id.0)).collect();
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
