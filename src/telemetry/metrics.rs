//! The metrics: names and meaning. `docs/operations.md` has them with their labels in a table, and a test compares it with
//! what a server says.
//!
//! Where OpenTelemetry's semantic conventions know a metric or a label, it is called as they call it, in the form that
//! Prometheus gives to it. Every label has few values: what clients make up is counted as one.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

/// Requests by method, route and status.
pub const HTTP_SECONDS: &str = "http_server_request_duration_seconds";
/// Requests that are being answered.
pub const HTTP_ACTIVE: &str = "http_server_active_requests";
/// Open connections.
pub const HTTP_CONNECTIONS: &str = "docket_http_connections";
/// GraphQL operations by name, type and code.
pub const OPERATIONS: &str = "docket_graphql_operations_total";
/// How long queries and mutations ran.
pub const OPERATION_SECONDS: &str = "docket_graphql_operation_duration_seconds";
/// Open subscriptions.
pub const SUBSCRIPTIONS: &str = "docket_graphql_subscriptions";
/// Attempts at steps by job type, step and outcome.
pub const STEP_SECONDS: &str = "docket_step_duration_seconds";
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
/// Connections of the pool of readers by state.
pub const POOL: &str = "db_client_connection_count";
/// How many connections that pool may open.
pub const POOL_MAX: &str = "db_client_connection_max";
/// Statements sent to the database.
pub const STATEMENTS: &str = "docket_database_statements_total";
/// Attempts to deliver to webhooks by outcome.
pub const WEBHOOK_DELIVERIES: &str = "docket_webhook_deliveries_total";
/// Deliveries to webhooks that have not ended.
pub const WEBHOOK_PENDING: &str = "docket_webhook_deliveries_pending";
/// Which program this is.
pub const TARGET_INFO: &str = "target_info";

/// The label of [`POOL`] and [`POOL_MAX`] that says which pool it is.
pub const POOL_NAME: (&str, &str) = ("db_client_connection_pool_name", "readers");

/// What a metric is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// What Prometheus is told of a metric.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

/// The buckets that the semantic conventions advise for requests.
const REQUEST: Kind =
    Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]);
/// A step that does nothing takes milliseconds, one that reads a long scan minutes.
const STEP: Kind =
    Kind::Histogram(&[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0]);

const METRICS: [Metric; 18] = [
    Metric { name: WEBHOOK_DELIVERIES, kind: Kind::Counter, help: "Attempts to deliver to webhooks." },
    Metric { name: WEBHOOK_PENDING, kind: Kind::Gauge, help: "Deliveries to webhooks that have not ended." },
    Metric { name: HTTP_SECONDS, kind: REQUEST, help: "How long HTTP requests took to be answered." },
    Metric { name: HTTP_ACTIVE, kind: Kind::Gauge, help: "HTTP requests that are being answered." },
    Metric { name: HTTP_CONNECTIONS, kind: Kind::Gauge, help: "Connections that are open, WebSockets too." },
    Metric {
        name: OPERATIONS,
        kind: Kind::Counter,
        help: "GraphQL operations by the code of their first error.",
    },
    Metric { name: OPERATION_SECONDS, kind: REQUEST, help: "How long GraphQL queries and mutations ran." },
    Metric {
        name: SUBSCRIPTIONS,
        kind: Kind::Gauge,
        help: "GraphQL subscriptions that are open at this process.",
    },
    Metric { name: STEP_SECONDS, kind: STEP, help: "How long attempts at steps took." },
    Metric { name: JOBS, kind: Kind::Gauge, help: "Jobs by status." },
    Metric {
        name: QUEUE_AGE,
        kind: Kind::Gauge,
        help: "How long the step that is due the longest has waited for a worker.",
    },
    Metric { name: REVIEWS, kind: Kind::Gauge, help: "Reviews that wait for somebody or are claimed." },
    Metric { name: REVIEW_AGE, kind: Kind::Gauge, help: "How long the oldest of these reviews is open." },
    Metric { name: FEED_LAG, kind: Kind::Gauge, help: "Transactions that the feed over all jobs waits for." },
    Metric { name: POOL, kind: Kind::Gauge, help: "Open connections to the database." },
    Metric { name: POOL_MAX, kind: Kind::Gauge, help: "How many connections to the database may be open." },
    Metric { name: STATEMENTS, kind: Kind::Counter, help: "Statements sent to the database." },
    Metric { name: TARGET_INFO, kind: Kind::Gauge, help: "Which program this is." },
];

/// Between two times that measurements are put into their buckets; until then each takes memory of its own.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects metrics from now on; the handle prints them for Prometheus.
pub fn metrics() -> Result<PrometheusHandle, String> {
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

/// Keeps the memory of measurements bounded where nobody asks for `/metrics`, until the server stops.
pub async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    while tokio::time::timeout(UPKEEP, stop.cancelled()).await.is_err() {
        handle.run_upkeep();
    }
}
