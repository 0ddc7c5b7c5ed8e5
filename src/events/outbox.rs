//! What is to be sent to webhooks, written in the transaction of the events themselves.
//!
//! An event goes to the enabled webhooks of its job, and to those over all jobs of people who own it or were let in to it.
//! What somebody may see of it is looked at when it is sent, not here.

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

/// When what stands behind an earlier event of its job, on its way to the same webhook, is tried: not before that one has
/// ended and lets it go. A queue in which only what can be sent is due stays quick, whatever waits behind it.
pub const WAITING_DUE_TIME: Timestamp =
    DateTime::from_timestamp(253_370_764_800, 0).expect("the year 9999 is in range");

/// Rows of one statement: databases take so many values only.
const ROWS: usize = 500;

/// Writes what is to be sent of the events of a job; says how much it is.
pub async fn append(tx: &DatabaseTransaction, job: JobId, events: &[EventHead]) -> Result<usize> {
    let mut rows = Vec::new();
    for (webhook, kinds, waits) in listening(tx, job).await? {
        let wanted = |event: &&EventHead| wants(&kinds, event.kind);
        let mut free = !waits;
        for event in events.iter().filter(wanted) {
            let first = std::mem::replace(&mut free, false);
            rows.push(row(webhook, job, event, if first { event.at } else { WAITING_DUE_TIME }));
        }
    }
    let count = rows.len();
    while !rows.is_empty() {
        let some = rows.split_off(rows.len().saturating_sub(ROWS));
        webhook_delivery::Entity::insert_many(some).exec_without_returning(tx).await?;
    }
    Ok(count)
}

/// Whether a webhook of these kinds is sent an event of this one.
fn wants(kinds: &Value, kind: EventKind) -> bool {
    kinds
        .as_array()
        .is_none_or(|kinds| kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind.as_str()))
}

/// The webhooks of a job's events, their kinds, and whether an event of the job is on its way there: nothing of the job is
/// finished meanwhile, since who does so locks the job too. They cannot be deleted before this transaction has ended, or
/// what is written for them would fail with it.
async fn listening(tx: &DatabaseTransaction, job: JobId) -> Result<Vec<(WebhookId, Value, bool)>> {
    let account = || Expr::col((webhook::Entity, webhook::Column::AccountId));
    let admins = Query::select()
        .column(account::Column::Id)
        .from(account::Entity)
        .and_where(Expr::cust("is_admin"))
        .to_owned();
    let of_this_job = Condition::all()
        .add(webhook::Column::JobId.eq(job))
        .add(account().in_subquery(let_in(job)).or(account().in_subquery(admins)));
    let over_all =
        Condition::all().add(webhook::Column::JobId.is_null()).add(account().in_subquery(let_in(job)));
    let delivery = |column: Delivery| Expr::col((webhook_delivery::Entity, column));
    let on_its_way = Query::select()
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
        .expr_as(Expr::exists(on_its_way), "waits")
        .filter(Expr::cust("enabled"))
        .filter(Condition::any().add(of_this_job).add(over_all))
        .lock(LockType::KeyShare);
    Ok(found.into_tuple().all(tx).await?)
}

/// The accounts of those who made a job or were let in to it, teams resolved to their members.
fn let_in(job: JobId) -> SelectStatement {
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
    fn no_kinds_are_all_kinds() {
        assert!(wants(&json!([]), EventKind::Created));
        assert!(wants(&json!(["CREATED", "RETRIED"]), EventKind::Retried));
        assert!(!wants(&json!(["CREATED"]), EventKind::Retried));
    }
}
