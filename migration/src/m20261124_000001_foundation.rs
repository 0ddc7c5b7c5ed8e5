//! Accounts, teams, documents, taxonomies, job types, jobs with their tasks, events, contents, access and reviews.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, boolean, double, integer, json_binary, json_binary_null, string, string_null, text,
    text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

type Order = (&'static str, IndexOrder);

fn table(name: &'static str) -> TableCreateStatement {
    Table::create().table(Alias::new(name)).to_owned()
}

fn id(name: &'static str) -> ColumnDef {
    uuid(name).primary_key().to_owned()
}

fn index(name: &'static str, table: &'static str, columns: &[Order]) -> IndexCreateStatement {
    let mut index = Index::create().name(name).table(Alias::new(table)).to_owned();
    for (column, order) in columns {
        index.col((Alias::new(*column), order.clone()));
    }
    index
}

fn unique(name: &'static str, table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create().name(name).table(Alias::new(table)).unique().to_owned();
    for column in columns {
        index.col(Alias::new(*column));
    }
    index
}

fn key(columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    for column in columns {
        index.col(Alias::new(*column));
    }
    index
}

fn refers(
    table: &'static str,
    column: &'static str,
    to: &'static str,
    on_delete: ForeignKeyAction,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_{column}"))
        .from(Alias::new(table), Alias::new(column))
        .to(Alias::new(to), Alias::new("id"))
        .on_delete(on_delete)
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
        people(manager).await?;
        vocabularies(manager).await?;
        jobs(manager).await?;
        documents(manager).await?;
        reviews(manager).await
    }
}

