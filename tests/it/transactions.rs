//! The write path: what commits, what rolls back, and that nobody's going away cancels it.

use std::time::{Duration, Instant};

use docket::db::Db;
use docket::entity::{account, team};
use docket::error::Error;
use docket::{clock::Clock, id::UserId};
use migration::Migrator;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, Set,
    TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use crate::harness::{Backend, TestApp, both, connect};

/// More than any test needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn person(name: &str) -> account::ActiveModel {
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
async fn read_then_write_transactions_never_collide_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::connect(&format!("sqlite://{}", dir.path().join("docket.db").display()), 4, PATIENCE)
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
                    person(&format!("p{i}")).insert(tx).await?;
                    if i % 2 == 0 { Ok(()) } else { Err(Error::conflict("no")) }
                })
            })
            .await
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 50);
    assert!(results.iter().all(|r| r.is_ok() || *r == Err(Error::conflict("no"))), "{results:?}");
    assert_eq!(account::Entity::find().count(db.read()).await, Ok(50), "what failed left nothing");
}

/// What SQLite does by itself when the disk is full: the transaction is gone, whatever the driver thinks.
#[tokio::test]
async fn after_a_transaction_that_ended_by_itself_writes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("docket.db").display());
    let db = Db::connect(&url, 2, PATIENCE).await.unwrap();
    Migrator::up(db.read(), None).await.unwrap();
    for (i, gives_up) in [true, false, true].into_iter().enumerate() {
        let lost = db.write(move |tx| {
            Box::pin(async move {
                person(&format!("lost{i}")).insert(tx).await?;
                tx.execute_unprepared("ROLLBACK").await?;
                if gives_up { Err(Error::conflict("no")) } else { Ok(()) }
            })
        });
        assert!(lost.await.is_err(), "a commit of nothing is no commit");
        let name = format!("kept{i}");
        let kept = db.write(move |tx| {
            Box::pin(async move { person(&name).insert(tx).await.map(drop).map_err(Error::from) })
        });
        kept.await.unwrap();
        let seen = account::Entity::find().count(db.read()).await;
        assert_eq!(seen, Ok(i as u64 + 1), "others see what was acknowledged");
    }
}

const CREATE: &str = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";

both!(writes_that_clients_give_up_poison_no_connection);
async fn writes_that_clients_give_up_poison_no_connection(app: TestApp) {
    let ada = app.user("ada").await;
    let began = Instant::now();
    ada.gql(CREATE, json!({"in": {"name": "given time"}})).await;
    let mut whole = began.elapsed().max(Duration::from_millis(5));
    let beside = connect(app.database_url()).await;
    // Again with more time where the machine has become too slow for any to be on its way when it is given up.
    let mut begun = 0;
    for round in 0..6 {
        for i in 0..400_u32 {
            // At all points of a request's way: before it is read, in the transaction, after the commit.
            let given_up = ada.ask(CREATE, json!({"in": {"name": format!("given up {round} {i}")}}));
            drop(tokio::time::timeout(whole * i / 200, given_up).await);
        }
        let named = team::Entity::find().filter(team::Column::Name.starts_with("given up"));
        begun = named.count(&beside).await.expect("a count");
        if begun > 0 {
            break;
        }
        whole *= 2;
    }
    assert!(begun > 0, "some were on their way when they were given up");
    for i in 0..200_u64 {
        let given_up = app.db.write(move |tx| {
            Box::pin(async move {
                person(&format!("given-up-{i}")).insert(tx).await?;
                Ok(())
            })
        });
        drop(tokio::time::timeout(Duration::from_micros(i * 10), given_up).await);
    }
    // Every pooled connection gets its turn; what it answers with success, others see.
    for round in 0..10 {
        let names: Vec<_> = (0..8).map(|i| format!("kept {round} {i}")).collect();
        let writes = names.iter().map(|name| ada.gql(CREATE, json!({"in": {"name": name}})));
        futures_util::future::join_all(writes).await;
        for name in names {
            let found = team::Entity::find().filter(team::Column::Name.eq(&name)).one(&beside).await;
            assert!(found.expect("a reading").is_some(), "{name} was acknowledged, and nobody else sees it");
        }
    }
    beside.close().await.expect("the connection can be closed");
}

both!(a_mutation_that_began_ends_though_its_client_has_gone);
async fn a_mutation_that_began_ends_though_its_client_has_gone(app: TestApp) {
    let ada = app.user("ada").await;
    let body = json!({"query": CREATE, "variables": {"in": {"name": "left alone"}}}).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        ada.secret(),
        body.len()
    );
    // Somebody else writes, so that the mutation has begun and cannot end.
    let beside = connect(app.database_url()).await;
    let lock = match app.backend() {
        Backend::Sqlite => "BEGIN IMMEDIATE",
        Backend::Postgres => "BEGIN; LOCK TABLE team IN EXCLUSIVE MODE",
    };
    beside.execute_unprepared(lock).await.expect("a lock");
    let tasks = app.tasks.len();
    let mut connection = tokio::net::TcpStream::connect(app.address()).await.expect("a connection");
    connection.write_all(format!("{head}{body}").as_bytes()).await.expect("the server reads");
    app.wait_until("the mutation has begun", async || app.tasks.len() > tasks).await;
    drop(connection);
    beside.execute_unprepared("COMMIT").await.expect("the lock goes");
    let there = team::Entity::find().filter(team::Column::Name.eq("left alone"));
    let is_there = async || there.clone().one(&beside).await.is_ok_and(|team| team.is_some());
    app.wait_until("the team is there", is_there).await;
    beside.close().await.expect("the connection can be closed");
}

both!(a_connection_to_the_database_is_waited_for_and_not_for_ever, |config| {
    config.database_connections = 1;
    config.database_wait_seconds = 1;
});
async fn a_connection_to_the_database_is_waited_for_and_not_for_ever(app: TestApp) {
    let ada = app.user("ada").await;
    let create = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
    let (begun, has_begun) = oneshot::channel();
    let (end, may_end) = oneshot::channel::<()>();
    let mut writing = Box::pin(app.db.write(|tx| {
        Box::pin(async move {
            tx.execute_unprepared("SELECT 1").await?;
            begun.send(()).expect("the test waits");
            may_end.await.map_err(Error::internal)
        })
    }));
    // It goes on in a task of its own.
    assert!(futures_util::poll!(&mut writing).is_pending());
    has_begun.await.expect("a transaction");
    assert_eq!(ada.refused(create, json!({"in": {"name": "t"}})).await.code(), "UNAVAILABLE");
    end.send(()).expect("it waits");
    writing.await.expect("it is done");
    ada.gql(create, json!({"in": {"name": "t"}})).await;

    let reading = app.db.read().begin().await.expect("a transaction");
    let answer = ada.ask("{ viewer { id } }", Value::Null).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "UNAVAILABLE"));
    reading.rollback().await.expect("it ends");
    ada.gql("{ viewer { id } }", Value::Null).await;
}
