//! Where people have signed in from: there they are not shut out by what others try elsewhere (ADR 14).

use std::net::IpAddr;

use chrono::TimeDelta;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};

use crate::clock::Timestamp;
use crate::db::Db;
use crate::entity::{account, sign_in_network};
use crate::error::Result;
use crate::id::UserId;

/// A network is noted again after this time.
const NOTED_ANEW: TimeDelta = TimeDelta::days(1);

/// Whether somebody has signed in to the account of this address from a network since then.
pub(super) async fn known(db: &Db, email: &str, network: IpAddr, since: Timestamp) -> Result<bool> {
    let Some(account) = super::by_email(db.read(), email).await? else { return Ok(false) };
    let seen = sign_in_network::Entity::find_by_id((account.id, network.to_string()));
    Ok(seen.one(db.read()).await?.is_some_and(|row| row.seen_at >= since))
}

/// Notes that somebody has signed in, once a day; what is older than `since` is forgotten.
pub(super) async fn note(
    db: &Db,
    account: &account::Model,
    network: IpAddr,
    now: Timestamp,
    since: Timestamp,
) -> Result<()> {
    let (id, network) = (account.id, network.to_string());
    let seen = sign_in_network::Entity::find_by_id((id, network.clone())).one(db.read()).await?;
    if seen.is_some_and(|row| row.seen_at > now - NOTED_ANEW) {
        return Ok(());
    }
    db.write(move |tx| Box::pin(async move { write(tx, id, network, now, since).await })).await
}

async fn write(
    tx: &impl sea_orm::ConnectionTrait,
    account: UserId,
    network: String,
    now: Timestamp,
    since: Timestamp,
) -> Result<()> {
    use sign_in_network::Column;

    let row =
        sign_in_network::ActiveModel { account_id: Set(account), network: Set(network), seen_at: Set(now) };
    let again =
        OnConflict::columns([Column::AccountId, Column::Network]).update_column(Column::SeenAt).to_owned();
    sign_in_network::Entity::insert(row).on_conflict(again).exec_without_returning(tx).await?;
    let forgotten = sign_in_network::Entity::delete_many().filter(Column::AccountId.eq(account));
    forgotten.filter(Column::SeenAt.lt(since)).exec(tx).await?;
    Ok(())
}
