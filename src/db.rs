//! The database: a pool of readers and one write path.
//!
//! Every transaction runs in a task of its own, so that a client that goes away cannot cancel it half-way; on SQLite it
//! begins IMMEDIATE on the one writing connection, because a deferred one that turns from reading to writing fails.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};

/// The target under which statements are logged, at the level `trace`.
pub const SQL: &str = "docket::sql";

/// What a transaction does: borrows it and answers later.
pub type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'c>>;

/// A handle to the database; clones share its pools.
#[derive(Debug, Clone)]
pub struct Db {
    read: DatabaseConnection,
    write: DatabaseConnection,
    transactions: TaskTracker,
    statements: Arc<AtomicU64>,
    listener: Arc<OnceLock<mpsc::UnboundedSender<String>>>,
    /// On SQLite: whose turn it is to write.
    turn: Option<Arc<Turn>>,
    /// What waits so long for a connection, or for its turn, is given up.
    patience: Duration,
}

/// SQLite's one writing connection, one transaction at a time.
#[derive(Debug, Default)]
struct Turn {
    queue: Mutex<()>,
    /// The last transaction did not end as it should. When a disk is full, SQLite rolls back by itself, and the driver goes
    /// on counting a transaction that is not there: what came after it would be acknowledged and never committed.
    doubtful: Arc<AtomicBool>,
}

/// Says that the connection is doubtful unless its transaction is seen to end.
struct Doubt<'t>(Option<&'t Turn>);

impl Doubt<'_> {
    fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(turn) = self.0 {
            turn.doubtful.store(true, Ordering::Release);
        }
    }
}

impl Db {
    /// Connects to `sqlite://PATH` (made where it is missing) or `postgres://…`, with up to `connections` of them,
    /// for one of which what asks for it waits for no longer than `patience`.
    pub async fn connect(url: &str, connections: u32, patience: Duration) -> Result<Self> {
        let turn = url.starts_with("sqlite:").then(Arc::<Turn>::default);
        let (mut read, mut write) = if let Some(turn) = &turn {
            let (mut writing, doubtful) = (sqlite(url, 1), Arc::clone(&turn.doubtful));
            writing.map_sqlx_sqlite_pool_opts(move |pool| {
                let doubtful = Arc::clone(&doubtful);
                pool.before_acquire(move |_, _| {
                    let good = !doubtful.swap(false, Ordering::AcqRel);
                    // One that is not good is closed, and another opened.
                    Box::pin(async move { Ok(good) })
                })
            });
            let mut reading = sqlite(url, connections);
            for options in [&mut reading, &mut writing] {
                options.acquire_timeout(patience);
            }
            let write = Database::connect(writing).await?;
            (Database::connect(reading).await?, write)
        } else {
            // Of a ROLLBACK without a transaction, which is what nearly all of them are, the server would warn each time.
            let mut writing = postgres(url, connections, &[("client_min_messages", "error")]);
            writing.acquire_timeout(patience);
            writing.map_sqlx_postgres_pool_opts(|pool| {
                pool.after_release(|connection, _| Box::pin(reset(connection)))
            });
            let mut reading = postgres(url, connections, &[]);
            reading.acquire_timeout(patience);
            (Database::connect(reading).await?, Database::connect(writing).await?)
        };
        let (statements, listener) = (Arc::<AtomicU64>::default(), Arc::<OnceLock<_>>::default());
        for connection in [&mut read, &mut write] {
            let (statements, listener) = (Arc::clone(&statements), Arc::clone(&listener));
            connection.set_metric_callback(move |sent| {
                statements.fetch_add(1, Ordering::Relaxed);
                // Without its values: hashes of passwords and keys are among them, and what people write.
                tracing::trace!(target: SQL, statement = sent.statement.sql, elapsed = ?sent.elapsed, "statement");
                if let Some(listener) = listener.get() {
                    // Whoever listens no more is missed by nobody.
                    drop(mpsc::UnboundedSender::send(listener, sent.statement.to_string()));
                }
            });
        }
        Ok(Self { read, write, transactions: TaskTracker::new(), statements, listener, turn, patience })
    }

    /// One connection of its own, whose statements may take as long as they need: for migrations.
    pub async fn patient(url: &str) -> Result<DatabaseConnection, sea_orm::DbErr> {
        let options = if url.starts_with("sqlite:") {
            sqlite(url, 1)
        } else {
            postgres(url, 1, &[("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0")])
        };
        Database::connect(options).await
    }

