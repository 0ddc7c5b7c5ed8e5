//! Tests of webhooks: deliveries arrive once, in order and signed, and only at allowed targets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::TimeDelta;
use docket::config::{Config, Switch};
use docket::entity::enums::DeliveryStatus;
use docket::entity::{webhook, webhook_delivery};
use docket::id::{DeliveryId, WebhookId};
use docket::webhook::Webhooks;
use docket::webhook::dispatch::Dispatcher;
use docket::webhook::queue::{AttemptOutcome, ClaimedDelivery, InFlight, Resolution};
use hmac::{Hmac, KeyInit, Mac};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::harness::{TestApp, User, both, job_id};

const CREATE: &str =
    "mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { secret webhook { id url enabled } } }";
const UPDATE: &str = "mutation($in: UpdateWebhookInput!) { updateWebhook(input: $in) { webhook { enabled disabledReason url } } }";
const REDELIVER: &str = "mutation($id: ID!) { redeliverWebhook(deliveryId: $id) { delivery { id status attempts webhook { id } } } }";
const LOG: &str = "query($id: ID!) { webhook(id: $id) { enabled disabledReason failingSince deliveries(first: 100) { nodes {
    id jobId sequence kind status attempts lastStatusCode lastError lastAttemptAt nextAttemptAt createdAt finishedAt } } } }";

/// Allows webhooks to 127.0.0.1, where the receivers of the tests listen.
fn allow_loopback(config: &mut Config) {
    config.webhooks.allow_http = Switch::On;
    config.webhooks.allowed_networks = vec!["127.0.0.1/32".parse().expect("a network")];
    config.webhooks.poll_milliseconds = 20;
    // A retry happens only if the test advances the clock.
    config.webhooks.first_retry_seconds = 60;
}

/// A received request.
#[derive(Debug, Clone)]
struct Request {
    headers: HeaderMap,
    body: String,
    status: u16,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn job(&self) -> String {
        self.json()["data"]["jobId"].as_str().expect("a job").to_owned()
    }

    fn sequence(&self) -> i64 {
        self.json()["data"]["sequence"].as_i64().expect("a sequence")
    }

    /// Returns whether one of the signatures is valid for the secret. Implemented from the specification.
    fn is_signed_by(&self, secret: &str) -> bool {
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").expect("a prefix")).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        mac.update(self.header("webhook-id").as_bytes());
        mac.update(b".");
        mac.update(self.header("webhook-timestamp").as_bytes());
        mac.update(b".");
        mac.update(self.body.as_bytes());
        let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

type Handler = dyn Fn(&Request, usize) -> Response + Send + Sync;

/// A webhook server that records the requests it receives.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    handler: Arc<Handler>,
    /// Each response takes a permit.
    gate: Arc<Semaphore>,
}

impl Receiver {
    /// Starts a receiver that responds by request and number of earlier requests.
    async fn with_handler(
        app: &TestApp,
        handler: impl Fn(&Request, usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let receiver = Self { address, requests: Arc::default(), handler: Arc::new(handler), gate };
        let router = Router::new().route("/hook", post(receive)).with_state(receiver.clone());
        let stop = app.stopping.clone();
        app.tasks.spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
                .expect("the receiver serves");
        });
        receiver
    }

    async fn new(app: &TestApp) -> Self {
        Self::with_handler(app, |_, _| StatusCode::NO_CONTENT.into_response()).await
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("an unpoisoned lock").clone()
    }

