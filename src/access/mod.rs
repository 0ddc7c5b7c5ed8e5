//! Authorization: a command takes a [`Grant`], and only [`job`] in this module can create one.

pub mod policy;
mod viewer;

pub(crate) use viewer::Viewer;

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::audit::AuditOrigin;
use crate::clock::Timestamp;
use crate::entity::enums::Mode;
use crate::entity::enums::PrincipalKind;
use crate::entity::{access, account, job, review, team_member};
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, JobId, ReviewId, UserId};
use policy::{ALL_STEPS, AccessDecision, Action, Standing};

/// The authenticated user of a request.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The user's account.
    pub user: Arc<account::Model>,
    /// The mode of the jobs that the actor creates.
    pub mode: Mode,
    /// The credential that authenticated the actor.
    pub credential: Credential,
    /// The client's address, if known.
    pub address: Option<IpAddr>,
}

impl From<&Actor> for AuditOrigin {
    fn from(actor: &Actor) -> Self {
        Self { actor: Some(actor.user.id), address: actor.address }
    }
}

/// The credential that authenticated an actor.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The API key, if the credential is one.
    pub api_key: Option<ApiKeyId>,
    /// When the credential expires; `None` means never.
    pub expires_at: Option<Timestamp>,
}

/// A type that names a permitted action.
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
    /// Permission to see a job.
    View,
    /// Permission to change the metadata and priority of a job.
    Edit,
    /// Permission to cancel, retry or rewind a job.
    Cancel,
    /// Permission to add and remove collaborators.
    Share,
    /// Permission to delete a job.
    Delete,
}

/// Proof that an actor may perform the action `A` on a job.
#[derive(Debug, Clone)]
pub struct Grant<A> {
    job: job::Model,
    standing: Standing,
    actor: Actor,
    action: PhantomData<A>,
}

impl<A> Grant<A> {
    /// Returns the job as it was when access was checked.
    pub fn job(&self) -> &job::Model {
        &self.job
    }

    /// Returns the actor to whom access was granted.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Returns the actor's access to the job.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

impl<A: Permission> Grant<A> {
    /// Fails unless a standing that was read later, under the lock of the job, still allows the action.
    pub(crate) fn check_standing(&self, standing: Option<&Standing>) -> Result<()> {
        check_permission::<A>(standing.ok_or_else(|| Error::not_found("job"))?)
    }
}

fn check_permission<A: Permission>(standing: &Standing) -> Result<()> {
    match policy::permits(standing, A::ACTION) {
        AccessDecision::Allowed => Ok(()),
        AccessDecision::Denied => {
            Err(Error::Forbidden(format!("You may see this job, but you may not {} it.", A::ACTION.verb())))
        }
    }
}

/// Checks that `actor` may perform `A` on a job. A job that the actor may not see is NOT_FOUND.
pub async fn job<A: Permission>(db: &impl ConnectionTrait, actor: &Actor, id: JobId) -> Result<Grant<A>> {
    let not_found = || Error::not_found("job");
    let job = job::Entity::find_by_id(id).one(db).await?;
    let standing = standing_in(db, actor, job.as_ref()).await?;
    let (job, standing) = job.zip(standing).ok_or_else(not_found)?;
    check_permission::<A>(&standing)?;
    Ok(Grant { job, standing, actor: actor.clone(), action: PhantomData })
}

/// Returns the [`standing`] in a job that may not exist. A missing job takes a query too, so that response times do
/// not reveal which jobs exist.
pub(crate) async fn standing_in(
    db: &impl ConnectionTrait,
    actor: &Actor,
    job: Option<&job::Model>,
) -> Result<Option<Standing>> {
    match job {
        Some(job) => standing(db, actor, job).await,
        None => {
            let nil_job = access::Column::JobId.eq(JobId(Uuid::nil()));
            let no_rows = Condition::all().add(nil_job).add(principal_rows(actor.user.id));
            access::Entity::find().filter(no_rows).all(db).await?;
            Ok(None)
        }
    }
}

/// Returns an actor's access to a job; `None` if the actor may not know of the job.
pub async fn standing(
    db: &impl ConnectionTrait,
    actor: &Actor,
    job: &job::Model,
) -> Result<Option<Standing>> {
    standing_of_account(db, &actor.user, job).await
}

/// Returns the access of an account to a job; `None` if its user may not know of the job.
pub(crate) async fn standing_of_account(
    db: &impl ConnectionTrait,
    account: &account::Model,
    job: &job::Model,
) -> Result<Option<Standing>> {
    if let Some(standing) = policy::inherent_standing(account.id == job.owner_id, account.is_admin) {
        return Ok(Some(standing));
    }
    let mine = Condition::all().add(access::Column::JobId.eq(job.id)).add(principal_rows(account.id));
    let rows = access::Entity::find().filter(mine).all(db).await?;
    Ok(standing_of(rows.iter()))
}

/// Returns an actor's access to each of `jobs`, without the jobs of which the actor may not know.
pub(crate) async fn standings(
    db: &impl ConnectionTrait,
    actor: &Actor,
    jobs: &[job::Model],
) -> Result<HashMap<JobId, Standing>> {
    let inherent =
        |job: &job::Model| policy::inherent_standing(job.owner_id == actor.user.id, actor.user.is_admin);
    let (own, shared): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| inherent(job).is_some());
    let mut all: HashMap<JobId, Standing> =
        own.into_iter().filter_map(|job| Some((job.id, inherent(job)?))).collect();
    if shared.is_empty() {
        return Ok(all);
    }
    let ids = shared.iter().map(|job| job.id);
    let mine = Condition::all().add(access::Column::JobId.is_in(ids)).add(principal_rows(actor.user.id));
    let rows = access::Entity::find().filter(mine).all(db).await?;
    for job in shared {
        let standing = standing_of(rows.iter().filter(|row| row.job_id == job.id));
        all.extend(standing.map(|standing| (job.id, standing)));
    }
    Ok(all)
}

