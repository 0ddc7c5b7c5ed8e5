//! Batched lookups: each kind of related row is read once, regardless of the number of jobs on a page.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::dataloader::{DataLoader, Loader};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::batch::Batches;
use crate::access::policy::{self, Standing};
use crate::access::{self, Actor};
use crate::app::App;
use crate::db::Db;
use crate::entity::{
    access as access_rows, account, content, document, job, job_event, review, review_items, task, team,
    team_member,
};
use crate::error::{Error, Result};
use crate::id::{ContentId, JobId, ReviewId, TeamId, UserId};
use crate::job::Jobs;
use crate::job::view::ContentWithDocument;

/// Loaders of one operation, which must be run by its [`Batches`].
pub(super) struct Loaders {
    pub(super) rows: DataLoader<Rows>,
}

impl Loaders {
    /// Creates the loaders of one operation.
    pub(super) fn new(app: &App, batches: &Batches) -> Self {
        let batches = batches.clone();
        let rows = Rows(app.db.clone(), app.jobs.clone());
        let rows = DataLoader::new(rows, move |lookup| batches.add(lookup));
        Self { rows: rows.delay(Duration::ZERO) }
    }

    /// Returns the standing of the actor on a job. Returns an error if the actor has no access.
    pub(super) async fn standing(&self, actor: &Actor, job: &job::Model) -> Result<Standing> {
        if let Some(standing) = policy::inherent_standing(job.owner_id == actor.user.id, actor.user.is_admin)
        {
            return Ok(standing);
        }
        // The rows are read again each time, because the loaders of a subscription live long. Removed team members lose
        // access immediately.
        let teams = self.rows.load_one(TeamsOf(actor.user.id)).await?.unwrap_or_default();
        let rows = self.rows.load_one(AccessOf(job.id)).await?.unwrap_or_default();
        let is_own = |row: &&access_rows::Model| {
            row.principal_id == actor.user.id.0 || teams.iter().any(|team| team.id.0 == row.principal_id)
        };
        access::standing_of(rows.iter().filter(is_own)).ok_or_else(|| Error::not_found("job"))
    }
}

/// Reads rows of all kinds in batches.
pub(super) struct Rows(Db, Jobs);

/// Contents of a job, of one role or of all roles.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ContentsOf {
    pub job: JobId,
    pub role: Option<String>,
    pub superseded: bool,
}

/// A range of the history of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EventsOf {
    pub job: JobId,
    pub after: i64,
    pub limit: i64,
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident($inner:ty)),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) struct $name(pub $inner);
    )*};
}

keys! {
    /// A user account.
    Account(UserId),
    /// A team.
    Team(TeamId),
    /// Members of a team, sorted by name.
    MembersOf(TeamId),
    /// Teams of a user, sorted by name.
    TeamsOf(UserId),
    /// Queued or leased step of a job.
    TaskOf(JobId),
    /// Owner and collaborators of a job.
    AccessOf(JobId),
    /// Open review of a job.
    ReviewOf(JobId),
    /// Items and draft of a review.
    MatterOf(ReviewId),
    /// A job, without an access check.
    JobOf(JobId),
    /// A content with its document.
    ContentOf(ContentId),
}

impl Loader<Account> for Rows {
    type Value = Arc<account::Model>;
    type Error = Error;

    async fn load(&self, keys: &[Account]) -> Result<HashMap<Account, Self::Value>> {
        let ids = keys.iter().map(|key| key.0);
        let rows = account::Entity::find().filter(account::Column::Id.is_in(ids)).all(self.0.read()).await?;
        Ok(rows.into_iter().map(|row| (Account(row.id), Arc::new(row))).collect())
    }
}

impl Loader<Team> for Rows {
    type Value = team::Model;
    type Error = Error;

    async fn load(&self, keys: &[Team]) -> Result<HashMap<Team, Self::Value>> {
        let ids = keys.iter().map(|key| key.0);
        let rows = team::Entity::find().filter(team::Column::Id.is_in(ids)).all(self.0.read()).await?;
        Ok(rows.into_iter().map(|row| (Team(row.id), row)).collect())
    }
}

impl Loader<MembersOf> for Rows {
    type Value = Vec<Arc<account::Model>>;
    type Error = Error;

    async fn load(&self, keys: &[MembersOf]) -> Result<HashMap<MembersOf, Self::Value>> {
        let ids = keys.iter().map(|key| key.0);
        let rows = team_member::Entity::find()
            .filter(team_member::Column::TeamId.is_in(ids))
            .find_also_related(account::Entity)
            .order_by_asc(account::Column::Name);
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        for (member, account) in rows.all(self.0.read()).await? {
            found.entry(MembersOf(member.team_id)).or_default().extend(account.map(Arc::new));
        }
        Ok(found)
    }
}

impl Loader<TeamsOf> for Rows {
    type Value = Vec<team::Model>;
    type Error = Error;

    async fn load(&self, keys: &[TeamsOf]) -> Result<HashMap<TeamsOf, Self::Value>> {
        let ids = keys.iter().map(|key| key.0);
        let rows = team_member::Entity::find()
            .filter(team_member::Column::AccountId.is_in(ids))
            .find_also_related(team::Entity)
            .order_by_asc(team::Column::Name);
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        for (member, team) in rows.all(self.0.read()).await? {
            found.entry(TeamsOf(member.account_id)).or_default().extend(team);
        }
        Ok(found)
    }
}

