//! Traces: the names and attributes of spans (OpenTelemetry semantic conventions), and their export.
//!
//! No request or step waits for a collector. Ended spans go into a bounded queue, which a separate thread exports. If
//! the queue is full, spans are dropped.

use std::time::Duration;

use axum::http::HeaderMap;
use http_body_util::{BodyExt, Limited};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt, TraceId, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HeaderExtractor, HeaderInjector, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use reqwest::Url;
use tokio::runtime::Handle;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::Telemetry;

/// Prefix of the targets whose spans are traced. Spans of libraries appear only in the log, if the log filter allows.
const TARGET_PREFIX: &str = "docket";
const REQUEST: &str = "request";
const OPERATION: &str = "operation";
const STEP: &str = "step";
const DELIVERY: &str = "delivery";
const CONNECTION: &str = "connection";

/// Timeout of the export of one batch of spans.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of the export of the remaining spans at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a collector's response that are read.
const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// Bytes kept of an operation's name, which the client chooses.
const MAX_NAME_BYTES: usize = 100;

/// The name under which methods that HTTP does not define are recorded.
pub(crate) const OTHER_METHOD: &str = "_OTHER";

/// Creates the span of an HTTP request, as a child of the span in `traceparent` (W3C Trace Context).
pub(crate) fn request_span(
    id: &str,
    method: &str,
    route: Option<&str>,
    path: &str,
    headers: &HeaderMap,
) -> Span {
    let span = tracing::info_span!(
        parent: None, REQUEST, request.id = id, http.request.method = method, http.route = route, trace_id = Empty
    );
    if headers.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        match span.set_parent(context) {
            // Traces are off, or this span is disabled.
            Ok(()) | Err(SetParentError::LayerNotFound | SetParentError::SpanDisabled) => {}
            Err(error) => tracing::warn!(%error, "ignored traceparent of request"),
        }
    }
    span.set_attribute("url.path", path.to_owned());
    span.set_attribute("url.scheme", "http");
    with_trace_id(span)
}

/// Records the status of a response. By the semantic conventions for servers, only statuses from 500 on are errors.
pub(crate) fn record_response(span: &Span, status: u16) {
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_attribute("error.type", status.to_string());
        span.set_status(Status::error(""));
    }
}

/// Creates the span for the log lines of a WebSocket, with the ID of its first request. The span belongs to no trace:
/// it may be open for days, and each operation on it starts its own trace.
pub(crate) fn connection_span(id: &str) -> Span {
    tracing::info_span!(parent: None, CONNECTION, request.id = id)
}

/// Creates the span of a GraphQL operation. Omits its document, which may contain personal data.
pub(crate) fn operation_span(kind: &str, name: Option<&str>) -> Span {
    let name = name.map(|name| name.get(..MAX_NAME_BYTES).unwrap_or(name));
    tracing::info_span!(OPERATION, graphql.operation.type = kind, graphql.operation.name = name)
}

/// Records the error code of an operation.
pub(crate) fn record_operation_error(span: &Span, code: &str) {
    span.set_attribute("error.type", code.to_owned());
    if code == "INTERNAL_SERVER_ERROR" {
        span.set_status(Status::error(""));
    }
}

/// Creates the span of one attempt of a step. It starts a trace, because the step may run long after its request.
pub(crate) fn step_span(job: &str, job_type: &str, step: &str, attempt: u32) -> Span {
    with_trace_id(tracing::info_span!(
        parent: None, STEP, job.id = job, job.type = job_type, step, attempt = i64::from(attempt), trace_id = Empty
    ))
}

/// Records the outcome of an attempt of a step.
pub(crate) fn record_step_outcome(span: &Span, outcome: &'static str) {
    span.set_attribute("outcome", outcome);
    if matches!(outcome, "failed" | "broken") {
        span.set_status(Status::error(""));
    }
}

/// Creates the span of one request to a webhook. It starts a trace, because events are sent long after their cause.
pub(crate) fn delivery_span(webhook: &str, delivery: &str, attempt: i32) -> Span {
    with_trace_id(tracing::info_span!(
        parent: None, DELIVERY, webhook.id = webhook, delivery.id = delivery, attempt, trace_id = Empty
    ))
}

/// Records the target of a request to a webhook.
pub(crate) fn record_target(span: &Span, url: &Url) {
    span.set_attribute("http.request.method", "POST");
    // An IPv6 address has brackets in a URL.
    if let Some(host) = url.host_str() {
        span.set_attribute("server.address", host.trim_matches(['[', ']']).to_owned());
    }
    if let Some(port) = url.port_or_known_default() {
        span.set_attribute("server.port", i64::from(port));
    }
}

