//! Marks API keys that a login of the REST API created, with an index to remove them after they have expired.
//!
//! A node of the previous version does not write the column, so its keys are ordinary ones.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

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
        let column = ColumnDef::new(Alias::new("is_login")).boolean().not_null().default(false).to_owned();
        let table = Table::alter().table(Alias::new("api_key")).add_column(column).to_owned();
        manager.alter_table(table).await?;
        let index = "CREATE INDEX api_key_login_expiry ON api_key (expires_at) WHERE is_login";
        manager.get_connection().execute_unprepared(index).await?;
        Ok(())
    }
}