impl Loader<TaskOf> for Rows {
    type Value = task::Model;
    type Error = Error;

    async fn load(&self, keys: &[TaskOf]) -> Result<HashMap<TaskOf, Self::Value>> {
        let ids = keys.iter().map(|key| key.0);
        let rows = task::Entity::find().filter(task::Column::JobId.is_in(ids)).all(self.0.read()).await?;
        Ok(rows.into_iter().map(|row| (TaskOf(row.job_id), row)).collect())
    }
}

impl Loader<AccessOf> for Rows {
    type Value = Vec<access_rows::Model>;
    type Error = Error;

    async fn load(&self, keys: &[AccessOf]) -> Result<HashMap<AccessOf, Self::Value>> {
        let ids = keys.iter().map(|key| key.0);
        let rows = access_rows::Entity::find().filter(access_rows::Column::JobId.is_in(ids));
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        for row in rows.all(self.0.read()).await? {
            found.entry(AccessOf(row.job_id)).or_default().push(row);
        }
        Ok(found)
    }
}

impl Loader<ReviewOf> for Rows {
    type Value = review::Model;
    type Error = Error;

    async fn load(&self, keys: &[ReviewOf]) -> Result<HashMap<ReviewOf, Self::Value>> {
        let rows = review::Entity::find()
            .filter(review::Column::JobId.is_in(keys.iter().map(|key| key.0)))
            .filter(review::Column::Status.is_in(["OPEN", "CLAIMED"]));
        Ok(rows.all(self.0.read()).await?.into_iter().map(|row| (ReviewOf(row.job_id), row)).collect())
    }
}

impl Loader<MatterOf> for Rows {
    type Value = Arc<review_items::Model>;
    type Error = Error;

    async fn load(&self, keys: &[MatterOf]) -> Result<HashMap<MatterOf, Self::Value>> {
        let rows = review_items::Entity::find();
        let rows = rows.filter(review_items::Column::Id.is_in(keys.iter().map(|key| key.0)));
        Ok(rows.all(self.0.read()).await?.into_iter().map(|row| (MatterOf(row.id), Arc::new(row))).collect())
    }
}

impl Loader<JobOf> for Rows {
    type Value = job::Model;
    type Error = Error;

    async fn load(&self, keys: &[JobOf]) -> Result<HashMap<JobOf, Self::Value>> {
        let ids = keys.iter().map(|key| key.0);
        let rows = job::Entity::find().filter(job::Column::Id.is_in(ids)).all(self.0.read()).await?;
        Ok(rows.into_iter().map(|row| (JobOf(row.id), row)).collect())
    }
}

impl Loader<ContentOf> for Rows {
    type Value = ContentWithDocument;
    type Error = Error;

    async fn load(&self, keys: &[ContentOf]) -> Result<HashMap<ContentOf, Self::Value>> {
        let rows = content::Entity::find()
            .filter(content::Column::Id.is_in(keys.iter().map(|key| key.0)))
            .find_also_related(document::Entity);
        let pairs = rows.all(self.0.read()).await?.into_iter();
        Ok(pairs
            .filter_map(|(content, document)| Some((ContentOf(content.id), (content, document?))))
            .collect())
    }
}

impl Loader<ContentsOf> for Rows {
    type Value = Vec<ContentWithDocument>;
    type Error = Error;

    async fn load(&self, keys: &[ContentsOf]) -> Result<HashMap<ContentsOf, Self::Value>> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        // Jobs of one page usually have the same arguments. Each combination of arguments needs one statement.
        let mut jobs_by_arguments: HashMap<(&Option<String>, bool), Vec<JobId>> = HashMap::new();
        for key in keys {
            jobs_by_arguments.entry((&key.role, key.superseded)).or_default().push(key.job);
        }
        for ((role, superseded), jobs) in jobs_by_arguments {
            for row in self.1.contents(jobs, role.as_deref(), superseded).await? {
                let key = ContentsOf { job: row.0.job_id, role: role.clone(), superseded };
                found.entry(key).or_default().push(row);
            }
        }
        Ok(found)
    }
}

impl Loader<EventsOf> for Rows {
    type Value = Vec<job_event::Model>;
    type Error = Error;

    async fn load(&self, keys: &[EventsOf]) -> Result<HashMap<EventsOf, Self::Value>> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        let mut ranges_by_limit: HashMap<i64, Vec<(JobId, i64)>> = HashMap::new();
        for key in keys {
            ranges_by_limit.entry(key.limit).or_default().push((key.job, key.after));
        }
        for (limit, ranges) in ranges_by_limit {
            for row in self.1.histories(&ranges, limit).await? {
                let contains_row = |(job, after): &&(JobId, i64)| {
                    *job == row.job_id && row.sequence > *after && row.sequence <= after.saturating_add(limit)
                };
                for (job, after) in ranges.iter().filter(contains_row) {
                    found.entry(EventsOf { job: *job, after: *after, limit }).or_default().push(row.clone());
                }
            }
        }
        Ok(found)
    }
}
