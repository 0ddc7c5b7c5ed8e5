//! API keys: long-lived credentials, shown once, kept as the SHA-256 of 32 random bytes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{Datelike, TimeDelta};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Set,
};
use sha2::{Digest, Sha256};
use tokio_util::task::TaskTracker;

use super::expired;
use crate::access::Actor;
use crate::audit::{self, Event, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::config::Limits;
use crate::db::Db;
use crate::entity::api_key;
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, UserId};
use crate::job::state::Mode;
use crate::limit;

/// What every key begins with.
pub(super) const PREFIX: &str = "user-";
/// Characters that a key is recognised by: `user-live-` and four more.
const SHOWN: usize = 14;
/// `lastUsedAt` is kept to the minute, so that not every request writes.
const USE_RESOLUTION: TimeDelta = TimeDelta::minutes(1);
/// Keys that do not work any more, that are listed.
const MOST_ENDED: u64 = 100;
/// Keys whose use was noted lately, that are remembered.
const MOST_NOTED: usize = 10_000;
/// Times of later years are not written alike by all who read them (RFC 3339 section 1).
const LAST_YEAR: i32 = 9999;

/// Notes when keys were last used: each once a minute, however many requests come with it at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Uses(Arc<Mutex<HashMap<ApiKeyId, Timestamp>>>);

impl Uses {
    /// Notes a use, if none was lately. Nobody waits for it, and nothing fails with it.
    pub(super) fn note(&self, db: &Db, tasks: &TaskTracker, key: &api_key::Model, now: Timestamp) {
        let stale = now - USE_RESOLUTION;
        if key.last_used_at.is_some_and(|at| at >= stale) || !self.first(key.id, now) {
            return;
        }
        let (db, id) = (db.clone(), key.id);
        tasks.spawn(async move {
            if let Err(error) = used(&db, id, now, stale).await {
                tracing::warn!(%error, key = %id, "when an API key was last used could not be noted");
            }
        });
    }

    fn first(&self, id: ApiKeyId, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&id).is_some_and(|at| (now - *at).abs() < USE_RESOLUTION) {
            return false;
        }
        if noted.len() >= MOST_NOTED {
            noted.retain(|_, at| (now - *at).abs() < USE_RESOLUTION);
        }
        noted.insert(id, now);
        true
    }
}

async fn used(db: &Db, id: ApiKeyId, now: Timestamp, stale: Timestamp) -> Result<()> {
    db.write(move |tx| {
        Box::pin(async move {
            // Another node may have noted a later use.
            let older = Condition::any()
                .add(api_key::Column::LastUsedAt.is_null())
                .add(api_key::Column::LastUsedAt.lt(stale));
            let update =
                api_key::Entity::update_many().col_expr(api_key::Column::LastUsedAt, Expr::value(now));
            update.filter(api_key::Column::Id.eq(id)).filter(older).exec(tx).await?;
            Ok(())
        })
    })
    .await
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// For people.
    pub name: String,
    /// Whether its jobs are for real.
    pub mode: Mode,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// Makes a key for an account; the secret is returned here and nowhere else.
pub async fn create(
    db: &Db,
    clock: &Clock,
    account: UserId,
    new: NewKey,
    limits: &Limits,
) -> Result<(String, api_key::Model)> {
    let name = new.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Error::invalid("/name", "INVALID", "A name has 1 to 200 characters."));
    }
    if expired(new.expires_at, clock.now()) {
        return Err(Error::invalid("/expiresAt", "PAST", "This time has passed already."));
    }
    if new.expires_at.is_some_and(|at| at.year() > LAST_YEAR) {
        let message = format!("A key expires in the year {LAST_YEAR} at the latest, or never.");
        return Err(Error::invalid("/expiresAt", "RANGE", message));
    }
    let (most, now) = (limits.api_keys, clock.now());
    let (secret, row) = fresh(account, NewKey { name, ..new }, now);
    let made = db.write(move |tx| {
        Box::pin(async move {
            limit::in_turn(tx, account).await?;
            let full = format!("You have {most} API keys already; revoke one first.");
            let counted = of(account).filter(works(now)).filter(api_key::Column::IsLogin.eq(false));
            limit::one_more(tx, counted, most, full).await?;
            Ok(row.insert(tx).await?)
        })
    });
    Ok((secret, made.await?))
}

/// Returns a new secret and the row of its key.
fn fresh(account: UserId, new: NewKey, now: Timestamp) -> (String, api_key::ActiveModel) {
    let mode = new.mode.as_str().to_ascii_lowercase();
    let random: [u8; 32] = rand::random();
    let secret = format!("{PREFIX}{mode}-{}", BASE64_URL_SAFE_NO_PAD.encode(random));
    let row = api_key::ActiveModel {
        id: Set(ApiKeyId::new()),
        account_id: Set(account),
        name: Set(new.name),
        mode: Set(new.mode),
        prefix: Set(secret[..SHOWN].to_owned()),
        secret_hash: Set(hash(&secret)),
        created_at: Set(now),
        last_used_at: Set(None),
        expires_at: Set(new.expires_at),
        revoked_at: Set(None),
        is_login: Set(false),
    };
    (secret, row)
}

/// The name of keys that a login makes.
const LOGIN: &str = "login";
/// Logins of one account whose keys work at the same time.
pub const MAX_LOGINS: u64 = 20;
/// Maximum number of keys that one statement revokes or removes.
const MAX_KEYS_PER_STATEMENT: u64 = 1_000;

/// The secrets of the two keys that a login makes.
#[derive(Debug)]
pub struct LoginKeys {
    /// Of the LIVE key.
    pub live: String,
    /// Of the TEST key.
    pub test: String,
}

