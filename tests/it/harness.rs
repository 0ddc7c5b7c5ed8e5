//! A database of its own for each test.

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};

/// A fresh SQLite file; removed with the returned directory.
pub(crate) async fn sqlite() -> (DatabaseConnection, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("docket.db").display());
    (connect(url).await, dir)
}

/// A fresh PostgreSQL database on the server at `DOCKET_TEST_POSTGRES_URL`, else on 127.0.0.1:5432.
pub(crate) async fn postgres() -> DatabaseConnection {
    #[expect(clippy::disallowed_methods, reason = "the harness is configured by the environment alone")]
    let server = std::env::var("DOCKET_TEST_POSTGRES_URL")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
    let name = format!("docket_test_{}", uuid::Uuid::now_v7().simple());
    let admin = connect(server.clone()).await;
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a database for this test");
    let (base, _) = server.rsplit_once('/').expect("a URL ends with /database");
    connect(format!("{base}/{name}")).await
}

async fn connect(url: String) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.expect("a database that answers")
}
