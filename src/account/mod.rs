//! Accounts: who somebody is, and how they prove it.
//!
//! Passwords are kept as argon2id hashes, API keys as hashes of secrets that are shown once, tokens not at all. Nothing of
//! either is ever logged.

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
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, Set};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::task::TaskTracker;

pub use key::{LoginKeys, MAX_LOGINS, NewKey, create as create_key, list as keys, remove_expired_logins};
pub use secret::{SECRET_BYTES, Secrets, rotate as rotate_secret};
pub use token::Token;

use crate::access::{Actor, Credential};
use crate::audit::{self, By, Event, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Signup, Switch};
use crate::db::Db;
use crate::entity::{account, api_key};
use crate::error::{Error, Problem, Result, unique_or};
use crate::id::{ApiKeyId, UserId};
use crate::job::state::Mode;
use crate::limit;

/// Bytes of an e-mail address (RFC 5321 section 4.5.3.1.3, without the angle brackets).
const LONGEST_EMAIL: usize = 254;

/// Ended keys that whoever is slow may hear of later.
const REVOCATIONS: usize = 64;

/// Signs people up and in, and finds out who sent a request.
#[derive(Debug)]
pub struct Accounts {
    db: Db,
    clock: Clock,
    signup: Signup,
    hasher: password::Hasher,
    tokens: token::Tokens,
    issuer: Option<oidc::Issuer>,
    attempts: Option<throttle::Attempts>,
    known_for: TimeDelta,
    uses: key::Uses,
    /// Keys that this node ends.
    revoked: broadcast::Sender<ApiKeyId>,
    tasks: TaskTracker,
}

/// What somebody gives to get an account.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Compared without case.
    pub email: String,
    /// For people.
    pub name: String,
    /// `None` makes an account that signs in by API key only.
    pub password: Option<String>,
    /// May see and do everything. Never taken from a request.
    pub is_admin: bool,
}

/// Somebody who has just signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// To be sent as `Authorization: Bearer …`.
    pub token: Token,
    /// Who.
    pub account: account::Model,
}

impl Accounts {
    /// With the secrets of tokens. What nobody waits for runs among the tasks.
    pub fn new(
        db: Db,
        clock: Clock,
        config: &Config,
        secrets: &Secrets,
        tasks: TaskTracker,
    ) -> Result<Self, String> {
        let hasher = password::Hasher::new(config.auth.hash_concurrency, config.auth.hash_queue);
        let configured = !config.oidc.issuer.is_empty();
        Ok(Self {
            signup: config.signup,
            hasher: hasher.map_err(|error| error.to_string())?,
            tokens: token::Tokens::new(secrets, config.auth.token_seconds),
            issuer: configured.then(|| oidc::Issuer::new(&config.oidc, &clock, &tasks)).transpose()?,
            attempts: (config.rate_limits == Switch::On).then(|| throttle::Attempts::new(&config.rates)),
            known_for: TimeDelta::days(config.auth.known_network_days.into()),
            uses: key::Uses::default(),
            revoked: broadcast::Sender::new(REVOCATIONS),
            db,
            clock,
            tasks,
        })
    }

    /// Makes an account and signs it in, where sign-up is open. Tries from one address are counted with those to sign in.
    pub async fn sign_up(&self, new: NewAccount, address: Option<IpAddr>) -> Result<SignedIn> {
        if self.signup == Signup::Closed {
            return Err(Error::Forbidden(
                "Sign-up is closed on this server. Ask its operator for an account.".into(),
            ));
        }
        let by = By::address(address);
        if let Some(attempts) = &self.attempts {
            let limited = attempts.from(address.map(limit::network));
            limited.inspect_err(|_| audit::record(Event::SignUp, Outcome::Limited, by))?;
        }
        let account = self.create(NewAccount { is_admin: false, ..new }).await?;
        audit::about(Event::SignUp, Outcome::Ok, by, account.id);
        self.signed_in(account, address).await
    }

