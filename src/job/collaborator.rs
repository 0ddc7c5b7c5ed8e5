//! References to collaborators and their steps, as clients give them.

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

/// A client's reference to a team or user.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names are complete")]
pub enum PrincipalRef {
    TeamId(String),
    TeamName(String),
    UserId(String),
    UserEmail(String),
    /// A team as the REST API returns it. Both values must belong to the same team.
    Team {
        id: String,
        name: String,
    },
    /// A user as the REST API returns it. Both values must belong to the same user.
    User {
        id: String,
        email: String,
    },
}

/// Returns step names without duplicates; only `*` if they contain `*`.
pub(crate) fn normalize_steps(steps: &[String]) -> Vec<String> {
    if steps.iter().any(|step| step == ALL_STEPS) {
        return vec![ALL_STEPS.to_owned()];
    }
    let mut normalized: Vec<String> = Vec::new();
    for step in steps {
        if !normalized.contains(step) {
            normalized.push(step.clone());
        }
    }
    normalized
}

/// Returns a problem for each step that the job type does not have.
pub(crate) fn step_problems(job_type: &JobType, steps: &[String], path: &str) -> Vec<Problem> {
    let unknown = |(_, step): &(usize, &String)| *step != ALL_STEPS && job_type.step(step).is_none();
    let names: Vec<_> = job_type.steps.iter().map(|step| step.name.as_str()).collect();
    let problem = |(i, step): (usize, &String)| {
        let (id, valid) = (&job_type.id, names.join(", "));
        let message =
            format!("Unknown step {step:?} for job type {id}. Valid steps: {valid}, or \"*\" for all.");
        Problem::new(format!("{path}/{i}"), "UNKNOWN_STEP", message)
    };
    steps.iter().enumerate().filter(unknown).map(problem).collect()
}

/// An existing team or user.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    /// The ID of the team or user.
    pub id: Uuid,
    /// `TEAM` or `USER`, as in `access`.
    pub kind: PrincipalKind,
    /// The name, for people.
    pub name: String,
}

impl Principal {
    /// Returns the data of an event about a change of the collaboration.
    pub(crate) fn change(&self, change: &str) -> Value {
        let Self { id, kind, name } = self;
        json!({"change": change, "collaborator": {"kind": kind, "id": id, "name": name}})
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

/// Finds the team or user of a reference. NOT_FOUND if there is none.
pub(crate) async fn find_principal(db: &impl ConnectionTrait, principal: &PrincipalRef) -> Result<Principal> {
    let team_not_found = || Error::not_found("team");
    let user_not_found = || Error::not_found("user");
    Ok(match principal {
        PrincipalRef::TeamId(id) | PrincipalRef::Team { id, .. } => {
            let id = TeamId::parse(id).ok_or_else(team_not_found)?;
            let team = team::Entity::find_by_id(id).one(db).await?.ok_or_else(team_not_found)?;
            match principal {
                PrincipalRef::Team { name, .. } if team.name != name.trim() => {
                    return Err(team_not_found());
                }
                _ => Principal::from(team),
            }
        }
        PrincipalRef::TeamName(name) => {
            let team = team::Entity::find().filter(team::Column::Name.eq(name.trim()));
            Principal::from(team.one(db).await?.ok_or_else(team_not_found)?)
        }
        PrincipalRef::UserId(id) | PrincipalRef::User { id, .. } => {
            let id = UserId::parse(id).ok_or_else(user_not_found)?;
            let account = find_user(db, &UserRef::Id(id)).await?;
            match principal {
                PrincipalRef::User { email, .. } if !account.email.eq_ignore_ascii_case(email.trim()) => {
                    return Err(user_not_found());
                }
                _ => Principal::from(account),
            }
        }
        PrincipalRef::UserEmail(email) => {
            Principal::from(find_user(db, &UserRef::Email(email.clone())).await?)
        }
    })
}
