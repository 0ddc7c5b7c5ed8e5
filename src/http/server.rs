//! The state that the routes share.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

use super::persisted::GraphqlDocuments;
use super::quota::{Quota, TransferQuota};
use super::rate_limits::RateLimits;
use super::readiness::{GaugeUpdate, Readiness};
use crate::app::App;
use crate::graphql::Schema;

/// State that all routes share.
#[derive(Clone)]
pub(crate) struct Server {
    pub(super) app: App,
    pub(super) schema: Schema,
    pub(super) graphql_documents: Arc<GraphqlDocuments>,
    pub(super) websocket_quota: Quota,
    pub(super) stream_quota: Quota,
    pub(super) transfer_quota: TransferQuota,
    pub(super) metrics: PrometheusHandle,
    pub(super) readiness: Readiness,
    pub(super) gauge_update: GaugeUpdate,
    pub(super) rate_limits: Arc<RateLimits>,
}

impl Server {
    /// Builds the state. The error names a trusted document that is invalid.
    pub(super) fn new(app: App, metrics: PrometheusHandle) -> Result<Self, String> {
        let schema = crate::graphql::schema(app.clone());
        let graphql_documents = Arc::new(GraphqlDocuments::open(&app.config.persisted, &app.config.graphql)?);
        let websocket_quota = Quota::new(app.config.websocket.connections, "WebSockets");
        let stream_quota = Quota::new(app.config.sse.streams, "event streams");
        let transfer_quota = TransferQuota::new(app.config.limits.transfers);
        let rate_limits = Arc::new(RateLimits::new(&app.config));
        let (readiness, gauge_update) = (Readiness::default(), GaugeUpdate::default());
        Ok(Self {
            app,
            schema,
            graphql_documents,
            websocket_quota,
            stream_quota,
            transfer_quota,
            metrics,
            readiness,
            gauge_update,
            rate_limits,
        })
    }
}
