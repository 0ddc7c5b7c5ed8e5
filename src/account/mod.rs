//! Accounts, and the credentials that prove who sent a request.
//!
//! The database holds passwords as argon2id hashes and API keys as hashes of secrets that are shown once. It holds no
//! tokens. No secret is ever logged.

mod crypto;
mod email;
mod key;
mod network;
mod oidc;
mod password;
mod secret;
#[cfg(test)]
mod tests;
mod throttle;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use chrono::TimeDelta;
use sea_orm::{ActiveModelTrait, EntityTrait, Set};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::task::TaskTracker;

pub use email::by_email;
use email::{MAX_EMAIL_BYTES, normalize_email, plausible_email};
pub(crate) use key::LoginKeys;
pub use key::expired;
pub use key::{MAX_LOGINS, NewKey, create as create_key, list as keys, remove_expired_logins};
pub(crate) use secret::Secrets;
pub use secret::rotate as rotate_secret;
pub use token::Token;

use crate::access::{Actor, Credential};
use crate::audit::{self, AuditEvent, AuditOrigin, Outcome};
use crate::clock::Clock;
use crate::config::{Config, Signup, Switch};
use crate::db::Db;
use crate::entity::enums::Mode;
use crate::entity::{account, api_key};
use crate::error::{Error, Problem, Result, unique_or};
use crate::id::{ApiKeyId, UserId};
use crate::limit;

/// Revoked keys that the channel holds for slow receivers.
const REVOCATION_CHANNEL_CAPACITY: usize = 64;

/// Creates accounts, signs users in, and authenticates requests.
#[derive(Debug)]
pub struct Accounts {
    db: Db,
    clock: Clock,
    signup: Signup,
    hasher: password::Hasher,
    tokens: token::Tokens,
    issuer: Option<oidc::Issuer>,
    attempts: Option<throttle::AttemptLimits>,
    known_network_lifetime: TimeDelta,
    usage: key::UsageRecorder,
    /// Announces the API keys that this node revokes.
    revoked: broadcast::Sender<ApiKeyId>,
    tasks: TaskTracker,
}

/// The input for creating an account.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The address to sign in with; compared without case.
    pub email: String,
    /// The display name.
    pub name: String,
    /// The password; an account with `None` signs in by API key only.
    pub password: Option<String>,
    /// Whether the account may see and do everything; never taken from a request.
    pub is_admin: bool,
}

/// The result of a successful sign-in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The token to send as `Authorization: Bearer …`.
    pub token: Token,
    /// The account that signed in.
    pub account: account::Model,
}

impl Accounts {
    /// Creates the accounts service. `secrets` sign and verify tokens; work that no request waits for runs in `tasks`.
    pub fn new(
        db: Db,
        clock: Clock,
        config: &Config,
        secrets: &Secrets,
        tasks: TaskTracker,
    ) -> Result<Self, String> {
        let hasher = password::Hasher::new(config.auth.hash_concurrency, config.auth.hash_queue);
        let has_issuer = !config.oidc.issuer.is_empty();
        Ok(Self {
            signup: config.signup,
            hasher: hasher.map_err(|error| error.to_string())?,
            tokens: token::Tokens::new(secrets, config.auth.token_seconds),
            issuer: has_issuer.then(|| oidc::Issuer::new(&config.oidc, &clock, &tasks)).transpose()?,
            attempts: (config.rate_limits == Switch::On).then(|| throttle::AttemptLimits::new(&config.rates)),
            known_network_lifetime: TimeDelta::days(config.auth.known_network_days.into()),
            usage: key::UsageRecorder::default(),
            revoked: broadcast::Sender::new(REVOCATION_CHANNEL_CAPACITY),
            db,
            clock,
            tasks,
        })
    }

    /// Creates an account and signs it in, unless sign-up is closed. Attempts from one address count as sign-in
    /// attempts.
    pub async fn sign_up(&self, new: NewAccount, address: Option<IpAddr>) -> Result<SignedIn> {
        if self.signup == Signup::Closed {
            return Err(Error::Forbidden(
                "Sign-up is closed on this server. Ask its operator for an account.".into(),
            ));
        }
        let origin = AuditOrigin::address(address);
        if let Some(attempts) = &self.attempts {
            let limited = attempts.count_network(address.map(limit::network));
            limited.inspect_err(|_| audit::record(AuditEvent::SignUp, Outcome::Limited, origin))?;
        }
        let account = self.create(NewAccount { is_admin: false, ..new }).await?;
        audit::record_with_subject(AuditEvent::SignUp, Outcome::Ok, origin, account.id);
        self.complete_sign_in(account, address).await
    }

