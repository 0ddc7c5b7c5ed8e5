//! GraphQL over server-sent events: streams by the protocol, and every way in which one ends.

use chrono::TimeDelta;
use docket::account::{NewKey, create_key};
use docket::job::state::Mode;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{Events, Sent, TestApp, User, both, job_id, with_query};

const UPDATED: &str = "subscription($id: ID!) { jobUpdated(id: $id) { status } }";

async fn ask(person: &User, path: &str, accept: &str, body: &Value) -> Response {
    let request = person.request(Method::POST, path).header("Accept", accept).json(body);
    request.send().await.expect("an answer")
}

async fn follow(person: &User, job: &str) -> Events {
    let body = json!({"query": UPDATED, "variables": {"id": job}});
    Events::of(ask(person, "/graphql/stream", "text/event-stream", &body).await)
}

both!(a_subscription_is_a_stream_that_ends_with_complete);
async fn a_subscription_is_a_stream_that_ends_with_complete(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let body = json!({"query": UPDATED, "variables": {"id": job}});
    let response = ask(&ada, "/graphql/stream", "text/event-stream", &body).await;
    let headers = response.headers();
    assert_eq!(
        (&headers["cache-control"], &headers["x-accel-buffering"]),
        (&"no-store".parse().expect("text"), &"no".parse().expect("text"))
    );
    let mut events = Events::of(response);
    assert_eq!(events.next().await["data"]["jobUpdated"]["status"], "QUEUED");
    app.worker().finish(job_id(&job)).await;
    loop {
        let result = events.next().await;
        if result["data"]["jobUpdated"]["status"] == "COMPLETED" {
            break;
        }
    }
    events.completed().await;
    app.wait_until("nobody watches any more", async || app.jobs.hub.watched() == 0).await;
}

both!(a_client_that_leaves_ends_its_subscription);
async fn a_client_that_leaves_ends_its_subscription(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let mut events = follow(&ada, &job).await;
    events.next().await;
    drop(events);
    app.wait_until("nobody watches any more", async || app.jobs.hub.watched() == 0).await;
}

both!(queries_and_mutations_run_over_it_too);
async fn queries_and_mutations_run_over_it_too(app: TestApp) {
    let ada = app.user("ada").await;
    for (query, data) in [
        ("{ viewer { name } }", json!({"viewer": {"name": "ada"}})),
        (
            "mutation { createTeam(input: {name: \"t\"}) { team { name } } }",
            json!({"createTeam": {"team": {"name": "t"}}}),
        ),
    ] {
        for path in ["/graphql/stream", "/graphql"] {
            if path == "/graphql" && query.starts_with("mutation") {
                continue;
            }
            let mut events = Events::of(ask(&ada, path, "text/event-stream", &json!({"query": query})).await);
            assert_eq!(events.next().await["data"], data);
            events.completed().await;
        }
    }
    let request =
        ada.request(Method::GET, &with_query("/graphql/stream", &[("query", "{ viewer { name } }")]));
    let mut events = Events::of(request.send().await.expect("an answer"));
    assert_eq!(events.next().await["data"]["viewer"]["name"], "ada");
    events.completed().await;
    let request =
        ada.request(Method::GET, &with_query("/graphql/stream", &[("query", "mutation { __typename }")]));
    assert_eq!(request.send().await.expect("an answer").status(), 405);
}

both!(who_takes_json_too_gets_a_stream_of_a_subscription_only);
async fn who_takes_json_too_gets_a_stream_of_a_subscription_only(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let urql = "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed";
    let query = ask(&ada, "/graphql", urql, &json!({"query": "{ viewer { name } }"})).await;
    assert_eq!(query.headers()["content-type"], "application/graphql-response+json; charset=utf-8");
    let subscription = json!({"query": UPDATED, "variables": {"id": job}});
    let request =
        ada.request(Method::POST, "/graphql").header("Accept", urql).header("Accept-Encoding", "gzip, br");
    let response = request.json(&subscription).send().await.expect("an answer");
    assert_eq!(response.headers().get("content-encoding"), None, "it would wait for more");
    let mut events = Events::of(response);
    assert_eq!(events.next().await["data"]["jobUpdated"]["status"], "QUEUED");
    // What is wrong with a document is said in the type that the client understands best.
    let broken = ask(&ada, "/graphql", urql, &json!({"query": "{"})).await;
    assert_eq!(broken.status(), 400);
}

