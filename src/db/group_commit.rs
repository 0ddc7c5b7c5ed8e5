//! Group commit on SQLite's only write connection: transactions that wait for each other share one commit, because each
//! commit costs a sync of the disk.
//!
//! ```text
//!   A: turn ─► savepoint, work, release ─► wait for the lock again ──────────────► commit for A, B and C
//!   B:         wait for the lock ─► turn ─► savepoint, work, release ─► wait ────► told by A
//!   C:         wait for the lock ────────────► turn ─► savepoint, work, release ─► told by A
//! ```
//!
//! The lock is fair. So the first turn of a group gets the lock again after all turns that waited at the end of its work,
//! and commits for them. Without others it gets the lock at once: a lone transaction does not wait. There is no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::time::timeout;

use crate::error::{Error, Result};

/// Maximum number of turns in a group. It bounds how long the first turn waits for its commit.
const MAX_TURNS: usize = 128;

/// Serializes the turns of the write connection, and holds the group that is not committed yet.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    open: Mutex<Option<Group>>,
    /// True if the last group ended neither by commit nor by rollback. When a disk is full, SQLite rolls back by itself,
    /// but the driver still counts a transaction. Later writes would then be acknowledged and never committed.
    connection_state_unknown: Arc<AtomicBool>,
}

/// The open transaction, and the turns that wait for its commit.
#[derive(Debug)]
struct Group {
    transaction: DatabaseTransaction,
    waiting: Vec<oneshot::Sender<Result<()>>>,
}

/// The exclusive use of the write connection, inside a savepoint: a turn that is rolled back undoes only its own writes.
#[derive(Debug)]
pub(super) struct Turn<'g> {
    group_commit: &'g GroupCommit,
    savepoint: DatabaseTransaction,
    group: Group,
    guard: UnknownStateGuard<'g>,
    /// The last field, so that a panic lets nobody in before the guard has marked the connection: fields are dropped in
    /// this order.
    lock: MutexGuard<'g, Option<Group>>,
}

/// Marks the state of the connection as unknown on drop, unless the end of the turn was observed.
#[derive(Debug)]
struct UnknownStateGuard<'g>(Option<&'g AtomicBool>);

impl UnknownStateGuard<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for UnknownStateGuard<'_> {
    fn drop(&mut self) {
        if let Some(unknown) = self.0 {
            unknown.store(true, Ordering::Release);
        }
    }
}

impl GroupCommit {
    /// Returns the flag that makes the pool replace the connection.
    pub(super) fn connection_state_unknown(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.connection_state_unknown)
    }

    /// Waits up to `acquire_timeout` for a turn. It joins the open group, or opens one.
    pub(super) async fn begin(
        &self,
        connection: &DatabaseConnection,
        acquire_timeout: Duration,
    ) -> Result<Turn<'_>> {
        let lock = timeout(acquire_timeout, self.open.lock()).await;
        let mut lock = lock.map_err(|_| Error::database_busy())?;
        let guard = UnknownStateGuard(Some(&self.connection_state_unknown));
        let group = match lock.take() {
            Some(group) => group,
            None => {
                // A deferred transaction fails when it turns from reading to writing.
                let options = TransactionOptions {
                    sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                    ..TransactionOptions::default()
                };
                let transaction = connection.begin_with_options(options).await?;
                Group { transaction, waiting: Vec::new() }
            }
        };
        // If this fails, the group is dropped, and its turns learn that their outcome is unknown.
        let savepoint = group.transaction.begin().await?;
        Ok(Turn { group_commit: self, savepoint, group, guard, lock })
    }
}

impl Turn<'_> {
    /// Returns the transaction for the work of this turn.
    pub(super) fn transaction(&self) -> &DatabaseTransaction {
        &self.savepoint
    }

    /// Returns once the writes of this turn are committed.
    pub(super) async fn commit(self) -> Result<()> {
        // In an order that drops the lock last.
        let Self { lock, group_commit, group, savepoint, guard } = self;
        // If SQLite has rolled back by itself, there is no savepoint: this fails, and nobody is acknowledged.
        savepoint.commit().await?;
        group_commit.end(lock, group, guard).await
    }

    /// Undoes the writes of this turn. The other turns of the group are not affected.
    ///
    /// Returns once the group is committed, because this turn has seen its writes: an answer that rests on them must not
    /// come before their commit. An error of the commit replaces the answer.
    pub(super) async fn rollback(self) -> Result<()> {
        // In an order that drops the lock last.
        let Self { lock, group_commit, group, savepoint, guard } = self;
        savepoint.rollback().await?;
        if !group.waiting.is_empty() {
            return group_commit.end(lock, group, guard).await;
        }
        group.transaction.rollback().await?;
        guard.disarm();
        Ok(())
    }
}

impl GroupCommit {
    /// Leaves the group open for the turns that wait, and returns the result of its commit.
    async fn end(
        &self,
        mut lock: MutexGuard<'_, Option<Group>>,
        mut group: Group,
        guard: UnknownStateGuard<'_>,
    ) -> Result<()> {
        let (sender, mut receiver) = oneshot::channel();
        group.waiting.push(sender);
        if group.waiting.len() >= MAX_TURNS {
            group.commit(guard).await;
        } else {
            *lock = Some(group);
            guard.disarm();
        }
        drop(lock);
        tokio::select! {
            biased;
            committed = &mut receiver => return outcome(committed),
            mut lock = self.open.lock() => {
                // Another turn may have committed before this one got the lock.
                if let Ok(committed) = receiver.try_recv() {
                    return committed;
                }
                if let Some(group) = lock.take() {
                    group.commit(UnknownStateGuard(Some(&self.connection_state_unknown))).await;
                }
            }
        }
        outcome(receiver.await)
    }
}

