//! Accounts of the subjects of an OpenID Connect issuer, and the networks from which accounts have been signed in to.
//!
//! Both tables are new, and nodes of the previous version do not need them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{string, text, timestamp_with_time_zone, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn name(text: &'static str) -> Alias {
    Alias::new(text)
}

fn key(columns: [&'static str; 2]) -> IndexCreateStatement {
    let mut index = Index::create();
    for column in columns {
        index.col(name(column));
    }
    index
}

fn of_account(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_account_id"))
        .from(name(table), name("account_id"))
        .to(name("account"), name("id"))
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
        let identity = Table::create()
            .table(name("oidc_identity"))
            .col(text("issuer"))
            .col(string("subject"))
            .col(uuid("account_id"))
            .col(timestamp_with_time_zone("created_at"))
            .primary_key(&mut key(["issuer", "subject"]))
            .foreign_key(&mut of_account("oidc_identity"))
            .to_owned();
        manager.create_table(identity).await?;
        let by_account = Index::create()
            .name("oidc_identity_account")
            .table(name("oidc_identity"))
            .col(name("account_id"))
            .to_owned();
        manager.create_index(by_account).await?;

        let network = Table::create()
            .table(name("sign_in_network"))
            .col(uuid("account_id"))
            .col(string("network"))
            .col(timestamp_with_time_zone("seen_at"))
            .primary_key(&mut key(["account_id", "network"]))
            .foreign_key(&mut of_account("sign_in_network"))
            .to_owned();
        manager.create_table(network).await
    }
}
