//! One durable order over the events of all jobs.
//!
//! Commit order is not the order of serial numbers, so whoever tails those loses rows. Each event keeps the *position* of
//! its transaction instead, and readers take only positions below a *horizon* under which nothing can appear any more:
//!
//! | | position | horizon |
//! |---|---|---|
//! | PostgreSQL | `pg_current_xact_id()` + base | `pg_snapshot_xmin(pg_current_snapshot())` + base |
//! | SQLite | a counter that each writing transaction raises | the counter + 1: there is one writer |
//!
//! Within a position events are ordered by job and sequence. A job's own events stand in their order, because a
//! transaction gets its ID when it locks the job, not before: whoever waits for the lock has none yet. `base` is what a
//! restored PostgreSQL cluster lacks, whose transaction IDs begin anew ([`align`]); it is 0 until then. `docs/feed.md` has
//! the whole argument.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};
use uuid::Uuid;

use super::event::{EventHead, NewEvent};
use crate::db::Db;
use crate::entity::job_event::{self, Column};
use crate::error::{Error, Result};
use crate::id::JobId;

/// Whether an enabled webhook exists, as an expression that an index answers.
const HAS_WEBHOOKS: &str = "EXISTS (SELECT 1 FROM webhook WHERE enabled)";

/// Writes events of a job that this transaction has locked. Returns what the outbox needs of them, or nothing if no
/// webhook is enabled. The transaction must not write before it holds the lock: its position in the feed could otherwise
/// come before that of an earlier change.
pub async fn append(tx: &DatabaseTransaction, events: Vec<NewEvent>) -> Result<Vec<EventHead>> {
    let Some(first) = events.first() else { return Ok(Vec::new()) };
    let job = first.job;
    let position = match tx.get_database_backend() {
        DbBackend::Postgres => {
            // A transaction that locks several jobs gets its ID with the first of them. It can reach a later job after a
            // transaction with a higher ID has changed that job. So the position is at least that of the job's last event.
            // A position above the own ID is as safe as the ID: the horizon does not pass it while this transaction runs.
            let before = first.sequence - 1;
            format!(
                "GREATEST(pg_current_xact_id()::text::bigint + (SELECT base FROM feed), \
                 (SELECT position FROM job_event WHERE job_id = '{job}' AND sequence = {before}))"
            )
        }
        _ => {
            tx.execute_unprepared("UPDATE feed SET base = base + 1").await?;
            "(SELECT base FROM feed)".to_owned()
        }
    };
    let mut insert = Query::insert();
    insert.into_table(job_event::Entity).columns([
        Column::JobId,
        Column::Sequence,
        Column::Kind,
        Column::ActorId,
        Column::Step,
        Column::At,
        Column::Data,
        Column::Position,
    ]);
    let heads: Vec<_> = events.iter().map(EventHead::from).collect();
    for event in events {
        insert.values_panic([
            event.job.into(),
            event.sequence.into(),
            event.kind.into(),
            event.actor.into(),
            event.step.into(),
            event.at.into(),
            event.data.into(),
            Expr::cust(position.clone()),
        ]);
    }
    // The same statement asks for webhooks, so that an event costs no further statement where there are none.
    insert.returning(Query::returning().exprs([Expr::cust(HAS_WEBHOOKS)]));
    let written = tx.query_all(&insert).await?;
    let has_webhooks = written.first().map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(if has_webhooks == Some(true) { heads } else { Vec::new() })
}

/// The position below which every event is there to be read. Ask for it first, read then.
pub async fn horizon(db: &Db) -> Result<i64> {
    let sql = match db.backend() {
        DbBackend::Postgres => {
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + base AS horizon FROM feed"
        }
        _ => "SELECT base + 1 AS horizon FROM feed",
    };
    number(db.read(), sql, "horizon").await
}

/// How far the horizon is behind the transactions that begin now: what is open holds it back.
pub async fn lag(db: &Db) -> Result<i64> {
    match db.backend() {
        DbBackend::Postgres => {
            let sql = "SELECT pg_snapshot_xmax(s)::text::bigint - pg_snapshot_xmin(s)::text::bigint AS lag \
                       FROM pg_current_snapshot() AS s";
            number(db.read(), sql, "lag").await
        }
        _ => Ok(0),
    }
}

