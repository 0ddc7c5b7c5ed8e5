//! Tests of jobs in the GraphQL API: creation, lists, changes and history.

mod control;
mod create;
mod history;
mod list;
