//! The database: a pool of readers and one write path.
//!
//! Every transaction runs in its own task, so that a client that disconnects cannot cancel it. On SQLite it begins
//! IMMEDIATE on the only write connection, because a deferred transaction fails when it turns from reading to writing.

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
pub(crate) const STATEMENT_TARGET: &str = "docket::sql";

/// The future of the work in a transaction, which borrows the transaction.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'c>>;

/// A handle to the database. Clones share its pools.
#[derive(Debug, Clone)]
pub struct Db {
    read: DatabaseConnection,
    write: DatabaseConnection,
    transactions: TaskTracker,
    statements: Arc<AtomicU64>,
    listener: Arc<OnceLock<mpsc::UnboundedSender<String>>>,
    /// Set on SQLite only.
    write_lock: Option<Arc<WriteLock>>,
    /// The longest wait for a connection or for the write lock.
    acquire_timeout: Duration,
}

/// Serializes the transactions on SQLite's only write connection.
#[derive(Debug, Default)]
struct WriteLock {
    queue: Mutex<()>,
    /// True if the last transaction ended neither by commit nor by rollback. When a disk is full, SQLite rolls back by
    /// itself, but the driver still counts a transaction. Later writes would then be acknowledged and never committed.
    connection_state_unknown: Arc<AtomicBool>,
}

/// Marks the state of the connection as unknown on drop, unless the end of its transaction was observed.
struct UnknownStateGuard<'t>(Option<&'t WriteLock>);

impl UnknownStateGuard<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for UnknownStateGuard<'_> {
    fn drop(&mut self) {
        if let Some(write_lock) = self.0 {
            write_lock.connection_state_unknown.store(true, Ordering::Release);
        }
    }
}

impl Db {
    /// Connects to `sqlite://PATH`, which is created if it is missing, or `postgres://…`. Each pool has up to
    /// `connections` connections; SQLite has one for writing. Callers wait up to `acquire_timeout` for a connection.
    pub async fn connect(url: &str, connections: u32, acquire_timeout: Duration) -> Result<Self> {
        let write_lock = url.starts_with("sqlite:").then(Arc::<WriteLock>::default);
        let (mut read, mut write) = if let Some(write_lock) = &write_lock {
            let (mut writing, connection_state_unknown) =
                (sqlite(url, 1), Arc::clone(&write_lock.connection_state_unknown));
            writing.map_sqlx_sqlite_pool_opts(move |pool| {
                let connection_state_unknown = Arc::clone(&connection_state_unknown);
                pool.before_acquire(move |_, _| {
                    let is_usable = !connection_state_unknown.swap(false, Ordering::AcqRel);
                    // The pool closes an unusable connection and opens another.
                    Box::pin(async move { Ok(is_usable) })
                })
            });
            let mut reading = sqlite(url, connections);
            for options in [&mut reading, &mut writing] {
                options.acquire_timeout(acquire_timeout);
            }
            let write = Database::connect(writing).await?;
            (Database::connect(reading).await?, write)
        } else {
            // The server warns of a ROLLBACK without a transaction, and nearly every release runs one.
            let mut writing = postgres(url, connections, &[("client_min_messages", "error")]);
            writing.acquire_timeout(acquire_timeout);
            writing.map_sqlx_postgres_pool_opts(|pool| {
                pool.after_release(|connection, _| Box::pin(end_open_transaction(connection)))
            });
            let mut reading = postgres(url, connections, &[]);
            reading.acquire_timeout(acquire_timeout);
            (Database::connect(reading).await?, Database::connect(writing).await?)
        };
        let (statements, listener) = (Arc::<AtomicU64>::default(), Arc::<OnceLock<_>>::default());
        for connection in [&mut read, &mut write] {
            let (statements, listener) = (Arc::clone(&statements), Arc::clone(&listener));
            connection.set_metric_callback(move |sent| {
                statements.fetch_add(1, Ordering::Relaxed);
                // The values are not logged: they include personal data and the hashes of passwords and keys.
                tracing::trace!(target: STATEMENT_TARGET, statement = sent.statement.sql, elapsed = ?sent.elapsed, "statement");
                if let Some(listener) = listener.get() {
                    // The receiver may be dropped.
                    drop(mpsc::UnboundedSender::send(listener, sent.statement.to_string()));
                }
            });
        }
        Ok(Self {
            read,
            write,
            transactions: TaskTracker::new(),
            statements,
            listener,
            write_lock,
            acquire_timeout,
        })
    }

