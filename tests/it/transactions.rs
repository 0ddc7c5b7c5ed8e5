//! Tests of write transactions: commits, rollbacks, and clients that disconnect during a write.

use std::time::{Duration, Instant};

use docket::db::Db;
use docket::entity::{account, team};
use docket::error::Error;
use docket::{clock::Clock, id::UserId};
use migration::{Migrator, MigratorTrait};
use reqwest::Method;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, Set,
    TransactionTrait,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use crate::harness::{Backend, TestApp, both, connect};

/// Longer than any test needs.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(60);

fn new_account(name: &str) -> account::ActiveModel {
    account::ActiveModel {
        id: Set(UserId::new()),
        email: Set(format!("{name}@example.com")),
        name: Set(name.into()),
        password_hash: Set(None),
        is_admin: Set(false),
        created_at: Set(Clock::default().now()),
    }
}

#[tokio::test]
async fn concurrent_read_then_write_transactions_succeed_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::connect(&format!("sqlite://{}", dir.path().join("docket.db").display()), 4, ACQUIRE_TIMEOUT)
        .await
        .unwrap();
    Migrator::up(db.read(), None).await.unwrap();

    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..100 {
        let db = db.clone();
        tasks.spawn(async move {
            db.write(move |tx| {
                Box::pin(async move {
                    account::Entity::find().count(tx).await?;
                    new_account(&format!("p{i}")).insert(tx).await?;
                    if i % 2 == 0 { Ok(()) } else { Err(Error::conflict("no")) }
                })
            })
            .await
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 50);
    assert!(results.iter().all(|r| r.is_ok() || *r == Err(Error::conflict("no"))), "{results:?}");
    assert_eq!(account::Entity::find().count(db.read()).await, Ok(50), "failed transactions leave no rows");
}

/// SQLite rolls a transaction back by itself when the disk is full, and the driver does not notice.
#[tokio::test]
async fn writes_succeed_after_sqlite_rolled_a_transaction_back() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("docket.db").display());
    let db = Db::connect(&url, 2, ACQUIRE_TIMEOUT).await.unwrap();
    Migrator::up(db.read(), None).await.unwrap();
    for (i, returns_error) in [true, false, true].into_iter().enumerate() {
        let lost = db.write(move |tx| {
            Box::pin(async move {
                new_account(&format!("lost{i}")).insert(tx).await?;
                tx.execute_unprepared("ROLLBACK").await?;
                if returns_error { Err(Error::conflict("no")) } else { Ok(()) }
            })
        });
        assert!(lost.await.is_err(), "a commit without a transaction is an error");
        let name = format!("kept{i}");
        let kept = db.write(move |tx| {
            Box::pin(async move { new_account(&name).insert(tx).await.map(drop).map_err(Error::from) })
        });
        kept.await.unwrap();
        let seen = account::Entity::find().count(db.read()).await;
        assert_eq!(seen, Ok(i as u64 + 1), "other connections see the acknowledged rows");
    }
}

const CREATE: &str = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";

both!(aborted_writes_leave_pooled_connections_usable);
async fn aborted_writes_leave_pooled_connections_usable(app: TestApp) {
    let ada = app.user("ada").await;
    let began = Instant::now();
    ada.gql(CREATE, json!({"in": {"name": "finished"}})).await;
    let mut duration = began.elapsed().max(Duration::from_millis(5));
    let observer = connect(app.database_url()).await;
    // Repeats with a longer duration if the machine is too slow for any request to be running when it is aborted.
    let mut committed = 0;
    for round in 0..6 {
        for i in 0..400_u32 {
            // Aborts at every stage: before the request is read, in the transaction, and after the commit.
            let aborted = ada.execute(CREATE, json!({"in": {"name": format!("aborted {round} {i}")}}));
            drop(tokio::time::timeout(duration * i / 200, aborted).await);
        }
        let named = team::Entity::find().filter(team::Column::Name.starts_with("aborted"));
        committed = named.count(&observer).await.expect("a count");
        if committed > 0 {
            break;
        }
        duration *= 2;
    }
    assert!(committed > 0, "some requests commit although they are aborted");
    for i in 0..200_u64 {
        let aborted = app.db.write(move |tx| {
            Box::pin(async move {
                new_account(&format!("aborted-{i}")).insert(tx).await?;
                Ok(())
            })
        });
        drop(tokio::time::timeout(Duration::from_micros(i * 10), aborted).await);
    }
    // Uses every pooled connection. Other connections must see each acknowledged write.
    for round in 0..10 {
        let names: Vec<_> = (0..8).map(|i| format!("kept {round} {i}")).collect();
        let writes = names.iter().map(|name| ada.gql(CREATE, json!({"in": {"name": name}})));
        futures_util::future::join_all(writes).await;
        for name in names {
            let found = team::Entity::find().filter(team::Column::Name.eq(&name)).one(&observer).await;
            assert!(
                found.expect("a query").is_some(),
                "{name} was acknowledged, but other connections do not see it"
            );
        }
    }
    observer.close().await.expect("the connection can be closed");
}

