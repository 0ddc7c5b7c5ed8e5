//! Webhooks: events come to where somebody wants them, once, in order and signed; and nowhere else.

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
use docket::webhook::queue::{Busy, Outcome, Taken};
use hmac::{Hmac, KeyInit, Mac};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, QueryOrder};
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

/// Webhooks may go to where the tests listen, and to nothing else that is not public.
fn local(config: &mut Config) {
    config.webhooks.allow_http = Switch::On;
    config.webhooks.allowed_networks = vec!["127.0.0.1/32".parse().expect("a network")];
    config.webhooks.poll_milliseconds = 20;
    // Only a clock that is moved gets there while a test runs.
    config.webhooks.first_retry_seconds = 60;
}

/// One request that came in.
#[derive(Debug, Clone)]
struct Request {
    headers: HeaderMap,
    body: String,
    answered: u16,
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

    /// Whether one of the signatures is by this secret: computed here from the specification's text.
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

type Answers = dyn Fn(&Request, usize) -> Response + Send + Sync;

/// Somebody's server, which remembers what came in.
#[derive(Clone)]
struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    answer: Arc<Answers>,
    /// A request is answered when there is a permit.
    gate: Arc<Semaphore>,
}

impl Receiver {
    /// Answers by the request and the number of those before it.
    async fn answering(
        app: &TestApp,
        answer: impl Fn(&Request, usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let receiver = Self { address, requests: Arc::default(), answer: Arc::new(answer), gate };
        let router = Router::new().route("/hook", post(receive)).with_state(receiver.clone());
        let stop = app.stopping.clone();
        app.tasks.spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
                .expect("it serves");
        });
        receiver
    }

    async fn new(app: &TestApp) -> Self {
        Self::answering(app, |_, _| StatusCode::NO_CONTENT.into_response()).await
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("nobody panics here").clone()
    }

    fn taken(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.answered < 300).collect()
    }

    async fn wait_for(&self, app: &TestApp, count: usize) -> Vec<Request> {
        app.wait_until("so many requests have come", async || self.requests().len() >= count).await;
        self.requests()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> Response {
    let mut request = Request { headers, body, answered: 0 };
    let (place, response) = {
        let mut requests = receiver.requests.lock().expect("nobody panics here");
        let response = (receiver.answer)(&request, requests.len());
        request.answered = response.status().as_u16();
        requests.push(request);
        (requests.len(), response)
    };
    receiver.gate.acquire().await.expect("it stays open").forget();
    tracing::debug!(place, "answered");
    response
}

/// Sends what is due until the end of the test.
fn dispatch(app: &TestApp) {
    let dispatcher = Dispatcher::new(app.webhooks.clone()).expect("a client");
    let stop = app.stopping.clone();
    app.spawn(async move { dispatcher.run(stop).await });
}

/// A webhook with its secret.
async fn hook(user: &User, receiver: &Receiver, further: Value) -> (String, String) {
    let mut input = json!({"url": receiver.url()});
    let Value::Object(further) = further else { panic!("an object instead of {further}") };
    for (key, value) in further {
        input[key] = value;
    }
    let made = user.gql(CREATE, json!({"in": input})).await["createWebhook"].take();
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    (text(&made["webhook"]["id"]), text(&made["secret"]))
}

/// Deliveries of a webhook as its owner sees them, the oldest first.
async fn log(user: &User, webhook: &str) -> Vec<Value> {
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
    app.wait_until("the log says so", async || {
        log(user, webhook).await.iter().filter(|delivery| delivery["status"] == status).count() == count
    })
    .await;
}

/// Waits until an attempt is over and the next is not due yet.
async fn wait_for_failure(app: &TestApp, attempts: i32) {
    app.wait_until("the attempt is written down", async || {
        let waits = |row: &webhook_delivery::Model| {
            row.status == DeliveryStatus::Pending && row.lease_token.is_none()
        };
        rows(app).await.iter().any(|row| row.attempts == attempts && waits(row))
    })
    .await;
}

async fn update(user: &User, job: &str, note: &str) {
    let query = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    user.gql(query, json!({"in": {"id": job, "metadata": {"note": note}}})).await;
}

both!(what_fails_ten_times_is_delivered_once_and_in_order, local);
async fn what_fails_ten_times_is_delivered_once_and_in_order(app: TestApp) {
    let ada = app.user("ada").await;
    let failing: Arc<Mutex<String>> = Arc::default();
    let (job, failures) = (Arc::clone(&failing), Mutex::new(0));
    let receiver = Receiver::answering(&app, move |request, _| {
        let mut failures = failures.lock().expect("nobody panics here");
        if request.job() == *job.lock().expect("nobody panics here") && *failures < 10 {
            *failures += 1;
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        StatusCode::OK.into_response()
    })
    .await;
    let (webhook, secret) = hook(&ada, &receiver, json!({})).await;
    let unlucky = ada.noop_job().await;
    failing.lock().expect("nobody panics here").clone_from(&unlucky);
    let other = ada.noop_job().await;
    // Two of them share the outbox, as two nodes do.
    dispatch(&app);
    dispatch(&app);
    let of = |requests: &[Request], job: &str| {
        requests.iter().filter(|request| request.job() == job).map(Request::sequence).collect::<Vec<_>>()
    };
    for attempt in 1..=10 {
        wait_for_failure(&app, attempt).await;
        app.wait_until("another job is not held up", async || of(&receiver.taken(), &other).len() == 3).await;
        assert_eq!(of(&receiver.requests(), &unlucky), vec![1; attempt as usize], "its next event waits");
        app.clock.advance(TimeDelta::hours(1));
    }
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 6).await;
    let (all, taken) = (receiver.requests(), receiver.taken());
    assert_eq!(all.len(), 16, "ten failures, and six deliveries");
    for job in [&unlucky, &other] {
        assert_eq!(of(&taken, job), [1, 2, 3], "once each, in order");
    }
    let mut ids: HashMap<(String, i64), Vec<&str>> = HashMap::new();
    for request in &all {
        assert!(request.is_signed_by(&secret), "{request:?}");
        ids.entry((request.job(), request.sequence())).or_default().push(request.header("webhook-id"));
    }
    for (event, ids) in &ids {
        assert!(ids.iter().all(|id| id == &ids[0]), "one ID at every attempt: {event:?} {ids:?}");
    }
    let log = log(&ada, &webhook).await;
    let head = log.iter().find(|delivery| delivery["jobId"] == *unlucky).expect("a delivery");
    assert_eq!(
        (&head["sequence"], &head["attempts"], &head["lastStatusCode"]),
        (&json!(1), &json!(11), &json!(200))
    );
    assert_eq!((&head["lastError"], &head["nextAttemptAt"]), (&Value::Null, &Value::Null));
    assert_eq!(ids[&(unlucky, 1)][0], head["id"]);
}

both!(a_message_says_what_the_feed_says, local);
async fn a_message_says_what_the_feed_says(app: TestApp) {
    let (ada, bob, eve) = (app.user("ada").await, app.user("bob").await, app.user("eve").await);
    let team = ada.team("reviewers", &[&bob]).await;
    let receivers = [Receiver::new(&app).await, Receiver::new(&app).await, Receiver::new(&app).await];
    for (person, receiver) in [&ada, &bob, &eve].into_iter().zip(&receivers) {
        hook(person, receiver, json!({"description": person.name})).await;
    }
    dispatch(&app);
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
    assert!(!withheld(&receivers[0]), "the owner is told everything");
    assert!(withheld(&receivers[1]), "bob not of the steps that are not his");
    assert_eq!(receivers[2].requests().len(), 0, "eve is told nothing");
}

both!(a_webhook_is_about_one_job_and_some_kinds, local);
async fn a_webhook_is_about_one_job_and_some_kinds(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (job, other) = (ada.noop_job().await, ada.noop_job().await);
    let input = json!({"jobId": job, "eventKinds": ["STATUS_CHANGED", "STATUS_CHANGED", "METADATA_CHANGED"]});
    let (webhook, _) = hook(&ada, &receiver, input).await;
    let query =
        "query($id: ID!) { webhook(id: $id) { job { id } eventKinds description previousSecretExpiresAt } }";
    let made = ada.gql(query, json!({"id": webhook})).await;
    let kinds = json!(["STATUS_CHANGED", "METADATA_CHANGED"]);
    let expected =
        json!({"job": {"id": job}, "eventKinds": kinds, "description": "", "previousSecretExpiresAt": null});
    assert_eq!(made["webhook"], expected);
    dispatch(&app);
    update(&ada, &other, "other").await;
    update(&ada, &job, "this").await;
    app.worker().finish_all().await;
    let history = ada.job(&job, "events(first: 100) { nodes { sequence kind } }").await;
    let nodes = history["events"]["nodes"].as_array().expect("events").iter();
    // Making the job took three events.
    let later = nodes.filter(|event| event["sequence"].as_i64() > Some(3));
    let expected: Vec<_> = later.map(|event| event["kind"].as_str().unwrap_or_default()).collect();
    let expected: Vec<_> =
        expected.into_iter().filter(|kind| ["STATUS_CHANGED", "METADATA_CHANGED"].contains(kind)).collect();
    assert!(expected.len() > 2 && expected[0] == "METADATA_CHANGED", "{expected:?}");
    wait_for_status(&app, &ada, &webhook, "DELIVERED", expected.len()).await;
    let requests = receiver.requests();
    assert!(requests.iter().all(|request| request.job() == job), "of other jobs nothing is sent");
    let told: Vec<_> = requests.iter().map(|request| request.json()["data"]["kind"].take()).collect();
    assert_eq!(told, expected, "nor what was before, or of other kinds");
}

both!(an_event_costs_nothing_where_nobody_listens, local);
async fn an_event_costs_nothing_where_nobody_listens(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let job = ada.noop_job().await;
    let receiver = Receiver::new(&app).await;
    let cost = async || app.count_statements(update(&ada, &job, &WebhookId::new().to_string())).await.1;
    cost().await;
    let none = cost().await;
    hook(&eve, &receiver, json!({})).await;
    assert_eq!(cost().await, none + 1, "who listens is looked up");
    hook(&ada, &receiver, json!({"jobId": job})).await;
    hook(&ada, &receiver, json!({})).await;
    assert_eq!(cost().await, none + 2, "and all is written at once");
    assert_eq!(rows(&app).await.len(), 2);
}

both!(what_is_not_public_is_refused_at_once, |config| config.webhooks.allow_http = Switch::On);
async fn what_is_not_public_is_refused_at_once(app: TestApp) {
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
        let refused = ada.refused(CREATE, json!({"in": {"url": url}})).await;
        assert_eq!(
            (refused.code(), refused.problems()),
            ("BAD_USER_INPUT", vec![("/url".into(), code.into())]),
            "{url}"
        );
    }
    let long = "x".repeat(10_001);
    let refused = ada.refused(CREATE, json!({"in": {"url": "http://127.0.0.1", "description": long}})).await;
    assert_eq!(refused.problems().len(), 2, "all at once: {refused:?}");
    let made =
        ada.gql(CREATE, json!({"in": {"url": "https://192.0.1.1/hook"}})).await["createWebhook"].take();
    let change = json!({"in": {"id": made["webhook"]["id"], "url": "http://127.0.0.1/hook"}});
    let refused = ada.refused(UPDATE, change).await;
    assert_eq!(refused.problems(), [("/url".to_owned(), "TARGET_NOT_ALLOWED".to_owned())]);
}