/// Records the status that a webhook returned, or `error` if there was no response.
pub(crate) fn record_delivery(span: &Span, status: Option<u16>, error: Option<&'static str>) {
    if let Some(status) = status {
        span.set_attribute("http.response.status_code", i64::from(status));
    }
    // By the semantic conventions for clients, every status from 400 on is an error.
    let status_error = status.filter(|status| *status >= 400).map(|status| status.to_string());
    if let Some(error) = status_error.or(error.map(str::to_owned)) {
        span.set_attribute("error.type", error);
        span.set_status(Status::error(""));
    }
}

/// Returns the W3C Trace Context headers of a span that starts its trace; none if traces are off.
pub(crate) fn context_headers(span: &Span) -> HeaderMap {
    let mut headers = HeaderMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(&mut headers));
    // The propagator adds it even if it is empty.
    headers.remove("tracestate");
    headers
}

/// Adds `trace_id` to the log lines of a span, if it belongs to a trace.
fn with_trace_id(span: Span) -> Span {
    let id = span.context().span().span_context().trace_id();
    if id != TraceId::INVALID {
        span.record("trace_id", id.to_string());
    }
    span
}

/// Gives spans the names and kinds of the semantic conventions. As fields they would appear in every log line.
#[derive(Debug, Clone)]
struct SemanticTracer(SdkTracer);

impl Tracer for SemanticTracer {
    type Span = <SdkTracer as Tracer>::Span;

    fn build_with_context(&self, mut builder: SpanBuilder, parent: &Context) -> Self::Span {
        let attribute = |key: &str| {
            let found =
                builder.attributes.iter().flatten().find(|attribute| attribute.key.as_str() == key)?;
            Some(found.value.to_string())
        };
        let join = |keys: &[&str]| keys.iter().filter_map(|key| attribute(key)).collect::<Vec<_>>().join(" ");
        let (name, kind) = match builder.name.as_ref() {
            REQUEST => (join(&["http.request.method", "http.route"]), SpanKind::Server),
            OPERATION => (join(&["graphql.operation.type"]), SpanKind::Internal),
            STEP => (format!("step {}", join(&["step"])), SpanKind::Internal),
            DELIVERY => ("POST".to_owned(), SpanKind::Client),
            other => (other.to_owned(), SpanKind::Internal),
        };
        (builder.name, builder.span_kind) = (name.into(), Some(kind));
        self.0.build_with_context(builder, parent)
    }
}

/// Exports spans to a collector, if one is configured.
#[derive(Debug)]
pub struct Exporter(Option<SdkTracerProvider>);

impl Exporter {
    /// Creates the exporter on the current runtime.
    pub(super) fn new(settings: &Telemetry) -> Result<Self, String> {
        if settings.otlp_endpoint.is_empty() {
            return Ok(Self(None));
        }
        let invalid = |error: &dyn std::fmt::Display| format!("telemetry.otlp_endpoint: {error}");
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(Client::new(&settings.otlp_endpoint).map_err(|error| invalid(&error))?)
            .with_endpoint(format!("{}/v1/traces", settings.otlp_endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| invalid(&error))?;
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()),
            ])
            .build();
        let sampled = Sampler::TraceIdRatioBased(settings.sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(sampled)))
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(Some(provider)))
    }

    /// Returns the layer that collects the spans of this program. Traces contain no log lines.
    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let layer = tracing_opentelemetry::layer()
            .with_tracer(SemanticTracer(self.0.as_ref()?.tracer("docket")))
            .with_context_activation(false)
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        Some(layer.with_filter(filter_fn(|metadata| {
            metadata.is_span()
                && metadata.target().starts_with(TARGET_PREFIX)
                && metadata.name() != CONNECTION
        })))
    }

    /// Exports the remaining spans within [`FLUSH_TIMEOUT`]. If the collector does not respond, they are lost.
    pub async fn stop(self) {
        let Some(provider) = self.0 else { return };
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        match flush.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "failed to export remaining spans"),
            Err(error) => tracing::warn!(%error, "failed to export remaining spans"),
        }
    }
}

/// The server's own HTTP client, for the thread of the exporter, which runs outside the runtime.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl Client {
    fn new(endpoint: &str) -> reqwest::Result<Self> {
        let http =
            reqwest::Client::builder().timeout(EXPORT_TIMEOUT).redirect(reqwest::redirect::Policy::none());
        // A container may have no root certificates, and needs none for a collector that speaks plain HTTP.
        let http = if endpoint.starts_with("https:") { http } else { http.tls_certs_only([]) };
        Ok(Self { http: http.build()?, runtime: Handle::current() })
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (http, request) = (self.http.clone(), request.try_into()?);
        let exchange = async move {
            let response: Response<reqwest::Body> = http.execute(request).await?.into();
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        self.runtime.spawn(exchange).await?
    }
}
