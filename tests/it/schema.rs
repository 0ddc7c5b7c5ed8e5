//! Checks that migrations and entities agree on both databases.

use docket::app::schema::Schema;
use docket::app::{App, Migrations};
use docket::config::{Config, Flags, Secret};
use docket::entity::{
    access, account, api_key, content, document, job, job_event, job_type, oidc_identity, review,
    sign_in_network, task, taxonomy,
};
use docket::entity::{team, team_member, webhook, webhook_delivery};
use docket::error::{Error, unique_or};
use docket::{clock::Clock, id::UserId};
use migration::{Migrator, MigratorTrait};
use sea_orm::{ActiveModelTrait, DatabaseConnection, EntityTrait, Set};

use crate::harness::{Backend, connect};

#[tokio::test]
async fn migrations_and_entities_agree_on_sqlite() {
    check_backend(Backend::Sqlite).await;
}

#[tokio::test]
async fn migrations_and_entities_agree_on_postgres() {
    check_backend(Backend::Postgres).await;
}

async fn check_backend(backend: Backend) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = backend.create_empty(dir.path()).await;
    check_entities(&connect(&url).await).await;
    backend.drop(&url).await;
}

#[tokio::test]
async fn server_migrates_an_empty_sqlite_database() {
    start_servers(Backend::Sqlite, 1).await;
}

#[tokio::test]
async fn two_servers_migrate_an_empty_postgres_database() {
    start_servers(Backend::Postgres, 2).await;
}

/// Opens applications on one empty database at the same time.
async fn start_servers(backend: Backend, count: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = backend.create_empty(dir.path()).await;
    let apps = (0..count).map(async |i| {
        let flags = Flags { data_dir: Some(dir.path().join(i.to_string())), ..Flags::default() };
        let mut config = Config::load(None, &flags).expect("the default configuration is valid");
        config.database_url = Secret::from(url.clone());
        App::open(config, "http://localhost:1", Migrations::Run).await.expect("an application")
    });
    for app in futures_util::future::join_all(apps).await {
        assert_eq!(Schema::read(&app.db).await, Ok(Schema::default()), "no migration is pending");
        app.drain().await;
        for connection in [app.db.read(), app.db.writer()] {
            connection.close_by_ref().await.expect("the pool can be closed");
        }
    }
    backend.drop(&url).await;
}

async fn check_entities(db: &DatabaseConnection) {
    Migrator::up(db, None).await.expect("the migrations run");
    Migrator::up(db, None).await.expect("running them again changes nothing");

    macro_rules! readable {
        ($($entity:ident),*) => {$(
            let rows = $entity::Entity::find().all(db).await;
            assert_eq!(rows, Ok(vec![]), stringify!($entity));
        )*};
    }
    readable!(access, account, api_key, content, document, job, job_event, job_type, review, task, taxonomy);
    readable!(team, team_member, oidc_identity, sign_in_network, webhook, webhook_delivery);

    let ada = account::Model {
        id: UserId::new(),
        email: "ada@example.com".into(),
        name: "Ada".into(),
        password_hash: None,
        is_admin: false,
        created_at: Clock::default().now(),
    };
    insert(db, &ada).await.expect("an account");
    let read = account::Entity::find_by_id(ada.id).one(db).await;
    assert_eq!(read, Ok(Some(ada.clone())), "the row read back equals the row written, including the time");

    let twin = insert(db, &account::Model { id: UserId::new(), ..ada }).await;
    let refused = twin.map_err(|e| unique_or(e, "This e-mail is taken."));
    assert_eq!(refused, Err(Error::conflict("This e-mail is taken.")));
}

async fn insert(db: &DatabaseConnection, row: &account::Model) -> Result<(), sea_orm::DbErr> {
    let active = account::ActiveModel {
        id: Set(row.id),
        email: Set(row.email.clone()),
        name: Set(row.name.clone()),
        password_hash: Set(row.password_hash.clone()),
        is_admin: Set(row.is_admin),
        created_at: Set(row.created_at),
    };
    active.insert(db).await.map(|_| ())
}
