//! Who may do what. Authorization is a value: a command takes a [`Grant`], and only [`job`] here can make one.

pub mod policy;

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::audit::By;
use crate::clock::Timestamp;
use crate::entity::enums::PrincipalKind;
use crate::entity::{access, account, job, review, team_member};
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, JobId, ReviewId, UserId};
use crate::job::state::Mode;
use policy::{ALL_STEPS, Action, Standing, Verdict};

/// Somebody who has proved who they are.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Their account.
    pub user: Arc<account::Model>,
    /// Whether what they make is for real.
    pub mode: Mode,
    /// How they proved it.
    pub credential: Credential,
    /// Where they are, where that is known.
    pub address: Option<IpAddr>,
}

impl From<&Actor> for By {
    fn from(actor: &Actor) -> Self {
        Self { actor: Some(actor.user.id), address: actor.address }
    }
}

/// What an actor's word rests on.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Set where it was an API key.
    pub api_key: Option<ApiKeyId>,
    /// Nothing may be done with it from then on.
    pub expires_at: Option<Timestamp>,
}

/// Says by its type what has been allowed.
pub trait Permission {
    /// The action that was checked.
    const ACTION: Action;
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl Permission for $name {
            const ACTION: Action = Action::$name;
        }
    )*};
}

permissions! {
    /// To see a job.
    View,
    /// To change its metadata.
    Edit,
    /// To cancel, retry or rewind it.
    Cancel,
    /// To let others in.
    Share,
    /// To remove it.
    Delete,
}

/// Proof that an actor may do `A` to a job.
#[derive(Debug, Clone)]
pub struct Grant<A> {
    job: job::Model,
    standing: Standing,
    actor: Actor,
    action: PhantomData<A>,
}

impl<A> Grant<A> {
    /// The job as it was when access was checked.
    pub fn job(&self) -> &job::Model {
        &self.job
    }

    /// Who asked.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What they are to the job.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

impl<A: Permission> Grant<A> {
    /// Checks once more, under the job's lock: they may have been let out since.
    pub async fn still_holds(&self, tx: &impl ConnectionTrait, job: &job::Model) -> Result<()> {
        let standing = standing(tx, &self.actor, job).await?;
        permitted::<A>(&standing.ok_or_else(|| Error::not_found("job"))?)
    }
}

fn permitted<A: Permission>(standing: &Standing) -> Result<()> {
    match policy::permits(standing, A::ACTION) {
        Verdict::Yes => Ok(()),
        Verdict::No => {
            Err(Error::Forbidden(format!("You may see this job, but not {} it.", A::ACTION.verb())))
        }
    }
}

/// Checks that `actor` may do `A` to a job. One that they may not see does not exist for them.
pub async fn job<A: Permission>(db: &impl ConnectionTrait, actor: &Actor, id: JobId) -> Result<Grant<A>> {
    let missing = || Error::not_found("job");
    let job = job::Entity::find_by_id(id).one(db).await?;
    let standing = standing_in(db, actor, job.as_ref()).await?;
    let (job, standing) = job.zip(standing).ok_or_else(missing)?;
    permitted::<A>(&standing)?;
    Ok(Grant { job, standing, actor: actor.clone(), action: PhantomData })
}

/// [`standing`] in a job that may not exist; then it is looked up all the same, so that nobody learns by the time that it
/// takes which jobs of others there are.
pub async fn standing_in(
    db: &impl ConnectionTrait,
    actor: &Actor,
    job: Option<&job::Model>,
) -> Result<Option<Standing>> {
    match job {
        Some(job) => standing(db, actor, job).await,
        None => {
            let nowhere = access::Column::JobId.eq(JobId(Uuid::nil()));
            let nothing = Condition::all().add(nowhere).add(principals(actor.user.id));
            access::Entity::find().filter(nothing).all(db).await?;
            Ok(None)
        }
    }
}

/// What an actor is to a job; `None` where it does not exist for them.
pub async fn standing(
    db: &impl ConnectionTrait,
    actor: &Actor,
    job: &job::Model,
) -> Result<Option<Standing>> {
    standing_of_account(db, &actor.user, job).await
}

/// What the holder of an account is to a job; `None` where it does not exist for them.
pub async fn standing_of_account(
    db: &impl ConnectionTrait,
    account: &account::Model,
    job: &job::Model,
) -> Result<Option<Standing>> {
    if let Some(standing) = policy::by_itself(account.id == job.owner_id, account.is_admin) {
        return Ok(Some(standing));
    }
    let mine = Condition::all().add(access::Column::JobId.eq(job.id)).add(principals(account.id));
    let rows = access::Entity::find().filter(mine).all(db).await?;
    Ok(standing_of(rows.iter()))
}

/// What an actor is to each of some jobs; those that do not exist for them are left out.
pub async fn standings(
    db: &impl ConnectionTrait,
    actor: &Actor,
    jobs: &[job::Model],
) -> Result<HashMap<JobId, Standing>> {
    let itself = |job: &job::Model| policy::by_itself(job.owner_id == actor.user.id, actor.user.is_admin);
    let (own, shared): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| itself(job).is_some());
    let mut all: HashMap<JobId, Standing> =
        own.into_iter().filter_map(|job| Some((job.id, itself(job)?))).collect();
    if shared.is_empty() {
        return Ok(all);
    }
    let ids = shared.iter().map(|job| job.id);
    let mine = Condition::all().add(access::Column::JobId.is_in(ids)).add(principals(actor.user.id));
    let rows = access::Entity::find().filter(mine).all(db).await?;
    for job in shared {
        let standing = standing_of(rows.iter().filter(|row| row.job_id == job.id));
        all.extend(standing.map(|standing| (job.id, standing)));
    }
    Ok(all)
}

