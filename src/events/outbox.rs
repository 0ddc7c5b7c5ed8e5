//! The outbox: deliveries to webhooks, written in the transaction of their events.
//!
//! An event goes to the enabled webhooks of its job, and to the webhooks for all jobs of users with access to it. The
//! dispatcher checks what the user may see when it sends the event.

use chrono::DateTime;
use sea_orm::sea_query::{Expr, ExprTrait, LockType, Query, SelectStatement, UnionType};
use sea_orm::{ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect, Set};
use serde_json::Value;

use super::event::EventHead;
use crate::clock::Timestamp;
use crate::entity::enums::{DeliveryStatus, EventKind};
use crate::entity::webhook_delivery::Column as Delivery;
use crate::entity::{access, account, team_member, webhook, webhook_delivery};
use crate::error::Result;
use crate::id::{DeliveryId, JobId, WebhookId};

/// The due time of a delivery that waits for an earlier event of the same job to the same webhook. The end of the
/// earlier delivery makes it due. Waiting deliveries are not due, so that they do not slow down the queue.
pub(crate) const WAITING_DUE_TIME: Timestamp =
    DateTime::from_timestamp(253_370_764_800, 0).expect("the year 9999 is in range");

/// Maximum number of rows of one statement: databases limit the number of its values.
const MAX_ROWS_PER_INSERT: usize = 500;

/// Writes the deliveries of the events of a job, and returns their number.
pub async fn append(tx: &DatabaseTransaction, job: JobId, events: &[EventHead]) -> Result<usize> {
    let mut rows = Vec::new();
    for (webhook, kinds, is_pending) in subscribed_webhooks(tx, job).await? {
        let is_included = |event: &&EventHead| includes(&kinds, event.kind);
        let mut must_wait = is_pending;
        for event in events.iter().filter(is_included) {
            let due = if std::mem::replace(&mut must_wait, true) { WAITING_DUE_TIME } else { event.at };
            rows.push(row(webhook, job, event, due));
        }
    }
    let count = rows.len();
    while !rows.is_empty() {
        let chunk = rows.split_off(rows.len().saturating_sub(MAX_ROWS_PER_INSERT));
        webhook_delivery::Entity::insert_many(chunk).exec_without_returning(tx).await?;
    }
    Ok(count)
}

/// Returns whether a webhook with these kinds gets events of this kind. An empty list means all kinds.
fn includes(kinds: &Value, kind: EventKind) -> bool {
    kinds
        .as_array()
        .is_none_or(|kinds| kinds.is_empty() || kinds.iter().any(|included| included == kind.as_str()))
}

/// Returns the webhooks of a job's events, their kinds, and whether they have a pending delivery of this job. A
/// delivery ends under the lock of the job, so none ends at the same time. The row locks prevent that a webhook is
/// deleted before this transaction ends, which would make it fail.
async fn subscribed_webhooks(tx: &DatabaseTransaction, job: JobId) -> Result<Vec<(WebhookId, Value, bool)>> {
    let account = || Expr::col((webhook::Entity, webhook::Column::AccountId));
    let admins = Query::select()
        .column(account::Column::Id)
        .from(account::Entity)
        .and_where(Expr::cust("is_admin"))
        .to_owned();
    let of_this_job = Condition::all()
        .add(webhook::Column::JobId.eq(job))
        .add(account().in_subquery(accounts_with_access(job)).or(account().in_subquery(admins)));
    let of_all_jobs = Condition::all()
        .add(webhook::Column::JobId.is_null())
        .add(account().in_subquery(accounts_with_access(job)));
    let delivery = |column: Delivery| Expr::col((webhook_delivery::Entity, column));
    let pending = Query::select()
        .expr(Expr::val(1))
        .from(webhook_delivery::Entity)
        .and_where(delivery(Delivery::WebhookId).equals((webhook::Entity, webhook::Column::Id)))
        .and_where(delivery(Delivery::JobId).eq(job))
        .and_where(delivery(Delivery::NextAttemptAt).is_not_null())
        .and_where(Expr::cust("NOT webhook_delivery.redelivery"))
        .to_owned();
    let found = webhook::Entity::find()
        .select_only()
        .columns([webhook::Column::Id, webhook::Column::EventKinds])
        .expr_as(Expr::exists(pending), "is_pending")
        .filter(Expr::cust("enabled"))
        .filter(Condition::any().add(of_this_job).add(of_all_jobs))
        .lock(LockType::KeyShare);
    Ok(found.into_tuple().all(tx).await?)
}

/// Returns a query for the accounts with access to a job: its owner, its collaborators, and the members of its teams.
fn accounts_with_access(job: JobId) -> SelectStatement {
    let members = Query::select()
        .column((team_member::Entity, team_member::Column::AccountId))
        .from(access::Entity)
        .inner_join(
            team_member::Entity,
            Expr::col((team_member::Entity, team_member::Column::TeamId))
                .equals((access::Entity, access::Column::PrincipalId)),
        )
        .and_where(access::Column::JobId.eq(job))
        .to_owned();
    Query::select()
        .column(access::Column::PrincipalId)
        .from(access::Entity)
        .and_where(access::Column::JobId.eq(job))
        .union(UnionType::Distinct, members)
        .to_owned()
}

fn row(webhook: WebhookId, job: JobId, event: &EventHead, due: Timestamp) -> webhook_delivery::ActiveModel {
    webhook_delivery::ActiveModel {
        id: Set(DeliveryId::new()),
        webhook_id: Set(webhook),
        job_id: Set(job),
        sequence: Set(event.sequence),
        kind: Set(event.kind),
        status: Set(DeliveryStatus::Pending),
        redelivery: Set(false),
        attempts: Set(0),
        queued_at: Set(event.at),
        next_attempt_at: Set(Some(due)),
        lease_token: Set(None),
        last_attempt_at: Set(None),
        last_status_code: Set(None),
        last_error: Set(None),
        created_at: Set(event.at),
        finished_at: Set(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn empty_list_of_kinds_includes_all_kinds() {
        assert!(includes(&json!([]), EventKind::Created));
        assert!(includes(&json!(["CREATED", "RETRIED"]), EventKind::Retried));
        assert!(!includes(&json!(["CREATED"]), EventKind::Retried));
    }
}
