//! API keys: long-lived credentials, shown once and stored as the SHA-256 of a secret with 32 random bytes.

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

use crate::access::Actor;
use crate::audit::{self, AuditEvent, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::config::Limits;
use crate::db::Db;
use crate::entity::enums::Mode;
use crate::entity::{account, api_key};
use crate::error::{Error, Result};
use crate::id::{ApiKeyId, UserId};
use crate::limit;

/// The prefix of every key.
pub(super) const PREFIX: &str = "user-";
/// Characters of a key that lists show: `user-live-` and four more.
const SHOWN_CHARS: usize = 14;
/// Resolution of `lastUsedAt`, so that not every request writes.
const USE_RESOLUTION: TimeDelta = TimeDelta::minutes(1);
/// Maximum number of expired and revoked keys in a list.
const MAX_LISTED_INACTIVE: u64 = 100;
/// Maximum number of keys whose latest use is cached.
const MAX_CACHED_USES: usize = 10_000;
/// Latest year of an expiry: clients write later years in different ways (RFC 3339 section 1).
const MAX_EXPIRY_YEAR: i32 = 9999;

/// Records when keys were last used, at most once a minute for each key.
#[derive(Debug, Clone, Default)]
pub(super) struct UsageRecorder(Arc<Mutex<HashMap<ApiKeyId, Timestamp>>>);

impl UsageRecorder {
    /// Records a use in the background, unless one was recorded within the last minute. Requests neither wait for it
    /// nor fail with it.
    pub(super) fn record(&self, db: &Db, tasks: &TaskTracker, key: &api_key::Model, now: Timestamp) {
        let stale = now - USE_RESOLUTION;
        if key.last_used_at.is_some_and(|at| at >= stale) || !self.should_record(key.id, now) {
            return;
        }
        let (db, id) = (db.clone(), key.id);
        tasks.spawn(async move {
            if let Err(error) = update_last_used(&db, id, now, stale).await {
                tracing::warn!(%error, key = %id, "could not record the last use of an API key");
            }
        });
    }

    fn should_record(&self, id: ApiKeyId, now: Timestamp) -> bool {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.get(&id).is_some_and(|at| (now - *at).abs() < USE_RESOLUTION) {
            return false;
        }
        if recorded.len() >= MAX_CACHED_USES {
            recorded.retain(|_, at| (now - *at).abs() < USE_RESOLUTION);
        }
        recorded.insert(id, now);
        true
    }
}

async fn update_last_used(db: &Db, id: ApiKeyId, now: Timestamp, stale: Timestamp) -> Result<()> {
    db.write(move |tx| {
        Box::pin(async move {
            // Another node may have recorded a later use.
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

/// The input for creating an API key.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The display name.
    pub name: String,
    /// The mode of the jobs that the key creates.
    pub mode: Mode,
    /// When the key stops working; `None` means never.
    pub expires_at: Option<Timestamp>,
}

/// Creates a key for an account. The returned secret is not stored.
pub async fn create(
    db: &Db,
    clock: &Clock,
    account: UserId,
    new: NewKey,
    limits: &Limits,
) -> Result<(String, api_key::Model)> {
    let name = new.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Error::invalid("/name", "INVALID", "A name must have 1 to 200 characters."));
    }
    if expired(new.expires_at, clock.now()) {
        return Err(Error::invalid("/expiresAt", "PAST", "The expiry must be in the future."));
    }
    if new.expires_at.is_some_and(|at| at.year() > MAX_EXPIRY_YEAR) {
        let message = format!(
            "The expiry must not be after the year {MAX_EXPIRY_YEAR}. Omit it for a key that never expires."
        );
        return Err(Error::invalid("/expiresAt", "RANGE", message));
    }
    let (max, now) = (limits.api_keys, clock.now());
    let (secret, row) = generate(account, NewKey { name, ..new }, now);
    let created = db.write(move |tx| {
        Box::pin(async move {
            limit::lock_account(tx, account).await?;
            let full = format!("You already have {max} API keys, the maximum. Revoke one first.");
            let counted = keys_of(account).filter(is_active(now)).filter(api_key::Column::IsLogin.eq(false));
            limit::check_quota(tx, counted, max, full).await?;
            Ok(row.insert(tx).await?)
        })
    });
    Ok((secret, created.await?))
}

/// Returns a new secret and the row of its key.
fn generate(account: UserId, new: NewKey, now: Timestamp) -> (String, api_key::ActiveModel) {
    let mode = new.mode.as_str().to_ascii_lowercase();
    let random: [u8; 32] = rand::random();
    let secret = format!("{PREFIX}{mode}-{}", BASE64_URL_SAFE_NO_PAD.encode(random));
    let row = api_key::ActiveModel {
        id: Set(ApiKeyId::new()),
        account_id: Set(account),
        name: Set(new.name),
        mode: Set(new.mode),
        prefix: Set(secret[..SHOWN_CHARS].to_owned()),
        secret_hash: Set(hash_secret(&secret)),
        created_at: Set(now),
        last_used_at: Set(None),
        expires_at: Set(new.expires_at),
        revoked_at: Set(None),
        is_login: Set(false),
    };
    (secret, row)
}

/// The name of the keys that a login creates.
const LOGIN: &str = "login";
/// Maximum number of logins of one account whose keys work at the same time.
pub const MAX_LOGINS: u64 = 20;
/// Maximum number of keys that one statement revokes or removes.
const MAX_KEYS_PER_STATEMENT: u64 = 1_000;

/// The secrets of the two keys that a login creates.
#[derive(Debug)]
pub struct LoginKeys {
    /// The secret of the LIVE key.
    pub live: String,
    /// The secret of the TEST key.
    pub test: String,
}

/// Creates a LIVE and a TEST key for an account, which work until `expires_at`. They do not count against the limit of
/// keys: beyond [`MAX_LOGINS`] the oldest login keys are revoked, and their IDs are returned.
pub(super) async fn create_login(
    db: &Db,
    account: UserId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(LoginKeys, [ApiKeyId; 2], Vec<ApiKeyId>)> {
    use api_key::Column;

    let pair = [Mode::Live, Mode::Test].map(|mode| {
        let new = NewKey { name: LOGIN.to_owned(), mode, expires_at: Some(expires_at) };
        let (secret, row) = generate(account, new, now);
        (secret, api_key::ActiveModel { is_login: Set(true), ..row })
    });
    let [(live, live_row), (test, test_row)] = pair;
    let (made, revoked) = db
        .write(move |tx| {
            Box::pin(async move {
                limit::lock_account(tx, account).await?;
                let logins = || keys_of(account).filter(Column::IsLogin.eq(true));
                let (live, test) = (live_row.insert(tx).await?, test_row.insert(tx).await?);
                // SQLite does not accept OFFSET without LIMIT.
                let surplus = logins()
                    .filter(is_active(now))
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

/// Removes expired keys of logins and returns their number.
pub async fn remove_expired_logins(db: &Db, now: Timestamp) -> Result<u64> {
    use api_key::Column;

    let mut removed = 0;
    loop {
        let page = db.write(move |tx| {
            Box::pin(async move {
                let query = api_key::Entity::find()
                    .select_only()
                    .column(Column::Id)
                    // Same text as the condition of the index: a bound value would not match it.
                    .filter(Expr::cust("is_login"))
                    .filter(Column::ExpiresAt.lte(now))
                    .limit(MAX_KEYS_PER_STATEMENT);
                let expired_ids: Vec<ApiKeyId> = query.into_tuple().all(tx).await?;
                let remove = api_key::Entity::delete_many().filter(Column::Id.is_in(expired_ids));
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

fn keys_of(account: UserId) -> Select<api_key::Entity> {
    api_key::Entity::find().filter(api_key::Column::AccountId.eq(account))
}

fn is_active(now: Timestamp) -> Condition {
    let expires = api_key::Column::ExpiresAt;
    let not_expired = Condition::any().add(expires.is_null()).add(expires.gt(now));
    Condition::all().add(api_key::Column::RevokedAt.is_null()).add(not_expired)
}

/// Lists the viewer's keys, newest first: all active keys, and the newest of the others.
pub async fn list(db: &Db, clock: &Clock, actor: &Actor) -> Result<Vec<api_key::Model>> {
    let (mine, now) = (|| keys_of(actor.user.id).order_by_desc(api_key::Column::Id), clock.now());
    let mut keys = mine().filter(is_active(now)).all(db.read()).await?;
    keys.extend(mine().filter(is_active(now).not()).limit(MAX_LISTED_INACTIVE).all(db.read()).await?);
    keys.sort_by_key(|key| Reverse(key.id));
    Ok(keys)
}

/// Revokes a key of the viewer; revoking it again changes nothing.
pub(super) async fn revoke(db: &Db, clock: &Clock, actor: &Actor, id: ApiKeyId) -> Result<api_key::Model> {
    let (account, now) = (actor.user.id, clock.now());
    let revoked_key = db.write(move |tx| {
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
    let key: api_key::Model = revoked_key.await?;
    audit::record_with_subject(AuditEvent::ApiKeyRevoked, Outcome::Ok, actor.into(), key.id);
    Ok(key)
}

/// Returns the key with this secret and its account, if the key works at `now`.
pub(super) async fn find(
    db: &Db,
    secret: &str,
    now: Timestamp,
) -> Result<(api_key::Model, Option<account::Model>)> {
    let invalid = || Error::Unauthenticated("The credential is not valid.".into());
    let by_hash = api_key::Entity::find().filter(api_key::Column::SecretHash.eq(hash_secret(secret)));
    let found = by_hash.find_also_related(account::Entity).one(db.read()).await?;
    let (key, account) = found.ok_or_else(invalid)?;
    if key.revoked_at.is_some() {
        return Err(Error::Unauthenticated("This API key has been revoked.".into()));
    }
    if expired(key.expires_at, now) {
        return Err(Error::Unauthenticated("This API key has expired.".into()));
    }
    Ok((key, account))
}

/// Returns whether a key has been revoked or removed.
pub(super) async fn is_revoked(db: &Db, id: ApiKeyId) -> Result<bool> {
    let key = api_key::Entity::find_by_id(id).one(db.read()).await?;
    Ok(key.is_none_or(|key| key.revoked_at.is_some()))
}

fn hash_secret(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Returns whether a credential has expired at `now`.
pub fn expired(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|at| at <= now)
}
