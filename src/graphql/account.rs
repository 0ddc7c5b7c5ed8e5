//! Users, teams, and API keys.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::context::RequestContext;
use super::loader::{MembersOf, TeamsOf};
use crate::account::{NewAccount, NewKey, SignedIn};
use crate::audit::{self, AuditEvent, Outcome};
use crate::entity::{account, api_key, team};
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, TeamId, UserId};
use crate::job::state::Mode;
use crate::team::UserRef;
use crate::{account as accounts, collaboration, team as teams};

/// A user of this server.
#[derive(Clone)]
pub(super) struct User(pub Arc<account::Model>);

/// A user of this server.
#[Object]
impl User {
    /// UUID of the user.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Email address that the user signs in with, in lowercase.
    async fn email(&self) -> &str {
        &self.0.email
    }

    /// Display name of the user.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the user is an administrator of this server.
    /// Admins have access to every job, document, taxonomy, and team. They do not see the API keys and webhooks of
    /// other users.
    async fn is_admin(&self) -> bool {
        self.0.is_admin
    }

    /// Time when the account was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// Teams that the user belongs to, sorted by name.
    /// The list contains only teams that the viewer can see.
    async fn teams(&self, ctx: &Context<'_>) -> Result<Vec<Team>> {
        let actor = ctx.actor()?;
        let user_teams = ctx.loaders()?.rows.load_one(TeamsOf(self.0.id)).await?.unwrap_or_default();
        if self.0.id == actor.user.id || actor.user.is_admin {
            return Ok(user_teams.into_iter().map(Team).collect());
        }
        let viewer_teams = ctx.loaders()?.rows.load_one(TeamsOf(actor.user.id)).await?.unwrap_or_default();
        Ok(user_teams.into_iter().filter(|team| viewer_teams.contains(team)).map(Team).collect())
    }
}

/// A named group of users.
/// A job that is shared with a team is shared with the team's current members.
#[derive(Clone)]
pub(super) struct Team(pub team::Model);

/// A named group of users.
/// A job that is shared with a team is shared with the team's current members.
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

    /// Members of the team, sorted by name.
    /// The list is empty if the viewer is neither a member nor an admin.
    async fn members(&self, ctx: &Context<'_>) -> Result<Vec<User>> {
        let actor = ctx.actor()?;
        let members = ctx.loaders()?.rows.load_one(MembersOf(self.0.id)).await?.unwrap_or_default();
        let is_visible = actor.user.is_admin || members.iter().any(|member| member.id == actor.user.id);
        Ok(if is_visible { members.into_iter().map(User).collect() } else { Vec::new() })
    }

    /// Time when the team was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

/// Mode of an API key, and of the jobs and documents created with it.
/// TEST jobs and documents are removed after the retention period (30 days by default). Reviews of TEST jobs are
/// approved automatically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum KeyMode {
    /// Production mode: uncertain results wait for a person, and nothing is removed automatically.
    Live,
    /// Test mode, for example for the test suite of an API client.
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
    /// UUID of the API key, which is not its secret.
    pub(super) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Name of the API key, for example the program that uses it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Mode of the API key, and of the jobs and documents created with it.
    async fn mode(&self) -> KeyMode {
        self.0.mode.into()
    }

    /// First characters of the secret, to recognize the API key by.
    async fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Time when the API key was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// Time when the API key was last used, accurate to the minute.
    /// Null before the first use.
    async fn last_used_at(&self) -> Option<DateTime<Utc>> {
        self.0.last_used_at
    }

    /// Time when the API key expires.
    /// Null if it never expires.
    async fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// Time when the API key was revoked.
    /// Null if it has not been revoked.
    async fn revoked_at(&self) -> Option<DateTime<Utc>> {
        self.0.revoked_at
    }
}

/// Input for creating an account.
#[derive(InputObject)]
struct SignUpInput {
    /// Email address to sign in with, at most 254 bytes.
    /// The address is case-insensitive.
    email: String,
    /// Display name, 1 to 200 characters.
    name: String,
    /// Password, 12 to 256 characters.
    password: String,
}

/// Input for signing in.
#[derive(InputObject)]
struct SignInInput {
    /// Email address of the account, case-insensitive.
    email: String,
    /// Password of the account.
    password: String,
}

