//! Compares the migrations of a database with those of this program, and runs pending ones.

use std::collections::BTreeSet;

use migration::{Migrator, MigratorTrait, SchemaManager};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use crate::db::Db;

/// Whether opening the application runs migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrations {
    /// Runs pending migrations.
    Run,
    /// Fails if migrations are pending.
    Check,
}

/// The table of the migrations that have run.
const MIGRATIONS_TABLE: &str = "seaql_migrations";

/// The difference between the migrations of the database and of this program.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// The number of migrations that have not run.
    pub pending: usize,
    /// The number of migrations that a newer version has run and this program does not know. Migrations keep the
    /// previous version working, so this is no error.
    pub newer: usize,
}

impl Schema {
    /// Reads the migrations of the database without changing anything.
    pub async fn read(db: &Db) -> Result<Self, DbErr> {
        let known: BTreeSet<String> =
            Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
        let applied = if SchemaManager::new(db.read()).has_table(MIGRATIONS_TABLE).await? {
            let query =
                Statement::from_string(db.backend(), format!("SELECT version FROM {MIGRATIONS_TABLE}"));
            let rows = db.read().query_all_raw(query).await?;
            rows.iter().map(|row| row.try_get("", "version")).collect::<Result<BTreeSet<String>, _>>()?
        } else {
            BTreeSet::new()
        };
        Ok(Self { pending: known.difference(&applied).count(), newer: applied.difference(&known).count() })
    }
}

/// Runs pending migrations, or fails if there are any, depending on `migrations`. `url` is that of the database.
pub(super) async fn migrate(db: &Db, url: &str, migrations: Migrations) -> Result<(), String> {
    let schema = Schema::read(db).await;
    let Schema { pending, newer } =
        schema.map_err(|error| format!("failed to read the migrations of the database: {error}"))?;
    match (pending, newer, migrations) {
        (0, 0, _) => Ok(()),
        (0, newer, _) => {
            tracing::info!(newer, "the database was migrated by a newer version");
            Ok(())
        }
        (pending, 0, Migrations::Run) => {
            let migrated = async {
                let connection = Db::connect_for_migrations(url).await?;
                Migrator::up(&connection, None).await?;
                connection.close().await
            };
            migrated.await.map_err(|error| format!("one of {pending} migrations failed: {error}"))
        }
        (pending, 0, Migrations::Check) => {
            Err(format!("{pending} migrations are pending. Run docket migrate"))
        }
        (pending, newer, _) => Err(format!(
            "the database has {newer} migrations that this version does not know, and lacks {pending} of this version. Use \
             the version that ran last on this database"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::{open, open_in};

    #[tokio::test]
    async fn database_of_a_newer_version_is_accepted() {
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
