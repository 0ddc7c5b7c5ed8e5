//! Accounts: who somebody is, and how they prove it.
//!
//! Passwords are kept as argon2id hashes, API keys as hashes of secrets that are shown once, tokens not at all. Nothing of
//! either is ever logged.

mod key;
mod password;
mod throttle;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, Set};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

pub use key::{NewKey, create as create_key, list as keys, revoke as revoke_key};
pub use token::{Token, load_or_make_secret};

use crate::access::{Actor, Credential};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Signup, Switch};
use crate::db::Db;
use crate::entity::account;
use crate::error::{Error, Problem, Result, unique_or};
use crate::id::UserId;
use crate::job::state::Mode;

/// Bytes of an e-mail address (RFC 5321 section 4.5.3.1.3, without the angle brackets).
const LONGEST_EMAIL: usize = 254;

/// Signs people up and in, and finds out who sent a request.
#[derive(Debug)]
pub struct Accounts {
    db: Db,
    clock: Clock,
    signup: Signup,
    hasher: password::Hasher,
    tokens: token::Tokens,
    attempts: Option<throttle::Attempts>,
    /// Told when a key is revoked on this node.
    revocations: Notify,
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
    /// With the secret that signs tokens.
    pub fn new(db: Db, clock: Clock, config: &Config, secret: &[u8]) -> Result<Self> {
        Ok(Self {
            db,
            clock,
            signup: config.signup,
            hasher: password::Hasher::new(config.auth.hash_concurrency, config.auth.hash_queue)?,
            tokens: token::Tokens::new(secret, config.auth.token_seconds),
            attempts: (config.rate_limits == Switch::On).then(throttle::Attempts::default),
            revocations: Notify::new(),
        })
    }

    /// Makes an account and signs it in, where sign-up is open. Tries from one address are counted with those to sign in.
    pub async fn sign_up(&self, new: NewAccount, address: Option<IpAddr>) -> Result<SignedIn> {
        if self.signup == Signup::Closed {
            return Err(Error::Forbidden(
                "Sign-up is closed on this server. Ask its operator for an account.".into(),
            ));
        }
        if let Some(attempts) = &self.attempts {
            attempts.count_address(address)?;
        }
        let account = self.create(NewAccount { is_admin: false, ..new }).await?;
        self.signed_in(account)
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
        let email = normalize_email(email);
        let wrong = || Error::Unauthenticated("The e-mail address or the password is wrong.".into());
        if let Some(attempts) = &self.attempts {
            attempts.count_address(address)?;
        }
        if email.len() > LONGEST_EMAIL {
            // No account has one, so that it tells nothing; and it would be kept with the tries.
            return Err(wrong());
        }
        if let Some(attempts) = &self.attempts {
            attempts.count_account(&email)?;
        }
        let found = self.by_email(&email).await?;
        let hash = found.as_ref().and_then(|account| account.password_hash.clone());
        match (self.hasher.verify(password, hash).await?, found) {
            (true, Some(account)) => self.signed_in(account),
            _ => Err(wrong()),
        }
    }

    /// A token for an account, without asking for its password: for commands that hold the database anyway.
    pub fn token_for(&self, account: &account::Model) -> Result<Token> {
        self.tokens.issue(account.id, self.clock.now())
    }

    fn signed_in(&self, account: account::Model) -> Result<SignedIn> {
        Ok(SignedIn { token: self.token_for(&account)?, account })
    }

    /// Who sent this credential: a token of ours, or an API key.
    pub async fn authenticate(&self, credential: &str) -> Result<Actor> {
        let now = self.clock.now();
        let (account_id, mode, proof) = if credential.starts_with(key::PREFIX) {
            let key = key::find(&self.db, credential, now).await?;
            let mode = if key.mode == "TEST" { Mode::Test } else { Mode::Live };
            (key.account_id, mode, Credential { api_key: Some(key.id), expires_at: key.expires_at })
        } else {
            let (account_id, expires_at) = self.tokens.verify(credential, now)?;
            (account_id, Mode::Live, Credential { api_key: None, expires_at: Some(expires_at) })
        };
        let account = account::Entity::find_by_id(account_id).one(self.db.read()).await?;
        let account =
            account.ok_or_else(|| Error::Unauthenticated("This account does not exist any more.".into()))?;
        Ok(Actor { user: Arc::new(account), mode, credential: proof })
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

    /// A key was revoked: whoever waits for [`Accounts::revocations`] looks again.
    pub fn revoked(&self) {
        self.revocations.notify_waiters();
    }

    /// Resolves at the next [`Accounts::revoked`] from when this is called.
    pub fn revocations(&self) -> Notified<'_> {
        self.revocations.notified()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::open;

    #[tokio::test]
    async fn one_address_makes_only_so_many_accounts() {
        let (app, _dir) = open(|_| ()).await;
        let address = Some(IpAddr::from([127, 0, 0, 1]));
        // Refused for its password, before anything is hashed.
        let new = NewAccount {
            email: "ada@example.com".into(),
            name: "Ada".into(),
            password: Some("short".into()),
            is_admin: false,
        };
        for _ in 0..30 {
            assert!(matches!(app.accounts.sign_up(new.clone(), address).await, Err(Error::Invalid(_))));
        }
        assert!(matches!(app.accounts.sign_up(new, address).await, Err(Error::RateLimited(_))));
        let long = format!("{}@example.com", "x".repeat(250));
        for _ in 0..11 {
            let refused = app.accounts.sign_in(&long, "password".into(), None).await;
            assert!(matches!(refused, Err(Error::Unauthenticated(_))), "nothing is kept of such an address");
        }
    }

    #[test]
    fn addresses_are_checked_for_plausibility_only() {
        for good in ["a@b", "ada@example.com", "o'hara+x@example.co.uk", "用户@例子.广告"] {
            assert!(plausible_email(good), "{good}");
        }
        for bad in ["", "ada", "@example.com", "ada@", "a b@example.com", "ada@.com", "ada@example.", "a@b\n"]
        {
            assert!(!plausible_email(bad), "{bad}");
        }
    }
}
