//! The feed: all events of all jobs, in one durable order.
//!
//! Transactions do not commit in the order of serial numbers, so a reader that follows serial numbers misses rows. Each
//! event has the *position* of its transaction instead. Readers read only below the *horizon*, where no event can
//! appear any more:
//!
//! | | position | horizon |
//! |---|---|---|
//! | PostgreSQL | `pg_current_xact_id()` + base | `pg_snapshot_xmin(pg_current_snapshot())` + base |
//! | SQLite | a counter that each writing transaction increments | the counter + 1: there is one writer |
//!
//! Events of one position are ordered by job and sequence. Events of one job keep their order, because a transaction
//! gets its ID when it locks the job: a transaction that waits for the lock has none. `base` is 0 until the database is
//! restored into a PostgreSQL cluster with lower transaction IDs ([`align`]). `docs/feed.md` contains the proof.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use uuid::Uuid;

use super::event::NewEvent;
use crate::db::{Db, Statements};
use crate::entity::job_event::{self, Column};
use crate::error::{Error, Result};
use crate::id::JobId;

/// SQL expression: whether an enabled webhook exists. An index answers it.
pub(crate) const HAS_WEBHOOKS: &str = "EXISTS (SELECT 1 FROM webhook WHERE enabled)";

/// Adds the statements that write events of a job that this transaction has locked. The transaction must not write
/// before it holds the lock. Otherwise its feed position could be lower than that of an earlier change.
pub fn append(statements: &mut Statements, backend: DbBackend, events: Vec<NewEvent>) {
    let Some(first) = events.first() else { return };
    let position = match backend {
        DbBackend::Postgres => {
            // A transaction that locks several jobs gets its ID with the first of them. It can reach a later job after
            // a transaction with a higher ID has changed that job. So the position is at least that of the job's last
            // event. A higher position is as safe as the ID: the horizon does not pass it while this transaction runs.
            // The job is a parameter, so that the database plans the statement once.
            Expr::cust_with_values(
                "GREATEST(pg_current_xact_id()::text::bigint + (SELECT base FROM feed), \
                 (SELECT position FROM job_event WHERE job_id = $1 AND sequence = $2))",
                [Value::from(first.job), Value::from(first.sequence - 1)],
            )
        }
        _ => {
            let base = Alias::new("base");
            let next = Query::update()
                .table(Alias::new("feed"))
                .value(base.clone(), Expr::col(base).add(1))
                .to_owned();
            statements.add(next);
            Expr::cust("(SELECT base FROM feed)")
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
    for event in events {
        insert.values_panic([
            event.job.into(),
            event.sequence.into(),
            event.kind.into(),
            event.actor.into(),
            event.step.into(),
            event.at.into(),
            event.data.into(),
            position.clone(),
        ]);
    }
    statements.add(insert);
}

/// Returns the horizon: the position below which all events are visible. Read it before the events.
pub(crate) async fn horizon(db: &Db) -> Result<i64> {
    let sql = match db.backend() {
        DbBackend::Postgres => {
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + base AS horizon FROM feed"
        }
        _ => "SELECT base + 1 AS horizon FROM feed",
    };
    query_number(db.read(), sql, "horizon").await
}

/// Returns the number of transaction IDs by which open transactions hold back the horizon; 0 with SQLite.
pub(crate) async fn lag(db: &Db) -> Result<i64> {
    match db.backend() {
        DbBackend::Postgres => {
            let sql = "SELECT pg_snapshot_xmax(s)::text::bigint - pg_snapshot_xmin(s)::text::bigint AS lag \
                       FROM pg_current_snapshot() AS s";
            query_number(db.read(), sql, "lag").await
        }
        _ => Ok(0),
    }
}

/// Raises `base` if new positions would be below existing ones: after a dump was restored into a cluster with lower
/// transaction IDs. Called at the start of a process.
pub async fn align(db: &Db) -> Result<()> {
    if db.backend() != DbBackend::Postgres {
        return Ok(());
    }
    let aligned = db.write(|tx| {
        Box::pin(async move {
            let base = query_number(tx, "SELECT base FROM feed FOR UPDATE", "base").await?;
            // In this order: events that this query sees have IDs below the one that the next query returns.
            let last = "SELECT coalesce(max(position), 0) AS last FROM job_event";
            let last = query_number(tx, last, "last").await?;
            let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next";
            let next = query_number(tx, next, "next").await?;
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
    if let Some(base) = aligned.await? {
        tracing::warn!(base, "the database was restored, new feed positions start above the existing events");
    }
    Ok(())
}

async fn query_number(db: &impl ConnectionTrait, sql: &str, column: &str) -> Result<i64> {
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    let row = row.ok_or_else(|| Error::internal("the table feed is empty"))?;
    Ok(row.try_get("", column)?)
}

/// A point in the feed, just after one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPosition {
    /// The position of the event's transaction.
    pub position: i64,
    /// The job of the event.
    pub job: JobId,
    /// The number of the event in the history of its job.
    pub sequence: i64,
}

/// The version of the format of cursors.
const CURSOR_VERSION: u8 = 1;

impl FeedPosition {
    /// The start of the feed, before all events.
    pub const START: Self = Self { position: -1, job: JobId(Uuid::nil()), sequence: 0 };

    /// Returns the point just after an event.
    pub fn of(event: &job_event::Model) -> Self {
        Self { position: event.position, job: event.job_id, sequence: event.sequence }
    }

    /// Returns the point before all events of a position.
    pub fn before(position: i64) -> Self {
        Self { position, ..Self::START }
    }

    /// Returns the cursor of this point.
    pub fn encode(&self) -> String {
        let mut bytes = [0_u8; 33];
        bytes[0] = CURSOR_VERSION;
        bytes[1..9].copy_from_slice(&self.position.to_be_bytes());
        bytes[9..25].copy_from_slice(self.job.0.as_bytes());
        bytes[25..].copy_from_slice(&self.sequence.to_be_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor; `None` if it is malformed.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 33] = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let number = |range: std::ops::Range<usize>| bytes[range].try_into().ok().map(i64::from_be_bytes);
        let (position, sequence) = (number(1..9)?, number(25..33)?);
        let job = JobId(Uuid::from_slice(&bytes[9..25]).ok()?);
        let is_valid = bytes[0] == CURSOR_VERSION && position >= 0 && sequence > 0;
        is_valid.then_some(Self { position, job, sequence })
    }
}

/// Returns a condition on the rows of `job_event`: the event comes after a point in the feed.
pub fn after(start: FeedPosition) -> sea_orm::Condition {
    use sea_orm::{ColumnTrait, Condition};
    let later_job = Condition::any()
        .add(Column::JobId.gt(start.job))
        .add(Condition::all().add(Column::JobId.eq(start.job)).add(Column::Sequence.gt(start.sequence)));
    // The first part alone finds the start in the index.
    Condition::all()
        .add(Column::Position.gte(start.position))
        .add(Condition::any().add(Column::Position.gt(start.position)).add(later_job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_decodes_to_its_position_and_malformed_cursor_is_refused() {
        let position = FeedPosition { position: 1 << 40, job: JobId::new(), sequence: 7 };
        let cursor = position.encode();
        assert_eq!(FeedPosition::decode(&cursor), Some(position));
        let without_event = FeedPosition { sequence: 0, ..position }.encode();
        let start = FeedPosition::START.encode();
        for malformed in ["", "x", "AAAA", &without_event, &start, &format!("{cursor}A")] {
            assert_eq!(FeedPosition::decode(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn positions_compare_in_the_order_of_the_feed() {
        let (first, second) = (JobId::new(), JobId::new());
        let after = |position, job, sequence| FeedPosition { position, job, sequence };
        let (start, before) = (FeedPosition::START, FeedPosition::before(3));
        let sorted = [start, before, after(3, first, 9), after(3, second, 1), after(4, first, 10)];
        assert!(sorted.is_sorted(), "{sorted:?}");
    }
}
