//! The database schema, as forward-only migrations for SQLite and PostgreSQL.
//!
//! A migration keeps running nodes of the previous version working: it only adds, and a later release removes the
//! replaced parts. One migration is an exception, which its own comment describes.

use sea_orm_migration::prelude::*;
pub use sea_orm_migration::{MigratorTrait, SchemaManager};

mod m20261124_000001_foundation;
mod m20261125_000002_reviews_and_feed;
mod m20261125_000003_identity_and_retention;
mod m20261126_000004_webhooks;
mod m20261126_000005_identity;
mod m20261126_000006_current_contents;
mod m20261127_000007_owners;
mod m20261201_000008_login_keys;
mod m20261201_000009_claim_index;

/// All migrations in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261124_000001_foundation::Migration),
            Box::new(m20261125_000002_reviews_and_feed::Migration),
            Box::new(m20261125_000003_identity_and_retention::Migration),
            Box::new(m20261126_000004_webhooks::Migration),
            Box::new(m20261126_000005_identity::Migration),
            Box::new(m20261126_000006_current_contents::Migration),
            Box::new(m20261127_000007_owners::Migration),
            Box::new(m20261201_000008_login_keys::Migration),
            Box::new(m20261201_000009_claim_index::Migration),
        ]
    }
}