both!(plain_http_is_refused_unless_configured);
async fn plain_http_is_refused_unless_configured(app: TestApp) {
    let ada = app.user("ada").await;
    let refused = ada.refused(CREATE, json!({"in": {"url": "http://192.0.1.1/hook"}})).await;
    assert_eq!(refused.problems(), [("/url".to_owned(), "SCHEME".to_owned())]);
}

both!(what_a_target_is_counts_when_it_is_connected_to, |config| {
    local(config);
    config.webhooks.allowed_networks =
        ["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a network")).into();
});
async fn what_a_target_is_counts_when_it_is_connected_to(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let by_name = format!("http://localhost:{}/hook", receiver.address.port());
    let mut hooks = Vec::new();
    for url in [by_name, receiver.url()] {
        hooks.push(hook(&ada, &receiver, json!({"url": url, "eventKinds": ["CREATED"]})).await.0);
    }
    ada.noop_job().await;
    // As if the name had meant something else when the webhook was made.
    let mut settings = app.config.webhooks.clone();
    settings.allowed_networks.clear();
    let strict = Dispatcher::new(Webhooks::new(app.jobs.clone(), &settings)).expect("a client");
    let stop = app.stopping.child_token();
    let (until, end) = (stop.clone(), stop);
    let running = app.tasks.spawn(async move { strict.run(until).await });
    for webhook in &hooks {
        wait_for_status(&app, &ada, webhook, "GIVEN_UP", 1).await;
        let delivery = &log(&ada, webhook).await[0];
        let error = "The target is not allowed: it is not at a public address.";
        assert_eq!(
            (&delivery["lastError"], &delivery["attempts"]),
            (&json!(error), &json!(1)),
            "it is not tried again"
        );
    }
    assert_eq!(receiver.requests().len(), 0, "no connection is made");
    end.cancel();
    running.await.expect("it ends");
    dispatch(&app);
    for webhook in &hooks {
        let id = log(&ada, webhook).await[0]["id"].clone();
        ada.gql(REDELIVER, json!({"id": id})).await;
        wait_for_status(&app, &ada, webhook, "DELIVERED", 1).await;
    }
    assert_eq!(receiver.requests().len(), 2, "where the network is allowed both are sent to");
}