    /// Creates an account, for the command line and for [`Accounts::sign_up`].
    pub async fn create(&self, new: NewAccount) -> Result<account::Model> {
        let (email, name) = (normalize_email(&new.email), new.name.trim().to_owned());
        let mut problems = Vec::new();
        if !plausible_email(&email) {
            problems.push(Problem::new(
                "/email",
                "INVALID",
                "This is not an e-mail address. Give one such as ada@example.com.",
            ));
        }
        if name.is_empty() || name.chars().count() > 200 {
            problems.push(Problem::new("/name", "INVALID", "A name must have 1 to 200 characters."));
        }
        if let Some(password) = &new.password {
            problems.extend(password::password_problem(password));
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let password_hash = match new.password {
            Some(password) => Some(self.hasher.hash(password).await?),
            None => None,
        };
        let row = account::ActiveModel {
            id: Set(UserId::new()),
            email: Set(email),
            name: Set(name),
            password_hash: Set(password_hash),
            is_admin: Set(new.is_admin),
            created_at: Set(self.clock.now()),
        };
        let insert = self.db.write(move |tx| {
            Box::pin(async move {
                row.insert(tx)
                    .await
                    .map_err(|e| unique_or(e, "An account with this e-mail address already exists."))
            })
        });
        insert.await
    }

    /// Signs in with an e-mail address and a password. An unknown address and a wrong password take the same time and
    /// give the same error.
    pub async fn sign_in(&self, email: &str, password: String, address: Option<IpAddr>) -> Result<SignedIn> {
        let (email, origin) = (normalize_email(email), AuditOrigin::address(address));
        let wrong = || Error::Unauthenticated("The e-mail address or the password is wrong.".into());
        if let Err(limited) = self.count_attempt(&email, address).await {
            audit::record(AuditEvent::SignIn, Outcome::Limited, origin);
            return Err(limited);
        }
        if email.len() > MAX_EMAIL_BYTES {
            // No account has an address this long, so the early return reveals nothing.
            audit::record(AuditEvent::SignIn, Outcome::Refused, origin);
            return Err(wrong());
        }
        let found = self.by_email(&email).await?;
        let hash = found.as_ref().and_then(|account| account.password_hash.clone());
        match (self.hasher.verify(password, hash).await?, found) {
            (true, Some(account)) => {
                audit::record_with_subject(AuditEvent::SignIn, Outcome::Ok, origin, account.id);
                self.complete_sign_in(account, address).await
            }
            (_, Some(account)) => {
                audit::record_with_subject(AuditEvent::SignIn, Outcome::Refused, origin, account.id);
                Err(wrong())
            }
            (_, None) => {
                audit::record(AuditEvent::SignIn, Outcome::Refused, origin);
                Err(wrong())
            }
        }
    }

    /// Signs in like [`Accounts::sign_in`], and creates a pair of API keys that expire when a token would.
    pub async fn log_in(
        &self,
        email: &str,
        password: String,
        address: Option<IpAddr>,
    ) -> Result<(account::Model, LoginKeys)> {
        let SignedIn { token, account } = self.sign_in(email, password, address).await?;
        let made = key::create_login(&self.db, account.id, self.clock.now(), token.expires_at).await?;
        let (keys, made, revoked) = made;
        let origin = AuditOrigin { actor: Some(account.id), address };
        for id in made {
            audit::record_with_subject(AuditEvent::ApiKeyCreated, Outcome::Ok, origin, id);
        }
        for id in revoked {
            audit::record_with_subject(AuditEvent::ApiKeyRevoked, Outcome::Ok, origin, id);
            // The send fails if no receiver exists.
            drop(self.revoked.send(id));
        }
        Ok((account, keys))
    }

    /// Counts a sign-in attempt if rate limits are on. Returns `RateLimited` after too many attempts.
    async fn count_attempt(&self, email: &str, address: Option<IpAddr>) -> Result<()> {
        let Some(attempts) = &self.attempts else { return Ok(()) };
        let network = address.map(limit::network);
        attempts.count_network(network)?;
        if email.len() > MAX_EMAIL_BYTES {
            // A longer address would take up memory in the limiters.
            return Ok(());
        }
        attempts.count_pair(email, network)?;
        let Err(limited) = attempts.count_account(email) else { return Ok(()) };
        // A known network stays usable while attackers elsewhere exhaust the limit of the account.
        let since = self.clock.now() - self.known_network_lifetime;
        match network {
            Some(network) if network::is_known(&self.db, email, network, since).await? => Ok(()),
            _ => Err(limited),
        }
    }

    /// Issues a token without checking a password, for commands that already have access to the database.
    pub(crate) fn issue_token(&self, account: &account::Model) -> Result<Token> {
        self.tokens.issue(account.id, self.clock.now())
    }

    async fn complete_sign_in(&self, account: account::Model, address: Option<IpAddr>) -> Result<SignedIn> {
        if let Some(network) = address.map(limit::network) {
            let now = self.clock.now();
            let recorded =
                network::record(&self.db, &account, network, now, now - self.known_network_lifetime).await;
            if let Err(error) = recorded {
                tracing::warn!(%error, "could not record the network of a sign-in");
            }
        }
        Ok(SignedIn { token: self.issue_token(&account)?, account })
    }

    /// Authenticates a credential: a token of this server or of the configured issuer, or an API key.
    pub async fn authenticate(&self, credential: &str, address: Option<IpAddr>) -> Result<Actor> {
        let (now, origin) = (self.clock.now(), AuditOrigin::address(address));
        if let Some(issuer) = self.issuer.as_ref().filter(|issuer| issuer.is_issuer_of(credential)) {
            let subject = issuer.verify(credential, now).await?;
            let proof = Credential { api_key: None, expires_at: Some(subject.expires_at) };
            let account =
                oidc::identity::find_or_create_account(&self.db, issuer.config(), subject, now, origin)
                    .await?;
            return Ok(Actor { user: Arc::new(account), mode: Mode::Live, credential: proof, address });
        }
        let (account, mode, proof) = if credential.starts_with(key::PREFIX) {
            let (key, account) = key::find(&self.db, credential, now).await?;
            self.usage.record(&self.db, &self.tasks, &key, now);
            (account, key.mode, Credential { api_key: Some(key.id), expires_at: key.expires_at })
        } else {
            let (account_id, expires_at) = self.tokens.verify(credential, now)?;
            let account = account::Entity::find_by_id(account_id).one(self.db.read()).await?;
            (account, Mode::Live, Credential { api_key: None, expires_at: Some(expires_at) })
        };
        let account =
            account.ok_or_else(|| Error::Unauthenticated("This account no longer exists.".into()))?;
        Ok(Actor { user: Arc::new(account), mode, credential: proof, address })
    }

    /// Revokes an API key of the actor and ends the sessions that it opened. Revoking a key again changes nothing.
    pub async fn revoke_key(&self, actor: &Actor, id: ApiKeyId) -> Result<api_key::Model> {
        let key = key::revoke(&self.db, &self.clock, actor, id).await?;
        // The send fails if no receiver exists.
        drop(self.revoked.send(id));
        Ok(key)
    }

    /// Resolves when this node revokes, or may have revoked, the API key of an actor. For keys that other nodes revoke,
    /// poll [`Accounts::is_credential_valid`].
    pub(crate) fn wait_for_revocation(&self, actor: &Actor) -> impl Future<Output = ()> + Send + use<> {
        let (mut revoked, own_key) = (self.revoked.subscribe(), actor.credential.api_key);
        async move {
            let Some(own_key) = own_key else { return std::future::pending().await };
            loop {
                match revoked.recv().await {
                    Ok(other) if other != own_key => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => return std::future::pending().await,
                }
            }
        }
    }

    /// Returns whether the actor's credential is still valid. Sessions stay open while the database does not answer.
    pub(crate) async fn is_credential_valid(&self, actor: &Actor) -> bool {
        if expired(actor.credential.expires_at, self.clock.now()) {
            return false;
        }
        let Some(id) = actor.credential.api_key else { return true };
        match key::is_revoked(&self.db, id).await {
            Ok(revoked) => !revoked,
            Err(error) => {
                tracing::warn!(%error, "could not check whether an API key was revoked");
                true
            }
        }
    }

    /// Returns the account with an e-mail address, compared without case.
    pub async fn by_email(&self, email: &str) -> Result<Option<account::Model>> {
        by_email(self.db.read(), email).await
    }
}
