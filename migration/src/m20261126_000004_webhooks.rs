//! Webhooks and the outbox of their deliveries.
//!
//! It only adds. Nodes of the previous version continue to work, and write no deliveries.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, boolean, integer, integer_null, json_binary, string, string_null, text, text_null,
    timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn name(text: &'static str) -> Alias {
    Alias::new(text)
}

fn goes_with(table: &'static str, column: &'static str, to: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_{column}"))
        .from(name(table), name(column))
        .to(name(to), name("id"))
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
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
        webhooks(manager).await?;
        deliveries(manager).await
    }
}

async fn webhooks(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let webhook = Table::create()
        .table(name("webhook"))
        .col(uuid("id").primary_key())
        .col(uuid("account_id"))
        .col(uuid_null("job_id"))
        .col(text("url"))
        .col(string("host"))
        .col(text("description"))
        .col(json_binary("event_kinds"))
        .col(boolean("enabled"))
        .col(string_null("disabled_reason"))
        .col(timestamp_with_time_zone_null("failing_since"))
        .col(string("secret"))
        .col(string_null("old_secret"))
        .col(timestamp_with_time_zone_null("old_secret_until"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .foreign_key(&mut goes_with("webhook", "account_id", "account"))
        .foreign_key(&mut goes_with("webhook", "job_id", "job"))
        .to_owned();
    manager.create_table(webhook).await?;
    let list = Index::create()
        .name("webhook_account")
        .table(name("webhook"))
        .col(name("account_id"))
        .col((name("created_at"), IndexOrder::Desc))
        .col((name("id"), IndexOrder::Desc))
        .to_owned();
    manager.create_index(list).await?;
    let of_job = Index::create().name("webhook_job").table(name("webhook")).col(name("job_id")).to_owned();
    manager.create_index(of_job).await?;
    // Every event queries whether any webhook exists, and then the webhooks of some accounts.
    let listening = Index::create()
        .name("webhook_enabled")
        .table(name("webhook"))
        .col(name("account_id"))
        .and_where(Expr::cust("enabled"))
        .to_owned();
    manager.create_index(listening).await
}

async fn deliveries(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let delivery = Table::create()
        .table(name("webhook_delivery"))
        .col(uuid("id").primary_key())
        .col(uuid("webhook_id"))
        .col(uuid("job_id"))
        .col(big_integer("sequence"))
        .col(string("kind"))
        .col(string("status"))
        .col(boolean("redelivery"))
        .col(integer("attempts"))
        .col(timestamp_with_time_zone("queued_at"))
        .col(timestamp_with_time_zone_null("next_attempt_at"))
        .col(uuid_null("lease_token"))
        .col(timestamp_with_time_zone_null("last_attempt_at"))
        .col(integer_null("last_status_code"))
        .col(text_null("last_error"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone_null("finished_at"))
        .foreign_key(&mut goes_with("webhook_delivery", "webhook_id", "webhook"))
        .foreign_key(&mut goes_with("webhook_delivery", "job_id", "job"))
        .to_owned();
    manager.create_table(delivery).await?;
    let index = |index: &'static str, columns: &[&'static str]| {
        let mut create = Index::create().name(index).table(name("webhook_delivery")).to_owned();
        for column in columns {
            create.col(name(column));
        }
        create
    };
    let log = index("webhook_delivery_log", &["webhook_id", "created_at", "id"]);
    manager.create_index(log).await?;
    manager.create_index(index("webhook_delivery_job", &["job_id"])).await?;
    manager.create_index(index("webhook_delivery_finished", &["finished_at"])).await?;
    // Only pending deliveries have a next attempt.
    let waits = || Expr::col(name("next_attempt_at")).is_not_null();
    let due = index("webhook_delivery_due", &["next_attempt_at", "id"]).and_where(waits()).to_owned();
    manager.create_index(due).await?;
    let lane = ["webhook_id", "job_id", "sequence"];
    manager.create_index(index("webhook_delivery_lane", &lane).and_where(waits()).to_owned()).await
}