/// Makes a LIVE and a TEST key for an account, which work until `expires_at`. They do not count against the limit of keys:
/// past [`MAX_LOGINS`] the oldest ones are revoked, whose IDs are returned.
pub(super) async fn create_login(
    db: &Db,
    account: UserId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(LoginKeys, [ApiKeyId; 2], Vec<ApiKeyId>)> {
    use api_key::Column;

    let pair = [Mode::Live, Mode::Test].map(|mode| {
        let new = NewKey { name: LOGIN.to_owned(), mode, expires_at: Some(expires_at) };
        let (secret, row) = fresh(account, new, now);
        (secret, api_key::ActiveModel { is_login: Set(true), ..row })
    });
    let [(live, live_row), (test, test_row)] = pair;
    let (made, revoked) = db
        .write(move |tx| {
            Box::pin(async move {
                limit::in_turn(tx, account).await?;
                let logins = || of(account).filter(Column::IsLogin.eq(true));
                let (live, test) = (live_row.insert(tx).await?, test_row.insert(tx).await?);
                // SQLite takes no OFFSET without a LIMIT.
                let surplus = logins()
                    .filter(works(now))
                    .order_by_desc(Column::Id)
                    .offset(2 * MAX_LOGINS)
                    .limit(MAX_KEYS_PER_STATEMENT);
                let surplus: Vec<ApiKeyId> =
                    surplus.select_only().column(Column::Id).into_tuple().all(tx).await?;
                if !surplus.is_empty() {
                    let revoke = api_key::Entity::update_many().col_expr(Column::RevokedAt, Expr::value(now));
                    revoke.filter(Column::Id.is_in(surplus.iter().copied())).exec(tx).await?;
                }
                Ok(([live.id, test.id], surplus))
            })
        })
        .await?;
    Ok((LoginKeys { live, test }, made, revoked))
}

/// Removes keys of logins that have expired; returns how many.
pub async fn remove_expired_logins(db: &Db, now: Timestamp) -> Result<u64> {
    use api_key::Column;

    let mut removed = 0;
    loop {
        let page = db.write(move |tx| {
            Box::pin(async move {
                let late = api_key::Entity::find()
                    .select_only()
                    .column(Column::Id)
                    // As in the condition of the index: a bound value would not match it.
                    .filter(Expr::cust("is_login"))
                    .filter(Column::ExpiresAt.lte(now))
                    .limit(MAX_KEYS_PER_STATEMENT);
                let late: Vec<ApiKeyId> = late.into_tuple().all(tx).await?;
                let remove = api_key::Entity::delete_many().filter(Column::Id.is_in(late));
                Ok(remove.exec(tx).await?.rows_affected)
            })
        });
        let page = page.await?;
        removed += page;
        if page < MAX_KEYS_PER_STATEMENT {
            return Ok(removed);
        }
    }
}

fn of(account: UserId) -> Select<api_key::Entity> {
    api_key::Entity::find().filter(api_key::Column::AccountId.eq(account))
}

fn works(now: Timestamp) -> Condition {
    let expires = api_key::Column::ExpiresAt;
    let lasts = Condition::any().add(expires.is_null()).add(expires.gt(now));
    Condition::all().add(api_key::Column::RevokedAt.is_null()).add(lasts)
}

/// The viewer's own keys, newest first: those that work, and the newest of those that do not any more.
pub async fn list(db: &Db, clock: &Clock, actor: &Actor) -> Result<Vec<api_key::Model>> {
    let (mine, now) = (|| of(actor.user.id).order_by_desc(api_key::Column::Id), clock.now());
    let mut keys = mine().filter(works(now)).all(db.read()).await?;
    keys.extend(mine().filter(works(now).not()).limit(MOST_ENDED).all(db.read()).await?);
    keys.sort_by_key(|key| Reverse(key.id));
    Ok(keys)
}

/// Ends a key of the viewer's own; ending it again changes nothing.
pub(super) async fn revoke(db: &Db, clock: &Clock, actor: &Actor, id: ApiKeyId) -> Result<api_key::Model> {
    let (account, now) = (actor.user.id, clock.now());
    let ended = db.write(move |tx| {
        Box::pin(async move {
            let mine = api_key::Entity::find_by_id(id).filter(api_key::Column::AccountId.eq(account));
            let key = mine.lock_exclusive().one(tx).await?.ok_or_else(|| Error::not_found("API key"))?;
            if key.revoked_at.is_some() {
                return Ok(key);
            }
            let mut row: api_key::ActiveModel = key.into();
            row.revoked_at = Set(Some(now));
            Ok(row.update(tx).await?)
        })
    });
    let key: api_key::Model = ended.await?;
    audit::about(Event::ApiKeyRevoked, Outcome::Ok, actor.into(), key.id);
    Ok(key)
}

/// The key of this secret, if it works at `now`.
pub(super) async fn find(db: &Db, secret: &str, now: Timestamp) -> Result<api_key::Model> {
    let invalid = || Error::Unauthenticated("The credential is not valid.".into());
    let by_hash = api_key::Entity::find().filter(api_key::Column::SecretHash.eq(hash(secret)));
    let key = by_hash.one(db.read()).await?.ok_or_else(invalid)?;
    if key.revoked_at.is_some() {
        return Err(Error::Unauthenticated("This API key has been revoked.".into()));
    }
    if expired(key.expires_at, now) {
        return Err(Error::Unauthenticated("This API key has expired.".into()));
    }
    Ok(key)
}

/// Whether a key has been ended since it was used.
pub(super) async fn revoked(db: &Db, id: ApiKeyId) -> Result<bool> {
    let key = api_key::Entity::find_by_id(id).one(db.read()).await?;
    Ok(key.is_none_or(|key| key.revoked_at.is_some()))
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}
