//! The program itself, as operators start it, and a collector that it sends its traces to.

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

/// No step of these tests takes so long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// `docket serve` on SQLite in a folder that goes away with it.
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
        let said = timeout(PATIENCE, lines.next_line()).await.expect("the program is ready in time");
        let said =
            said.expect("a line").unwrap_or_else(|| panic!("{}", std::fs::read_to_string(&log).unwrap()));
        let url = said.rsplit(' ').next().expect("an address").to_owned();
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        Self { child, url, http, log, _dir: dir }
    }

    /// Asks the program to stop, waits for its end, and returns its log.
    pub(super) async fn stop(mut self) -> String {
        let pid = self.child.id().expect("it runs");
        let asked = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().await;
        assert!(asked.expect("a shell").success());
        let ended = timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("its status");
        let log = std::fs::read_to_string(&self.log).expect("its log");
        assert!(ended.success(), "{ended}: {log}");
        log
    }

    /// A body of `POST /graphql`.
    pub(super) fn graphql(&self, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}/graphql", self.url)).json(body)
    }

    /// The data of an operation in which nothing goes wrong.
    pub(super) async fn data(&self, request: RequestBuilder) -> Value {
        let answer = request.send().await.expect("an answer").json::<Value>().await.expect("JSON");
        assert!(answer["errors"].is_null(), "{answer}");
        answer["data"].clone()
    }

    /// Signs somebody up; what they send as `Authorization`. `mark` adds to the request.
    pub(super) async fn sign_up(&self, mark: impl FnOnce(RequestBuilder) -> RequestBuilder) -> String {
        let query = "mutation Join($in: SignUpInput!) { signUp(input: $in) { accessToken } }";
        let who = json!({"email": "ada@example.com", "name": "Ada", "password": "correct horse battery"});
        let body = json!({"query": query, "variables": {"in": who}});
        let joined = self.data(mark(self.graphql(&body))).await;
        format!("Bearer {}", joined["signUp"]["accessToken"].as_str().expect("a token"))
    }

    /// Lets a job look for values in a short text, and waits until it is done; its ID.
    pub(super) async fn job(&self, authorization: &str) -> String {
        let ask = async |query: &str, variables: Value| {
            let request = self.graphql(&json!({"query": query, "variables": variables}));
            self.data(request.header("Authorization", authorization)).await
        };
        let put = "mutation { putTaxonomy(input: {name: \"t\", definition: {name: \"t\", data_points: \
                   [{name: \"total\", type: \"amount\", labels: [\"Total\"]}]}}) { taxonomy { name } } }";
        ask(put, Value::Null).await;
        let upload = self.http.post(format!("{}/documents", self.url)).header("Authorization", authorization);
        let upload = upload.header("X-Type", "text/plain").header("X-Name", "a.txt").body("Total 12.00\n");
        let document: Value = upload.send().await.expect("an answer").json().await.expect("JSON");
        let create = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
        let input = json!({
            "type": "data-point-extraction", "input": {"documentId": document["id"]},
            "metadata": {"mapping.taxonomy": "t", "mapping.high_confidence_threshold": 0, "zoning.high_confidence_threshold": 0}
        });
        let made = ask(create, json!({"in": input})).await;
        let id = made["createJob"]["job"]["id"].as_str().expect("an ID").to_owned();
        let done = async {
            let query = "query($id: ID!) { job(id: $id) { status } }";
            while ask(query, json!({"id": id})).await["job"]["status"] != "COMPLETED" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, done).await.expect("the job is completed in time");
        id
    }
}

/// A server that takes OTLP over HTTP.
#[derive(Clone, Default)]
pub(super) struct Collector {
    taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    /// Starts one; its address besides.
    pub(super) async fn start() -> (Self, String) {
        let collector = Self::default();
        let routes = Router::new().route("/v1/traces", post(Self::take)).with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, address)
    }

    async fn take(State(collector): State<Self>, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body).expect("spans as protobuf");
        collector.taken.lock().expect("nobody panics here").push(request);
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock().expect("nobody panics here").clone();
        let scopes = taken.into_iter().flat_map(|request| request.resource_spans).flat_map(|r| r.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// An attribute of whoever sent spans.
    pub(super) fn resource(&self, key: &str) -> Option<Value> {
        let taken = self.taken.lock().expect("nobody panics here");
        let resource = taken.first()?.resource_spans.first()?.resource.as_ref()?;
        get(&resource.attributes, key)
    }
}

/// An attribute of a span.
pub(super) fn attribute(span: &Span, key: &str) -> Option<Value> {
    get(&span.attributes, key)
}

fn get(attributes: &[KeyValue], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue { value: Some(Any::StringValue(text)) }) => Some(json!(text)),
        Some(AnyValue { value: Some(Any::IntValue(number)) }) => Some(json!(number)),
        other => panic!("{key} is {other:?}"),
    }
}
