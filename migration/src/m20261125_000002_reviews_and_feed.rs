//! Claims and decisions of reviews, the feed, time spent on jobs, and confidences.
//!
//! It only adds, with defaults that keep nodes of the previous version working.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, boolean, integer, json_binary_null, string, timestamp_with_time_zone,
    timestamp_with_time_zone_null, uuid, uuid_null,
};
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn name(text: &'static str) -> Alias {
    Alias::new(text)
}

fn add(table: &'static str, column: &ColumnDef) -> TableAlterStatement {
    Table::alter().table(name(table)).add_column(column.clone()).to_owned()
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
        reviews(manager).await?;
        contents(manager).await?;
        jobs(manager).await?;
        feed(manager).await?;
        confidences(manager).await
    }
}

async fn reviews(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager.alter_table(add("review", &uuid_null("barred_id"))).await?;
    manager.alter_table(add("review", &timestamp_with_time_zone_null("updated_at"))).await?;
    let db = manager.get_connection();
    db.execute_unprepared("UPDATE review SET updated_at = coalesce(decided_at, created_at)").await?;
    let queue = Index::create()
        .name("review_queue")
        .table(name("review"))
        .col(name("created_at"))
        .col(name("id"))
        .and_where(Expr::col(name("status")).is_in(["OPEN", "CLAIMED"]))
        .to_owned();
    manager.create_index(queue).await?;
    let claims = Index::create()
        .name("review_claims")
        .table(name("review"))
        .col(name("claim_expires_at"))
        .and_where(Expr::col(name("status")).eq("CLAIMED"))
        .to_owned();
    manager.create_index(claims).await
}

async fn contents(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager.alter_table(add("content", boolean("made").default(false))).await?;
    // Contents that were given to a job have the creation time of the job.
    let made = "UPDATE content SET made = true WHERE step IS NOT NULL \
                AND created_at > (SELECT created_at FROM job WHERE job.id = content.job_id)";
    manager.get_connection().execute_unprepared(made).await.map(drop)
}

async fn jobs(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager.alter_table(add("job", &json_binary_null("timing"))).await?;
    let finished = Index::create()
        .name("job_finished")
        .table(name("job"))
        .col(name("type_id"))
        .col((name("finished_at"), IndexOrder::Desc))
        .and_where(Expr::col(name("status")).eq("COMPLETED"))
        .to_owned();
    manager.create_index(finished).await
}

async fn feed(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager.alter_table(add("job_event", big_integer("position").default(0))).await?;
    let db = manager.get_connection();
    if db.get_database_backend() == DbBackend::Postgres {
        // Nodes of the previous version do not write the column, and their events must appear in the feed too.
        let default =
            "ALTER TABLE job_event ALTER COLUMN position SET DEFAULT (pg_current_xact_id()::text::bigint)";
        db.execute_unprepared(default).await?;
    }
    let order = Index::create()
        .name("job_event_feed")
        .table(name("job_event"))
        .col(name("position"))
        .col(name("job_id"))
        .col(name("sequence"))
        .to_owned();
    manager.create_index(order).await?;
    let feed = Table::create()
        .table(name("feed"))
        .col(integer("id").primary_key())
        .col(big_integer("base"))
        .to_owned();
    manager.create_table(feed).await?;
    let row = Query::insert()
        .into_table(name("feed"))
        .columns([name("id"), name("base")])
        .values_panic([1.into(), 0_i64.into()])
        .to_owned();
    manager.execute(row).await
}

async fn confidences(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut key = Index::create();
    key.col(name("content_id")).col(name("thousandths")).col(name("missing"));
    let mut job = ForeignKey::create();
    job.name("fk_confidence_job_id")
        .from(name("confidence"), name("job_id"))
        .to(name("job"), name("id"))
        .on_delete(ForeignKeyAction::Cascade);
    let confidence = Table::create()
        .table(name("confidence"))
        .col(uuid("content_id"))
        .col(integer("thousandths"))
        .col(boolean("missing"))
        .col(uuid("job_id"))
        .col(string("type_id"))
        .col(string("step"))
        .col(timestamp_with_time_zone("at"))
        .col(integer("items"))
        .col(integer("due"))
        .col(integer("reviewed"))
        .col(integer("corrected"))
        .primary_key(&mut key)
        .foreign_key(&mut job)
        .to_owned();
    manager.create_table(confidence).await?;
    for (index, columns) in [
        ("confidence_history", ["type_id", "step", "at"].as_slice()),
        ("confidence_job", ["job_id"].as_slice()),
    ] {
        let mut create = Index::create().name(index).table(name("confidence")).to_owned();
        for column in columns {
            create.col(name(column));
        }
        manager.create_index(create).await?;
    }
    Ok(())
}