/// Everybody who was let in to a job, as of one reading: so that many subscribers need but one.
#[derive(Debug, Default)]
pub struct Audience {
    steps: HashMap<UserId, Vec<String>>,
}

impl Audience {
    /// Reads who was let in to each of some jobs, teams resolved to their members.
    pub async fn of(
        db: &impl ConnectionTrait,
        jobs: impl IntoIterator<Item = JobId>,
    ) -> Result<HashMap<JobId, Self>> {
        let rows = access::Entity::find().filter(access::Column::JobId.is_in(jobs)).all(db).await?;
        let teams: BTreeSet<Uuid> =
            rows.iter().filter(|row| row.kind == PrincipalKind::Team).map(|row| row.principal_id).collect();
        let mut members: HashMap<Uuid, Vec<UserId>> = HashMap::new();
        if !teams.is_empty() {
            let of_teams = team_member::Entity::find().filter(team_member::Column::TeamId.is_in(teams));
            for member in of_teams.all(db).await? {
                members.entry(member.team_id.0).or_default().push(member.account_id);
            }
        }
        let mut all: HashMap<JobId, Self> = HashMap::new();
        for row in rows {
            let (steps, audience) = (steps(&row.steps), all.entry(row.job_id).or_default());
            let of_team = members.get(&row.principal_id).map(Vec::as_slice).unwrap_or_default();
            let itself = [UserId(row.principal_id)];
            for user in if row.kind == PrincipalKind::Team { of_team } else { &itself } {
                audience.steps.entry(*user).or_default().extend(steps.iter().cloned());
            }
        }
        Ok(all)
    }

    /// Whether an actor was let in. An admin sees the job without.
    pub fn has(&self, actor: &Actor) -> bool {
        self.steps.contains_key(&actor.user.id)
    }

    /// What an actor is to the job; `None` where it does not exist for them.
    pub fn standing(&self, actor: &Actor, owner: UserId) -> Option<Standing> {
        policy::by_itself(actor.user.id == owner, actor.user.is_admin)
            .or_else(|| policy::standing(self.steps.get(&actor.user.id).into_iter().cloned()))
    }
}

/// Proof that an actor works on the step of a review.
#[derive(Debug, Clone)]
pub struct ReviewGrant {
    review: review::Model,
    job: job::Model,
    actor: Actor,
}

impl ReviewGrant {
    /// The review as it was when access was checked.
    pub fn review(&self) -> &review::Model {
        &self.review
    }

    /// Its job as it was then.
    pub fn job(&self) -> &job::Model {
        &self.job
    }

    /// Who asked.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Checks once more, under the job's lock: they may have been let out since.
    pub async fn still_holds(&self, tx: &impl ConnectionTrait, job: &job::Model) -> Result<()> {
        let standing = standing(tx, &self.actor, job).await?;
        if standing.is_some_and(|standing| policy::works_on(&standing, &self.review.step)) {
            return Ok(());
        }
        Err(Error::not_found("review"))
    }
}

