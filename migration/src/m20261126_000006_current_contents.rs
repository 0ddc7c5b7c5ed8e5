//! Of each role a job has one current content. What going back has undone is marked, so that it does not count again.
//!
//! A node of the previous version may give a role a second current content where it goes back; that was a mistake, and is
//! refused from here on.

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
    /// With its record, on SQLite too: one that was killed half-way would be tried again on what it has made.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add =
            Table::alter().table(name("content")).add_column(boolean("undone").default(false)).to_owned();
        manager.alter_table(add).await?;
        // What a step made and is not current was undone, or replaced by something newer: either way it does not come back.
        // Of several that are current the newest is.
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
