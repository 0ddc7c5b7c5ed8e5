//! Limits each role of a job to one current content, and marks contents that a rewind superseded.
//!
//! A node of the previous version may write a second current content of a role in a rewind. That was a bug, and the new
//! index refuses it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::boolean;

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
        let add =
            Table::alter().table(name("content")).add_column(boolean("undone").default(false)).to_owned();
        manager.alter_table(add).await?;
        // An output of a step that is not current was superseded by a rewind or a newer version, and never becomes
        // current again. If several contents are current, the newest stays current.
        let db = manager.get_connection();
        db.execute_unprepared("UPDATE content SET undone = TRUE WHERE made AND NOT current").await?;
        db.execute_unprepared(
            "UPDATE content SET current = FALSE WHERE current AND EXISTS (SELECT 1 FROM content AS newer \
             WHERE newer.job_id = content.job_id AND newer.role = content.role AND newer.current \
             AND newer.version > content.version)",
        )
        .await?;
        let one = Index::create()
            .name("content_current")
            .table(name("content"))
            .col(name("job_id"))
            .col(name("role"))
            .unique()
            .and_where(Expr::col(name("current")).eq(true))
            .to_owned();
        manager.create_index(one).await
    }
}
