//! The ID of the database, so that it does not use the object store of another; the mode of documents; and indexes for
//! frequent queries.
//!
//! It only adds, with defaults that keep nodes of the previous version working.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{integer, string, uuid};
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn name(text: &'static str) -> Alias {
    Alias::new(text)
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the manager's lifetime out, and an impl has to match it"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// Uses one transaction with its record, on SQLite too: a killed migration then leaves nothing and runs again.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        identity(manager).await?;
        retention(manager).await?;
        indexes(manager).await
    }
}

/// Creates a table with one row: a random UUID (version 4). Only copies of the database have the same UUID.
async fn identity(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let identity = Table::create()
        .table(name("identity"))
        .col(integer("id").primary_key())
        .col(uuid("database_id"))
        .to_owned();
    manager.create_table(identity).await?;
    let db = manager.get_connection();
    let row = match db.get_database_backend() {
        DbBackend::Postgres => "INSERT INTO identity (id, database_id) VALUES (1, gen_random_uuid())",
        _ => {
            "INSERT INTO identity (id, database_id) SELECT 1, \
             unhex(substr(h, 1, 12) || '4' || substr(h, 14, 3) || 'a' || substr(h, 18)) \
             FROM (SELECT hex(randomblob(16)) AS h)"
        }
    };
    db.execute_unprepared(row).await.map(drop)
}

async fn retention(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let add = Table::alter().table(name("document")).add_column(string("mode").default("LIVE")).to_owned();
    manager.alter_table(add).await?;
    for (index, table) in [("job_test", "job"), ("document_test", "document")] {
        let of_tests = Index::create()
            .name(index)
            .table(name(table))
            .col(name("created_at"))
            .col(name("id"))
            .and_where(Expr::col(name("mode")).eq("TEST"))
            .to_owned();
        manager.create_index(of_tests).await?;
    }
    Ok(())
}

async fn indexes(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let content =
        Index::create().name("review_content").table(name("review")).col(name("content_id")).to_owned();
    manager.create_index(content).await?;
    let waiting = Index::create()
        .name("task_waiting")
        .table(name("task"))
        .col(name("run_at"))
        .and_where(Expr::col(name("lease_token")).is_null())
        .to_owned();
    manager.create_index(waiting).await?;
    let db = manager.get_connection();
    if db.get_database_backend() == DbBackend::Postgres {
        // For the filter on metadata, which uses containment.
        db.execute_unprepared("CREATE INDEX job_metadata ON job USING gin (metadata jsonb_path_ops)").await?;
    }
    Ok(())
}
