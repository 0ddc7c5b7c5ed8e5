//! The write path: what commits, what rolls back, and that nobody's going away cancels it.

use docket::db::Db;
use docket::entity::account;
use docket::error::Error;
use docket::{clock::Clock, id::UserId};
use migration::Migrator;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, PaginatorTrait, Set};
use sea_orm_migration::MigratorTrait;

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
    let db = Db::connect(&format!("sqlite://{}", dir.path().join("docket.db").display()), 4).await.unwrap();
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
    let db = Db::connect(&url, 2).await.unwrap();
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
