//! People, teams and API keys.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::context::RequestContext;
use super::loader::{MembersOf, TeamsOf};
use crate::account::{NewAccount, NewKey, SignedIn};
use crate::audit::{self, Event, Outcome};
use crate::entity::{account, api_key, team};
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, TeamId, UserId};
use crate::job::state::Mode;
use crate::team::PersonRef;
use crate::{account as accounts, collaboration, team as teams};

/// A person who can sign in.
#[derive(Clone)]
pub(super) struct User(pub Arc<account::Model>);

/// A person who can sign in.
#[Object]
impl User {
    /// UUID of the user.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Address that the user signs in with, in lower case.
    async fn email(&self) -> &str {
        &self.0.email
    }

    /// Name that other people see.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the user operates this server, and so may see and do everything.
    async fn is_admin(&self) -> bool {
        self.0.is_admin
    }

    /// When the account was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// Teams that the user belongs to and the viewer sees, by name.
    async fn teams(&self, ctx: &Context<'_>) -> Result<Vec<Team>> {
        let actor = ctx.actor()?;
        let theirs = ctx.loaders()?.rows.load_one(TeamsOf(self.0.id)).await?.unwrap_or_default();
        if self.0.id == actor.user.id || actor.user.is_admin {
            return Ok(theirs.into_iter().map(Team).collect());
        }
        let mine = ctx.loaders()?.rows.load_one(TeamsOf(actor.user.id)).await?.unwrap_or_default();
        Ok(theirs.into_iter().filter(|team| mine.contains(team)).map(Team).collect())
    }
}

/// A named group of people. A job that is shared with a team is shared with whoever belongs to it at the time.
#[derive(Clone)]
pub(super) struct Team(pub team::Model);

/// A named group of people. A job that is shared with a team is shared with whoever belongs to it at the time.
#[Object]
impl Team {
    /// UUID of the team.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Name of the team, unique on this server.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Who belongs to it, by name. Empty for somebody who neither belongs to it nor is an admin.
    async fn members(&self, ctx: &Context<'_>) -> Result<Vec<User>> {
        let actor = ctx.actor()?;
        let members = ctx.loaders()?.rows.load_one(MembersOf(self.0.id)).await?.unwrap_or_default();
        let may_see = actor.user.is_admin || members.iter().any(|member| member.id == actor.user.id);
        Ok(if may_see { members.into_iter().map(User).collect() } else { Vec::new() })
    }

    /// When the team was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

/// Whether work is for real. Jobs and documents made with a TEST key are removed after the retention time,
/// and their reviews are approved automatically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum KeyMode {
    /// For real: people are asked where the machine is unsure, and nothing is removed by itself.
    Live,
    /// For trying things out, e.g. from the tests of a program that uses this API.
    Test,
}

impl From<Mode> for KeyMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Live => Self::Live,
            Mode::Test => Self::Test,
        }
    }
}

/// A long-lived credential for programs.
#[derive(Clone)]
pub(super) struct ApiKey(pub api_key::Model);

/// A long-lived credential for programs.
#[Object]
impl ApiKey {
    /// UUID of the key; not the secret.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// What its owner calls it, e.g. the program that uses it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether its jobs are for real.
    async fn mode(&self) -> KeyMode {
        if self.0.mode == "TEST" { KeyMode::Test } else { KeyMode::Live }
    }

    /// First characters, to recognise the key by.
    async fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// When the key was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When the key was last used, to the minute; null before its first use.
    async fn last_used_at(&self) -> Option<DateTime<Utc>> {
        self.0.last_used_at
    }

    /// When the key stops working; null where it does not.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// When the key was ended; null while it works.
    async fn revoked_at(&self) -> Option<DateTime<Utc>> {
        self.0.revoked_at
    }
}

/// What somebody who signs up gives.
#[derive(InputObject)]
struct SignUpInput {
    /// Address to sign in with; compared without case.
    email: String,
    /// Name for people, 1 to 200 characters.
    name: String,
    /// Password of 12 to 256 characters.
    password: String,
}

