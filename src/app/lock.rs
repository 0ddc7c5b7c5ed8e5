//! Who has what for themselves: a data directory, an embedded database, the setting up of a shared one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sea_orm::DbBackend;
use sea_orm::sqlx::{self, Connection, Executor, PgConnection, sqlite::SqliteConnectOptions};

use crate::config::Config;
use crate::db::Db;
use crate::error::Error;

/// The key of the lock among those that a PostgreSQL database knows: "docket" in ASCII.
const SETTING_UP: i64 = 0x646f_636b_6574;

/// Holds a data directory and an embedded database for this process alone.
#[derive(Debug)]
pub struct Embedded {
    _files: Vec<File>,
}

/// Takes the data directory and the SQLite database for this process alone, for as long as what is returned is held: the
/// embedded database has one server, which may then take every lease that it finds for orphaned. Two servers with data
/// directories of their own may still be given one database, so that it has a lock of its own.
pub fn embedded(config: &Config) -> Result<Embedded, String> {
    let mut files = vec![lock(&config.data_dir.join("lock"), "data directory", &config.data_dir)?];
    if let Some(database) = database_file(&config.database())? {
        let mut beside = database.clone().into_os_string();
        beside.push(".lock");
        files.push(lock(Path::new(&beside), "database", &database)?);
    }
    Ok(Embedded { _files: files })
}

/// The file of a SQLite database, by the one path that all its names lead to; `None` where it is in memory.
fn database_file(url: &str) -> Result<Option<PathBuf>, String> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Ok(None);
    }
    let options =
        SqliteConnectOptions::from_str(url).map_err(|error| format!("the database's address: {error}"))?;
    let given = options.get_filename();
    if let Ok(file) = given.canonicalize() {
        return Ok(Some(file));
    }
    // It is made later; its folder has to be there.
    let folder = given.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(Some(folder.join(given.file_name().unwrap_or_default())))
}

fn lock(path: &Path, what: &str, of: &Path) -> Result<File, String> {
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
            Err(format!("another server uses the {what} {}", of.display()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
    }
}

/// The right to set a database up: of nodes that start at once on PostgreSQL, one after the other has it. It goes with its
/// connection, whatever becomes of who holds it.
#[derive(Debug)]
pub(super) struct SettingUp(Option<PgConnection>);

impl SettingUp {
    /// Waits until nobody else sets the database up.
    pub(super) async fn begin(db: &Db) -> Result<Self, Error> {
        if db.backend() != DbBackend::Postgres {
            return Ok(Self(None));
        }
        let failed = |error: sqlx::Error| Error::Internal(format!("database: {error}"));
        // Out of the pool, since what is done under the lock needs connections too.
        let mut own = db.writer().get_postgres_connection_pool().acquire().await.map_err(failed)?.detach();
        own.execute("SET statement_timeout = 0").await.map_err(failed)?;
        let free = sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock($1)").bind(SETTING_UP);
        if !free.fetch_one(&mut own).await.map_err(failed)? {
            tracing::info!("another node sets the database up; waiting for it");
            let wait = sqlx::query("SELECT pg_advisory_lock($1)").bind(SETTING_UP);
            wait.execute(&mut own).await.map_err(failed)?;
        }
        Ok(Self(Some(own)))
    }

    /// Lets the next one begin.
    pub(super) async fn end(self) {
        let Some(own) = self.0 else { return };
        if let Err(error) = own.close().await {
            tracing::debug!(%error, "the connection that held the lock did not close well; it is gone all the same");
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
    fn one_server_has_a_data_directory_and_one_has_a_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let held = embedded(&config(&path("a"), &path("x.db"))).unwrap();
        let refused = embedded(&config(&path("a"), &path("y.db"))).unwrap_err();
        assert!(refused.contains("another server uses the data directory"), "{refused}");
        let refused = embedded(&config(&path("b"), &path("x.db"))).unwrap_err();
        assert!(refused.contains("another server uses the database"), "{refused}");

        std::fs::write(path("x.db"), "").unwrap();
        std::os::unix::fs::symlink(path("x.db"), path("z.db")).unwrap();
        assert!(embedded(&config(&path("c"), &path("z.db"))).is_err(), "by another name");
        drop(held);
        assert!(embedded(&config(&path("c"), &path("z.db"))).is_ok());
        assert_eq!(database_file("sqlite::memory:"), Ok(None));
    }
}