/// The owner and the collaborators of a job, read once and shared by its subscribers.
#[derive(Debug, Default)]
pub struct Audience {
    steps: HashMap<UserId, Vec<String>>,
}

impl Audience {
    /// Reads the owner and the collaborators of each job, with teams resolved to their members.
    pub async fn of(
        db: &impl ConnectionTrait,
        jobs: impl IntoIterator<Item = JobId>,
    ) -> Result<HashMap<JobId, Self>> {
        let rows = access::Entity::find().filter(access::Column::JobId.is_in(jobs)).all(db).await?;
        let teams: BTreeSet<Uuid> =
            rows.iter().filter(|row| row.kind == PrincipalKind::Team).map(|row| row.principal_id).collect();
        let mut members: HashMap<Uuid, Vec<UserId>> = HashMap::new();
        if !teams.is_empty() {
            let team_members = team_member::Entity::find().filter(team_member::Column::TeamId.is_in(teams));
            for member in team_members.all(db).await? {
                members.entry(member.team_id.0).or_default().push(member.account_id);
            }
        }
        let mut all: HashMap<JobId, Self> = HashMap::new();
        for row in rows {
            let (steps, audience) = (steps(&row.steps), all.entry(row.job_id).or_default());
            let team_users = members.get(&row.principal_id).map(Vec::as_slice).unwrap_or_default();
            let single_user = [UserId(row.principal_id)];
            for user in if row.kind == PrincipalKind::Team { team_users } else { &single_user } {
                audience.steps.entry(*user).or_default().extend(steps.iter().cloned());
            }
        }
        Ok(all)
    }

    /// Returns whether the actor is the owner or a collaborator. An admin sees the job without being either.
    pub fn has(&self, actor: &Actor) -> bool {
        self.steps.contains_key(&actor.user.id)
    }

    /// Returns an actor's access to the job; `None` if the actor may not know of the job.
    pub fn standing(&self, actor: &Actor, owner: UserId) -> Option<Standing> {
        policy::inherent_standing(actor.user.id == owner, actor.user.is_admin)
            .or_else(|| policy::standing(self.steps.get(&actor.user.id).into_iter().cloned()))
    }
}

/// Proof that an actor has access to the step of a review.
#[derive(Debug, Clone)]
pub struct ReviewGrant {
    review: review::Model,
    job: job::Model,
    actor: Actor,
}

