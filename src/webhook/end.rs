//! Giving up and removing deliveries.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Set, UpdateMany,
};

use crate::clock::Timestamp;
use crate::db::Db;
use crate::entity::enums::{DeliveryStatus, DisabledReason};
use crate::entity::webhook_delivery::Column;
use crate::entity::{webhook, webhook_delivery};
use crate::error::{Error, Result};
use crate::id::{DeliveryId, LeaseToken};

/// Rows removed by one statement.
const PAGE_ROWS: u64 = 1_000;

/// Removes the deliveries that match a condition, page by page. Returns their number.
pub(super) async fn remove_deliveries(db: &Db, condition: Condition) -> Result<u64> {
    let mut removed = 0;
    loop {
        let condition = condition.clone();
        let page = db.write(move |tx| {
            Box::pin(async move {
                let page = webhook_delivery::Entity::find()
                    .select_only()
                    .column(Column::Id)
                    .filter(condition.clone())
                    .order_by_asc(Column::FinishedAt)
                    .limit(PAGE_ROWS);
                let page: Vec<DeliveryId> = page.into_tuple().all(tx).await?;
                // The condition is repeated for rows that changed since, such as by a redelivery.
                let remove =
                    webhook_delivery::Entity::delete_many().filter(Column::Id.is_in(page)).filter(condition);
                Ok(remove.exec(tx).await?.rows_affected)
            })
        });
        let page = page.await?;
        removed += page;
        if page < PAGE_ROWS {
            return Ok(removed);
        }
    }
}

/// Disables a webhook that this transaction has locked, and gives up its pending deliveries.
pub(super) async fn disable(
    tx: &DatabaseTransaction,
    webhook: webhook::Model,
    reason: DisabledReason,
    now: Timestamp,
) -> Result<webhook::Model> {
    tracing::info!(webhook.id = %webhook.id, webhook.host = webhook.host, ?reason, "webhook disabled");
    give_up(now).filter(Column::WebhookId.eq(webhook.id)).exec(tx).await?;
    let mut row: webhook::ActiveModel = webhook.into();
    (row.enabled, row.disabled_reason, row.updated_at) = (Set(false), Set(Some(reason)), Set(now));
    row.update(tx).await.map_err(Error::from)
}

/// Builds the statement that gives up pending deliveries.
pub(super) fn give_up(now: Timestamp) -> UpdateMany<webhook_delivery::Entity> {
    webhook_delivery::Entity::update_many()
        .col_expr(Column::Status, Expr::value(DeliveryStatus::GivenUp))
        .col_expr(Column::LastError, Expr::value("The webhook was disabled."))
        .col_expr(Column::NextAttemptAt, Expr::value(None::<Timestamp>))
        .col_expr(Column::LeaseToken, Expr::value(None::<LeaseToken>))
        .col_expr(Column::FinishedAt, Expr::value(now))
        .filter(Column::NextAttemptAt.is_not_null())
}