both!(errors_of_a_request_come_over_the_stream);
async fn errors_of_a_request_come_over_the_stream(app: TestApp) {
    let ada = app.user("ada").await;
    let no_job = json!({"query": UPDATED, "variables": {"id": "0198c0de-0000-7000-8000-000000000000"}});
    for (body, code) in [
        (json!({"query": "{"}), "GRAPHQL_PARSE_FAILED"),
        (json!({"query": "{ nothing }"}), "GRAPHQL_VALIDATION_FAILED"),
        (json!({"query": UPDATED}), "BAD_USER_INPUT"),
        (json!({"documentId": "unknown"}), "PERSISTED_QUERY_NOT_FOUND"),
        (no_job, "NOT_FOUND"),
    ] {
        let mut events = Events::of(ask(&ada, "/graphql/stream", "text/event-stream", &body).await);
        let result = events.next().await;
        assert_eq!(result["errors"][0]["extensions"]["code"], code, "{result}");
        events.completed().await;
    }
    let mut events = follow(&app.anonymous(), "x").await;
    assert_eq!(events.next().await["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    events.completed().await;
}

both!(what_is_no_request_is_refused_before_there_is_a_stream);
async fn what_is_no_request_is_refused_before_there_is_a_stream(app: TestApp) {
    let ada = app.user("ada").await;
    let query = json!({"query": "{ viewer { id } }"});
    for (person, accept, body, status) in [
        (&ada, "text/event-stream", &json!({"qeury": "x"}), 400),
        (&ada, "text/event-stream", &json!([query]), 400),
        (&ada, "application/json", &query, 406),
        (&app.bearer_of("Bearer wrong"), "text/event-stream", &query, 401),
    ] {
        let response = ask(person, "/graphql/stream", accept, body).await;
        assert_eq!(response.status(), status, "{accept} {body}");
        let said: Value = response.json().await.expect("JSON");
        assert!(said["errors"][0]["extensions"]["code"].is_string(), "{said}");
    }
    let untyped = ada.request(Method::POST, "/graphql/stream").body(query.to_string());
    assert_eq!(untyped.send().await.expect("an answer").status(), 415);
}

both!(a_slow_reader_gets_the_newest_state_and_not_a_backlog);
async fn a_slow_reader_gets_the_newest_state_and_not_a_backlog(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let body = json!({"query": "subscription($id: ID!) { jobUpdated(id: $id) { metadata } }", "variables": {"id": job}});
    let mut events = Events::of(ask(&ada, "/graphql/stream", "text/event-stream", &body).await);
    events.next().await;
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    // More than the connection's buffers take while nobody reads.
    let filler = "x".repeat(60_000);
    for i in 0..200 {
        ada.gql(update, json!({"in": {"id": job, "metadata": {"i": i, "filler": filler}}})).await;
    }
    let mut count = 0;
    loop {
        count += 1;
        if events.next().await["data"]["jobUpdated"]["metadata"]["i"] == 199 {
            break;
        }
    }
    assert!(count < 200, "states that are no longer true are passed over: {count} came");
}

both!(a_silent_stream_is_kept_open, |config| config.sse.keep_alive_milliseconds = 20);
async fn a_silent_stream_is_kept_open(app: TestApp) {
    let ada = app.user("ada").await;
    let mut events = follow(&ada, &ada.noop_job().await).await;
    events.next().await;
    for _ in 0..3 {
        assert_eq!(events.sent().await, Sent::Comment);
    }
}

both!(a_user_has_only_so_many_streams, |config| config.sse.streams = 2);
async fn a_user_has_only_so_many_streams(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let job = ada.noop_job().await;
    let (mut first, mut second) = (follow(&ada, &job).await, follow(&ada, &job).await);
    first.next().await;
    second.next().await;
    let body = json!({"query": UPDATED, "variables": {"id": job}});
    let third = ask(&ada, "/graphql/stream", "text/event-stream", &body).await;
    assert_eq!(third.status(), 503);
    let said: Value = third.json().await.expect("JSON");
    assert_eq!(said["errors"][0]["extensions"]["code"], "UNAVAILABLE");
    follow(&bob, &bob.noop_job().await).await.next().await;
    drop(first);
    let accepted = async || ask(&ada, "/graphql/stream", "text/event-stream", &body).await.status() == 200;
    app.wait_until("the place of the first is free", accepted).await;
}

both!(stopping_completes_streams);
async fn stopping_completes_streams(app: TestApp) {
    let ada = app.user("ada").await;
    let mut events = follow(&ada, &ada.noop_job().await).await;
    events.next().await;
    app.stopping.cancel();
    events.completed().await;
}

both!(the_end_of_a_credential_is_said_and_ends_streams);
async fn the_end_of_a_credential_is_said_and_ends_streams(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let account = app.accounts.by_email(&ada.email()).await.expect("a reading").expect("an account");
    let soon = Some(app.clock.now() + TimeDelta::seconds(5));
    for (name, expires_at) in [("short", soon), ("revoked", None)] {
        let new = NewKey { name: name.into(), mode: Mode::Live, expires_at };
        let (secret, key) =
            create_key(&app.db, &app.clock, account.id, new, &app.config.limits).await.expect("a key");
        let mut events = follow(&app.bearer_of(&format!("Bearer {secret}")), &job).await;
        events.next().await;
        if expires_at.is_none() {
            let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id } } }";
            ada.gql(revoke, json!({"id": key.id.to_string()})).await;
        }
        let result = events.next().await;
        assert_eq!(result["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{name}: {result}");
        assert!(result["errors"][0]["extensions"]["tracking"].as_str().is_some_and(|id| !id.is_empty()));
        events.completed().await;
    }
}
