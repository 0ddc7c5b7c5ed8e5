//! How the database's schema stands to this program, and bringing it up to date.

use std::collections::BTreeSet;

use migration::Migrator;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use sea_orm_migration::{MigratorTrait, SchemaManager};

use super::Migrations;
use crate::db::Db;

/// The table that notes which migrations have run.
const NOTED: &str = "seaql_migrations";

/// Which migrations the database has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// Those of this program that have not run.
    pub pending: usize,
    /// Those that have run and that this program does not know: a newer version was here. Migrations keep the version before
    /// theirs working, so that it goes on.
    pub newer: usize,
}

impl Schema {
    /// Reads it, and changes nothing.
    pub async fn read(db: &Db) -> Result<Self, DbErr> {
        let own: BTreeSet<String> =
            Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
        let there = if SchemaManager::new(db.read()).has_table(NOTED).await? {
            let asked = Statement::from_string(db.backend(), format!("SELECT version FROM {NOTED}"));
            let rows = db.read().query_all_raw(asked).await?;
            rows.iter().map(|row| row.try_get("", "version")).collect::<Result<BTreeSet<String>, _>>()?
        } else {
            BTreeSet::new()
        };
        Ok(Self { pending: own.difference(&there).count(), newer: there.difference(&own).count() })
    }
}

/// Runs what is pending, or asks that nothing is. `url` is the database's.
pub(super) async fn bring_up_to_date(db: &Db, url: &str, migrations: Migrations) -> Result<(), String> {
    let schema = Schema::read(db).await;
    let Schema { pending, newer } =
        schema.map_err(|error| format!("the migrations could not be looked up: {error}"))?;
    match (pending, newer, migrations) {
        (0, 0, _) => Ok(()),
        (0, newer, _) => {
            tracing::info!(newer, "the database was migrated by a newer version");
            Ok(())
        }
        (pending, 0, Migrations::Run) => {
            let migrated = async {
                let connection = Db::patient(url).await?;
                Migrator::up(&connection, None).await?;
                connection.close().await
            };
            migrated.await.map_err(|error| format!("one of {pending} migrations failed: {error}"))
        }
        (pending, 0, Migrations::Check) => {
            Err(format!("{pending} migrations are pending; run docket migrate"))
        }
        (pending, newer, _) => Err(format!(
            "the database has {newer} migrations that this version does not know, and lacks {pending} that it has; run the \
             version that it was last used with"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{open, open_in};

    #[tokio::test]
    async fn a_database_that_a_newer_version_has_migrated_is_worked_on() {
        let (app, dir) = open(|_| ()).await;
        assert_eq!(Schema::read(&app.db).await.unwrap(), Schema::default());
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000001_later', 0)";
        app.db.writer().execute_unprepared(newer).await.unwrap();
        assert_eq!(Schema::read(&app.db).await.unwrap(), Schema { pending: 0, newer: 1 });
        open_in(dir.path(), |_| ()).await.unwrap();
        let lost = "DELETE FROM seaql_migrations WHERE version LIKE '%webhooks'";
        app.db.writer().execute_unprepared(lost).await.unwrap();
        let refused = open_in(dir.path(), |_| ()).await.unwrap_err();
        assert!(refused.contains("1 migrations that this version does not know"), "{refused}");
    }
}