/// Checks that `actor` works on the step of a review. One of a step that is not theirs does not exist for them.
pub async fn review(db: &impl ConnectionTrait, actor: &Actor, id: ReviewId) -> Result<ReviewGrant> {
    let missing = || Error::not_found("review");
    let found = review::Entity::find_by_id(id).find_also_related(job::Entity).one(db).await?;
    let (review, job) = found.map_or((None, None), |(review, job)| (Some(review), job));
    let standing = standing_in(db, actor, job.as_ref()).await?.ok_or_else(missing)?;
    let (review, job) = review.zip(job).ok_or_else(missing)?;
    if policy::works_on(&standing, &review.step) {
        Ok(ReviewGrant { review, job, actor: actor.clone() })
    } else {
        Err(missing())
    }
}

/// The rows of a table with the columns `job_id` and `step` whose step an actor works on, as a condition.
pub fn works_on_rows(actor: &Actor, backend: DbBackend, table: &'static str) -> Condition {
    if actor.user.is_admin {
        return Condition::all();
    }
    let step = match backend {
        DbBackend::Postgres => {
            format!("jsonb_exists_any(\"access\".\"steps\", ARRAY['{ALL_STEPS}', \"{table}\".\"step\"])")
        }
        _ => format!(
            "EXISTS (SELECT 1 FROM json_each(\"access\".\"steps\") WHERE value IN ('{ALL_STEPS}', \"{table}\".\"step\"))"
        ),
    };
    let shared = Query::select()
        .expr(Expr::val(1))
        .from(access::Entity)
        .and_where(
            Expr::col((access::Entity, access::Column::JobId))
                .equals((Alias::new(table), Alias::new("job_id"))),
        )
        .cond_where(principals(actor.user.id))
        .and_where(Expr::cust(step))
        .to_owned();
    Condition::all().add(Expr::exists(shared))
}

/// The standing that an actor's own rows of one job add up to.
pub fn standing_of<'a>(rows: impl Iterator<Item = &'a access::Model>) -> Option<Standing> {
    policy::standing(rows.map(|row| steps(&row.steps)))
}

/// The rows of `access` that are somebody's: their own and those of the teams that they belong to now.
fn principals(user: UserId) -> Condition {
    let teams = Query::select()
        .column(team_member::Column::TeamId)
        .from(team_member::Entity)
        .and_where(team_member::Column::AccountId.eq(user))
        .to_owned();
    Condition::any()
        .add(access::Column::PrincipalId.eq(user.0))
        .add(access::Column::PrincipalId.in_subquery(teams))
}

/// The rows of a table whose job an actor may see, as a condition; `column` holds the job's ID.
pub fn sees_rows(actor: &Actor, table: &'static str, column: &'static str) -> Condition {
    if actor.user.is_admin {
        return Condition::all();
    }
    shared_rows(actor, table, column)
}

/// Those whose job an actor made or was let in to; an admin's standing does not count.
pub fn shared_rows(actor: &Actor, table: &'static str, column: &'static str) -> Condition {
    let shared = Query::select()
        .expr(Expr::val(1))
        .from(access::Entity)
        .and_where(
            Expr::col((access::Entity, access::Column::JobId))
                .equals((Alias::new(table), Alias::new(column))),
        )
        .cond_where(principals(actor.user.id))
        .to_owned();
    Condition::all().add(Expr::exists(shared))
}

/// Under whose names an actor was let in to jobs: their own, and the teams that they belong to now.
pub async fn names(db: &impl ConnectionTrait, actor: &Actor) -> Result<Vec<Uuid>> {
    let teams = team_member::Entity::find().filter(team_member::Column::AccountId.eq(actor.user.id));
    let mut names = vec![actor.user.id.0];
    names.extend(teams.all(db).await?.into_iter().map(|member| member.team_id.0));
    Ok(names)
}

/// [`sees_rows`] of the job table.
pub fn visible_jobs(actor: &Actor) -> Condition {
    sees_rows(actor, "job", "id")
}

/// The step names of a row.
pub fn steps(json: &serde_json::Value) -> Vec<String> {
    let names = json.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}