    /// Makes an account. For the command line, and for [`Accounts::sign_up`].
    pub async fn create(&self, new: NewAccount) -> Result<account::Model> {
        let (email, name) = (normalize_email(&new.email), new.name.trim().to_owned());
        let mut problems = Vec::new();
        if !plausible_email(&email) {
            problems.push(Problem::new("/email", "INVALID", "This is not an e-mail address."));
        }
        if name.is_empty() || name.chars().count() > 200 {
            problems.push(Problem::new("/name", "INVALID", "A name has 1 to 200 characters."));
        }
        if let Some(password) = &new.password {
            problems.extend(password::problem(password));
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
                    .map_err(|e| unique_or(e, "There is an account with this e-mail address already."))
            })
        });
        insert.await
    }

    /// Takes the same time, and says the same, for an unknown address and a wrong password.
    pub async fn sign_in(&self, email: &str, password: String, address: Option<IpAddr>) -> Result<SignedIn> {
        let (email, by) = (normalize_email(email), By::address(address));
        let wrong = || Error::Unauthenticated("The e-mail address or the password is wrong.".into());
        if let Err(limited) = self.attempt(&email, address).await {
            audit::record(Event::SignIn, Outcome::Limited, by);
            return Err(limited);
        }
        if email.len() > LONGEST_EMAIL {
            // No account has one, so that it tells nothing.
            audit::record(Event::SignIn, Outcome::Refused, by);
            return Err(wrong());
        }
        let found = self.by_email(&email).await?;
        let hash = found.as_ref().and_then(|account| account.password_hash.clone());
        match (self.hasher.verify(password, hash).await?, found) {
            (true, Some(account)) => {
                audit::about(Event::SignIn, Outcome::Ok, by, account.id);
                self.signed_in(account, address).await
            }
            (_, Some(account)) => {
                audit::about(Event::SignIn, Outcome::Refused, by, account.id);
                Err(wrong())
            }
            (_, None) => {
                audit::record(Event::SignIn, Outcome::Refused, by);
                Err(wrong())
            }
        }
    }

    /// Signs in like [`Accounts::sign_in`], and makes a pair of API keys that expire when a token would.
    pub async fn log_in(
        &self,
        email: &str,
        password: String,
        address: Option<IpAddr>,
    ) -> Result<(account::Model, LoginKeys)> {
        let SignedIn { token, account } = self.sign_in(email, password, address).await?;
        let made = key::create_login(&self.db, account.id, self.clock.now(), token.expires_at).await?;
        let (keys, made, revoked) = made;
        let by = By { actor: Some(account.id), address };
        for id in made {
            audit::about(Event::ApiKeyCreated, Outcome::Ok, by, id);
        }
        for id in revoked {
            audit::about(Event::ApiKeyRevoked, Outcome::Ok, by, id);
            // Nobody may be listening.
            drop(self.revoked.send(id));
        }
        Ok((account, keys))
    }

    /// Counts a try, where tries are counted; RATE_LIMITED where there were too many.
    async fn attempt(&self, email: &str, address: Option<IpAddr>) -> Result<()> {
        let Some(attempts) = &self.attempts else { return Ok(()) };
        let network = address.map(limit::network);
        attempts.from(network)?;
        if email.len() > LONGEST_EMAIL {
            // It would be kept with the tries.
            return Ok(());
        }
        attempts.pair(email, network)?;
        let Err(limited) = attempts.account(email) else { return Ok(()) };
        // What others try elsewhere does not shut out whoever has signed in from here.
        let since = self.clock.now() - self.known_for;
        match network {
            Some(network) if network::known(&self.db, email, network, since).await? => Ok(()),
            _ => Err(limited),
        }
    }

    /// A token for an account, without asking for its password: for commands that hold the database anyway.
    pub fn token_for(&self, account: &account::Model) -> Result<Token> {
        self.tokens.issue(account.id, self.clock.now())
    }

    async fn signed_in(&self, account: account::Model, address: Option<IpAddr>) -> Result<SignedIn> {
        if let Some(network) = address.map(limit::network) {
            let now = self.clock.now();
            let noted = network::note(&self.db, &account, network, now, now - self.known_for).await;
            if let Err(error) = noted {
                tracing::warn!(%error, "where somebody has signed in from could not be noted");
            }
        }
        Ok(SignedIn { token: self.token_for(&account)?, account })
    }

    /// Who sent this credential, and from where: a token of ours or of the configured issuer, or an API key.
    pub async fn authenticate(&self, credential: &str, address: Option<IpAddr>) -> Result<Actor> {
        let (now, by) = (self.clock.now(), By::address(address));
        if let Some(issuer) = self.issuer.as_ref().filter(|issuer| issuer.claims(credential)) {
            let subject = issuer.verify(credential, now).await?;
            let proof = Credential { api_key: None, expires_at: Some(subject.expires_at) };
            let account = oidc::identity::account_of(&self.db, issuer.config(), subject, now, by).await?;
            return Ok(Actor { user: Arc::new(account), mode: Mode::Live, credential: proof, address });
        }
        let (account_id, mode, proof) = if credential.starts_with(key::PREFIX) {
            let key = key::find(&self.db, credential, now).await?;
            self.uses.note(&self.db, &self.tasks, &key, now);
            (key.account_id, key.mode, Credential { api_key: Some(key.id), expires_at: key.expires_at })
        } else {
            let (account_id, expires_at) = self.tokens.verify(credential, now)?;
            (account_id, Mode::Live, Credential { api_key: None, expires_at: Some(expires_at) })
        };
        let account = account::Entity::find_by_id(account_id).one(self.db.read()).await?;
        let account =
            account.ok_or_else(|| Error::Unauthenticated("This account does not exist any more.".into()))?;
        Ok(Actor { user: Arc::new(account), mode, credential: proof, address })
    }

    /// Ends a key of the actor's own, and with it what it has opened; ending it again changes nothing.
    pub async fn revoke_key(&self, actor: &Actor, id: ApiKeyId) -> Result<api_key::Model> {
        let key = key::revoke(&self.db, &self.clock, actor, id).await?;
        // Nobody may be listening.
        drop(self.revoked.send(id));
        Ok(key)
    }

    /// Resolves when this node ends the key that an actor came with, or may have ended it; what other nodes do is found by
    /// asking [`Accounts::still_good`] now and then.
    pub fn revocation(&self, actor: &Actor) -> impl Future<Output = ()> + Send + use<> {
        let (mut ended, mine) = (self.revoked.subscribe(), actor.credential.api_key);
        async move {
            let Some(mine) = mine else { return std::future::pending().await };
            loop {
                match ended.recv().await {
                    Ok(other) if other != mine => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => return std::future::pending().await,
                }
            }
        }
    }

    /// Whether what an actor proved themselves with still holds. A database that does not answer ends nobody's session.
    pub async fn still_good(&self, actor: &Actor) -> bool {
        if expired(actor.credential.expires_at, self.clock.now()) {
            return false;
        }
        let Some(id) = actor.credential.api_key else { return true };
        match key::revoked(&self.db, id).await {
            Ok(revoked) => !revoked,
            Err(error) => {
                tracing::warn!(%error, "an API key could not be looked up");
                true
            }
        }
    }

    /// An account by its address, in any case.
    pub async fn by_email(&self, email: &str) -> Result<Option<account::Model>> {
        by_email(self.db.read(), email).await
    }
}

/// An account by its address, in any case.
pub async fn by_email(db: &impl sea_orm::ConnectionTrait, email: &str) -> Result<Option<account::Model>> {
    let email = normalize_email(email);
    Ok(account::Entity::find().filter(account::Column::Email.eq(email)).one(db).await?)
}

fn normalize_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// An `@` with something before it and a domain after; the rest only a message to it could tell.
fn plausible_email(email: &str) -> bool {
    let domain_ok = |domain: &str| !domain.is_empty() && !domain.starts_with('.') && !domain.ends_with('.');
    email.len() <= LONGEST_EMAIL
        && !email.contains(|c: char| c.is_whitespace() || c.is_control())
        && email.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain_ok(domain))
}

/// Whether a credential has run out at `now`.
pub fn expired(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|at| at <= now)
}
