//! The database: a pool of readers and one write path.
//!
//! Every transaction runs in its own task, so that a client that disconnects cannot cancel it. On SQLite, transactions that
//! wait for the only write connection share their commit ([`group_commit`]).

mod group_commit;
mod statements;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sea_orm::sqlx;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, Statement,
    TransactionTrait,
};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use group_commit::{GroupCommit, Turn};
pub use statements::Statements;

/// Minimum idle time after which a connection is tested before its next use. A test costs a round trip.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(5);

/// Prepared statements that each connection to PostgreSQL keeps.
const STATEMENT_CACHE_CAPACITY: usize = 500;

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
    group_commit: Option<Arc<GroupCommit>>,
    /// The longest wait for a connection or for the write lock.
    acquire_timeout: Duration,
}

/// A transaction of its own, or a turn in a group that is committed together.
enum Transaction<'d> {
    Own(DatabaseTransaction),
    Grouped(Turn<'d>),
}

impl Transaction<'_> {
    fn connection(&self) -> &DatabaseTransaction {
        match self {
            Self::Own(transaction) => transaction,
            Self::Grouped(turn) => turn.transaction(),
        }
    }

    async fn commit(self) -> Result<()> {
        match self {
            Self::Own(transaction) => Ok(transaction.commit().await?),
            Self::Grouped(turn) => turn.commit().await,
        }
    }

    /// Fails if the outcome of what the transaction has read is unknown.
    async fn rollback(self) -> Result<()> {
        match self {
            Self::Own(transaction) => {
                // The driver drops the connection if this fails, and the database rolls back.
                if let Err(error) = transaction.rollback().await {
                    tracing::warn!(%error, "failed to roll back transaction, dropping its connection");
                }
                Ok(())
            }
            Self::Grouped(turn) => turn.rollback().await,
        }
    }
}

impl Db {
    /// Connects to `sqlite://PATH`, which is created if it is missing, or `postgres://…`. Each pool has up to
    /// `connections` connections; SQLite has one for writing. Callers wait up to `acquire_timeout` for a connection.
    pub async fn connect(url: &str, connections: u32, acquire_timeout: Duration) -> Result<Self> {
        let group_commit = url.starts_with("sqlite:").then(Arc::<GroupCommit>::default);
        let (mut read, mut write) = if let Some(group_commit) = &group_commit {
            let (mut writing, connection_state_unknown) =
                (sqlite(url, 1), group_commit.connection_state_unknown());
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
            group_commit,
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
        let db = self.clone();
        let run = async move {
            let transaction = db.begin().await?;
            match work(transaction.connection()).await {
                Ok(value) => {
                    transaction.commit().await?;
                    Ok(then(value))
                }
                Err(error) => {
                    let Err(lost) = transaction.rollback().await else { return Err(error) };
                    tracing::warn!(error = %lost, "transaction not rolled back, dropping its connection");
                    // A refusal may rest on writes that are lost now.
                    Err(if error.is_rolled_back() { lost } else { error })
                }
            }
        };
        self.transactions.spawn(run).await.map_err(Error::internal)?
    }

    async fn begin(&self) -> Result<Transaction<'_>> {
        Ok(match &self.group_commit {
            Some(group_commit) => {
                Transaction::Grouped(group_commit.begin(&self.write, self.acquire_timeout).await?)
            }
            None => Transaction::Own(self.write.begin().await?),
        })
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

/// Ends a transaction that a canceled `begin` may have left open. A connection that returns to the pool in a
/// transaction would lose the next writes (transact-rs/sqlx#4385).
async fn end_open_transaction(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    use sqlx::Executor;
    connection.execute("ROLLBACK").await.map(|_| true)
}

fn sqlite(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options.test_before_acquire_if_idle_for(TEST_AFTER_IDLE);
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
    options.test_before_acquire_if_idle_for(TEST_AFTER_IDLE);
    options.max_connections(connections).sqlx_logging(false).map_sqlx_postgres_opts(|postgres| {
        postgres
            // A change of a job has a statement for each combination of what it writes.
            .statement_cache_capacity(STATEMENT_CACHE_CAPACITY)
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