    fn accepted(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.status < 300).collect()
    }

    async fn wait_for(&self, app: &TestApp, count: usize) -> Vec<Request> {
        app.wait_until("the requests have arrived", async || self.requests().len() >= count).await;
        self.requests()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> Response {
    let mut request = Request { headers, body, status: 0 };
    let (count, response) = {
        let mut requests = receiver.requests.lock().expect("an unpoisoned lock");
        let response = (receiver.handler)(&request, requests.len());
        request.status = response.status().as_u16();
        requests.push(request);
        (requests.len(), response)
    };
    receiver.gate.acquire().await.expect("the semaphore stays open").forget();
    tracing::debug!(count, "response sent");
    response
}

/// Starts a dispatcher that runs until the end of the test.
fn start_dispatcher(app: &TestApp) {
    let dispatcher = Dispatcher::new(app.webhooks.clone()).expect("a client");
    let stop = app.stopping.clone();
    app.spawn(async move { dispatcher.run(stop).await });
}

/// Creates a webhook and returns its ID and secret.
async fn create_webhook(user: &User, receiver: &Receiver, fields: Value) -> (String, String) {
    let mut input = json!({"url": receiver.url()});
    let Value::Object(fields) = fields else { panic!("expected an object, got {fields}") };
    for (key, value) in fields {
        input[key] = value;
    }
    let made = user.gql(CREATE, json!({"in": input})).await["createWebhook"].take();
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    (text(&made["webhook"]["id"]), text(&made["secret"]))
}

/// Returns the deliveries of a webhook as its owner sees them, oldest first.
async fn deliveries(user: &User, webhook: &str) -> Vec<Value> {
    let found = user.gql(LOG, json!({"id": webhook})).await;
    let mut nodes = found["webhook"]["deliveries"]["nodes"].as_array().expect("deliveries").clone();
    nodes.reverse();
    nodes
}

async fn rows(app: &TestApp) -> Vec<webhook_delivery::Model> {
    let all = webhook_delivery::Entity::find().order_by_asc(webhook_delivery::Column::Id);
    all.all(app.db.read()).await.expect("deliveries")
}

async fn wait_for_status(app: &TestApp, user: &User, webhook: &str, status: &str, count: usize) {
    app.wait_until("the deliveries have the status", async || {
        deliveries(user, webhook).await.iter().filter(|delivery| delivery["status"] == status).count()
            == count
    })
    .await;
}

/// Waits until an attempt has failed and the next is scheduled.
async fn wait_for_failure(app: &TestApp, attempts: i32) {
    app.wait_until("the attempt is recorded", async || {
        let is_waiting = |row: &webhook_delivery::Model| {
            row.status == DeliveryStatus::Pending && row.lease_token.is_none()
        };
        rows(app).await.iter().any(|row| row.attempts == attempts && is_waiting(row))
    })
    .await;
}

async fn update_job(user: &User, job: &str, note: &str) {
    let query = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    user.gql(query, json!({"in": {"id": job, "metadata": {"note": note}}})).await;
}

both!(delivery_that_fails_ten_times_arrives_once_in_order, allow_loopback);
async fn delivery_that_fails_ten_times_arrives_once_in_order(app: TestApp) {
    let ada = app.user("ada").await;
    let failing: Arc<Mutex<String>> = Arc::default();
    let (job, failures) = (Arc::clone(&failing), Mutex::new(0));
    let receiver = Receiver::with_handler(&app, move |request, _| {
        let mut failures = failures.lock().expect("an unpoisoned lock");
        if request.job() == *job.lock().expect("an unpoisoned lock") && *failures < 10 {
            *failures += 1;
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        StatusCode::OK.into_response()
    })
    .await;
    let (webhook, secret) = create_webhook(&ada, &receiver, json!({})).await;
    let failing_job = ada.noop_job().await;
    failing.lock().expect("an unpoisoned lock").clone_from(&failing_job);
    let other = ada.noop_job().await;
    // Two dispatchers share the outbox, like two nodes.
    start_dispatcher(&app);
    start_dispatcher(&app);
    let sequences = |requests: &[Request], job: &str| {
        requests.iter().filter(|request| request.job() == job).map(Request::sequence).collect::<Vec<_>>()
    };
    for attempt in 1..=10 {
        wait_for_failure(&app, attempt).await;
        app.wait_until("other jobs are delivered meanwhile", async || {
            sequences(&receiver.accepted(), &other).len() == 3
        })
        .await;
        assert_eq!(
            sequences(&receiver.requests(), &failing_job),
            vec![1; attempt as usize],
            "the next event of the job waits"
        );
        app.clock.advance(TimeDelta::hours(1));
    }
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 6).await;
    let (all, accepted) = (receiver.requests(), receiver.accepted());
    assert_eq!(all.len(), 16, "ten failures and six deliveries");
    for job in [&failing_job, &other] {
        assert_eq!(sequences(&accepted, job), [1, 2, 3], "each event once, in order");
    }
    let mut ids: HashMap<(String, i64), Vec<&str>> = HashMap::new();
    for request in &all {
        assert!(request.is_signed_by(&secret), "{request:?}");
        ids.entry((request.job(), request.sequence())).or_default().push(request.header("webhook-id"));
    }
    for (event, ids) in &ids {
        assert!(ids.iter().all(|id| id == &ids[0]), "every attempt has the same ID: {event:?} {ids:?}");
    }
    let log = deliveries(&ada, &webhook).await;
    let head = log.iter().find(|delivery| delivery["jobId"] == *failing_job).expect("a delivery");
    assert_eq!(
        (&head["sequence"], &head["attempts"], &head["lastStatusCode"]),
        (&json!(1), &json!(11), &json!(200))
    );
    assert_eq!((&head["lastError"], &head["nextAttemptAt"]), (&Value::Null, &Value::Null));
    assert_eq!(ids[&(failing_job, 1)][0], head["id"]);
}

both!(webhook_message_equals_the_event_in_the_feed, allow_loopback);
async fn webhook_message_equals_the_event_in_the_feed(app: TestApp) {
    let (ada, bob, eve) = (app.user("ada").await, app.user("bob").await, app.user("eve").await);
    let team = ada.team("reviewers", &[&bob]).await;
    let receivers = [Receiver::new(&app).await, Receiver::new(&app).await, Receiver::new(&app).await];
    for (person, receiver) in [&ada, &bob, &eve].into_iter().zip(&receivers) {
        create_webhook(person, receiver, json!({"description": person.name})).await;
    }
    start_dispatcher(&app);
    let share = json!([{"collaborator": {"teamId": team}, "steps": ["second"]}]);
    let job = ada.create_job(json!({"collaboration": share})).await;
    app.worker().finish_all().await;
    let fields = "events(first: 100) { nodes { cursor sequence kind at data actor { id } } }";
    for (person, receiver) in [&ada, &bob].into_iter().zip(&receivers) {
        let events = person.job(&job, fields).await["events"]["nodes"].as_array().expect("events").clone();
        let requests = receiver.wait_for(&app, events.len()).await;
        assert_eq!(requests.len(), events.len());
        for (request, event) in requests.iter().zip(&events) {
            let message = request.json();
            let kind = event["kind"].as_str().expect("a kind");
            assert_eq!(message["type"], format!("job.{}", kind.to_lowercase()));
            assert_eq!(
                message["data"],
                json!({
                    "jobId": job, "jobType": "noop", "mode": "LIVE", "sequence": event["sequence"], "kind": kind,
                    "cursor": event["cursor"], "actorId": event["actor"]["id"], "data": event["data"],
                })
            );
            let at = |value: &Value| {
                chrono::DateTime::parse_from_rfc3339(value.as_str().expect("a time")).expect("a time")
            };
            assert_eq!(at(&message["timestamp"]), at(&event["at"]));
            assert_eq!(request.header("content-type"), "application/json");
            assert!(request.header("user-agent").starts_with("Docket-Webhooks/"));
        }
    }
    let withheld =
        |receiver: &Receiver| receiver.requests().iter().any(|request| request.body.contains("withheld"));
    assert!(!withheld(&receivers[0]), "the owner receives all data");
    assert!(withheld(&receivers[1]), "data of other steps is withheld from bob");
    assert_eq!(receivers[2].requests().len(), 0, "eve receives nothing");
}

both!(webhook_can_be_limited_to_job_and_event_kinds, allow_loopback);
async fn webhook_can_be_limited_to_job_and_event_kinds(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (job, other) = (ada.noop_job().await, ada.noop_job().await);
    let input = json!({"jobId": job, "eventKinds": ["STATUS_CHANGED", "STATUS_CHANGED", "METADATA_CHANGED"]});
    let (webhook, _) = create_webhook(&ada, &receiver, input).await;
    let query =
        "query($id: ID!) { webhook(id: $id) { job { id } eventKinds description previousSecretExpiresAt } }";
    let made = ada.gql(query, json!({"id": webhook})).await;
    let kinds = json!(["STATUS_CHANGED", "METADATA_CHANGED"]);
    let expected =
        json!({"job": {"id": job}, "eventKinds": kinds, "description": "", "previousSecretExpiresAt": null});
    assert_eq!(made["webhook"], expected);
    start_dispatcher(&app);
    update_job(&ada, &other, "other").await;
    update_job(&ada, &job, "this").await;
    app.worker().finish_all().await;
    let history = ada.job(&job, "events(first: 100) { nodes { sequence kind } }").await;
    let nodes = history["events"]["nodes"].as_array().expect("events").iter();
    // The creation of the job caused three events.
    let later = nodes.filter(|event| event["sequence"].as_i64() > Some(3));
    let expected: Vec<_> = later.map(|event| event["kind"].as_str().unwrap_or_default()).collect();
    let expected: Vec<_> =
        expected.into_iter().filter(|kind| ["STATUS_CHANGED", "METADATA_CHANGED"].contains(kind)).collect();
    assert!(expected.len() > 2 && expected[0] == "METADATA_CHANGED", "{expected:?}");
    wait_for_status(&app, &ada, &webhook, "DELIVERED", expected.len()).await;
    let requests = receiver.requests();
    assert!(requests.iter().all(|request| request.job() == job), "events of other jobs are not sent");
    let kinds: Vec<_> = requests.iter().map(|request| request.json()["data"]["kind"].take()).collect();
    assert_eq!(kinds, expected, "earlier events and other kinds are not sent");
}

both!(event_without_webhooks_costs_no_additional_statements, allow_loopback);
async fn event_without_webhooks_costs_no_additional_statements(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let job = ada.noop_job().await;
    let receiver = Receiver::new(&app).await;
    let cost = async || app.count_statements(update_job(&ada, &job, &WebhookId::new().to_string())).await.1;
    cost().await;
    let base = cost().await;
    create_webhook(&eve, &receiver, json!({})).await;
    assert_eq!(cost().await, base + 1, "one statement looks up the webhooks");
    create_webhook(&ada, &receiver, json!({"jobId": job})).await;
    create_webhook(&ada, &receiver, json!({})).await;
    assert_eq!(cost().await, base + 2, "one statement inserts all deliveries");
    assert_eq!(rows(&app).await.len(), 2);
}

both!(target_without_public_address_is_refused_at_creation, |config| config.webhooks.allow_http = Switch::On);
async fn target_without_public_address_is_refused_at_creation(app: TestApp) {
    let ada = app.user("ada").await;
    for (url, code) in [
        ("http://127.0.0.1/hook", "TARGET_NOT_ALLOWED"),
        ("http://169.254.169.254/latest/meta-data/", "TARGET_NOT_ALLOWED"),
        ("https://[::1]/hook", "TARGET_NOT_ALLOWED"),
        ("https://[::ffff:127.0.0.1]/hook", "TARGET_NOT_ALLOWED"),
        ("https://[64:ff9b::a9fe:a9fe]/hook", "TARGET_NOT_ALLOWED"),
        ("http://2130706433/hook", "TARGET_NOT_ALLOWED"),
        ("http://localhost/hook", "TARGET_NOT_ALLOWED"),
        ("https://10.1.2.3/hook", "TARGET_NOT_ALLOWED"),
        ("https://ada:secret@192.0.1.1/hook", "CREDENTIALS"),
        ("https://192.0.1.1:22/hook", "PORT"),
        ("gopher://192.0.1.1/hook", "SCHEME"),
        ("hook", "INVALID"),
    ] {
        let refused = ada.gql_err(CREATE, json!({"in": {"url": url}})).await;
        assert_eq!(
            (refused.code(), refused.problems()),
            ("BAD_USER_INPUT", vec![("/url".into(), code.into())]),
            "{url}"
        );
    }
    let long = "x".repeat(10_001);
    let refused = ada.gql_err(CREATE, json!({"in": {"url": "http://127.0.0.1", "description": long}})).await;
    assert_eq!(refused.problems().len(), 2, "all problems are reported at once: {refused:?}");
    let made =
        ada.gql(CREATE, json!({"in": {"url": "https://192.0.1.1/hook"}})).await["createWebhook"].take();
    let change = json!({"in": {"id": made["webhook"]["id"], "url": "http://127.0.0.1/hook"}});
    let refused = ada.gql_err(UPDATE, change).await;
    assert_eq!(refused.problems(), [("/url".to_owned(), "TARGET_NOT_ALLOWED".to_owned())]);
}

both!(plain_http_target_is_refused_by_default);
async fn plain_http_target_is_refused_by_default(app: TestApp) {
    let ada = app.user("ada").await;
    let refused = ada.gql_err(CREATE, json!({"in": {"url": "http://192.0.1.1/hook"}})).await;
    assert_eq!(refused.problems(), [("/url".to_owned(), "SCHEME".to_owned())]);
}

both!(target_address_is_checked_again_at_each_connection, |config| {
    allow_loopback(config);
    config.webhooks.allowed_networks =
        ["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a network")).into();
});
async fn target_address_is_checked_again_at_each_connection(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let by_name = format!("http://localhost:{}/hook", receiver.address.port());
    let mut hooks = Vec::new();
    for url in [by_name, receiver.url()] {
        hooks.push(create_webhook(&ada, &receiver, json!({"url": url, "eventKinds": ["CREATED"]})).await.0);
    }
    ada.noop_job().await;
    // As if the host name had resolved to another address at creation.
    let mut settings = app.config.webhooks.clone();
    settings.allowed_networks.clear();
    let strict = Dispatcher::new(Webhooks::new(app.jobs.clone(), &settings)).expect("a client");
    let stop = app.stopping.child_token();
    let (stopped, end) = (stop.clone(), stop);
    let running = app.tasks.spawn(async move { strict.run(stopped).await });
    for webhook in &hooks {
        wait_for_status(&app, &ada, webhook, "GIVEN_UP", 1).await;
        let delivery = &deliveries(&ada, webhook).await[0];
        let error = "The target is not allowed: its address is not public.";
        assert_eq!(
            (&delivery["lastError"], &delivery["attempts"]),
            (&json!(error), &json!(1)),
            "the delivery is not retried"
        );
    }
    assert_eq!(receiver.requests().len(), 0, "the dispatcher does not connect");
    end.cancel();
    running.await.expect("the dispatcher ends");
    start_dispatcher(&app);
    for webhook in &hooks {
        let id = deliveries(&ada, webhook).await[0]["id"].clone();
        ada.gql(REDELIVER, json!({"id": id})).await;
        wait_for_status(&app, &ada, webhook, "DELIVERED", 1).await;
    }
    assert_eq!(receiver.requests().len(), 2, "both targets receive the event if the network is allowed");
}

