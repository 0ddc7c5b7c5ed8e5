//! Integration tests: one binary runs the same suite on SQLite and on PostgreSQL.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed setup fails the test")]

mod access;
mod accounts;
mod collaboration;
mod commands;
mod contract;
mod documents;
mod feed;
mod graphql_http;
mod guard;
mod harness;
mod inputs;
mod jobs;
mod leases;
mod limits;
mod oidc;
mod persisted;
mod plans;
mod rates;
mod released;
mod rest;
mod review;
mod schema;
mod schema_file;
mod sdl;
mod selection_order;
mod sequences;
mod smoke;
mod sse;
mod statements;
mod subscriptions;
mod telemetry;
mod transactions;
mod webhooks;
mod websocket;
mod workers;
