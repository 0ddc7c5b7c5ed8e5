//! Collaborators of a job.

use async_graphql::{Context, SimpleObject};

use crate::access;
use crate::error::Result;
use crate::graphql::account::{Team, User};
use crate::graphql::context::RequestContext;
use crate::graphql::document::load_user;
use crate::graphql::loader::{self, AccessOf};
use crate::id::{JobId, TeamId, UserId};

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
    /// Loads the collaborators of a job that is known to be visible to the viewer.
    pub(super) async fn of(ctx: &Context<'_>, job: JobId) -> Result<Self> {
        let loaders = ctx.loaders()?;
        let rows = loaders.rows.load_one(AccessOf(job)).await?.unwrap_or_default();
        let (mut teams, mut users) = (Vec::new(), Vec::new());
        for row in rows {
            let steps = access::steps(&row.steps);
            match row.kind.as_str() {
                "TEAM" => {
                    let found = loaders.rows.load_one(loader::Team(TeamId(row.principal_id))).await?;
                    teams.extend(found.map(|team| TeamCollaborator { team: Team(team), steps }));
                }
                "USER" => {
                    users.push(UserCollaborator {
                        user: load_user(ctx, UserId(row.principal_id)).await?,
                        steps,
                    });
                }
                _ => {}
            }
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
