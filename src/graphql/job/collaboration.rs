//! Collaborators of a job.

use async_graphql::{Context, SimpleObject};

use crate::error::Result;
use crate::graphql::account::{Team, User};
use crate::graphql::context::RequestContext;
use crate::graphql::document::load_user;
use crate::graphql::loader;
use crate::job::view::Collaborators;

/// Collaborators of a job: the teams and users that it is shared with.
#[derive(SimpleObject)]
pub(super) struct Collaboration {
    /// Teams that the job is shared with.
    /// Only current members of a team have access.
    teams: Vec<TeamCollaborator>,
    /// Users that the job is shared with individually.
    users: Vec<UserCollaborator>,
}

impl Collaboration {
    /// Loads the teams and users. A team that was deleted meanwhile is left out.
    pub(super) async fn load(ctx: &Context<'_>, collaborators: Collaborators) -> Result<Self> {
        let (mut teams, mut users) = (Vec::new(), Vec::new());
        for (id, steps) in collaborators.teams {
            let found = ctx.loaders()?.rows.load_one(loader::Team(id)).await?;
            teams.extend(found.map(|team| TeamCollaborator { team: Team(team), steps }));
        }
        for (id, steps) in collaborators.users {
            users.push(UserCollaborator { user: load_user(ctx, id).await?, steps });
        }
        Ok(Self { teams, users })
    }
}

/// A team that a job is shared with.
#[derive(SimpleObject)]
struct TeamCollaborator {
    /// The team.
    team: Team,
    /// Names of the steps that the team has access to; `*` stands for all steps.
    steps: Vec<String>,
}

/// A user that a job is shared with.
#[derive(SimpleObject)]
struct UserCollaborator {
    /// The user.
    user: User,
    /// Names of the steps that the user has access to; `*` stands for all steps.
    steps: Vec<String>,
}
