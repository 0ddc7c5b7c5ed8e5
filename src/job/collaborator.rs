//! Whom a job can be shared with, and to what: teams and users as clients name them, steps as a type has them.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::policy::ALL_STEPS;
use crate::entity::enums::PrincipalKind;
use crate::entity::{account, team};
use crate::error::{Error, Problem, Result};
use crate::id::{TeamId, UserId};
use crate::job_type::JobType;
use crate::team::{UserRef, find_user};

/// A team or user, as clients name it.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PrincipalRef {
    TeamId(String),
    TeamName(String),
    UserId(String),
    UserEmail(String),
    /// As the REST API answers it. Both have to be of the same team.
    Team {
        id: String,
        name: String,
    },
    /// As the REST API answers it. Both have to be of the same user.
    User {
        id: String,
        email: String,
    },
}

/// Step names as they are kept: each once, and `*` alone where it is among them.
pub fn normalize_steps(steps: &[String]) -> Vec<String> {
    if steps.iter().any(|step| step == ALL_STEPS) {
        return vec![ALL_STEPS.to_owned()];
    }
    let mut normal: Vec<String> = Vec::new();
    for step in steps {
        if !normal.contains(step) {
            normal.push(step.clone());
        }
    }
    normal
}

/// Steps that a type does not have.
pub fn step_problems(job_type: &JobType, steps: &[String], path: &str) -> Vec<Problem> {
    let unknown = |(_, step): &(usize, &String)| *step != ALL_STEPS && job_type.step(step).is_none();
    let names: Vec<_> = job_type.steps.iter().map(|step| step.name.as_str()).collect();
    let problem = |(i, step): (usize, &String)| {
        let message =
            format!("The type has no step {step:?}; it has: {}, and \"*\" for all.", names.join(", "));
        Problem::new(format!("{path}/{i}"), "UNKNOWN_STEP", message)
    };
    steps.iter().enumerate().filter(unknown).map(problem).collect()
}

/// A team or user that was found.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Of the team or user.
    pub id: Uuid,
    /// `TEAM` or `USER`, as rows of `access` have it.
    pub kind: PrincipalKind,
    /// For people.
    pub name: String,
}

impl Principal {
    /// The data of an event that says what became of their collaboration.
    pub fn change(&self, what: &str) -> Value {
        let Self { id, kind, name } = self;
        json!({"change": what, "collaborator": {"kind": kind, "id": id, "name": name}})
    }
}

impl From<team::Model> for Principal {
    fn from(team: team::Model) -> Self {
        Self { id: team.id.0, kind: PrincipalKind::Team, name: team.name }
    }
}

impl From<account::Model> for Principal {
    fn from(account: account::Model) -> Self {
        Self { id: account.id.0, kind: PrincipalKind::User, name: account.name }
    }
}

/// The team or user that is meant.
pub async fn find_principal(db: &impl ConnectionTrait, principal: &PrincipalRef) -> Result<Principal> {
    let no_team = || Error::not_found("team");
    let no_user = || Error::not_found("user");
    Ok(match principal {
        PrincipalRef::TeamId(id) | PrincipalRef::Team { id, .. } => {
            let id = TeamId::parse(id).ok_or_else(no_team)?;
            let team = team::Entity::find_by_id(id).one(db).await?.ok_or_else(no_team)?;
            match principal {
                PrincipalRef::Team { name, .. } if team.name != name.trim() => {
                    return Err(no_team());
                }
                _ => Principal::from(team),
            }
        }
        PrincipalRef::TeamName(name) => {
            let named = team::Entity::find().filter(team::Column::Name.eq(name.trim()));
            Principal::from(named.one(db).await?.ok_or_else(no_team)?)
        }
        PrincipalRef::UserId(id) | PrincipalRef::User { id, .. } => {
            let id = UserId::parse(id).ok_or_else(no_user)?;
            let account = find_user(db, &UserRef::Id(id)).await?;
            match principal {
                PrincipalRef::User { email, .. } if !account.email.eq_ignore_ascii_case(email.trim()) => {
                    return Err(no_user());
                }
                _ => Principal::from(account),
            }
        }
        PrincipalRef::UserEmail(email) => {
            Principal::from(find_user(db, &UserRef::Email(email.clone())).await?)
        }
    })
}
