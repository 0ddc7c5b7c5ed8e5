//! Docket: a GraphQL API server for long-running document jobs with people in the loop.
//!
//! | module | what it owns |
//! |---|---|
//! | [`access`] | who may do what, as values |
//! | [`account`] | people and their credentials |
//! | [`app`] | the parts, wired |
//! | [`client`] | the API from the outside: for `docket submit` and the demo |
//! | [`cli`] | the command line |
//! | [`http`] | routes, authentication, uploads, downloads, health |
//! | [`telemetry`] | logs, metrics and traces |
//! | [`graphql`] | the GraphQL API |
//! | [`clock`] | the only `now()` |
//! | [`audit`] | the log of security events |
//! | [`json`] | limits on JSON values of requests |
//! | [`limit`] | how often something may happen |
//! | [`config`] | typed configuration, and the only reader of the environment |
//! | [`db`] | the readers and the one write path |
//! | [`engine`] | when and by whom a step is done |
//! | [`events`] | who waits for what |
//! | [`page`] | cursor paging |
//! | [`error`] | the domain's one error |
//! | [`id`] | identifiers, one type per kind of thing |
//! | [`storage`] | bytes, behind put, get and delete |
//! | [`document`], [`taxonomy`] | what jobs are made of |
//! | [`team`] | teams and their members |
//! | [`job_type`] | definitions of job types, and what metadata they need |
//! | [`job`] | what a job may do, and does |
//! | [`collaboration`] | letting others in to a job, and out |
//! | [`review`] | a person's turn on a job |
//! | [`webhook`] | sending events to where somebody wants them |
//! | [`entity`] | one row type per table |

pub mod access;
pub mod account;
pub mod app;
pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod collaboration;
pub mod config;
pub mod db;
pub mod document;
pub mod engine;
#[allow(
    missing_docs,
    clippy::allow_attributes,
    reason = "columns are documented where their noun uses them; the derive adds items of its own"
)]
pub mod entity;
pub mod error;
pub mod events;
pub mod graphql;
pub mod http;
pub mod id;
pub mod job;
pub mod job_type;
pub mod json;
pub mod limit;
pub mod page;
pub mod review;
pub mod storage;
pub mod tasks;
pub mod taxonomy;
pub mod team;
pub mod telemetry;
pub mod webhook;
