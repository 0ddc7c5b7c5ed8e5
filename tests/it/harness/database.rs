//! A database for each test: a SQLite file in its directory, or a PostgreSQL database of its own.
//!
//! Tests copy a migrated template, because a copy takes a small part of the time of the migrations.

use std::path::Path;

use chrono::{DateTime, TimeDelta};
use docket::clock::{Clock, Timestamp};
use docket::db::Db;
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use sha2::{Digest, Sha256};
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
/// The prefix of template names; a hash of the migrations follows.
const TEMPLATE_PREFIX: &str = "docket_template_";
/// The template of PostgreSQL to which nobody can connect, so that it can always be copied.
const EMPTY_TEMPLATE: &str = "template0";
/// The key of the advisory lock of the test runs that use one PostgreSQL server: "template" in ASCII.
const TEMPLATE_LOCK_KEY: i64 = 0x7465_6d70_6c61_7465;

impl Backend {
    /// Creates an empty database and returns its URL.
    pub(crate) async fn create_empty(self, dir: &Path) -> String {
        match self {
            Self::Sqlite => sqlite_url(dir),
            Self::Postgres => create_postgres(&connect(&server_url()).await, EMPTY_TEMPLATE).await,
        }
    }

    /// Creates a database in which all migrations have run, and returns its URL.
    pub(crate) async fn create_migrated(self, dir: &Path) -> String {
        match self {
            Self::Sqlite => {
                let template = sqlite_template().await;
                std::fs::write(dir.join(SQLITE_FILE), template).expect("the database can be written");
                sqlite_url(dir)
            }
            Self::Postgres => {
                let template = postgres_template().await;
                create_postgres(&connect(&server_url()).await, template).await
            }
        }
    }

    /// Drops a database of this test in spite of open connections.
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

/// Opens a connection to the database of a test, independent of any server.
pub(crate) async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(1)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|sqlite| sqlite.create_if_missing(true));
    Database::connect(options).await.expect("a database that answers")
}

const SQLITE_FILE: &str = "docket.db";

fn sqlite_url(dir: &Path) -> String {
    format!("sqlite://{}", dir.join(SQLITE_FILE).display())
}

/// Returns the content of a migrated SQLite file, which is made once per process.
async fn sqlite_template() -> &'static [u8] {
    static TEMPLATE: OnceCell<Vec<u8>> = OnceCell::const_new();
    let make = async || {
        let dir = tempfile::tempdir().expect("a temporary directory");
        migrate(&sqlite_url(dir.path())).await;
        let files = std::fs::read_dir(dir.path()).expect("the directory can be read");
        // A write-ahead log that is left would hold a part of the database.
        assert_eq!(files.count(), 1, "the last connection moves the log into the database file");
        std::fs::read(dir.path().join(SQLITE_FILE)).expect("the database can be read")
    };
    TEMPLATE.get_or_init(make).await
}

/// Runs all migrations and closes the connection.
async fn migrate(url: &str) {
    let connection = Db::connect_for_migrations(url).await.expect("a database that answers");
    Migrator::up(&connection, None).await.expect("the migrations run");
    connection.close().await.expect("the connection can be closed");
}

/// Returns the name of a migrated database, which exists as long as this process uses it.
///
/// All runs with the same migrations share it. The first caller in a process creates it if it is missing, and drops what
/// killed runs have left.
async fn postgres_template() -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let prepare = async || {
        let admin = connect(&server_url()).await;
        // The lock ends with the connection.
        run(&admin, &format!("SELECT pg_advisory_lock({TEMPLATE_LOCK_KEY})")).await;
        drop_stale_databases(&admin).await;
        let template = format!("{TEMPLATE_PREFIX}{}", migrations_hash());
        if !database_names(&admin, &template).await.contains(&template) {
            // The name of a test until the migrations have run: a killed run leaves no template that lacks some.
            let url = create_postgres(&admin, EMPTY_TEMPLATE).await;
            migrate(&url).await;
            let name = url.rsplit('/').next().unwrap_or_default();
            run(&admin, &format!("ALTER DATABASE {name} RENAME TO {template}")).await;
            // PostgreSQL cannot copy a database to which somebody is connected.
            run(&admin, &format!("ALTER DATABASE {template} WITH ALLOW_CONNECTIONS false")).await;
        }
        let now = Clock::default().now().to_rfc3339();
        run(&admin, &format!("COMMENT ON DATABASE {template} IS '{now}'")).await;
        admin.close().await.expect("the connection can be closed");
        template
    };
    TEMPLATE.get_or_init(prepare).await
}

/// Returns a hash of the sources of the migrations, so that a changed migration leads to a new template.
fn migrations_hash() -> String {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("migration/src");
    let files = std::fs::read_dir(sources).expect("the migrations can be read");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let mut hash = Sha256::new();
    for path in paths {
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(std::fs::read(&path).expect("a migration can be read"));
    }
    hex::encode(&hash.finalize()[..8])
}

/// Creates the PostgreSQL database of one test as a copy of a template, and returns its URL.
async fn create_postgres(admin: &DatabaseConnection, template: &str) -> String {
    let name = format!("{NAME_PREFIX}{}", Uuid::now_v7().simple());
    run(admin, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    format!("{}/{name}", base_url())
}

async fn run(admin: &DatabaseConnection, statement: &str) {
    admin.execute_unprepared(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
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

/// Drops databases of tests that began over an hour ago, and templates that no run has used for a day.
async fn drop_stale_databases(admin: &DatabaseConnection) {
    let now = Clock::default().now();
    let mut stale = database_names(admin, NAME_PREFIX).await;
    stale.retain(|name| created_at(name).is_some_and(|at| at < now - TimeDelta::hours(1)));
    for name in database_names(admin, TEMPLATE_PREFIX).await {
        let used =
            format!("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'");
        let used = strings(admin, used).await.pop().and_then(|at| DateTime::parse_from_rfc3339(&at).ok());
        if used.is_none_or(|at| at < now - TimeDelta::days(1)) {
            stale.push(name);
        }
    }
    for name in stale {
        // A test run of an older version, which takes no lock, may drop the same database.
        drop(admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await);
    }
}

/// Returns the names of the databases with this prefix.
async fn database_names(admin: &DatabaseConnection, prefix: &str) -> Vec<String> {
    strings(admin, format!("SELECT datname FROM pg_database WHERE starts_with(datname, '{prefix}')")).await
}

/// Returns the first column of the rows of a query, without nulls.
async fn strings(admin: &DatabaseConnection, query: String) -> Vec<String> {
    let rows = admin.query_all_raw(Statement::from_string(DbBackend::Postgres, query)).await.expect("rows");
    rows.iter().filter_map(|row| row.try_get_by_index::<Option<String>>(0).expect("a text")).collect()
}

/// Returns the time in the name of a test database.
fn created_at(name: &str) -> Option<Timestamp> {
    let (seconds, nanos) = Uuid::try_parse(name.strip_prefix(NAME_PREFIX)?).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}