both!(started_mutation_completes_after_the_client_disconnects);
async fn started_mutation_completes_after_the_client_disconnects(app: TestApp) {
    let ada = app.user("ada").await;
    let body = json!({"query": CREATE, "variables": {"in": {"name": "abandoned"}}}).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        ada.secret(),
        body.len()
    );
    // Another connection holds a lock, so the mutation starts but cannot end.
    let observer = connect(app.database_url()).await;
    let lock = match app.backend() {
        Backend::Sqlite => "BEGIN IMMEDIATE",
        Backend::Postgres => "BEGIN; LOCK TABLE team IN EXCLUSIVE MODE",
    };
    observer.execute_unprepared(lock).await.expect("a lock");
    let tasks = app.tasks.len();
    let mut connection = tokio::net::TcpStream::connect(app.address()).await.expect("a connection");
    connection.write_all(format!("{head}{body}").as_bytes()).await.expect("the server reads");
    // One task serves the connection, and another one runs the mutation.
    app.wait_until("the mutation has started", async || app.tasks.len() > tasks + 1).await;
    drop(connection);
    observer.execute_unprepared("COMMIT").await.expect("the lock is released");
    let query = team::Entity::find().filter(team::Column::Name.eq("abandoned"));
    let exists = async || query.clone().one(&observer).await.is_ok_and(|team| team.is_some());
    app.wait_until("the team exists", exists).await;
    observer.close().await.expect("the connection can be closed");
}

both!(request_is_unavailable_after_the_database_wait_timeout, |config| {
    config.database_connections = 1;
    config.database_wait_seconds = 1;
});
async fn request_is_unavailable_after_the_database_wait_timeout(app: TestApp) {
    let ada = app.user("ada").await;
    let create = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
    let (started, has_started) = oneshot::channel();
    let (finish, may_finish) = oneshot::channel::<()>();
    let mut writing = Box::pin(app.db.write(|tx| {
        Box::pin(async move {
            tx.execute_unprepared("SELECT 1").await?;
            started.send(()).expect("the test waits");
            may_finish.await.map_err(Error::internal)
        })
    }));
    // The write continues in its own task.
    assert!(futures_util::poll!(&mut writing).is_pending());
    has_started.await.expect("a transaction");
    assert_eq!(ada.gql_err(create, json!({"in": {"name": "t"}})).await.code(), "UNAVAILABLE");
    finish.send(()).expect("the transaction waits");
    writing.await.expect("the write succeeds");
    ada.gql(create, json!({"in": {"name": "t"}})).await;

    let reading = app.db.read().begin().await.expect("a transaction");
    let response = ada.execute("{ viewer { id } }", Value::Null).await;
    assert_eq!((response.status.as_u16(), response.code()), (503, "UNAVAILABLE"));
    assert_eq!(response.errors[0].extensions["retryAfterSeconds"], 1);
    let graphql = ada.request(Method::POST, "/graphql").json(&json!({"query": "{ viewer { id } }"}));
    for request in [graphql, ada.request(Method::GET, "/v1.1/users/me")] {
        let refused = request.send().await.expect("a response");
        let retry_after = refused.headers().get("retry-after").and_then(|value| value.to_str().ok());
        assert_eq!((refused.status().as_u16(), retry_after), (503, Some("1")), "{}", refused.url());
    }
    reading.rollback().await.expect("a rollback");
    ada.gql("{ viewer { id } }", Value::Null).await;
}