async fn people(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    use ForeignKeyAction::{Cascade, Restrict};
    use IndexOrder::Asc;

    let account = table("account")
        .col(id("id"))
        .col(string("email"))
        .col(string("name"))
        .col(string_null("password_hash"))
        .col(boolean("is_admin"))
        .col(timestamp_with_time_zone("created_at"))
        .to_owned();
    manager.create_table(account).await?;
    manager.create_index(unique("account_email", "account", &["email"])).await?;

    let team = table("team")
        .col(id("id"))
        .col(string("name"))
        .col(uuid("created_by"))
        .col(timestamp_with_time_zone("created_at"))
        .foreign_key(&mut refers("team", "created_by", "account", Restrict))
        .to_owned();
    manager.create_table(team).await?;
    manager.create_index(unique("team_name", "team", &["name"])).await?;

    let team_member = table("team_member")
        .col(uuid("team_id"))
        .col(uuid("account_id"))
        .col(timestamp_with_time_zone("created_at"))
        .primary_key(&mut key(&["team_id", "account_id"]))
        .foreign_key(&mut refers("team_member", "team_id", "team", Cascade))
        .foreign_key(&mut refers("team_member", "account_id", "account", Cascade))
        .to_owned();
    manager.create_table(team_member).await?;
    manager.create_index(index("team_member_account", "team_member", &[("account_id", Asc)])).await?;

    let api_key = table("api_key")
        .col(id("id"))
        .col(uuid("account_id"))
        .col(string("name"))
        .col(string("mode"))
        .col(string("prefix"))
        .col(string("secret_hash"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone_null("last_used_at"))
        .col(timestamp_with_time_zone_null("expires_at"))
        .col(timestamp_with_time_zone_null("revoked_at"))
        .foreign_key(&mut refers("api_key", "account_id", "account", Cascade))
        .to_owned();
    manager.create_table(api_key).await?;
    manager.create_index(unique("api_key_secret", "api_key", &["secret_hash"])).await?;
    manager.create_index(index("api_key_account", "api_key", &[("account_id", Asc)])).await
}

async fn vocabularies(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let taxonomy = table("taxonomy")
        .col(id("id"))
        .col(string("name"))
        .col(integer("version"))
        .col(json_binary("definition"))
        .col(uuid("owner_id"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .foreign_key(&mut refers("taxonomy", "owner_id", "account", ForeignKeyAction::Restrict))
        .to_owned();
    manager.create_table(taxonomy).await?;
    manager.create_index(unique("taxonomy_name", "taxonomy", &["name"])).await?;

    let job_type = table("job_type")
        .col(string("id"))
        .col(integer("version"))
        .col(json_binary("definition"))
        .col(timestamp_with_time_zone("created_at"))
        .primary_key(&mut key(&["id", "version"]))
        .to_owned();
    manager.create_table(job_type).await
}

async fn jobs(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    use ForeignKeyAction::{Cascade, Restrict, SetNull};
    use IndexOrder::{Asc, Desc};

    let job = table("job")
        .col(id("id"))
        .col(string("type_id"))
        .col(integer("type_version"))
        .col(uuid("owner_id"))
        .col(string("status"))
        .col(string("mode"))
        .col(json_binary("metadata"))
        .col(integer("priority"))
        .col(big_integer("seq"))
        .col(big_integer("fence"))
        .col(json_binary("steps"))
        .col(json_binary_null("failure"))
        .col(string_null("idempotency_key"))
        .col(string_null("input_hash"))
        .col(text("input_name"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .col(timestamp_with_time_zone_null("started_at"))
        .col(timestamp_with_time_zone_null("finished_at"))
        .foreign_key(&mut refers("job", "owner_id", "account", Restrict))
        .to_owned();
    manager.create_table(job).await?;
    manager.create_index(unique("job_idempotency", "job", &["owner_id", "idempotency_key"])).await?;
    let orders: [(&str, &[Order]); 5] = [
        ("job_owner_created", &[("owner_id", Asc), ("created_at", Desc), ("id", Desc)]),
        ("job_owner_updated", &[("owner_id", Asc), ("updated_at", Desc), ("id", Desc)]),
        ("job_created", &[("created_at", Desc), ("id", Desc)]),
        ("job_updated", &[("updated_at", Desc), ("id", Desc)]),
        ("job_status", &[("status", Asc)]),
    ];
    for (name, columns) in orders {
        manager.create_index(index(name, "job", columns)).await?;
    }

    let task = table("task")
        .col(id("job_id"))
        .col(string("type_id"))
        .col(string("step"))
        .col(integer("priority"))
        .col(timestamp_with_time_zone("run_at"))
        .col(big_integer("fence"))
        .col(uuid_null("lease_token"))
        .col(string_null("lease_owner"))
        .col(timestamp_with_time_zone_null("lease_until"))
        .col(timestamp_with_time_zone_null("deadline"))
        .col(double("fraction"))
        .col(text_null("message"))
        .foreign_key(&mut refers("task", "job_id", "job", Cascade))
        .to_owned();
    manager.create_table(task).await?;
    let claimable = index("task_claimable", "task", &[("priority", Desc), ("run_at", Asc), ("job_id", Asc)])
        .and_where(Expr::col(Alias::new("lease_token")).is_null())
        .to_owned();
    manager.create_index(claimable).await?;
    let leased = index("task_leased", "task", &[("lease_until", Asc)])
        .and_where(Expr::col(Alias::new("lease_token")).is_not_null())
        .to_owned();
    manager.create_index(leased).await?;

    let job_event = table("job_event")
        .col(uuid("job_id"))
        .col(big_integer("sequence"))
        .col(string("kind"))
        .col(uuid_null("actor_id"))
        .col(string_null("step"))
        .col(timestamp_with_time_zone("at"))
        .col(json_binary("data"))
        .primary_key(&mut key(&["job_id", "sequence"]))
        .foreign_key(&mut refers("job_event", "job_id", "job", Cascade))
        .foreign_key(&mut refers("job_event", "actor_id", "account", SetNull))
        .to_owned();
    manager.create_table(job_event).await?;

    let access = table("access")
        .col(uuid("job_id"))
        .col(uuid("principal_id"))
        .col(string("kind"))
        .col(json_binary("steps"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .primary_key(&mut key(&["job_id", "principal_id"]))
        .foreign_key(&mut refers("access", "job_id", "job", Cascade))
        .to_owned();
    manager.create_table(access).await?;
    let created = [("principal_id", Asc), ("created_at", Desc), ("job_id", Desc)];
    manager.create_index(index("access_created", "access", &created)).await?;
    let updated = [("principal_id", Asc), ("updated_at", Desc), ("job_id", Desc)];
    manager.create_index(index("access_updated", "access", &updated)).await
}

async fn documents(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    use ForeignKeyAction::{Cascade, Restrict};
    use IndexOrder::{Asc, Desc};

    let document = table("document")
        .col(id("id"))
        .col(text("name"))
        .col(string("media_type"))
        .col(big_integer("size"))
        .col(string("sha256"))
        .col(string("storage_key"))
        .col(uuid("owner_id"))
        .col(uuid_null("job_id"))
        .col(timestamp_with_time_zone("created_at"))
        .foreign_key(&mut refers("document", "owner_id", "account", Restrict))
        .foreign_key(&mut refers("document", "job_id", "job", Cascade))
        .to_owned();
    manager.create_table(document).await?;
    let uploads =
        index("document_owner", "document", &[("owner_id", Asc), ("created_at", Desc), ("id", Desc)])
            .and_where(Expr::col(Alias::new("job_id")).is_null())
            .to_owned();
    manager.create_index(uploads).await?;
    manager.create_index(index("document_job", "document", &[("job_id", Asc)])).await?;
    manager.create_index(unique("document_storage_key", "document", &["storage_key"])).await?;

    let content = table("content")
        .col(id("id"))
        .col(uuid("job_id"))
        .col(string("role"))
        .col(integer("version"))
        .col(uuid("document_id"))
        .col(string_null("step"))
        .col(boolean("current"))
        .col(timestamp_with_time_zone("created_at"))
        .foreign_key(&mut refers("content", "job_id", "job", Cascade))
        .foreign_key(&mut refers("content", "document_id", "document", Restrict))
        .to_owned();
    manager.create_table(content).await?;
    manager.create_index(unique("content_version", "content", &["job_id", "role", "version"])).await?;
    manager.create_index(index("content_document", "content", &[("document_id", Asc)])).await
}

async fn reviews(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    use ForeignKeyAction::{Cascade, SetNull};
    use IndexOrder::Asc;

    let review = table("review")
        .col(id("id"))
        .col(uuid("job_id"))
        .col(string("type_id"))
        .col(string("step"))
        .col(string("status"))
        .col(text("reason"))
        .col(uuid_null("content_id"))
        .col(json_binary("items"))
        .col(json_binary_null("draft"))
        .col(uuid_null("claimed_by"))
        .col(timestamp_with_time_zone_null("claim_expires_at"))
        .col(uuid_null("decided_by"))
        .col(timestamp_with_time_zone_null("decided_at"))
        .col(text_null("comment"))
        .col(string_null("receipt"))
        .col(timestamp_with_time_zone("created_at"))
        .foreign_key(&mut refers("review", "job_id", "job", Cascade))
        .foreign_key(&mut refers("review", "content_id", "content", SetNull))
        .to_owned();
    manager.create_table(review).await?;
    manager.create_index(index("review_job", "review", &[("job_id", Asc)])).await?;
    let open =
        index("review_open", "review", &[("type_id", Asc), ("step", Asc), ("created_at", Asc), ("id", Asc)])
            .and_where(Expr::col(Alias::new("status")).is_in(["OPEN", "CLAIMED"]))
            .to_owned();
    manager.create_index(open).await
}
