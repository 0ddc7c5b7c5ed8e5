//! Traces: what their spans are called and say, by OpenTelemetry's semantic conventions, and how they leave the process.
//!
//! Nothing that serves ever waits for a collector: spans that ended go into a queue of bounded length, which a thread of
//! its own sends away; what does not fit is dropped.

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

/// Crates whose spans are traced. What libraries have to say stands in the log, where the filter asks for it.
const OURS: &str = "docket";
const REQUEST: &str = "request";
const OPERATION: &str = "operation";
const STEP: &str = "step";
const DELIVERY: &str = "delivery";
const CONNECTION: &str = "connection";

/// One batch of spans may take so long to be sent.
const SEND: Duration = Duration::from_secs(5);
/// What is left at the end may take so long to be sent.
const FLUSH: Duration = Duration::from_secs(5);
/// Bytes of a collector's answer that are read.
const ANSWER_BYTES: usize = 64 << 10;
/// Bytes of an operation's name that are kept; clients choose it.
const LONGEST_NAME: usize = 100;

/// How a method is called that HTTP does not have: clients make them up.
pub const OTHER_METHOD: &str = "_OTHER";

/// A span for an HTTP request, a child of the span that the client says it belongs to (W3C Trace Context).
pub fn request(id: &str, method: &str, route: Option<&str>, path: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        parent: None, REQUEST, request.id = id, http.request.method = method, http.route = route, trace_id = Empty
    );
    if headers.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        match span.set_parent(context) {
            // Nothing is traced, or not this.
            Ok(()) | Err(SetParentError::LayerNotFound | SetParentError::SpanDisabled) => {}
            Err(error) => tracing::warn!(%error, "the traceparent of a request was not taken"),
        }
    }
    span.set_attribute("url.path", path.to_owned());
    span.set_attribute("url.scheme", "http");
    begun(span)
}

/// Writes down how a request was answered. By the conventions only the server's own faults are errors.
pub fn answered(span: &Span, status: u16) {
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_attribute("error.type", status.to_string());
        span.set_status(Status::error(""));
    }
}

/// A span for the log lines of a WebSocket, which carry the ID of the request that it began with. It is in no trace: it may
/// be open for days, and each operation on it begins a trace.
pub fn connection(id: &str) -> Span {
    tracing::info_span!(parent: None, CONNECTION, request.id = id)
}

/// A span for a GraphQL operation. Its document, which may hold what is nobody's business, is left out.
pub fn operation(kind: &str, name: Option<&str>) -> Span {
    let name = name.map(|name| name.get(..LONGEST_NAME).unwrap_or(name));
    tracing::info_span!(OPERATION, graphql.operation.type = kind, graphql.operation.name = name)
}

/// Writes down the code of the error that an operation ended with.
pub fn failed(span: &Span, code: &str) {
    span.set_attribute("error.type", code.to_owned());
    if code == "INTERNAL_SERVER_ERROR" {
        span.set_status(Status::error(""));
    }
}

/// A span for one attempt at a step. It begins a trace: the step may run long after the request that asked for it.
pub fn step(job: &str, job_type: &str, step: &str, attempt: u32) -> Span {
    begun(tracing::info_span!(
        parent: None, STEP, job.id = job, job.type = job_type, step, attempt = i64::from(attempt), trace_id = Empty
    ))
}

/// Writes down how an attempt ended.
pub fn ended(span: &Span, outcome: &'static str) {
    span.set_attribute("outcome", outcome);
    if matches!(outcome, "failed" | "broken") {
        span.set_status(Status::error(""));
    }
}

/// A span for one request to a webhook. It begins a trace: events are told long after what caused them.
pub fn delivery(webhook: &str, delivery: &str, attempt: i32) -> Span {
    begun(tracing::info_span!(
        parent: None, DELIVERY, webhook.id = webhook, delivery.id = delivery, attempt, trace_id = Empty
    ))
}

/// Writes down whom a webhook's request goes to.
pub fn asked(span: &Span, url: &Url) {
    span.set_attribute("http.request.method", "POST");
    // Without the brackets that an address of IPv6 has in a URL.
    if let Some(host) = url.host_str() {
        span.set_attribute("server.address", host.trim_matches(['[', ']']).to_owned());
    }
    if let Some(port) = url.port_or_known_default() {
        span.set_attribute("server.port", i64::from(port));
    }
}