both!(redirect_is_a_failure_and_is_not_followed, allow_loopback);
async fn redirect_is_a_failure_and_is_not_followed(app: TestApp) {
    let ada = app.user("ada").await;
    let inner = Receiver::new(&app).await;
    let location = inner.url();
    let outer = Receiver::with_handler(&app, move |_, _| {
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location.clone())]).into_response()
    })
    .await;
    let (webhook, _) = create_webhook(&ada, &outer, json!({"eventKinds": ["CREATED"]})).await;
    start_dispatcher(&app);
    ada.noop_job().await;
    wait_for_failure(&app, 1).await;
    let delivery = &deliveries(&ada, &webhook).await[0];
    assert_eq!((&delivery["status"], &delivery["lastStatusCode"]), (&json!("PENDING"), &json!(307)));
    assert!(delivery["lastError"].as_str().is_some_and(|error| error.contains("Redirects are not followed")));
    assert_eq!((outer.requests().len(), inner.requests().len()), (1, 0));
}

both!(retry_after_header_is_respected_within_bounds, allow_loopback);
async fn retry_after_header_is_respected_within_bounds(app: TestApp) {
    let ada = app.user("ada").await;
    let responses = [(503, "600"), (429, "999999"), (503, "0"), (500, "3000")];
    let receiver = Receiver::with_handler(&app, move |_, before| {
        let (status, wait) = responses[before.min(responses.len() - 1)];
        let status = StatusCode::from_u16(status).expect("a status");
        (status, [(header::RETRY_AFTER, wait)]).into_response()
    })
    .await;
    create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    start_dispatcher(&app);
    ada.noop_job().await;
    // Bounds of the backoff in seconds, with time for the attempt itself on a slow machine.
    for (attempt, (min, max)) in [(600, 620), (3_600, 3_620), (120, 260), (240, 500)].into_iter().enumerate()
    {
        wait_for_failure(&app, attempt as i32 + 1).await;
        let row = rows(&app).await.pop().expect("a delivery");
        let backoff =
            row.next_attempt_at.zip(row.last_attempt_at).map(|(next, last)| (next - last).num_seconds());
        assert!(backoff.is_some_and(|backoff| (min..=max).contains(&backoff)), "{attempt}: {backoff:?}");
        app.clock.advance(TimeDelta::seconds(backoff.unwrap_or_default()));
    }
}