/// What somebody who signs in gives.
#[derive(InputObject)]
struct SignInInput {
    /// Address of the account, in any case.
    email: String,
    /// Password of the account.
    password: String,
}

/// Somebody who has just signed in.
#[derive(SimpleObject)]
struct SignInPayload {
    /// JWT, to be sent as `Authorization: Bearer …`.
    access_token: String,
    /// When the token stops working; subscriptions that it opened end then.
    expires_at: DateTime<Utc>,
    /// Who signed in, as `viewer` says it from now on.
    user: User,
}

impl From<SignedIn> for SignInPayload {
    fn from(signed_in: SignedIn) -> Self {
        let SignedIn { token, account } = signed_in;
        Self { access_token: token.text, expires_at: token.expires_at, user: User(Arc::new(account)) }
    }
}

/// What a new API key should be.
#[derive(InputObject)]
struct CreateApiKeyInput {
    /// Name for people, 1 to 200 characters.
    name: String,
    /// Whether jobs made with the key are for real. A TEST key makes TEST keys only (FORBIDDEN).
    #[graphql(default_with = "KeyMode::Live")]
    mode: KeyMode,
    /// When the key should stop working; null for never.
    expires_at: Option<DateTime<Utc>>,
}

/// A key that was just made.
#[derive(SimpleObject)]
struct CreateApiKeyPayload {
    /// The credential itself. Shown once: the server keeps only its hash.
    secret: String,
    /// The key, as `apiKeys` lists it from now on.
    api_key: ApiKey,
}

/// A key that was ended.
#[derive(SimpleObject)]
struct RevokeApiKeyPayload {
    /// The key, which `apiKeys` goes on listing until 100 younger ones have ended.
    api_key: ApiKey,
}

/// What a new team should be.
#[derive(InputObject)]
struct CreateTeamInput {
    /// Name, 1 to 200 characters, unique on this server.
    name: String,
}

/// A team and a person; give either the user's ID or their address.
#[derive(InputObject)]
struct TeamMemberInput {
    /// UUID of a team that the viewer belongs to.
    team_id: ID,
    /// UUID of the person.
    user_id: Option<ID>,
    /// Address of the person.
    user_email: Option<String>,
}

impl TeamMemberInput {
    fn parse(self) -> Result<(TeamId, PersonRef)> {
        let person = match (self.user_id, self.user_email) {
            (Some(id), None) => PersonRef::Id(UserId::parse(&id).ok_or_else(|| Error::not_found("user"))?),
            (None, Some(email)) => PersonRef::Email(email),
            _ => return Err(Error::invalid("/userId", "ONE_OF", "Give either userId or userEmail.")),
        };
        Ok((TeamId::parse(&self.team_id).ok_or_else(|| Error::not_found("team"))?, person))
    }
}

/// A team as it is after a change.
#[derive(SimpleObject)]
struct TeamPayload {
    /// The team, its members as they are now.
    team: Team,
}

#[derive(Default)]
pub(super) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// Whoever sends the request; null where they have not signed in.
    async fn viewer(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let found: Result<Option<User>> =
            async { Ok(ctx.viewer()?.actor.as_ref().map(|actor| User(Arc::clone(&actor.user)))) }.await;
        found.transpose()
    }

    /// A team that the viewer belongs to, by ID or by name; null where there is none. Admins see every team.
    async fn team(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the team.")] id: Option<ID>,
        #[graphql(desc = "Name of the team.")] name: Option<String>,
    ) -> Option<Result<Team>> {
        let found: Result<Option<Team>> = async {
            let (db, actor) = (&ctx.app()?.db, ctx.actor()?);
            let found = match (id, name) {
                (Some(id), None) => match TeamId::parse(&id) {
                    Some(id) => teams::get(db.read(), actor, id).await?,
                    None => None,
                },
                (None, Some(name)) => teams::by_name(db, actor, &name).await?,
                _ => return Err(Error::invalid("/id", "ONE_OF", "Give either id or name.")),
            };
            Ok(found.map(Team))
        }
        .await;
        found.transpose()
    }

    /// Teams that the viewer belongs to, by name. Admins see every team.
    async fn teams(&self, ctx: &Context<'_>) -> Result<Vec<Team>> {
        Ok(teams::list(&ctx.app()?.db, ctx.actor()?).await?.into_iter().map(Team).collect())
    }

    /// The viewer's own API keys, newest first: those that work, and the newest 100 of those that
    /// were revoked or have expired.
    async fn api_keys(&self, ctx: &Context<'_>) -> Result<Vec<ApiKey>> {
        let app = ctx.app()?;
        let keys = accounts::keys(&app.db, &app.clock, ctx.actor()?).await?;
        Ok(keys.into_iter().map(ApiKey).collect())
    }
}