    /// Opens a separate connection without a statement timeout, for migrations.
    pub async fn connect_for_migrations(url: &str) -> Result<DatabaseConnection, sea_orm::DbErr> {
        let options = if url.starts_with("sqlite:") {
            sqlite(url, 1)
        } else {
            postgres(url, 1, &[("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0")])
        };
        Database::connect(options).await
    }

    /// Returns the read pool, for queries outside transactions.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// Returns the write pool.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.write
    }

    /// Returns the numbers of open and of idle connections of the read pool.
    pub(crate) fn read_pool_size(&self) -> (u32, usize) {
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

    /// Returns the number of statements sent, without those that begin and end transactions.
    pub fn statement_count(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Returns a stream of every later statement with its values, for tests of query plans. Only the first call gets
    /// any.
    pub fn record_statements(&self) -> mpsc::UnboundedReceiver<String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        // A second call drops its sender here, so its receiver ends at once.
        drop(self.listener.set(sender));
        receiver
    }

    /// Returns the kind of the database.
    pub fn backend(&self) -> DbBackend {
        self.read.get_database_backend()
    }

    /// Runs `work` in a transaction that commits if `work` returns `Ok` and rolls back otherwise, even if the caller no
    /// longer waits.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c DatabaseTransaction) -> Work<'c, T> + Send + 'static,
    {
        self.write_then(work, |value| value).await
    }

    /// Like [`Db::write`]. After the commit, the same task runs `then`, even if the caller does not wait any more.
    pub(crate) async fn write_then<T, U, F>(
        &self,
        work: F,
        then: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<U>
    where
        T: Send + 'static,
        U: Send + 'static,
        F: for<'c> FnOnce(&'c DatabaseTransaction) -> Work<'c, T> + Send + 'static,
    {
        let (write, write_lock, acquire_timeout) =
            (self.write.clone(), self.write_lock.clone(), self.acquire_timeout);
        let run = async move {
            let write_lock = write_lock.as_deref();
            let _permit = match write_lock {
                Some(write_lock) => {
                    Some(timeout(acquire_timeout, write_lock.queue.lock()).await.map_err(|_| busy_error())?)
                }
                None => None,
            };
            let guard = UnknownStateGuard(write_lock);
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
                    guard.disarm();
                    Ok(then(value))
                }
                Err(error) => {
                    match tx.rollback().await {
                        Ok(()) => guard.disarm(),
                        Err(rollback) => {
                            tracing::warn!(error = %rollback, "failed to roll back transaction, dropping its connection");
                        }
                    }
                    Err(error)
                }
            }
        };
        self.transactions.spawn(run).await.map_err(Error::internal)?
    }

    /// Waits for the transactions in progress, at shutdown.
    pub async fn drain(&self) {
        self.transactions.close();
        self.transactions.wait().await;
    }
}

/// Returns the time by which leases and claims expire: the clock of PostgreSQL, which all nodes share, or that of this
/// process on SQLite, which has one node.
pub async fn now(on: &impl ConnectionTrait, clock: &Clock) -> Result<Timestamp> {
    if on.get_database_backend() != DbBackend::Postgres {
        return Ok(clock.now());
    }
    let query = Statement::from_string(DbBackend::Postgres, "SELECT clock_timestamp() AS now");
    let row = on.query_one_raw(query).await?;
    let row = row.ok_or_else(|| Error::internal("the database returned no time"))?;
    Ok(row.try_get::<Timestamp>("", "now")? + clock.offset())
}

fn busy_error() -> Error {
    Error::Unavailable("The database is busy. Try again shortly.".into())
}

/// Ends a transaction that a canceled `begin` may have left open. A connection that returns to the pool in a
/// transaction would lose the next writes (transact-rs/sqlx#4385).
async fn end_open_transaction(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
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

fn postgres(url: &str, connections: u32, server_options: &'static [(&str, &str)]) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options.max_connections(connections).sqlx_logging(false).map_sqlx_postgres_opts(|postgres| {
        postgres
            .options([("idle_in_transaction_session_timeout", "60s"), ("statement_timeout", "60s")])
            .options(server_options.iter().copied())
    });
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_pools_use_the_configured_acquire_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("docket.db").display());
        let acquire_timeout = Duration::from_secs(7);
        let db = Db::connect(&url, 2, acquire_timeout).await.unwrap();
        for pool in [db.read(), db.writer()] {
            let options = pool.get_sqlite_connection_pool().options();
            assert_eq!(options.get_acquire_timeout(), acquire_timeout);
        }
    }
}