both!(redelivery_sends_the_same_message_again, allow_loopback);
async fn redelivery_sends_the_same_message_again(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let receiver = Receiver::new(&app).await;
    let (webhook, _) = create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    start_dispatcher(&app);
    ada.noop_job().await;
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 1).await;
    let id = deliveries(&ada, &webhook).await[0]["id"].clone();
    for person in [&eve, &ada] {
        for unknown in [&id, &json!(DeliveryId::new().to_string()), &json!("nonsense")] {
            if person.name == "eve" || *unknown != id {
                assert_eq!(person.gql_err(REDELIVER, json!({"id": unknown})).await.code(), "NOT_FOUND");
            }
        }
    }
    let again = ada.gql(REDELIVER, json!({"id": id})).await["redeliverWebhook"]["delivery"].take();
    assert_eq!(again, json!({"id": id, "status": "PENDING", "attempts": 0, "webhook": {"id": webhook}}));
    let requests = receiver.wait_for(&app, 2).await;
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(requests[0].body, requests[1].body);
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 1).await;
    ada.gql(UPDATE, json!({"in": {"id": webhook, "enabled": false}})).await;
    assert_eq!(ada.gql_err(REDELIVER, json!({"id": id})).await.code(), "CONFLICT");
}

both!(delivery_of_crashed_dispatcher_is_taken_over, allow_loopback);
async fn delivery_of_crashed_dispatcher_is_taken_over(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (webhook, _) = create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    // Holds back all responses.
    let open = receiver.gate.forget_permits(Semaphore::MAX_PERMITS);
    ada.noop_job().await;
    start_dispatcher(&app);
    receiver.wait_for(&app, 1).await;
    let id = deliveries(&ada, &webhook).await[0]["id"].clone();
    assert_eq!(
        ada.gql_err(REDELIVER, json!({"id": id})).await.code(),
        "CONFLICT",
        "the delivery is in progress"
    );
    assert!(
        app.webhooks.claim(10, &InFlight::default()).await.expect("the outbox").is_empty(),
        "the delivery is already claimed"
    );
    // The lease of the delivery expires.
    app.clock.advance(TimeDelta::seconds(60));
    receiver.wait_for(&app, 2).await;
    receiver.gate.add_permits(open);
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 1).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    let row = rows(&app).await.pop().expect("a delivery");
    assert_eq!((row.attempts, row.lease_token), (2, None));
}

