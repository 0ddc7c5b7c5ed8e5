//! Docket: a GraphQL API server for long-running document jobs with human review.
//!
//! | module | content |
//! |---|---|
//! | [`access`] | authorization |
//! | [`account`] | accounts and their credentials |
//! | [`app`] | the assembled application |
//! | [`client`] | an API client, for `docket submit` and the demo |
//! | [`cli`] | the command line |
//! | [`http`] | routes, authentication, uploads, downloads, health |
//! | [`telemetry`] | logs, metrics and traces |
//! | [`graphql`] | the GraphQL API |
//! | [`clock`] | the only `now()` |
//! | [`audit`] | the audit log of security events |
//! | [`json`] | limits on JSON values of requests |
//! | [`limit`] | rate limits and quotas |
//! | [`config`] | typed configuration, and the only reader of the environment |
//! | [`db`] | read connections and the one write path |
//! | [`engine`] | claiming and running steps |
//! | [`events`] | waking subscribers |
//! | [`page`] | cursor pagination |
//! | [`error`] | the error type of the domain |
//! | [`id`] | identifiers, one type per kind of entity |
//! | [`storage`] | the object store |
//! | [`document`], [`taxonomy`] | documents and taxonomies |
//! | [`team`] | teams and their members |
//! | [`job_type`] | definitions of job types, and their metadata schemas |
//! | [`job`] | jobs and their state |
//! | [`collaboration`] | adding and removing collaborators of a job |
//! | [`review`] | reviews of steps |
//! | [`webhook`] | delivering events to webhooks |
//! | [`entity`] | one row type per table |

pub mod access;
pub mod account;
pub mod app;
pub mod audit;
pub mod changes;
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
    reason = "columns are documented in the module that uses them; the derive adds items of its own"
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
