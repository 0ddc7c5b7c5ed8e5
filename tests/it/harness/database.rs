//! A database for each test: a SQLite file in its directory, or a PostgreSQL database of its own.

use std::path::Path;

use chrono::{DateTime, TimeDelta};
use docket::clock::{Clock, Timestamp};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The kind of database that a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// The prefix of test database names, by which databases of killed test runs are found.
const NAME_PREFIX: &str = "docket_test_";

impl Backend {
    /// Creates an empty database and returns its URL.
    pub(crate) async fn create(self, dir: &Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite://{}", dir.join("docket.db").display()),
            Self::Postgres => {
                static CLEANUP: OnceCell<()> = OnceCell::const_new();
                CLEANUP.get_or_init(drop_stale_databases).await;
                let name = format!("{NAME_PREFIX}{}", Uuid::now_v7().simple());
                let admin = connect(&server_url()).await;
                admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a database");
                format!("{}/{name}", base_url())
            }
        }
    }

    /// Drops a database of [`Backend::create`] in spite of open connections.
    ///
    /// A SQLite file is deleted with its directory.
    pub(crate) async fn drop(self, url: &str) {
        if self == Self::Postgres {
            let name = url.rsplit('/').next().unwrap_or_default();
            let admin = connect(&server_url()).await;
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            admin.execute_unprepared(&drop).await.expect("the database can be dropped");
        }
    }
}

/// Opens a connection to a database of [`Backend::create`], independent of any server.
pub(crate) async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(1)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|sqlite| sqlite.create_if_missing(true));
    Database::connect(options).await.expect("a database that answers")
}

fn server_url() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are configured by this variable alone")]
    std::env::var("DOCKET_TEST_POSTGRES_URL")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned())
}

fn base_url() -> String {
    let url = server_url();
    url.rsplit_once('/').expect("a URL ends with /database").0.to_owned()
}

/// Drops test databases that are older than an hour; their names contain the time of their creation.
async fn drop_stale_databases() {
    let admin = connect(&server_url()).await;
    let names = format!("SELECT datname FROM pg_database WHERE datname LIKE '{NAME_PREFIX}%'");
    let rows = admin.query_all_raw(Statement::from_string(DbBackend::Postgres, names)).await.expect("names");
    let one_hour_ago = Clock::default().now() - TimeDelta::hours(1);
    for row in rows {
        let name: String = row.try_get("", "datname").expect("a name");
        if created_at(&name).is_some_and(|at| at < one_hour_ago) {
            // Another test run may drop the same database.
            drop(admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await);
        }
    }
}

fn created_at(name: &str) -> Option<Timestamp> {
    let (seconds, nanos) = Uuid::try_parse(name.strip_prefix(NAME_PREFIX)?).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}