both!(lost_claim_of_a_delivery_changes_nothing, allow_loopback);
async fn lost_claim_of_a_delivery_changes_nothing(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    ada.noop_job().await;
    let claim = async || app.webhooks.claim(10, &InFlight::default()).await.expect("the outbox").pop();
    let first = claim().await.expect("a due delivery");
    assert!(claim().await.is_none(), "the delivery is already claimed");
    app.clock.advance(TimeDelta::seconds(60));
    let second = claim().await.expect("an expired claim");
    let finish = async |claim, outcome| {
        app.webhooks.record_attempt(claim, outcome).await.expect("the outcome is recorded")
    };
    let before = rows(&app).await;
    assert_eq!(finish(&first, AttemptOutcome::Delivered(200)).await, Resolution::LeaseLost);
    assert_eq!(rows(&app).await, before, "the rows are unchanged");
    assert_eq!(finish(&second, AttemptOutcome::Delivered(200)).await, Resolution::Delivered);
}

both!(unreadable_delivery_does_not_keep_others_from_being_sent, allow_loopback);
async fn unreadable_delivery_does_not_keep_others_from_being_sent(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    let (unreadable, readable) = (ada.noop_job().await, ada.noop_job().await);
    let overwrite = async |kind: &str| {
        let update = webhook_delivery::Entity::update_many()
            .col_expr(webhook_delivery::Column::Kind, Expr::value(kind))
            .filter(webhook_delivery::Column::JobId.eq(job_id(&unreadable)));
        update.exec(app.db.writer()).await.expect("the row is written");
    };
    overwrite("FROZEN").await;
    let claim = async || app.webhooks.claim(10, &InFlight::default()).await.expect("the outbox");
    let jobs =
        |claims: Vec<ClaimedDelivery>| claims.iter().map(|claim| claim.delivery.job_id).collect::<Vec<_>>();
    assert_eq!(jobs(claim().await), [job_id(&readable)]);
    assert!(claim().await.is_empty(), "it is not read again before its lease expires");
    app.clock.advance(TimeDelta::seconds(60));
    overwrite("CREATED").await;
    assert!(jobs(claim().await).contains(&job_id(&unreadable)), "a node that can read it sends it");
}

both!(concurrent_deliveries_per_host_are_limited, |config| {
    allow_loopback(config);
    config.webhooks.host_concurrency = 2;
});
async fn concurrent_deliveries_per_host_are_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let (slow, fast) = (Receiver::new(&app).await, Receiver::new(&app).await);
    let open = slow.gate.forget_permits(Semaphore::MAX_PERMITS);
    let (first, _) = create_webhook(&ada, &slow, json!({"eventKinds": ["CREATED"]})).await;
    let (second, _) = create_webhook(&ada, &fast, json!({"eventKinds": ["CREATED"]})).await;
    for _ in 0..5 {
        ada.noop_job().await;
    }
    start_dispatcher(&app);
    wait_for_status(&app, &ada, &second, "DELIVERED", 5).await;
    slow.wait_for(&app, 2).await;
    let busy = rows(&app).await.iter().filter(|row| row.lease_token.is_some()).count();
    assert_eq!((busy, slow.requests().len()), (2, 2), "other deliveries wait for a response");
    slow.gate.add_permits(open);
    wait_for_status(&app, &ada, &first, "DELIVERED", 5).await;
}

