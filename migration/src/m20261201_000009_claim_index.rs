//! An index that finds the next step of one job type, whatever else is queued.
//!
//! It replaces two indexes without the type: with these, the cost of a claim grows with the steps of other types. Nodes of
//! the previous version use it too.

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
        let claimable = "CREATE INDEX task_claimable_by_type ON task (type_id, priority DESC, run_at, job_id) \
                         WHERE lease_token IS NULL";
        manager.get_connection().execute_unprepared(claimable).await?;
        for replaced in ["task_waiting", "task_claimable"] {
            manager.get_connection().execute_unprepared(&format!("DROP INDEX {replaced}")).await?;
        }
        Ok(())
    }
}
