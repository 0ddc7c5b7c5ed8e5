//! Locks between processes: for a data directory, an embedded database, and the setup of a shared database.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sea_orm::DbBackend;
use sea_orm::sqlx::{self, Connection, Executor, PgConnection, sqlite::SqliteConnectOptions};

use crate::config::Config;
use crate::db::Db;
use crate::error::Error;

/// The key of the advisory lock in PostgreSQL: "docket" in ASCII.
const SETUP_LOCK_KEY: i64 = 0x646f_636b_6574;

/// Locks a data directory and an embedded database for this process until it is dropped.
#[derive(Debug)]
pub(crate) struct ExclusiveAccess {
    _files: Vec<File>,
}

/// Locks the data directory and the SQLite database for this process. An embedded database has one server, which may
/// therefore release every lease that it finds at startup. The database has its own lock, because servers with
/// different data directories may be configured with the same database.
pub(crate) fn acquire_exclusive_access(config: &Config) -> Result<ExclusiveAccess, String> {
    let mut files = vec![lock_file(&config.data_dir.join("lock"), "data directory", &config.data_dir)?];
    if let Some(database) = database_file(&config.database())? {
        let mut path = database.clone().into_os_string();
        path.push(".lock");
        files.push(lock_file(Path::new(&path), "database", &database)?);
    }
    Ok(ExclusiveAccess { _files: files })
}

/// Returns the canonical path of a SQLite database, or `None` if it is in memory.
fn database_file(url: &str) -> Result<Option<PathBuf>, String> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Ok(None);
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| format!("database_url: {error}"))?;
    let configured = options.get_filename();
    if let Ok(file) = configured.canonicalize() {
        return Ok(Some(file));
    }
    // The file may be created later, but its folder must exist.
    let folder =
        configured.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Some(folder.join(configured.file_name().unwrap_or_default())))
}

fn lock_file(path: &Path, noun: &str, resource: &Path) -> Result<File, String> {
    let open = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        File::options().create(true).truncate(false).write(true).open(path)
    };
    let file = open().map_err(|error| format!("{}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(format!("another server uses the {noun} {}", resource.display()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
    }
}

/// The lock for the setup of a database. Nodes that start at the same time on PostgreSQL acquire it one after another.
/// It ends with its connection, even if the process is killed.
#[derive(Debug)]
pub(super) struct SetupLock(Option<PgConnection>);

impl SetupLock {
    /// Waits until no other node sets up the database.
    pub(super) async fn acquire(db: &Db) -> Result<Self, Error> {
        if db.backend() != DbBackend::Postgres {
            return Ok(Self(None));
        }
        let failed = |error: sqlx::Error| Error::Internal(format!("database: {error}"));
        // Detached from the pool, because the setup under the lock needs connections too.
        let mut connection =
            db.writer().get_postgres_connection_pool().acquire().await.map_err(failed)?.detach();
        connection.execute("SET statement_timeout = 0").await.map_err(failed)?;
        let free = sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock($1)").bind(SETUP_LOCK_KEY);
        if !free.fetch_one(&mut connection).await.map_err(failed)? {
            tracing::info!("another node is setting up the database, waiting");
            let wait = sqlx::query("SELECT pg_advisory_lock($1)").bind(SETUP_LOCK_KEY);
            wait.execute(&mut connection).await.map_err(failed)?;
        }
        Ok(Self(Some(connection)))
    }

    /// Releases the lock for the next node.
    pub(super) async fn release(self) {
        let Some(connection) = self.0 else { return };
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "failed to close the connection of the setup lock cleanly, the lock is released anyway");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, Secret};

    fn config(data_dir: &Path, database: &Path) -> Config {
        let flags = Flags { data_dir: Some(data_dir.into()), ..Flags::default() };
        let mut config = Config::load(None, &flags).unwrap();
        config.database_url = Secret::from(format!("sqlite://{}", database.display()));
        config
    }

    #[test]
    fn second_server_cannot_lock_the_same_directory_or_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let held = acquire_exclusive_access(&config(&path("a"), &path("x.db"))).unwrap();
        let refused = acquire_exclusive_access(&config(&path("a"), &path("y.db"))).unwrap_err();
        assert!(refused.contains("another server uses the data directory"), "{refused}");
        let refused = acquire_exclusive_access(&config(&path("b"), &path("x.db"))).unwrap_err();
        assert!(refused.contains("another server uses the database"), "{refused}");

        std::fs::write(path("x.db"), "").unwrap();
        std::os::unix::fs::symlink(path("x.db"), path("z.db")).unwrap();
        assert!(
            acquire_exclusive_access(&config(&path("c"), &path("z.db"))).is_err(),
            "through a symbolic link"
        );
        drop(held);
        assert!(acquire_exclusive_access(&config(&path("c"), &path("z.db"))).is_ok());
        assert_eq!(database_file("sqlite::memory:"), Ok(None));
    }
}