both!(concurrent_deliveries_per_node_are_limited, |config| {
    allow_loopback(config);
    config.webhooks.concurrency = 2;
});
async fn concurrent_deliveries_per_node_are_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let receiver = Receiver::new(&app).await;
        receiver.gate.forget_permits(Semaphore::MAX_PERMITS);
        create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
        slow.push(receiver);
    }
    ada.noop_job().await;
    start_dispatcher(&app);
    let count_started = || slow.iter().map(|receiver| receiver.requests().len()).sum::<usize>();
    app.wait_until("two deliveries have started", async || count_started() == 2).await;
    // All three are due, so one claim without a limit would take them all.
    let claimed = rows(&app).await.iter().filter(|row| row.lease_token.is_some()).count();
    assert_eq!((claimed, count_started()), (2, 2));
    for receiver in &slow {
        receiver.gate.add_permits(Semaphore::MAX_PERMITS);
    }
    app.wait_until("the third delivery has started", async || count_started() == 3).await;
}

both!(long_response_bodies_and_headers_are_not_read, allow_loopback);
async fn long_response_bodies_and_headers_are_not_read(app: TestApp) {
    let ada = app.user("ada").await;
    let endless_body = Receiver::with_handler(&app, |_, _| {
        let nothing = futures_util::stream::pending::<std::io::Result<Vec<u8>>>();
        axum::body::Body::from_stream(nothing).into_response()
    })
    .await;
    let many_headers = Receiver::with_handler(&app, |_, _| {
        let names = (0..101).map(|n| format!("x-{n}").parse::<header::HeaderName>().expect("a name"));
        let headers: HeaderMap = names.map(|name| (name, header::HeaderValue::from_static("x"))).collect();
        (StatusCode::OK, headers).into_response()
    })
    .await;
    let (first, _) = create_webhook(&ada, &endless_body, json!({"eventKinds": ["CREATED"]})).await;
    create_webhook(&ada, &many_headers, json!({"eventKinds": ["CREATED"]})).await;
    ada.noop_job().await;
    start_dispatcher(&app);
    wait_for_status(&app, &ada, &first, "DELIVERED", 1).await;
    wait_for_failure(&app, 1).await;
}

both!(concurrent_deliveries_per_user_are_limited, |config| {
    allow_loopback(config);
    config.webhooks.concurrency = 3;
    config.webhooks.user_concurrency = 2;
});
async fn concurrent_deliveries_per_user_are_limited(app: TestApp) {
    let (eve, ada) = (app.user("eve").await, app.user("ada").await);
    let mut slow = Vec::new();
    for _ in 0..3 {
        let receiver = Receiver::new(&app).await;
        receiver.gate.forget_permits(Semaphore::MAX_PERMITS);
        create_webhook(&eve, &receiver, json!({"eventKinds": ["CREATED"]})).await;
        slow.push(receiver);
    }
    let fast = Receiver::new(&app).await;
    let (webhook, _) = create_webhook(&ada, &fast, json!({"eventKinds": ["CREATED"]})).await;
    for _ in 0..3 {
        eve.noop_job().await;
    }
    ada.noop_job().await;
    start_dispatcher(&app);
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 1).await;
    let started = slow.iter().map(|receiver| receiver.requests().len()).sum::<usize>();
    assert!(started <= 2, "{started} deliveries of Eve have started, and none has ended");
    for receiver in slow {
        receiver.gate.add_permits(Semaphore::MAX_PERMITS);
    }
}