both!(redirects_are_not_followed, local);
async fn redirects_are_not_followed(app: TestApp) {
    let ada = app.user("ada").await;
    let inner = Receiver::new(&app).await;
    let location = inner.url();
    let outer = Receiver::answering(&app, move |_, _| {
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location.clone())]).into_response()
    })
    .await;
    let (webhook, _) = hook(&ada, &outer, json!({"eventKinds": ["CREATED"]})).await;
    dispatch(&app);
    ada.noop_job().await;
    wait_for_failure(&app, 1).await;
    let delivery = &log(&ada, &webhook).await[0];
    assert_eq!((&delivery["status"], &delivery["lastStatusCode"]), (&json!("PENDING"), &json!(307)));
    assert!(delivery["lastError"].as_str().is_some_and(|error| error.contains("redirects are not followed")));
    assert_eq!((outer.requests().len(), inner.requests().len()), (1, 0));
}

both!(retry_after_is_respected_within_bounds, local);
async fn retry_after_is_respected_within_bounds(app: TestApp) {
    let ada = app.user("ada").await;
    let answers = [(503, "600"), (429, "999999"), (503, "0"), (500, "3000")];
    let receiver = Receiver::answering(&app, move |_, before| {
        let (status, wait) = answers[before.min(answers.len() - 1)];
        let status = StatusCode::from_u16(status).expect("a status");
        (status, [(header::RETRY_AFTER, wait)]).into_response()
    })
    .await;
    hook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    dispatch(&app);
    ada.noop_job().await;
    // What is waited lies between these seconds; a second for the attempt itself, and more for a slow machine.
    for (attempt, (least, most)) in
        [(600, 620), (3_600, 3_620), (120, 260), (240, 500)].into_iter().enumerate()
    {
        wait_for_failure(&app, attempt as i32 + 1).await;
        let row = rows(&app).await.pop().expect("a delivery");
        let waits =
            row.next_attempt_at.zip(row.last_attempt_at).map(|(next, last)| (next - last).num_seconds());
        assert!(waits.is_some_and(|waits| (least..=most).contains(&waits)), "{attempt}: {waits:?}");
        app.clock.advance(TimeDelta::seconds(waits.unwrap_or_default()));
    }
}