#[derive(Default)]
pub(super) struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Makes an account and signs it in, where the server's sign-up is open.
    async fn sign_up(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account to be made.")] input: SignUpInput,
    ) -> Result<SignInPayload> {
        let SignUpInput { email, name, password } = input;
        let new = NewAccount { email, name, password: Some(password), is_admin: false };
        let address = ctx.viewer()?.address;
        Ok(ctx.app()?.accounts.sign_up(new, address).await?.into())
    }

    /// Gives a token for an e-mail address and a password. UNAUTHENTICATED where either is wrong, RATE_LIMITED after too
    /// many tries.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Address and password.")] input: SignInInput,
    ) -> Result<SignInPayload> {
        let address = ctx.viewer()?.address;
        Ok(ctx.app()?.accounts.sign_in(&input.email, input.password, address).await?.into())
    }

    /// Makes an API key for the viewer.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the key is called, how long it works, and whether its jobs are for real.")]
        input: CreateApiKeyInput,
    ) -> Result<CreateApiKeyPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let mode = if input.mode == KeyMode::Test { Mode::Test } else { Mode::Live };
        if (actor.mode, mode) == (Mode::Test, Mode::Live) {
            return Err(Error::Forbidden("A TEST key makes TEST keys only.".into()));
        }
        let new = NewKey { name: input.name, mode, expires_at: input.expires_at };
        let (secret, key) =
            accounts::create_key(&app.db, &app.clock, actor.user.id, new, &app.config.limits).await?;
        audit::about(Event::ApiKeyCreated, Outcome::Ok, actor.into(), key.id);
        Ok(CreateApiKeyPayload { secret, api_key: ApiKey(key) })
    }

    /// Ends one of the viewer's API keys; it stops working at once.
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the key.")] id: ID,
    ) -> Result<RevokeApiKeyPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let id = ApiKeyId::parse(&id).ok_or_else(|| Error::not_found("API key"))?;
        let key = app.accounts.revoke_key(actor, id).await?;
        Ok(RevokeApiKeyPayload { api_key: ApiKey(key) })
    }

    /// Makes a team, with the viewer in it.
    async fn create_team(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the team is called.")] input: CreateTeamInput,
    ) -> Result<TeamPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let made = teams::create(&app.db, &app.clock, actor, &input.name, &app.config.limits).await?;
        Ok(TeamPayload { team: Team(made) })
    }

    /// Lets a person into a team that the viewer belongs to.
    async fn add_team_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who is to join which team.")] input: TeamMemberInput,
    ) -> Result<TeamPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let (id, person) = input.parse()?;
        let (team, member) =
            teams::add_member(&app.db, &app.clock, actor, id, person, &app.config.limits).await?;
        collaboration::membership_changed(&app.jobs, member).await?;
        Ok(TeamPayload { team: Team(team) })
    }

    /// Lets a person out of a team that the viewer belongs to. What was shared with the team is out of their sight at
    /// once.
    async fn remove_team_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who is to leave which team.")] input: TeamMemberInput,
    ) -> Result<TeamPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let (id, person) = input.parse()?;
        let (team, member) = teams::remove_member(&app.db, actor, id, person).await?;
        collaboration::membership_changed(&app.jobs, member).await?;
        Ok(TeamPayload { team: Team(team) })
    }
}