    /// For queries outside of transactions.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// The connection that writes.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.write
    }

    /// Open connections of the reading pool, and how many of them are idle.
    pub fn pool(&self) -> (u32, usize) {
        match self.backend() {
            DbBackend::Postgres => {
                let pool = self.read.get_postgres_connection_pool();
                (pool.size(), pool.num_idle())
            }
            _ => {
                let pool = self.read.get_sqlite_connection_pool();
                (pool.size(), pool.num_idle())
            }
        }
    }

    /// How many statements were sent, those that begin and end transactions apart.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Every statement from now on, with its values: for tests that ask how it is answered. The first to ask is told.
    pub fn listen(&self) -> mpsc::UnboundedReceiver<String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        // A second listener hears nothing: its sender is gone.
        drop(self.listener.set(sender));
        receiver
    }

    /// Which database it is.
    pub fn backend(&self) -> DbBackend {
        self.read.get_database_backend()
    }

    /// Runs `work` in a transaction that commits where it returns `Ok` and rolls back otherwise, whether or not the
    /// caller still waits for it.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c DatabaseTransaction) -> Work<'c, T> + Send + 'static,
    {
        let (write, turn, patience) = (self.write.clone(), self.turn.clone(), self.patience);
        let run = async move {
            let turn = turn.as_deref();
            let _mine = match turn {
                Some(turn) => Some(timeout(patience, turn.queue.lock()).await.map_err(|_| busy())?),
                None => None,
            };
            let doubt = Doubt(turn);
            let mode = match write.get_database_backend() {
                DbBackend::Sqlite => Some(SqliteTransactionMode::Immediate),
                _ => None,
            };
            let options =
                TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
            let tx = write.begin_with_options(options).await?;
            match work(&tx).await {
                Ok(value) => {
                    tx.commit().await?;
                    doubt.settle();
                    Ok(value)
                }
                Err(error) => {
                    match tx.rollback().await {
                        Ok(()) => doubt.settle(),
                        Err(rollback) => {
                            tracing::warn!(%rollback, "a transaction could not be rolled back; its connection is dropped");
                        }
                    }
                    Err(error)
                }
            }
        };
        self.transactions.spawn(run).await.map_err(Error::internal)?
    }

    /// Waits for the transactions that are under way. For the end of the process.
    pub async fn drain(&self) {
        self.transactions.close();
        self.transactions.wait().await;
    }
}

/// The time that leases and claims go by: PostgreSQL's own, which all nodes share, or this process's on SQLite, which has
/// one.
pub async fn now(on: &impl ConnectionTrait, clock: &Clock) -> Result<Timestamp> {
    if on.get_database_backend() != DbBackend::Postgres {
        return Ok(clock.now());
    }
    let asked = Statement::from_string(DbBackend::Postgres, "SELECT clock_timestamp() AS now");
    let row = on.query_one_raw(asked).await?;
    let row = row.ok_or_else(|| Error::internal("the database did not tell the time"))?;
    Ok(row.try_get::<Timestamp>("", "now")? + clock.offset())
}

fn busy() -> Error {
    Error::Unavailable("The database is busy. Try again shortly.".into())
}

/// Ends what a cancelled `begin` may have left open: a connection that went back to the pool in a transaction would
/// swallow the next writes (transact-rs/sqlx#4385).
async fn reset(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    use sqlx::Executor;
    connection.execute("ROLLBACK").await.map(|_| true)
}

fn sqlite(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options.max_connections(connections).sqlx_logging(false).map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .pragma("journal_mode", "WAL")
            .pragma("synchronous", "FULL")
    });
    options
}

fn postgres(url: &str, connections: u32, further: &'static [(&str, &str)]) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options.max_connections(connections).sqlx_logging(false).map_sqlx_postgres_opts(|postgres| {
        postgres
            .options([("idle_in_transaction_session_timeout", "60s"), ("statement_timeout", "60s")])
            .options(further.iter().copied())
    });
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_pools_wait_as_long_as_is_configured() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("docket.db").display());
        let patience = Duration::from_secs(7);
        let db = Db::connect(&url, 2, patience).await.unwrap();
        for pool in [db.read(), db.writer()] {
            let options = pool.get_sqlite_connection_pool().options();
            assert_eq!(options.get_acquire_timeout(), patience);
        }
    }
}
