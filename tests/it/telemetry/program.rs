//! The program as operators start it, and a collector for its traces.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The time limit for starting or stopping the program, and for a job.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A `docket serve` process on SQLite with a temporary data directory.
pub(super) struct Program {
    child: Child,
    pub(super) url: String,
    pub(super) http: reqwest::Client,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Program {
    pub(super) async fn start(variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_docket"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .env("DOCKET_NOOP_TYPE", "on")
            .env("DOCKET_RATE_LIMITS", "off")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("a file for the log"))
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = timeout(TIMEOUT, lines.next_line()).await.expect("the program is ready in time");
        let line =
            line.expect("a line").unwrap_or_else(|| panic!("{}", std::fs::read_to_string(&log).unwrap()));
        let url = line.rsplit(' ').next().expect("an address").to_owned();
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        Self { child, url, http, log, _dir: dir }
    }

    /// Stops the program with SIGTERM, waits for its end, and returns its log.
    pub(super) async fn stop(mut self) -> String {
        let pid = self.child.id().expect("it runs");
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().await;
        assert!(kill.expect("a shell").success());
        let ended = timeout(TIMEOUT, self.child.wait()).await.expect("it ends in time").expect("its status");
        let log = std::fs::read_to_string(&self.log).expect("its log");
        assert!(ended.success(), "{ended}: {log}");
        log
    }

    /// Builds a request to `POST /graphql`.
    pub(super) fn graphql(&self, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}/graphql", self.url)).json(body)
    }

    /// Sends an operation that succeeds, and returns its data.
    pub(super) async fn data(&self, request: RequestBuilder) -> Value {
        let response = request.send().await.expect("a response").json::<Value>().await.expect("JSON");
        assert!(response["errors"].is_null(), "{response}");
        response["data"].clone()
    }

    /// Signs a user up, and returns the `Authorization` header. `modify` changes the request.
    pub(super) async fn sign_up(&self, modify: impl FnOnce(RequestBuilder) -> RequestBuilder) -> String {
        let query = "mutation Join($in: SignUpInput!) { signUp(input: $in) { accessToken } }";
        let input = json!({"email": "ada@example.com", "name": "Ada", "password": "correct horse battery"});
        let body = json!({"query": query, "variables": {"in": input}});
        let signed_up = self.data(modify(self.graphql(&body))).await;
        format!("Bearer {}", signed_up["signUp"]["accessToken"].as_str().expect("a token"))
    }

    /// Runs a data point extraction job for a short text, and returns its ID.
    pub(super) async fn run_job(&self, authorization: &str) -> String {
        let execute = async |query: &str, variables: Value| {
            let request = self.graphql(&json!({"query": query, "variables": variables}));
            self.data(request.header("Authorization", authorization)).await
        };
        let put = "mutation { putTaxonomy(input: {name: \"t\", definition: {name: \"t\", data_points: \
                   [{name: \"total\", type: \"amount\", labels: [\"Total\"]}]}}) { taxonomy { name } } }";
        execute(put, Value::Null).await;
        let upload = self.http.post(format!("{}/documents", self.url)).header("Authorization", authorization);
        let upload = upload.header("X-Type", "text/plain").header("X-Name", "a.txt").body("Total 12.00\n");
        let document: Value = upload.send().await.expect("a response").json().await.expect("JSON");
        let create = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
        let input = json!({
            "type": "data-point-extraction", "input": {"documentId": document["id"]},
            "metadata": {"mapping.taxonomy": "t", "mapping.high_confidence_threshold": 0, "zoning.high_confidence_threshold": 0}
        });
        let created = execute(create, json!({"in": input})).await;
        let id = created["createJob"]["job"]["id"].as_str().expect("an ID").to_owned();
        let done = async {
            let query = "query($id: ID!) { job(id: $id) { status } }";
            while execute(query, json!({"id": id})).await["job"]["status"] != "COMPLETED" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(TIMEOUT, done).await.expect("the job is completed in time");
        id
    }
}

/// A server that receives OTLP over HTTP.
#[derive(Clone, Default)]
pub(super) struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    /// Starts a collector, and returns it with its URL.
    pub(super) async fn start() -> (Self, String) {
        let collector = Self::default();
        let routes = Router::new().route("/v1/traces", post(Self::receive)).with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, address)
    }

    async fn receive(State(collector): State<Self>, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body).expect("spans as protobuf");
        collector.requests.lock().expect("the lock is not poisoned").push(request);
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("the lock is not poisoned").clone();
        let scopes =
            requests.into_iter().flat_map(|request| request.resource_spans).flat_map(|r| r.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Returns an attribute of the resource that sent the spans.
    pub(super) fn resource(&self, key: &str) -> Option<Value> {
        let requests = self.requests.lock().expect("the lock is not poisoned");
        let resource = requests.first()?.resource_spans.first()?.resource.as_ref()?;
        find_attribute(&resource.attributes, key)
    }
}

/// Returns an attribute of a span.
pub(super) fn attribute(span: &Span, key: &str) -> Option<Value> {
    find_attribute(&span.attributes, key)
}

fn find_attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue { value: Some(Any::StringValue(text)) }) => Some(json!(text)),
        Some(AnyValue { value: Some(Any::IntValue(number)) }) => Some(json!(number)),
        other => panic!("{key} is {other:?}"),
    }
}
