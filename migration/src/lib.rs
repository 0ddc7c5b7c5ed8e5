//! The database schema, as forward-only migrations.
