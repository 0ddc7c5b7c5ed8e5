//! A database for each test: a SQLite file in its directory, or a PostgreSQL database of its own.

use std::path::Path;

use chrono::{DateTime, TimeDelta};
use docket::clock::{Clock, Timestamp};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// What every database of a test is called by, so that one that a killed run left behind can be told from others.
const PREFIX: &str = "docket_test_";

impl Backend {
    /// The URL of an empty database that nobody else uses.
    pub(crate) async fn create(self, dir: &Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite://{}", dir.join("docket.db").display()),
            Self::Postgres => {
                static CLEARED: OnceCell<()> = OnceCell::const_new();
                CLEARED.get_or_init(drop_forgotten).await;
                let name = format!("{PREFIX}{}", Uuid::now_v7().simple());
                let admin = connect(&server()).await;
                admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a database");
                format!("{}/{name}", base())
            }
        }
    }

    /// Removes a database of [`Backend::create`], whoever is still connected. A file goes with its directory.
    pub(crate) async fn drop(self, url: &str) {
        if self == Self::Postgres {
            let name = url.rsplit('/').next().unwrap_or_default();
            let admin = connect(&server()).await;
            let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            admin.execute_unprepared(&drop).await.expect("the database can be dropped");
        }
    }
}

/// Connects to a database of [`Backend::create`] beside any server.
pub(crate) async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(1)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|sqlite| sqlite.create_if_missing(true));
    Database::connect(options).await.expect("a database that answers")
}

fn server() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are configured by this variable alone")]
    std::env::var("DOCKET_TEST_POSTGRES_URL")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned())
}

fn base() -> String {
    let server = server();
    server.rsplit_once('/').expect("a URL ends with /database").0.to_owned()
}

/// Drops databases of runs that were killed an hour ago or earlier; their names tell when they were made.
async fn drop_forgotten() {
    let admin = connect(&server()).await;
    let names = format!("SELECT datname FROM pg_database WHERE datname LIKE '{PREFIX}%'");
    let rows = admin.query_all_raw(Statement::from_string(DbBackend::Postgres, names)).await.expect("names");
    let long_ago = Clock::default().now() - TimeDelta::hours(1);
    for row in rows {
        let name: String = row.try_get("", "datname").expect("a name");
        if made_at(&name).is_some_and(|at| at < long_ago) {
            // Another run may be doing the same.
            drop(admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await);
        }
    }
}

fn made_at(name: &str) -> Option<Timestamp> {
    let (seconds, nanos) = Uuid::try_parse(name.strip_prefix(PREFIX)?).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}