/// Writes down how a webhook answered, or `error` where it did not.
pub fn delivered(span: &Span, status: Option<u16>, error: Option<&'static str>) {
    if let Some(status) = status {
        span.set_attribute("http.response.status_code", i64::from(status));
    }
    // By the conventions of clients every answer from 400 on is an error.
    let said = status.filter(|status| *status >= 400).map(|status| status.to_string());
    if let Some(error) = said.or(error.map(str::to_owned)) {
        span.set_attribute("error.type", error);
        span.set_status(Status::error(""));
    }
}

/// The headers that name a span, which began its trace, to whoever is asked within it (W3C Trace Context); none where
/// nothing is traced.
pub fn headers(span: &Span) -> HeaderMap {
    let mut headers = HeaderMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(&mut headers));
    // It would be there, and empty.
    headers.remove("tracestate");
    headers
}

/// Has the log lines of a span name its trace, where there is one.
fn begun(span: Span) -> Span {
    let id = span.context().span().span_context().trace_id();
    if id != TraceId::INVALID {
        span.record("trace_id", id.to_string());
    }
    span
}

/// Gives spans the names and kinds of the conventions. As fields of the spans they would stand in every log line.
#[derive(Debug, Clone)]
struct Conventions(SdkTracer);

impl Tracer for Conventions {
    type Span = <SdkTracer as Tracer>::Span;

    fn build_with_context(&self, mut builder: SpanBuilder, parent: &Context) -> Self::Span {
        let has = |key: &str| {
            let found =
                builder.attributes.iter().flatten().find(|attribute| attribute.key.as_str() == key)?;
            Some(found.value.to_string())
        };
        let named = |keys: &[&str]| keys.iter().filter_map(|key| has(key)).collect::<Vec<_>>().join(" ");
        let (name, kind) = match builder.name.as_ref() {
            REQUEST => (named(&["http.request.method", "http.route"]), SpanKind::Server),
            OPERATION => (named(&["graphql.operation.type"]), SpanKind::Internal),
            STEP => (format!("step {}", named(&["step"])), SpanKind::Internal),
            DELIVERY => ("POST".to_owned(), SpanKind::Client),
            other => (other.to_owned(), SpanKind::Internal),
        };
        (builder.name, builder.span_kind) = (name.into(), Some(kind));
        self.0.build_with_context(builder, parent)
    }
}

/// Sends spans to a collector, where there is one.
#[derive(Debug)]
pub struct Exporter(Option<SdkTracerProvider>);

impl Exporter {
    /// For the runtime that this is called in.
    pub(super) fn new(settings: &Telemetry) -> Result<Self, String> {
        if settings.otlp_endpoint.is_empty() {
            return Ok(Self(None));
        }
        let wrong = |error: &dyn std::fmt::Display| format!("telemetry.otlp_endpoint: {error}");
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(Client::new(&settings.otlp_endpoint).map_err(|error| wrong(&error))?)
            .with_endpoint(format!("{}/v1/traces", settings.otlp_endpoint.trim_end_matches('/')))
            .with_timeout(SEND)
            .build()
            .map_err(|error| wrong(&error))?;
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

    /// Takes the spans of this program. Log lines are no part of a trace.
    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let layer = tracing_opentelemetry::layer()
            .with_tracer(Conventions(self.0.as_ref()?.tracer("docket")))
            .with_context_activation(false)
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        Some(layer.with_filter(filter_fn(|metadata| {
            metadata.is_span() && metadata.target().starts_with(OURS) && metadata.name() != CONNECTION
        })))
    }

    /// Sends what is left, in bounded time. A collector that does not answer costs the last spans, and nothing else.
    pub async fn stop(self) {
        let Some(provider) = self.0 else { return };
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH));
        match flush.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans could not be sent"),
            Err(error) => tracing::warn!(%error, "the last spans could not be sent"),
        }
    }
}

/// The server's own HTTP client, for the exporter's thread, which is outside of the runtime.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl Client {
    fn new(endpoint: &str) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().timeout(SEND).redirect(reqwest::redirect::Policy::none());
        // A container may have no certificates at all, and needs none for a collector beside it.
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
            let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        self.runtime.spawn(exchange).await?
    }
}