impl ReviewGrant {
    /// Returns the review as it was when access was checked.
    pub fn review(&self) -> &review::Model {
        &self.review
    }

    /// Returns the job of the review as it was when access was checked.
    pub fn job(&self) -> &job::Model {
        &self.job
    }

    /// Returns the actor to whom access was granted.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Fails unless a standing that was read later, under the lock of the job, still gives access to the step.
    pub(crate) fn check_standing(&self, standing: Option<&Standing>) -> Result<()> {
        if standing.is_some_and(|standing| policy::works_on(standing, &self.review.step)) {
            return Ok(());
        }
        Err(Error::not_found("review"))
    }
}

/// Checks that `actor` has access to the step of a review. A review of another step is NOT_FOUND.
pub async fn review(db: &impl ConnectionTrait, actor: &Actor, id: ReviewId) -> Result<ReviewGrant> {
    let not_found = || Error::not_found("review");
    let found = review::Entity::find_by_id(id).find_also_related(job::Entity).one(db).await?;
    let (review, job) = found.map_or((None, None), |(review, job)| (Some(review), job));
    let standing = standing_in(db, actor, job.as_ref()).await?.ok_or_else(not_found)?;
    let (review, job) = review.zip(job).ok_or_else(not_found)?;
    if policy::works_on(&standing, &review.step) {
        Ok(ReviewGrant { review, job, actor: actor.clone() })
    } else {
        Err(not_found())
    }
}

/// Returns a condition for the rows whose step the actor has access to; the table has the columns `job_id` and `step`.
pub(crate) fn accessible_step_rows(actor: &Actor, backend: DbBackend, table: &'static str) -> Condition {
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
        .cond_where(principal_rows(actor.user.id))
        .and_where(Expr::cust(step))
        .to_owned();
    Condition::all().add(Expr::exists(shared))
}

/// Returns the access that the `access` rows of one actor for one job add up to.
pub(crate) fn standing_of<'a>(rows: impl Iterator<Item = &'a access::Model>) -> Option<Standing> {
    policy::standing(rows.map(|row| steps(&row.steps)))
}

/// Returns a condition for the `access` rows of a user and of the user's current teams.
fn principal_rows(user: UserId) -> Condition {
    let teams = Query::select()
        .column(team_member::Column::TeamId)
        .from(team_member::Entity)
        .and_where(team_member::Column::AccountId.eq(user))
        .to_owned();
    Condition::any()
        .add(access::Column::PrincipalId.eq(user.0))
        .add(access::Column::PrincipalId.in_subquery(teams))
}

/// Returns a condition for the rows whose job the actor may see; `column` holds the ID of the job.
pub(crate) fn visible_job_rows(actor: &Actor, table: &'static str, column: &'static str) -> Condition {
    if actor.user.is_admin {
        return Condition::all();
    }
    shared_job_rows(actor, table, column)
}

/// Returns a condition for the rows whose job the actor owns or collaborates on; being an admin does not count.
pub(crate) fn shared_job_rows(actor: &Actor, table: &'static str, column: &'static str) -> Condition {
    let shared = Query::select()
        .expr(Expr::val(1))
        .from(access::Entity)
        .and_where(
            Expr::col((access::Entity, access::Column::JobId))
                .equals((Alias::new(table), Alias::new(column))),
        )
        .cond_where(principal_rows(actor.user.id))
        .to_owned();
    Condition::all().add(Expr::exists(shared))
}

/// Returns the IDs under which an actor holds access to jobs: the user's and those of the user's current teams.
pub(crate) async fn principal_ids(db: &impl ConnectionTrait, actor: &Actor) -> Result<Vec<Uuid>> {
    let teams = team_member::Entity::find().filter(team_member::Column::AccountId.eq(actor.user.id));
    let mut ids = vec![actor.user.id.0];
    ids.extend(teams.all(db).await?.into_iter().map(|member| member.team_id.0));
    Ok(ids)
}

/// Returns a condition for the rows of the job table that the actor may see.
pub(crate) fn visible_jobs(actor: &Actor) -> Condition {
    visible_job_rows(actor, "job", "id")
}

/// Returns the step names in the `steps` column of a row.
pub fn steps(json: &serde_json::Value) -> Vec<String> {
    let names = json.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}
