//! Known networks: those from which an account has signed in. They bypass the limit of the account (ADR 14).

use std::net::IpAddr;

use chrono::TimeDelta;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};

use super::email::by_email;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::entity::{account, sign_in_network};
use crate::error::Result;
use crate::id::UserId;

/// Minimum time between two updates of the same network.
const UPDATE_INTERVAL: TimeDelta = TimeDelta::days(1);

/// Returns whether the account with this address has signed in from a network since `since`.
pub(super) async fn is_known(db: &Db, email: &str, network: IpAddr, since: Timestamp) -> Result<bool> {
    let Some(account) = by_email(db.read(), email).await? else { return Ok(false) };
    let row = sign_in_network::Entity::find_by_id((account.id, network.to_string()));
    Ok(row.one(db.read()).await?.is_some_and(|row| row.seen_at >= since))
}

/// Records a sign-in, at most once a day, and removes networks last used before `since`.
pub(super) async fn record(
    db: &Db,
    account: &account::Model,
    network: IpAddr,
    now: Timestamp,
    since: Timestamp,
) -> Result<()> {
    let (id, network) = (account.id, network.to_string());
    let row = sign_in_network::Entity::find_by_id((id, network.clone())).one(db.read()).await?;
    if row.is_some_and(|row| row.seen_at > now - UPDATE_INTERVAL) {
        return Ok(());
    }
    db.write(move |tx| Box::pin(async move { upsert(tx, id, network, now, since).await })).await
}

async fn upsert(
    tx: &impl sea_orm::ConnectionTrait,
    account: UserId,
    network: String,
    now: Timestamp,
    since: Timestamp,
) -> Result<()> {
    use sign_in_network::Column;

    let row =
        sign_in_network::ActiveModel { account_id: Set(account), network: Set(network), seen_at: Set(now) };
    let conflict =
        OnConflict::columns([Column::AccountId, Column::Network]).update_column(Column::SeenAt).to_owned();
    sign_in_network::Entity::insert(row).on_conflict(conflict).exec_without_returning(tx).await?;
    let expired = sign_in_network::Entity::delete_many().filter(Column::AccountId.eq(account));
    expired.filter(Column::SeenAt.lt(since)).exec(tx).await?;
    Ok(())
}
