//! Who may do what. Authorization is a value: a command takes a [`Grant`], and only [`job`] here can make one.

pub mod policy;

use std::marker::PhantomData;
use std::sync::Arc;

use sea_orm::sea_query::{Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter};

use crate::clock::Timestamp;
use crate::entity::{access, account, job, team_member};
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, JobId};
use crate::job::state::Mode;
use policy::{Action, Standing, Verdict};

/// Somebody who has proved who they are.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Their account.
    pub user: Arc<account::Model>,
    /// Whether what they make is for real.
    pub mode: Mode,
    /// How they proved it.
    pub credential: Credential,
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

/// Checks that `actor` may do `A` to a job. One that they may not see does not exist for them.
pub async fn job<A: Permission>(db: &impl ConnectionTrait, actor: &Actor, id: JobId) -> Result<Grant<A>> {
    let missing = || Error::not_found("job");
    let job = job::Entity::find_by_id(id).one(db).await?.ok_or_else(missing)?;
    let standing = standing(db, actor, &job).await?.ok_or_else(missing)?;
    match policy::permits(&standing, A::ACTION) {
        Verdict::Yes => Ok(Grant { job, standing, actor: actor.clone(), action: PhantomData }),
        Verdict::No => {
            Err(Error::Forbidden(format!("You may see this job, but not {} it.", A::ACTION.verb())))
        }
    }
}

/// What an actor is to a job; `None` where it does not exist for them.
pub async fn standing(
    db: &impl ConnectionTrait,
    actor: &Actor,
    job: &job::Model,
) -> Result<Option<Standing>> {
    if job.owner_id == actor.user.id {
        return Ok(Some(Standing::Owner));
    }
    if actor.user.is_admin {
        return Ok(Some(Standing::Admin));
    }
    let mine = Condition::all().add(access::Column::JobId.eq(job.id)).add(principals(actor));
    let rows = access::Entity::find().filter(mine).all(db).await?;
    Ok(standing_of(rows.iter()))
}

/// The standing that an actor's own rows of one job add up to.
pub fn standing_of<'a>(rows: impl Iterator<Item = &'a access::Model>) -> Option<Standing> {
    policy::standing(rows.map(|row| steps(&row.steps)))
}

/// The rows of `access` that are an actor's: their own and those of the teams that they belong to now.
fn principals(actor: &Actor) -> Condition {
    let teams = Query::select()
        .column(team_member::Column::TeamId)
        .from(team_member::Entity)
        .and_where(team_member::Column::AccountId.eq(actor.user.id))
        .to_owned();
    Condition::any()
        .add(access::Column::PrincipalId.eq(actor.user.id.0))
        .add(access::Column::PrincipalId.in_subquery(teams))
}

/// The IDs of the jobs that an actor may see; `None` stands for all.
pub fn visible_to(actor: &Actor) -> Option<SelectStatement> {
    (!actor.user.is_admin).then(|| {
        Query::select()
            .column(access::Column::JobId)
            .from(access::Entity)
            .cond_where(principals(actor))
            .to_owned()
    })
}

/// The jobs that an actor was let in to, as a condition on the job table; an admin's standing does not count.
pub fn shared_jobs(actor: &Actor) -> Condition {
    let ids = Query::select()
        .column(access::Column::JobId)
        .from(access::Entity)
        .cond_where(principals(actor))
        .to_owned();
    Condition::all().add(job::Column::Id.in_subquery(ids))
}

/// [`visible_to`] as a condition on the job table.
pub fn visible_jobs(actor: &Actor) -> Condition {
    match visible_to(actor) {
        Some(ids) => Condition::all().add(job::Column::Id.in_subquery(ids)),
        None => Condition::all(),
    }
}

/// The step names of a row.
pub fn steps(json: &serde_json::Value) -> Vec<String> {
    let names = json.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}
