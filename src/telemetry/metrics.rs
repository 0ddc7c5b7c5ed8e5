//! The metrics and their meaning. A table in `docs/operations.md` lists them with their labels, and a test compares the
//! table with the output of a server.
//!
//! Metrics and labels have the names of OpenTelemetry's semantic conventions where these define one, in the Prometheus
//! format. Every label has few values: all values that clients invent are counted as one.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// Requests by method, route and status.
pub(crate) const HTTP_SECONDS: &str = "http_server_request_duration_seconds";
/// Requests in progress.
pub(crate) const HTTP_ACTIVE: &str = "http_server_active_requests";
/// Open connections.
pub(crate) const HTTP_CONNECTIONS: &str = "docket_http_connections";
/// GraphQL operations by name, type and code.
pub const OPERATIONS: &str = "docket_graphql_operations_total";
/// Duration of queries and mutations.
pub(crate) const OPERATION_SECONDS: &str = "docket_graphql_operation_duration_seconds";
/// Open subscriptions.
pub(crate) const SUBSCRIPTIONS: &str = "docket_graphql_subscriptions";
/// Duration of attempts of steps by job type, step and outcome.
pub(crate) const STEP_SECONDS: &str = "docket_step_duration_seconds";
/// Jobs by status.
pub const JOBS: &str = "docket_jobs";
/// Waiting time in seconds of the step that has been due longest.
pub(crate) const QUEUE_AGE: &str = "docket_queue_oldest_age_seconds";
/// Open and claimed reviews by status.
pub(crate) const REVIEWS: &str = "docket_reviews";
/// Age in seconds of the oldest open or claimed review.
pub(crate) const REVIEW_AGE: &str = "docket_review_oldest_age_seconds";
/// Transactions that the feed waits for, counted by their IDs; 0 on SQLite.
pub(crate) const FEED_LAG: &str = "docket_feed_lag_positions";
/// Connections of the read pool by state.
pub(crate) const POOL: &str = "db_client_connection_count";
/// Largest size of the read pool.
pub(crate) const POOL_MAX: &str = "db_client_connection_max";
/// Statements sent to the database.
pub(crate) const STATEMENTS: &str = "docket_database_statements_total";
/// Attempts of webhook deliveries by outcome.
pub(crate) const WEBHOOK_DELIVERIES: &str = "docket_webhook_deliveries_total";
/// Webhook deliveries that have not ended.
pub(crate) const WEBHOOK_PENDING: &str = "docket_webhook_deliveries_pending";
/// The program and its version.
pub(crate) const TARGET_INFO: &str = "target_info";

/// The label of [`POOL`] and [`POOL_MAX`] that names the pool.
pub(crate) const POOL_NAME: (&str, &str) = ("db_client_connection_pool_name", "readers");

/// The kind of a metric.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// The description of a metric for Prometheus.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

/// The buckets that the semantic conventions recommend for requests.
const REQUEST: Kind =
    Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]);
/// The buckets for steps. An empty step takes milliseconds, and reading a long scan takes minutes.
const STEP: Kind =
    Kind::Histogram(&[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0]);

const METRICS: [Metric; 18] = [
    Metric { name: WEBHOOK_DELIVERIES, kind: Kind::Counter, help: "Attempts of webhook deliveries." },
    Metric { name: WEBHOOK_PENDING, kind: Kind::Gauge, help: "Webhook deliveries that have not ended." },
    Metric { name: HTTP_SECONDS, kind: REQUEST, help: "Duration of HTTP requests." },
    Metric { name: HTTP_ACTIVE, kind: Kind::Gauge, help: "HTTP requests in progress." },
    Metric { name: HTTP_CONNECTIONS, kind: Kind::Gauge, help: "Open connections, WebSockets included." },
    Metric {
        name: OPERATIONS,
        kind: Kind::Counter,
        help: "GraphQL operations by the code of their first error.",
    },
    Metric { name: OPERATION_SECONDS, kind: REQUEST, help: "Duration of GraphQL queries and mutations." },
    Metric { name: SUBSCRIPTIONS, kind: Kind::Gauge, help: "Open GraphQL subscriptions of this process." },
    Metric { name: STEP_SECONDS, kind: STEP, help: "Duration of attempts of steps." },
    Metric { name: JOBS, kind: Kind::Gauge, help: "Jobs by status." },
    Metric {
        name: QUEUE_AGE,
        kind: Kind::Gauge,
        help: "Waiting time of the step that has been due longest.",
    },
    Metric { name: REVIEWS, kind: Kind::Gauge, help: "Open and claimed reviews." },
    Metric { name: REVIEW_AGE, kind: Kind::Gauge, help: "Age of the oldest open or claimed review." },
    Metric { name: FEED_LAG, kind: Kind::Gauge, help: "Transactions that the feed waits for." },
    Metric { name: POOL, kind: Kind::Gauge, help: "Open database connections of the read pool." },
    Metric { name: POOL_MAX, kind: Kind::Gauge, help: "Largest size of the read pool." },
    Metric { name: STATEMENTS, kind: Kind::Counter, help: "Statements sent to the database." },
    Metric { name: TARGET_INFO, kind: Kind::Gauge, help: "The program and its version." },
];

/// Time between two aggregations of measurements into buckets. Until then each measurement takes memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Installs the recorder of metrics. The returned handle prints them for Prometheus.
pub fn install_metrics_recorder() -> Result<PrometheusHandle, String> {
    let mut builder = PrometheusBuilder::new();
    for metric in &METRICS {
        if let Kind::Histogram(buckets) = metric.kind {
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(matcher, buckets).map_err(|error| error.to_string())?;
        }
    }
    let handle = builder.install_recorder().map_err(|error| error.to_string())?;
    for Metric { name, kind, help, .. } in &METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram(_) => metrics::describe_histogram!(*name, *help),
        }
    }
    metrics::gauge!(SUBSCRIPTIONS).set(0.0);
    Ok(handle)
}

/// Bounds the memory of measurements until `stop`, even if `/metrics` is never requested.
pub(crate) async fn run_metrics_upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    while tokio::time::timeout(UPKEEP_INTERVAL, stop.cancelled()).await.is_err() {
        handle.run_upkeep();
    }
}
