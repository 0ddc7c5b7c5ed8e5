//! The integration tests: one binary, the same suite on SQLite and on PostgreSQL.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod collaboration;
mod feed;
mod harness;
mod review;
mod schema;
mod sequences;
mod story;
mod transactions;