both!(response_410_disables_the_webhook_until_reenabled, allow_loopback);
async fn response_410_disables_the_webhook_until_reenabled(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::with_handler(&app, |_, before| match before {
        0 => StatusCode::GONE.into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let (webhook, _) = create_webhook(&ada, &receiver, json!({})).await;
    ada.noop_job().await;
    start_dispatcher(&app);
    wait_for_status(&app, &ada, &webhook, "GIVEN_UP", 3).await;
    let seen = ada.gql(LOG, json!({"id": webhook})).await["webhook"].take();
    assert_eq!((&seen["enabled"], &seen["disabledReason"]), (&json!(false), &json!("GONE")));
    let log = deliveries(&ada, &webhook).await;
    assert_eq!((&log[0]["lastStatusCode"], &log[0]["attempts"]), (&json!(410), &json!(1)));
    assert_eq!((&log[1]["lastError"], &log[1]["attempts"]), (&json!("The webhook was disabled."), &json!(0)));
    ada.noop_job().await;
    assert_eq!(rows(&app).await.len(), 3, "no delivery is inserted");
    let enabled = ada.gql(UPDATE, json!({"in": {"id": webhook, "enabled": true}})).await;
    let expected = json!({"enabled": true, "disabledReason": null, "url": receiver.url()});
    assert_eq!(enabled["updateWebhook"]["webhook"], expected);
    ada.noop_job().await;
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 3).await;
    assert_eq!(receiver.requests().len(), 4);
}

both!(delivery_ends_after_a_day_webhook_after_five, allow_loopback);
async fn delivery_ends_after_a_day_webhook_after_five(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::with_handler(&app, |_, _| StatusCode::BAD_GATEWAY.into_response()).await;
    let (webhook, _) = create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    start_dispatcher(&app);
    for round in 1..=2 {
        ada.noop_job().await;
        receiver.wait_for(&app, 2 * round - 1).await;
        wait_for_failure(&app, 1).await;
        app.clock.advance(TimeDelta::days(3));
        wait_for_status(&app, &ada, &webhook, "GIVEN_UP", round).await;
        let seen = ada.gql(LOG, json!({"id": webhook})).await["webhook"].take();
        assert!(seen["failingSince"].is_string());
        assert_eq!(seen["enabled"], round < 2, "the webhook is disabled after five days without success");
        assert_eq!(seen["disabledReason"], if round < 2 { Value::Null } else { json!("FAILING") });
    }
}

both!(old_and_new_secret_are_valid_after_rotation, allow_loopback);
async fn old_and_new_secret_are_valid_after_rotation(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (webhook, old) = create_webhook(&ada, &receiver, json!({"eventKinds": ["METADATA_CHANGED"]})).await;
    start_dispatcher(&app);
    let rotate =
        "mutation($id: ID!) { rotateWebhookSecret(id: $id) { secret webhook { previousSecretExpiresAt } } }";
    let rotated = ada.gql(rotate, json!({"id": webhook})).await["rotateWebhookSecret"].take();
    assert!(rotated["webhook"]["previousSecretExpiresAt"].is_string());
    let new = rotated["secret"].as_str().expect("a secret").to_owned();
    let job = ada.noop_job().await;
    update_job(&ada, &job, "1").await;
    let first = receiver.wait_for(&app, 1).await.remove(0);
    assert!(first.is_signed_by(&new) && first.is_signed_by(&old));
    app.clock.advance(TimeDelta::hours(25));
    update_job(&ada, &job, "2").await;
    let second = receiver.wait_for(&app, 2).await.remove(1);
    assert!(second.is_signed_by(&new) && !second.is_signed_by(&old));
    let row = webhook::Entity::find().one(app.db.read()).await.expect("a webhook").expect("a webhook");
    let printed = format!("{row:?}");
    assert!(!printed.contains(&new) && !printed.contains(&old), "{printed}");
}

both!(pending_deliveries_are_dropped_when_access_ends, allow_loopback);
async fn pending_deliveries_are_dropped_when_access_ends(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let receiver = Receiver::new(&app).await;
    let share = json!([{"collaborator": {"userId": bob.id()}}]);
    let job = ada.create_job(json!({"collaboration": share})).await;
    let (all_jobs, _) = create_webhook(&bob, &receiver, json!({})).await;
    let (one_job, _) = create_webhook(&bob, &receiver, json!({"jobId": job})).await;
    update_job(&ada, &job, "secret").await;
    assert_eq!(rows(&app).await.len(), 2, "the deliveries are pending");
    let remove = "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { id } } }";
    ada.gql(remove, json!({"in": {"jobId": job, "collaborator": {"userId": bob.id()}}})).await;
    assert_eq!(rows(&app).await.len(), 2, "the removal itself is not sent");
    start_dispatcher(&app);
    app.wait_until("the pending deliveries are dropped", async || rows(&app).await.is_empty()).await;
    assert_eq!(receiver.requests().len(), 0);
    let seen = bob.gql("{ webhooks { nodes { id job { id } } } }", json!({})).await;
    let nodes = json!([{"id": one_job, "job": null}, {"id": all_jobs, "job": null}]);
    assert_eq!(seen["webhooks"]["nodes"], nodes);
    let again = bob.gql_err(CREATE, json!({"in": {"url": receiver.url(), "jobId": job}})).await;
    assert_eq!(again.code(), "NOT_FOUND");
}

both!(deletion_of_a_job_or_webhook_deletes_its_deliveries, allow_loopback);
async fn deletion_of_a_job_or_webhook_deletes_its_deliveries(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (deleted, kept) = (ada.noop_job().await, ada.noop_job().await);
    let (all_jobs, _) = create_webhook(&ada, &receiver, json!({})).await;
    create_webhook(&ada, &receiver, json!({"jobId": deleted})).await;
    update_job(&ada, &deleted, "1").await;
    update_job(&ada, &kept, "1").await;
    assert_eq!(rows(&app).await.len(), 3);
    ada.gql("mutation($id: ID!) { deleteJob(id: $id) { deletedId } }", json!({"id": deleted})).await;
    let remaining = rows(&app).await;
    assert_eq!(remaining.iter().map(|row| row.job_id).collect::<Vec<_>>(), [job_id(&kept)]);
    let webhooks = ada.gql("{ webhooks { nodes { id } } }", json!({})).await;
    assert_eq!(
        webhooks["webhooks"]["nodes"],
        json!([{"id": all_jobs}]),
        "the webhook of the job is deleted too"
    );
    let delete = "mutation($id: ID!) { deleteWebhook(id: $id) { deletedId } }";
    assert_eq!(ada.gql(delete, json!({"id": all_jobs})).await["deleteWebhook"]["deletedId"], all_jobs);
    assert!(rows(&app).await.is_empty());
    assert_eq!(ada.gql_err(delete, json!({"id": all_jobs})).await.code(), "NOT_FOUND");
}

both!(old_deliveries_are_deleted_and_late_ones_ended, allow_loopback);
async fn old_deliveries_are_deleted_and_late_ones_ended(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (webhook, _) = create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    start_dispatcher(&app);
    ada.noop_job().await;
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 1).await;
    app.clock.advance(TimeDelta::days(1));
    ada.noop_job().await;
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 2).await;
    let before = app.clock.now() - TimeDelta::hours(12);
    assert_eq!(app.webhooks.clear_log(before).await, Ok(1));
    assert_eq!(deliveries(&ada, &webhook).await.len(), 1);
    // A node that did not know yet that the webhook was disabled inserts a delivery.
    let late = rows(&app).await.remove(0);
    let late = webhook_delivery::Model {
        status: DeliveryStatus::Pending,
        next_attempt_at: Some(before),
        finished_at: None,
        ..late
    };
    webhook_delivery::Entity::delete_by_id(late.id).exec(app.db.writer()).await.expect("the row is deleted");
    ada.gql(UPDATE, json!({"in": {"id": webhook, "enabled": false}})).await;
    let insert = webhook_delivery::Entity::insert(late.into_active_model().reset_all());
    insert.exec_without_returning(app.db.writer()).await.expect("the row is inserted");
    assert_eq!(app.webhooks.clear_log(before).await, Ok(0));
    assert_eq!(deliveries(&ada, &webhook).await[0]["status"], "GIVEN_UP");
}

