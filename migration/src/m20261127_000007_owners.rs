//! Indexes for what is counted of a person: the teams that they made, their taxonomies.
//!
//! They change nothing for nodes of the previous version.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait leaves the manager's lifetime out, and an impl has to match it"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// With its record, on SQLite too: one that was killed half-way would be tried again on what it has made.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [("team", "created_by"), ("taxonomy", "owner_id")] {
            let index = Index::create()
                .name(format!("{table}_{column}"))
                .table(Alias::new(table))
                .col(Alias::new(column))
                .to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
