//! Tests of traces, of log lines with trace IDs, and of metrics.

mod metrics;
mod program;

use std::fmt::Write;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use futures_util::{SinkExt, StreamExt};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use program::{Collector, Program, attribute};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}

/// Returns the span with this name and attribute.
fn find_span<'s>(spans: &'s [Span], name: &str, key: &str, value: &Value) -> &'s Span {
    let found = spans.iter().find(|span| span.name == name && attribute(span, key).as_ref() == Some(value));
    found.unwrap_or_else(|| panic!("no span {name} with {key} {value} among {spans:#?}"))
}

/// Signs up, runs a job, and sends a query over WebSocket; returns the ID of the job.
async fn run_workload(program: &Program) -> String {
    let ada =
        program.sign_up(|request| request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"))).await;
    let job = program.run_job(&ada).await;
    let mut request =
        format!("{}/graphql/ws", program.url.replacen("http", "ws", 1)).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("a WebSocket");
    let init = json!({"type": "connection_init", "payload": {"Authorization": ada}});
    let ask = json!({"type": "subscribe", "id": "1", "payload": {"query": "query Me { viewer { name } }"}});
    for (send, awaited) in [(init, "connection_ack"), (ask, "complete")] {
        socket.send(Message::text(send.to_string())).await.expect("the server reads");
        loop {
            let message = socket.next().await.expect("an open connection").expect("a message");
            if message.to_text().is_ok_and(|text| text.contains(awaited)) {
                break;
            }
        }
    }
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_operations_steps_and_children_are_traced() {
    let (collector, address) = Collector::start().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("OTEL_SERVICE_NAME", "docket-under-test"),
        ("DOCKET_LOG", "info,docket::http=debug"),
        ("DOCKET_LOG_FORMAT", "json"),
    ];
    let program = Program::start(&variables).await;
    let job = run_workload(&program).await;
    let log = program.stop().await;
    let spans = collector.spans();
    assert_eq!(collector.resource("service.name"), Some(json!("docket-under-test")));

    // The request is a child of the client's span, and the operation a child of the request.
    let operation = find_span(&spans, "mutation", "graphql.operation.name", &json!("Join"));
    assert_eq!(hex(&operation.trace_id), TRACE);
    let request = spans.iter().find(|span| span.span_id == operation.parent_span_id).expect("a request");
    assert_eq!((request.name.as_str(), request.kind), ("POST /graphql", SpanKind::Server as i32));
    assert_eq!((hex(&request.trace_id).as_str(), hex(&request.parent_span_id).as_str()), (TRACE, PARENT));
    for (key, value) in [
        ("http.request.method", json!("POST")),
        ("http.route", json!("/graphql")),
        ("url.path", json!("/graphql")),
        ("url.scheme", json!("http")),
        ("http.response.status_code", json!(200)),
    ] {
        assert_eq!(attribute(request, key), Some(value), "{key}");
    }

    // An attempt of a step begins a trace, which contains the child process.
    let step = find_span(&spans, "step mapping", "job.id", &json!(job));
    assert!(step.parent_span_id.is_empty());
    assert_eq!(attribute(step, "attempt"), Some(json!(1)));
    assert_eq!(attribute(step, "outcome"), Some(json!("completed")));
    let child = spans.iter().find(|span| span.name == "child" && span.parent_span_id == step.span_id);
    let child = child.expect("the step's child process");
    assert_eq!(attribute(child, "process.exit.code"), Some(json!(0)));
    assert!(attribute(child, "process.pid").is_some());

    // A WebSocket can stay open for days, so each of its operations begins a trace.
    let operation = find_span(&spans, "query", "graphql.operation.name", &json!("Me"));
    assert!(operation.parent_span_id.is_empty());

    let text = format!("{spans:?}");
    assert!(!text.contains("correct horse") && !text.contains("signUp"), "no queries and no variables");

    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let within = |message: &str, trace: &str| {
        lines.iter().any(|line| line["message"] == message && line["span"]["trace_id"] == trace)
    };
    assert!(within("request answered", TRACE), "{log}");
    assert!(within("step ended", &hex(&step.trace_id)), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unresponsive_trace_collector_does_not_delay_requests() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", silent.local_addr().expect("an address"));
    let program = Program::start(&[
        ("DOCKET_TELEMETRY__OTLP_ENDPOINT", &address),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
        ("DOCKET_LOG", "info,docket::http=debug"),
    ])
    .await;
    let ada = program.sign_up(|request| request).await;
    // The exporter waits for a response while this connection is open.
    let _unanswered = silent.accept().await.expect("the exporter connects");
    program.run_job(&ada).await;
    // More spans than the queue of the exporter holds.
    for _ in 0..300 {
        let response = program.http.get(format!("{}/healthz", program.url)).send().await.expect("a response");
        assert_eq!(response.status(), 200);
    }
    let log = program.stop().await;
    assert!(log.contains("SpanDroppingStarted"), "{log}");
    assert!(log.lines().any(|line| line.contains("request answered") && line.contains("trace_id")), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_trace_collector_causes_only_log_lines() {
    let closed =
        TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address");
    let program = Program::start(&[
        ("DOCKET_TELEMETRY__OTLP_ENDPOINT", &format!("http://{closed}")),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
    ])
    .await;
    let ada = program.sign_up(|request| request).await;
    program.run_job(&ada).await;
    let log = program.stop().await;
    assert!(log.contains("BatchSpanProcessor.ExportError"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_request_contains_the_trace_of_its_delivery() {
    let (collector, address) = Collector::start().await;
    let (sender, mut traceparents) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let handler = post(move |headers: HeaderMap| async move {
        assert!(!headers.contains_key("tracestate"), "there is no trace state");
        sender.send(headers["traceparent"].to_str().expect("a text").to_owned()).expect("the test receives");
        StatusCode::IM_A_TEAPOT
    });
    let routes = Router::new().route("/hook", handler);
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let program = Program::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
        ("DOCKET_LOG", "info,docket::webhook=debug"),
        ("DOCKET_LOG_FORMAT", "json"),
        ("DOCKET_WEBHOOKS__ALLOW_HTTP", "on"),
        ("DOCKET_WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.1/32\"]"),
    ])
    .await;
    let ada = program.sign_up(|request| request).await;
    let hook = format!("{{url: \"http://127.0.0.1:{port}/hook\", eventKinds: [CREATED]}}");
    let query = format!("mutation {{ createWebhook(input: {hook}) {{ webhook {{ id }} }} }}");
    let request = program.graphql(&json!({"query": query})).header("Authorization", &ada);
    let webhook = program.data(request).await["createWebhook"]["webhook"]["id"].take();
    program.run_job(&ada).await;
    let traceparent = traceparents.recv().await.expect("a delivery");
    let log = program.stop().await;

    let spans = collector.spans();
    let span = find_span(&spans, "POST", "webhook.id", &webhook);
    assert_eq!(traceparent, format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id)));
    assert_eq!((span.kind, span.parent_span_id.is_empty()), (SpanKind::Client as i32, true));
    for (key, value) in [
        ("http.request.method", json!("POST")),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(port)),
        ("http.response.status_code", json!(418)),
        ("error.type", json!("418")),
        ("attempt", json!(1)),
    ] {
        assert_eq!(attribute(span, key), Some(value), "{key}");
    }
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut attempts = lines.filter(|line| line["message"] == "webhook delivery attempted");
    assert!(attempts.any(|line| line["span"]["trace_id"] == hex(&span.trace_id)), "{log}");
}