/// Moves the positions to come behind those that exist, where the cluster's transaction IDs are behind them: after a dump
/// was restored into a new one. At the start of a process.
pub async fn align(db: &Db) -> Result<()> {
    if db.backend() != DbBackend::Postgres {
        return Ok(());
    }
    let moved = db.write(|tx| {
        Box::pin(async move {
            let base = number(tx, "SELECT base FROM feed FOR UPDATE", "base").await?;
            // In this order: what is seen now was written under an ID below the one asked for afterwards.
            let last = number(tx, "SELECT coalesce(max(position), 0) AS last FROM job_event", "last").await?;
            let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next";
            let next = number(tx, next, "next").await?;
            if last < next + base {
                return Ok(None);
            }
            let base = last + 1 - next;
            let update = Statement::from_sql_and_values(
                DbBackend::Postgres,
                "UPDATE feed SET base = $1",
                [base.into()],
            );
            tx.execute_raw(update).await?;
            Ok(Some(base))
        })
    });
    if let Some(base) = moved.await? {
        tracing::warn!(base, "the database was restored: the feed goes on behind the events that exist");
    }
    Ok(())
}

async fn number(on: &impl ConnectionTrait, sql: &str, column: &str) -> Result<i64> {
    let row = on.query_one_raw(Statement::from_string(on.get_database_backend(), sql)).await?;
    let row = row.ok_or_else(|| Error::internal("the table feed is empty"))?;
    Ok(row.try_get("", column)?)
}

/// A place in the feed, and in the history of the job that it names: just after one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPosition {
    /// Of the event's transaction.
    pub position: i64,
    /// Whose event.
    pub job: JobId,
    /// In its job's history.
    pub sequence: i64,
}

/// The version of what is inside a cursor.
const FORMAT: u8 = 1;

impl FeedPosition {
    /// Before everything.
    pub const START: Self = Self { position: -1, job: JobId(Uuid::nil()), sequence: 0 };

    /// Just after an event.
    pub fn of(event: &job_event::Model) -> Self {
        Self { position: event.position, job: event.job_id, sequence: event.sequence }
    }

    /// Before every event of a position.
    pub fn before(position: i64) -> Self {
        Self { position, ..Self::START }
    }

    /// As clients carry it.
    pub fn encode(&self) -> String {
        let mut bytes = [0_u8; 33];
        bytes[0] = FORMAT;
        bytes[1..9].copy_from_slice(&self.position.to_be_bytes());
        bytes[9..25].copy_from_slice(self.job.0.as_bytes());
        bytes[25..].copy_from_slice(&self.sequence.to_be_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` where it is not one of ours.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 33] = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let number = |range: std::ops::Range<usize>| bytes[range].try_into().ok().map(i64::from_be_bytes);
        let (position, sequence) = (number(1..9)?, number(25..33)?);
        let job = JobId(Uuid::from_slice(&bytes[9..25]).ok()?);
        (bytes[0] == FORMAT && position >= 0 && sequence > 0).then_some(Self { position, job, sequence })
    }
}

/// Events after a place of the feed, as a condition.
pub fn after(place: FeedPosition) -> sea_orm::Condition {
    use sea_orm::{ColumnTrait, Condition};
    let later_job = Condition::any()
        .add(Column::JobId.gt(place.job))
        .add(Condition::all().add(Column::JobId.eq(place.job)).add(Column::Sequence.gt(place.sequence)));
    // The first part alone finds the place in the index.
    Condition::all()
        .add(Column::Position.gte(place.position))
        .add(Condition::any().add(Column::Position.gt(place.position)).add(later_job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_foreign_ones_do_not() {
        let place = FeedPosition { position: 1 << 40, job: JobId::new(), sequence: 7 };
        assert_eq!(FeedPosition::decode(&place.encode()), Some(place));
        let never = FeedPosition { sequence: 0, ..place }.encode();
        for foreign in
            ["", "x", "AAAA", never.as_str(), &FeedPosition::START.encode(), &format!("{}A", place.encode())]
        {
            assert_eq!(FeedPosition::decode(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn places_are_in_the_order_of_the_feed() {
        let (early, late) = (JobId::new(), JobId::new());
        let place = |position, job, sequence| FeedPosition { position, job, sequence };
        let order =
            [FeedPosition::START, FeedPosition::before(3), place(3, early, 9), place(3, late, 1), place(4, early, 10)];
        assert!(order.is_sorted(), "{order:?}");
    }
}