both!(number_of_webhooks_per_user_is_limited, |config| {
    allow_loopback(config);
    config.webhooks.per_user = 2;
});
async fn number_of_webhooks_per_user_is_limited(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let receiver = Receiver::new(&app).await;
    for _ in 0..2 {
        create_webhook(&ada, &receiver, json!({})).await;
    }
    let refused = ada.gql_err(CREATE, json!({"in": {"url": receiver.url()}})).await;
    assert_eq!(refused.problems(), [(String::new(), "TOO_MANY".to_owned())]);
    create_webhook(&eve, &receiver, json!({})).await;
    let page = "query($after: String) { webhooks(first: 1, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }";
    let first = ada.gql(page, json!({})).await["webhooks"].take();
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let second = ada.gql(page, json!({"after": first["pageInfo"]["endCursor"]})).await["webhooks"].take();
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
    assert_ne!(first["nodes"], second["nodes"]);
}

both!(event_data_above_the_message_limit_is_omitted, |config| {
    allow_loopback(config);
    config.webhooks.message_bytes = 1_000;
});
async fn event_data_above_the_message_limit_is_omitted(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    start_dispatcher(&app);
    ada.create_job(json!({"metadata": {"long": "x".repeat(2_000)}})).await;
    let request = receiver.wait_for(&app, 1).await.remove(0);
    assert!(request.body.len() <= 1_000);
    assert_eq!(request.json()["data"]["data"], json!({"omitted": true}));
}

both!(delivery_fails_after_the_attempt_timeout, |config| {
    allow_loopback(config);
    config.webhooks.attempt_seconds = 1;
});
async fn delivery_fails_after_the_attempt_timeout(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    receiver.gate.forget_permits(Semaphore::MAX_PERMITS);
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    };
    let (silent, _) = create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    let (absent, _) = create_webhook(
        &ada,
        &receiver,
        json!({"eventKinds": ["CREATED"], "url": format!("http://{closed}/hook")}),
    )
    .await;
    ada.noop_job().await;
    start_dispatcher(&app);
    app.wait_until("both deliveries have failed", async || {
        rows(&app).await.iter().all(|row| row.last_error.is_some())
    })
    .await;
    let error = async |webhook: &str| {
        deliveries(&ada, webhook).await[0]["lastError"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(error(&silent).await, "No response within 1 s.");
    assert!(error(&absent).await.starts_with("Connection failed"));
    receiver.gate.add_permits(Semaphore::MAX_PERMITS);
}

both!(delivery_fails_after_the_connect_timeout, |config| {
    allow_loopback(config);
    config.webhooks.connect_seconds = 1;
    config.webhooks.attempt_seconds = 600;
});
async fn delivery_fails_after_the_connect_timeout(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    // The operating system accepts the connection, but nothing responds to the TLS handshake.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}/hook", silent.local_addr().expect("an address"));
    let (webhook, _) = create_webhook(&ada, &receiver, json!({"eventKinds": ["CREATED"], "url": url})).await;
    ada.noop_job().await;
    start_dispatcher(&app);
    app.wait_until("the delivery has failed", async || {
        rows(&app).await.iter().all(|row| row.last_error.is_some())
    })
    .await;
    let error = deliveries(&ada, &webhook).await[0]["lastError"].take();
    assert!(error.as_str().is_some_and(|error| error.starts_with("Connection failed")), "{error}");
}

both!(numbers_in_metadata_keep_all_their_digits, allow_loopback);
async fn numbers_in_metadata_keep_all_their_digits(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    create_webhook(&ada, &receiver, json!({"eventKinds": ["METADATA_CHANGED"]})).await;
    start_dispatcher(&app);
    let job = ada.noop_job().await;
    let big: Value = serde_json::from_str("123456789012345678901234567890.5").expect("a number");
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    ada.gql(update, json!({"in": {"id": job, "metadata": {"big": big}}})).await;
    let received = receiver.wait_for(&app, 1).await;
    assert!(received[0].body.contains("123456789012345678901234567890.5"), "{}", received[0].body);
}
