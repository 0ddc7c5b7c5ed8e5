//! Who was let in to a job.

use async_graphql::{Context, SimpleObject};

use crate::access;
use crate::error::Result;
use crate::graphql::account::{Team, User};
use crate::graphql::context::RequestContext;
use crate::graphql::document::user;
use crate::graphql::loader::{self, AccessOf};
use crate::id::{JobId, TeamId, UserId};

/// Who was let in to a job besides its owner.
#[derive(SimpleObject)]
pub(super) struct Collaboration {
    /// Teams: whoever belongs to them at the time.
    teams: Vec<TeamCollaborator>,
    /// Single people.
    users: Vec<UserCollaborator>,
}

impl Collaboration {
    /// Of a job that is known to be visible to the viewer.
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
                    users.push(UserCollaborator { user: user(ctx, UserId(row.principal_id)).await?, steps });
                }
                _ => {}
            }
        }
        Ok(Self { teams, users })
    }
}

/// A team that was let in.
#[derive(SimpleObject)]
struct TeamCollaborator {
    /// Which team.
    team: Team,
    /// Step names; "*" stands for all.
    steps: Vec<String>,
}

/// A person who was let in.
#[derive(SimpleObject)]
struct UserCollaborator {
    /// Which person.
    user: User,
    /// Step names; "*" stands for all.
    steps: Vec<String>,
}
