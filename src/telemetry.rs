//! Logs and metrics: set up once, names in one place.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Config, LogFormat};

/// Requests by route, method and status.
pub const HTTP_SECONDS: &str = "http_server_request_duration_seconds";
/// GraphQL operations by name, type and outcome.
pub const OPERATIONS: &str = "docket_graphql_operations_total";
/// Steps by job type, step and outcome.
pub const STEP_SECONDS: &str = "docket_step_duration_seconds";
/// Open subscriptions.
pub const SUBSCRIPTIONS: &str = "docket_graphql_subscriptions";
/// Jobs by status.
pub const JOBS: &str = "docket_jobs";
/// Seconds that the longest waiting step has waited.
pub const QUEUE_AGE: &str = "docket_queue_oldest_age_seconds";
/// Reviews that wait for somebody or are claimed, by status.
pub const REVIEWS: &str = "docket_reviews";
/// Seconds that the review which has waited longest is open.
pub const REVIEW_AGE: &str = "docket_review_oldest_age_seconds";
/// Transactions that the feed over all jobs waits for, counted by their IDs; 0 on SQLite.
pub const FEED_LAG: &str = "docket_feed_lag_positions";
/// Connections of the database pool by state.
pub const POOL: &str = "docket_database_connections";
/// Statements sent to the database.
pub const STATEMENTS: &str = "docket_database_statements_total";

/// Attempts to deliver to webhooks by outcome.
pub const WEBHOOK_DELIVERIES: &str = "docket_webhook_deliveries_total";
/// Deliveries to webhooks that have not ended.
pub const WEBHOOK_PENDING: &str = "docket_webhook_deliveries_pending";

const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Sends log lines to standard error, as the configuration says.
pub fn logs(config: &Config) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| format!("log is not a filter: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let set = match config.log_format {
        LogFormat::Text => {
            registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr)).try_init()
        }
        LogFormat::Json => {
            let json =
                tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry.with(json).try_init()
        }
    };
    set.map_err(|error| error.to_string())
}

/// Collects metrics from now on; the handle prints them for Prometheus.
pub fn metrics() -> Result<PrometheusHandle, String> {
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS);
    builder.map_err(|error| error.to_string())?.install_recorder().map_err(|error| error.to_string())
}