/// Result of signing up or signing in.
#[derive(SimpleObject)]
struct SignInPayload {
    /// JSON Web Token (JWT), to be sent as `Authorization: Bearer …`.
    access_token: String,
    /// Time when the token expires.
    /// Subscriptions opened with the token end at that time.
    expires_at: DateTime<Utc>,
    /// The user who signed in, as returned by `viewer`.
    user: User,
}

impl From<SignedIn> for SignInPayload {
    fn from(signed_in: SignedIn) -> Self {
        let SignedIn { token, account } = signed_in;
        Self { access_token: token.text, expires_at: token.expires_at, user: User(Arc::new(account)) }
    }
}

/// Input for creating an API key.
#[derive(InputObject)]
struct CreateApiKeyInput {
    /// Name of the API key, 1 to 200 characters.
    name: String,
    /// Mode of the API key, and of the jobs and documents created with it.
    /// A TEST key can create only TEST keys; otherwise the mutation fails with FORBIDDEN.
    #[graphql(default_with = "KeyMode::Live")]
    mode: KeyMode,
    /// Time when the API key expires, in the future and at most in the year 9999.
    /// Null means that it never expires.
    expires_at: Option<DateTime<Utc>>,
}

/// Result of creating an API key.
#[derive(SimpleObject)]
struct CreateApiKeyPayload {
    /// Secret of the API key, which is the credential itself.
    /// It is shown only once; the server stores only its hash.
    secret: String,
    /// The new API key, as listed by `apiKeys`.
    api_key: ApiKey,
}

/// Result of revoking an API key.
#[derive(SimpleObject)]
struct RevokeApiKeyPayload {
    /// The revoked API key.
    /// It is listed by `apiKeys` until 100 newer keys have been revoked or have expired.
    api_key: ApiKey,
}

/// Input for creating a team.
#[derive(InputObject)]
struct CreateTeamInput {
    /// Name of the team, 1 to 200 characters, unique on this server.
    name: String,
}

/// Input for adding or removing a team member.
/// Give either `userId` or `userEmail`; otherwise the mutation fails with BAD_USER_INPUT.
#[derive(InputObject)]
struct TeamMemberInput {
    /// UUID of a team that the viewer belongs to.
    /// Admins can give any team.
    team_id: ID,
    /// UUID of the user.
    user_id: Option<ID>,
    /// Email address of the user.
    user_email: Option<String>,
}

impl TeamMemberInput {
    fn parse(self) -> Result<(TeamId, UserRef)> {
        let person = match (self.user_id, self.user_email) {
            (Some(id), None) => UserRef::Id(UserId::parse(&id).ok_or_else(|| Error::not_found("user"))?),
            (None, Some(email)) => UserRef::Email(email),
            _ => return Err(Error::invalid("/userId", "ONE_OF", "Give either userId or userEmail.")),
        };
        Ok((TeamId::parse(&self.team_id).ok_or_else(|| Error::not_found("team"))?, person))
    }
}

/// Result of creating or changing a team.
#[derive(SimpleObject)]
struct TeamPayload {
    /// The team after the change, with its current members.
    team: Team,
}