impl Group {
    /// Commits, and tells the result to each turn that waits.
    async fn commit(self, guard: UnknownStateGuard<'_>) {
        let committed = self.transaction.commit().await.map_err(Error::from);
        if committed.is_ok() {
            guard.disarm();
        }
        for turn in self.waiting {
            // A turn whose task was stopped does not wait any more.
            drop(turn.send(committed.clone()));
        }
    }
}

/// Returns the result of a turn. The group of a turn is dropped without a result if its connection fails.
fn outcome(committed: Result<Result<()>, oneshot::error::RecvError>) -> Result<()> {
    committed.unwrap_or_else(|_| Err(Error::internal("the transaction was lost with its connection")))
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait;
    use tokio::sync::oneshot;
    use tokio_util::task::TaskTracker;

    use crate::db::Db;
    use crate::error::Error;

    async fn database(dir: &tempfile::TempDir) -> Db {
        let url = format!("sqlite://{}", dir.path().join("docket.db").display());
        let db = Db::connect(&url, 2, std::time::Duration::from_secs(10)).await.unwrap();
        db.writer().execute_unprepared("CREATE TABLE t (id INTEGER PRIMARY KEY)").await.unwrap();
        db
    }

    async fn ids(db: &Db) -> Vec<i64> {
        let query = sea_orm::Statement::from_string(db.backend(), "SELECT id FROM t ORDER BY id");
        let rows = db.read().query_all_raw(query).await.unwrap();
        rows.iter().map(|row| row.try_get::<i64>("", "id").unwrap()).collect()
    }

    /// Inserts an ID once `allowed` is sent; then succeeds, or fails for an odd ID.
    async fn insert(
        db: Db,
        id: i64,
        started: oneshot::Sender<()>,
        allowed: oneshot::Receiver<()>,
    ) -> Result<(), Error> {
        db.write(move |tx| {
            Box::pin(async move {
                let _unheard = started.send(());
                allowed.await.unwrap();
                tx.execute_unprepared(&format!("INSERT INTO t VALUES ({id})")).await?;
                if id % 2 == 0 { Ok(()) } else { Err(Error::conflict("odd")) }
            })
        })
        .await
    }

    #[tokio::test]
    async fn transaction_is_acknowledged_only_with_the_commit_of_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let db = database(&dir).await;
        let tasks = TaskTracker::new();
        let (mut writers, mut starts, mut permits) = (Vec::new(), Vec::new(), Vec::new());
        for id in [2, 3, 4] {
            let ((started, start), (permit, allowed)) = (oneshot::channel(), oneshot::channel());
            let writer = tasks.spawn(insert(db.clone(), id, started, allowed));
            if starts.is_empty() {
                // The first holds the connection before the others ask for it.
                start.await.unwrap();
                starts.push(None);
            } else {
                starts.push(Some(start));
            }
            writers.push(writer);
            permits.push(permit);
            // The writer asks for its turn before the next one does.
            tokio::task::yield_now().await;
        }
        let mut permits = permits.into_iter();
        let mut starts = starts.into_iter().skip(1).flatten();
        for _ in 0..2 {
            permits.next().unwrap().send(()).unwrap();
            starts.next().unwrap().await.unwrap();
        }
        // The first two have ended their work, and the last has not: nothing is visible, acknowledged or refused.
        assert!(!writers[0].is_finished() && !writers[1].is_finished());
        assert_eq!(ids(&db).await, Vec::<i64>::new());
        permits.next().unwrap().send(()).unwrap();
        let mut results = Vec::new();
        for writer in writers {
            results.push(writer.await.unwrap().is_ok());
        }
        assert_eq!(results, [true, false, true]);
        assert_eq!(ids(&db).await, [2, 4]);
    }

    #[tokio::test]
    async fn many_concurrent_transactions_all_commit() {
        let dir = tempfile::tempdir().unwrap();
        let db = database(&dir).await;
        let (tasks, mut writers) = (TaskTracker::new(), Vec::new());
        for id in 0..400_i64 {
            let ((started, _), (permit, allowed)) = (oneshot::channel(), oneshot::channel());
            permit.send(()).unwrap();
            writers.push(tasks.spawn(insert(db.clone(), id, started, allowed)));
        }
        for writer in writers {
            drop(writer.await.unwrap());
        }
        assert_eq!(ids(&db).await, (0..400).step_by(2).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn panicking_transaction_ends_only_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let db = database(&dir).await;
        let panicking = db.write(|tx| {
            Box::pin(async move {
                tx.execute_unprepared("INSERT INTO t VALUES (1)").await?;
                panic!("a panic in a transaction");
                #[expect(unreachable_code, reason = "the type of the work")]
                Ok(())
            })
        });
        assert!(panicking.await.is_err());
        let ((started, _), (permit, allowed)) = (oneshot::channel(), oneshot::channel());
        permit.send(()).unwrap();
        insert(db.clone(), 2, started, allowed).await.unwrap();
        assert_eq!(ids(&db).await, [2]);
    }
}
