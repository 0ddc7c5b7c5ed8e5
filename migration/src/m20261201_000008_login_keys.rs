//! Marks API keys that a login of the REST façade made, with an index to remove them once they have expired.
//!
//! A node of the previous version leaves the column out, so that its keys are ordinary ones.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the manager's lifetime out, and an impl has to match it"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// With its record, on SQLite too: a migration that was killed half-way would be tried again on what it has made.
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