both!(an_event_is_sent_again_on_request, local);
async fn an_event_is_sent_again_on_request(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let receiver = Receiver::new(&app).await;
    let (webhook, _) = hook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    dispatch(&app);
    ada.noop_job().await;
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 1).await;
    let id = log(&ada, &webhook).await[0]["id"].clone();
    for person in [&eve, &ada] {
        for unknown in [&id, &json!(DeliveryId::new().to_string()), &json!("nonsense")] {
            if person.name == "eve" || *unknown != id {
                assert_eq!(person.refused(REDELIVER, json!({"id": unknown})).await.code(), "NOT_FOUND");
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
    assert_eq!(ada.refused(REDELIVER, json!({"id": id})).await.code(), "CONFLICT");
}

both!(who_dies_in_the_middle_is_followed_by_another, local);
async fn who_dies_in_the_middle_is_followed_by_another(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (webhook, _) = hook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    // Nothing is answered for the time being.
    let open = receiver.gate.forget_permits(Semaphore::MAX_PERMITS);
    ada.noop_job().await;
    dispatch(&app);
    receiver.wait_for(&app, 1).await;
    let id = log(&ada, &webhook).await[0]["id"].clone();
    assert_eq!(ada.refused(REDELIVER, json!({"id": id})).await.code(), "CONFLICT", "it is under way");
    assert!(
        app.webhooks.claim(10, &Busy::default()).await.expect("the outbox").is_empty(),
        "nobody else has it"
    );
    // Whoever has it is taken for dead.
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

both!(a_claim_that_was_lost_says_nothing, local);
async fn a_claim_that_was_lost_says_nothing(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    hook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    ada.noop_job().await;
    let claim = async || app.webhooks.claim(10, &Busy::default()).await.expect("the outbox").pop();
    let first = claim().await.expect("it is due");
    assert!(claim().await.is_none(), "it is taken");
    app.clock.advance(TimeDelta::seconds(60));
    let second = claim().await.expect("the first has run out");
    let finish =
        async |claim, outcome| app.webhooks.finish(claim, outcome).await.expect("it is written down");
    let before = rows(&app).await;
    assert_eq!(finish(&first, Outcome::Delivered(200)).await, Taken::Lost);
    assert_eq!(rows(&app).await, before, "nothing has changed");
    assert_eq!(finish(&second, Outcome::Delivered(200)).await, Taken::Delivered);
}

both!(a_host_has_so_many_deliveries_at_once, |config| {
    local(config);
    config.webhooks.host_concurrency = 2;
});
async fn a_host_has_so_many_deliveries_at_once(app: TestApp) {
    let ada = app.user("ada").await;
    let (slow, quick) = (Receiver::new(&app).await, Receiver::new(&app).await);
    let open = slow.gate.forget_permits(Semaphore::MAX_PERMITS);
    let (first, _) = hook(&ada, &slow, json!({"eventKinds": ["CREATED"]})).await;
    let (second, _) = hook(&ada, &quick, json!({"eventKinds": ["CREATED"]})).await;
    for _ in 0..5 {
        ada.noop_job().await;
    }
    dispatch(&app);
    wait_for_status(&app, &ada, &second, "DELIVERED", 5).await;
    slow.wait_for(&app, 2).await;
    let busy = rows(&app).await.iter().filter(|row| row.lease_token.is_some()).count();
    assert_eq!((busy, slow.requests().len()), (2, 2), "others wait until one is answered");
    slow.gate.add_permits(open);
    wait_for_status(&app, &ada, &first, "DELIVERED", 5).await;
}

both!(a_node_has_so_many_deliveries_at_once, |config| {
    local(config);
    config.webhooks.concurrency = 2;
});
async fn a_node_has_so_many_deliveries_at_once(app: TestApp) {
    let ada = app.user("ada").await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let receiver = Receiver::new(&app).await;
        receiver.gate.forget_permits(Semaphore::MAX_PERMITS);
        hook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
        slow.push(receiver);
    }
    ada.noop_job().await;
    dispatch(&app);
    let begun = || slow.iter().map(|receiver| receiver.requests().len()).sum::<usize>();
    app.wait_until("two have begun", async || begun() == 2).await;
    // All three were due at once, so that one claim would have taken them all.
    let taken = rows(&app).await.iter().filter(|row| row.lease_token.is_some()).count();
    assert_eq!((taken, begun()), (2, 2));
    for receiver in &slow {
        receiver.gate.add_permits(Semaphore::MAX_PERMITS);
    }
    app.wait_until("the third has come", async || begun() == 3).await;
}

both!(of_an_answer_little_is_read, local);
async fn of_an_answer_little_is_read(app: TestApp) {
    let ada = app.user("ada").await;
    let endless = Receiver::answering(&app, |_, _| {
        let nothing = futures_util::stream::pending::<std::io::Result<Vec<u8>>>();
        axum::body::Body::from_stream(nothing).into_response()
    })
    .await;
    let wordy = Receiver::answering(&app, |_, _| {
        let names = (0..101).map(|n| format!("x-{n}").parse::<header::HeaderName>().expect("a name"));
        let headers: HeaderMap = names.map(|name| (name, header::HeaderValue::from_static("x"))).collect();
        (StatusCode::OK, headers).into_response()
    })
    .await;
    let (first, _) = hook(&ada, &endless, json!({"eventKinds": ["CREATED"]})).await;
    hook(&ada, &wordy, json!({"eventKinds": ["CREATED"]})).await;
    ada.noop_job().await;
    dispatch(&app);
    wait_for_status(&app, &ada, &first, "DELIVERED", 1).await;
    wait_for_failure(&app, 1).await;
}

both!(a_user_has_so_many_deliveries_at_once, |config| {
    local(config);
    config.webhooks.concurrency = 3;
    config.webhooks.user_concurrency = 2;
});
async fn a_user_has_so_many_deliveries_at_once(app: TestApp) {
    let (eve, ada) = (app.user("eve").await, app.user("ada").await);
    let mut slow = Vec::new();
    for _ in 0..3 {
        let receiver = Receiver::new(&app).await;
        receiver.gate.forget_permits(Semaphore::MAX_PERMITS);
        hook(&eve, &receiver, json!({"eventKinds": ["CREATED"]})).await;
        slow.push(receiver);
    }
    let quick = Receiver::new(&app).await;
    let (hers, _) = hook(&ada, &quick, json!({"eventKinds": ["CREATED"]})).await;
    for _ in 0..3 {
        eve.noop_job().await;
    }
    ada.noop_job().await;
    dispatch(&app);
    wait_for_status(&app, &ada, &hers, "DELIVERED", 1).await;
    let under_way = slow.iter().map(|receiver| receiver.requests().len()).sum::<usize>();
    assert!(under_way <= 2, "{under_way} of Eve's were begun, and none has ended");
    for receiver in slow {
        receiver.gate.add_permits(Semaphore::MAX_PERMITS);
    }
}

both!(who_answers_gone_is_left_alone, local);
async fn who_answers_gone_is_left_alone(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::answering(&app, |_, before| match before {
        0 => StatusCode::GONE.into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let (webhook, _) = hook(&ada, &receiver, json!({})).await;
    ada.noop_job().await;
    dispatch(&app);
    wait_for_status(&app, &ada, &webhook, "GIVEN_UP", 3).await;
    let seen = ada.gql(LOG, json!({"id": webhook})).await["webhook"].take();
    assert_eq!((&seen["enabled"], &seen["disabledReason"]), (&json!(false), &json!("GONE")));
    let log = log(&ada, &webhook).await;
    assert_eq!((&log[0]["lastStatusCode"], &log[0]["attempts"]), (&json!(410), &json!(1)));
    assert_eq!((&log[1]["lastError"], &log[1]["attempts"]), (&json!("The webhook was disabled."), &json!(0)));
    ada.noop_job().await;
    assert_eq!(rows(&app).await.len(), 3, "nothing is written for it");
    let enabled = ada.gql(UPDATE, json!({"in": {"id": webhook, "enabled": true}})).await;
    let expected = json!({"enabled": true, "disabledReason": null, "url": receiver.url()});
    assert_eq!(enabled["updateWebhook"]["webhook"], expected);
    ada.noop_job().await;
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 3).await;
    assert_eq!(receiver.requests().len(), 4);
}

both!(after_a_day_an_event_and_after_days_a_webhook_is_given_up, local);
async fn after_a_day_an_event_and_after_days_a_webhook_is_given_up(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::answering(&app, |_, _| StatusCode::BAD_GATEWAY.into_response()).await;
    let (webhook, _) = hook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    dispatch(&app);
    for round in 1..=2 {
        ada.noop_job().await;
        receiver.wait_for(&app, 2 * round - 1).await;
        wait_for_failure(&app, 1).await;
        app.clock.advance(TimeDelta::days(3));
        wait_for_status(&app, &ada, &webhook, "GIVEN_UP", round).await;
        let seen = ada.gql(LOG, json!({"id": webhook})).await["webhook"].take();
        assert!(seen["failingSince"].is_string());
        assert_eq!(seen["enabled"], round < 2, "five days without a success are too many");
        assert_eq!(seen["disabledReason"], if round < 2 { Value::Null } else { json!("FAILING") });
    }
}

both!(secrets_are_shown_once_and_overlap, local);
async fn secrets_are_shown_once_and_overlap(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (webhook, old) = hook(&ada, &receiver, json!({"eventKinds": ["METADATA_CHANGED"]})).await;
    dispatch(&app);
    let rotate =
        "mutation($id: ID!) { rotateWebhookSecret(id: $id) { secret webhook { previousSecretExpiresAt } } }";
    let rotated = ada.gql(rotate, json!({"id": webhook})).await["rotateWebhookSecret"].take();
    assert!(rotated["webhook"]["previousSecretExpiresAt"].is_string());
    let new = rotated["secret"].as_str().expect("a secret").to_owned();
    let job = ada.noop_job().await;
    update(&ada, &job, "1").await;
    let first = receiver.wait_for(&app, 1).await.remove(0);
    assert!(first.is_signed_by(&new) && first.is_signed_by(&old));
    app.clock.advance(TimeDelta::hours(25));
    update(&ada, &job, "2").await;
    let second = receiver.wait_for(&app, 2).await.remove(1);
    assert!(second.is_signed_by(&new) && !second.is_signed_by(&old));
    let row = webhook::Entity::find().one(app.db.read()).await.expect("a webhook").expect("a webhook");
    let printed = format!("{row:?}");
    assert!(!printed.contains(&new) && !printed.contains(&old), "{printed}");
}

both!(who_loses_access_is_told_nothing_more, local);
async fn who_loses_access_is_told_nothing_more(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let receiver = Receiver::new(&app).await;
    let share = json!([{"collaborator": {"userId": bob.id()}}]);
    let job = ada.create_job(json!({"collaboration": share})).await;
    let (over_all, _) = hook(&bob, &receiver, json!({})).await;
    let (of_one, _) = hook(&bob, &receiver, json!({"jobId": job})).await;
    update(&ada, &job, "secret").await;
    assert_eq!(rows(&app).await.len(), 2, "it waits");
    let remove = "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { id } } }";
    ada.gql(remove, json!({"in": {"jobId": job, "collaborator": {"userId": bob.id()}}})).await;
    assert_eq!(rows(&app).await.len(), 2, "that he was let out is nothing that he is told");
    dispatch(&app);
    app.wait_until("what waits is dropped", async || rows(&app).await.is_empty()).await;
    assert_eq!(receiver.requests().len(), 0);
    let seen = bob.gql("{ webhooks { nodes { id job { id } } } }", json!({})).await;
    let nodes = json!([{"id": of_one, "job": null}, {"id": over_all, "job": null}]);
    assert_eq!(seen["webhooks"]["nodes"], nodes);
    let again = bob.refused(CREATE, json!({"in": {"url": receiver.url(), "jobId": job}})).await;
    assert_eq!(again.code(), "NOT_FOUND");
}

both!(what_is_deleted_takes_its_deliveries_with_it, local);
async fn what_is_deleted_takes_its_deliveries_with_it(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (doomed, stays) = (ada.noop_job().await, ada.noop_job().await);
    let (over_all, _) = hook(&ada, &receiver, json!({})).await;
    hook(&ada, &receiver, json!({"jobId": doomed})).await;
    update(&ada, &doomed, "1").await;
    update(&ada, &stays, "1").await;
    assert_eq!(rows(&app).await.len(), 3);
    ada.gql("mutation($id: ID!) { deleteJob(id: $id) { deletedId } }", json!({"id": doomed})).await;
    let left = rows(&app).await;
    assert_eq!(left.iter().map(|row| row.job_id).collect::<Vec<_>>(), [job_id(&stays)]);
    let webhooks = ada.gql("{ webhooks { nodes { id } } }", json!({})).await;
    assert_eq!(webhooks["webhooks"]["nodes"], json!([{"id": over_all}]), "that of the job went with it");
    let delete = "mutation($id: ID!) { deleteWebhook(id: $id) { deletedId } }";
    assert_eq!(ada.gql(delete, json!({"id": over_all})).await["deleteWebhook"]["deletedId"], over_all);
    assert!(rows(&app).await.is_empty());
    assert_eq!(ada.refused(delete, json!({"id": over_all})).await.code(), "NOT_FOUND");
}

both!(the_log_is_kept_for_some_days, local);
async fn the_log_is_kept_for_some_days(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    let (webhook, _) = hook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    dispatch(&app);
    ada.noop_job().await;
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 1).await;
    app.clock.advance(TimeDelta::days(1));
    ada.noop_job().await;
    wait_for_status(&app, &ada, &webhook, "DELIVERED", 2).await;
    let before = app.clock.now() - TimeDelta::hours(12);
    assert_eq!(app.webhooks.clear(before).await, Ok(1));
    assert_eq!(log(&ada, &webhook).await.len(), 1);
    // Written by somebody who did not know yet that it was disabled.
    let late = rows(&app).await.remove(0);
    let late = webhook_delivery::Model {
        status: DeliveryStatus::Pending,
        next_attempt_at: Some(before),
        finished_at: None,
        ..late
    };
    webhook_delivery::Entity::delete_by_id(late.id).exec(app.db.writer()).await.expect("it goes");
    ada.gql(UPDATE, json!({"in": {"id": webhook, "enabled": false}})).await;
    let insert = webhook_delivery::Entity::insert(late.into_active_model().reset_all());
    insert.exec_without_returning(app.db.writer()).await.expect("it comes again");
    assert_eq!(app.webhooks.clear(before).await, Ok(0));
    assert_eq!(log(&ada, &webhook).await[0]["status"], "GIVEN_UP");
}

both!(a_user_has_so_many_webhooks, |config| {
    local(config);
    config.webhooks.per_user = 2;
});
async fn a_user_has_so_many_webhooks(app: TestApp) {
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let receiver = Receiver::new(&app).await;
    for _ in 0..2 {
        hook(&ada, &receiver, json!({})).await;
    }
    let refused = ada.refused(CREATE, json!({"in": {"url": receiver.url()}})).await;
    assert_eq!(refused.problems(), [(String::new(), "TOO_MANY".to_owned())]);
    hook(&eve, &receiver, json!({})).await;
    let page = "query($after: String) { webhooks(first: 1, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }";
    let first = ada.gql(page, json!({})).await["webhooks"].take();
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let second = ada.gql(page, json!({"after": first["pageInfo"]["endCursor"]})).await["webhooks"].take();
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
    assert_ne!(first["nodes"], second["nodes"]);
}

both!(what_is_too_long_for_a_message_is_left_out, |config| {
    local(config);
    config.webhooks.message_bytes = 1_000;
});
async fn what_is_too_long_for_a_message_is_left_out(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    hook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    dispatch(&app);
    ada.create_job(json!({"metadata": {"long": "x".repeat(2_000)}})).await;
    let request = receiver.wait_for(&app, 1).await.remove(0);
    assert!(request.body.len() <= 1_000);
    assert_eq!(request.json()["data"]["data"], json!({"omitted": true}));
}

both!(an_address_that_answers_nothing_is_given_time_and_no_more, |config| {
    local(config);
    config.webhooks.attempt_seconds = 1;
});
async fn an_address_that_answers_nothing_is_given_time_and_no_more(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    receiver.gate.forget_permits(Semaphore::MAX_PERMITS);
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    };
    let (silent, _) = hook(&ada, &receiver, json!({"eventKinds": ["CREATED"]})).await;
    let (absent, _) =
        hook(&ada, &receiver, json!({"eventKinds": ["CREATED"], "url": format!("http://{closed}/hook")}))
            .await;
    ada.noop_job().await;
    dispatch(&app);
    app.wait_until("both have failed", async || rows(&app).await.iter().all(|row| row.last_error.is_some()))
        .await;
    let error = async |webhook: &str| {
        log(&ada, webhook).await[0]["lastError"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(error(&silent).await, "There was no answer within 1 s.");
    assert!(error(&absent).await.starts_with("No connection could be made"));
    receiver.gate.add_permits(Semaphore::MAX_PERMITS);
}

both!(a_connection_is_given_time_and_no_more, |config| {
    local(config);
    config.webhooks.connect_seconds = 1;
    config.webhooks.attempt_seconds = 600;
});
async fn a_connection_is_given_time_and_no_more(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    // The operating system takes the connection, and nobody ever answers what TLS begins with.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}/hook", mute.local_addr().expect("an address"));
    let (webhook, _) = hook(&ada, &receiver, json!({"eventKinds": ["CREATED"], "url": url})).await;
    ada.noop_job().await;
    dispatch(&app);
    app.wait_until("it has failed", async || rows(&app).await.iter().all(|row| row.last_error.is_some()))
        .await;
    let error = log(&ada, &webhook).await[0]["lastError"].take();
    assert!(error.as_str().is_some_and(|error| error.starts_with("No connection could be made")), "{error}");
}

both!(metadata_numbers_arrive_with_all_their_digits, local);
async fn metadata_numbers_arrive_with_all_their_digits(app: TestApp) {
    let ada = app.user("ada").await;
    let receiver = Receiver::new(&app).await;
    hook(&ada, &receiver, json!({"eventKinds": ["METADATA_CHANGED"]})).await;
    dispatch(&app);
    let job = ada.noop_job().await;
    let big: Value = serde_json::from_str("123456789012345678901234567890.5").expect("a number");
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    ada.gql(update, json!({"in": {"id": job, "metadata": {"big": big}}})).await;
    let received = receiver.wait_for(&app, 1).await;
    assert!(received[0].body.contains("123456789012345678901234567890.5"), "{}", received[0].body);
}