#[derive(Default)]
pub(super) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// Returns the authenticated user.
    /// Null if the request is not authenticated.
    async fn viewer(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let found: Result<Option<User>> =
            async { Ok(ctx.viewer()?.actor.as_ref().map(|actor| User(Arc::clone(&actor.user)))) }.await;
        found.transpose()
    }

    /// Returns the team with the given ID or name.
    /// Null if there is no such team, or if the viewer is neither a member nor an admin. Give either `id` or `name`;
    /// otherwise the query fails with BAD_USER_INPUT.
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

    /// Returns the teams that the viewer belongs to, sorted by name.
    /// Admins get every team.
    async fn teams(&self, ctx: &Context<'_>) -> Result<Vec<Team>> {
        Ok(teams::list(&ctx.app()?.db, ctx.actor()?).await?.into_iter().map(Team).collect())
    }

    /// Returns the viewer's own API keys, newest first.
    /// The list contains every active key, and the newest 100 keys that were revoked or have expired.
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
    /// Creates an account and signs it in.
    /// Fails with FORBIDDEN if sign-up is closed on this server. Fails with CONFLICT if the email address is taken.
    /// Fails with RATE_LIMITED after too many attempts from one network.
    async fn sign_up(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Account to create.")] input: SignUpInput,
    ) -> Result<SignInPayload> {
        let SignUpInput { email, name, password } = input;
        let new = NewAccount { email, name, password: Some(password), is_admin: false };
        let address = ctx.viewer()?.address;
        Ok(ctx.app()?.accounts.sign_up(new, address).await?.into())
    }

    /// Creates an access token from an email address and a password.
    /// Fails with UNAUTHENTICATED if either is wrong. Fails with RATE_LIMITED after too many attempts.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Email address and password of the account.")] input: SignInInput,
    ) -> Result<SignInPayload> {
        let address = ctx.viewer()?.address;
        Ok(ctx.app()?.accounts.sign_in(&input.email, input.password, address).await?.into())
    }

    /// Creates an API key for the viewer.
    /// Fails with FORBIDDEN if the viewer uses a TEST key and requests a LIVE key. Fails with BAD_USER_INPUT if the
    /// viewer has too many active keys (1,000 by default).
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Name, mode, and expiration time of the API key.")] input: CreateApiKeyInput,
    ) -> Result<CreateApiKeyPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let mode = if input.mode == KeyMode::Test { Mode::Test } else { Mode::Live };
        if (actor.mode, mode) == (Mode::Test, Mode::Live) {
            return Err(Error::Forbidden("A TEST key can create only TEST keys.".into()));
        }
        let new = NewKey { name: input.name, mode, expires_at: input.expires_at };
        let (secret, key) =
            accounts::create_key(&app.db, &app.clock, actor.user.id, new, &app.config.limits).await?;
        audit::record_with_subject(AuditEvent::ApiKeyCreated, Outcome::Ok, actor.into(), key.id);
        Ok(CreateApiKeyPayload { secret, api_key: ApiKey(key) })
    }

    /// Revokes one of the viewer's API keys, effective immediately.
    /// Revoking it again changes nothing. Fails with NOT_FOUND if the viewer has no such key.
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "UUID of the API key.")] id: ID,
    ) -> Result<RevokeApiKeyPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let id = ApiKeyId::parse(&id).ok_or_else(|| Error::not_found("API key"))?;
        let key = app.accounts.revoke_key(actor, id).await?;
        Ok(RevokeApiKeyPayload { api_key: ApiKey(key) })
    }

    /// Creates a team with the viewer as its first member.
    /// Fails with CONFLICT if the name is taken. Fails with BAD_USER_INPUT if the viewer has created too many teams
    /// (10,000 by default).
    async fn create_team(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Name of the team.")] input: CreateTeamInput,
    ) -> Result<TeamPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let team = teams::create(&app.db, &app.clock, actor, &input.name, &app.config.limits).await?;
        Ok(TeamPayload { team: Team(team) })
    }

    /// Adds a user to a team that the viewer belongs to.
    /// Adding a current member changes nothing. Admins can change every team. Fails with NOT_FOUND if the user does not
    /// exist, or if the viewer cannot see the team. Fails with BAD_USER_INPUT if the team has too many members (1,000
    /// by default).
    async fn add_team_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Team and user to add to it.")] input: TeamMemberInput,
    ) -> Result<TeamPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let (id, person) = input.parse()?;
        let (team, member) =
            teams::add_member(&app.db, &app.clock, actor, id, person, &app.config.limits).await?;
        collaboration::membership_changed(&app.jobs, member).await?;
        Ok(TeamPayload { team: Team(team) })
    }

    /// Removes a user from a team that the viewer belongs to.
    /// The user loses access to the jobs of the team immediately, including subscriptions and review claims. Admins can
    /// change every team. Fails with NOT_FOUND if the user is not a member, or if the viewer cannot see the team.
    async fn remove_team_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Team and user to remove from it.")] input: TeamMemberInput,
    ) -> Result<TeamPayload> {
        let (app, actor) = (ctx.app()?, ctx.actor()?);
        let (id, person) = input.parse()?;
        let (team, member) = teams::remove_member(&app.db, actor, id, person).await?;
        collaboration::membership_changed(&app.jobs, member).await?;
        Ok(TeamPayload { team: Team(team) })
    }
}
