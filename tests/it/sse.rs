//! Tests of GraphQL over server-sent events.

use chrono::TimeDelta;
use docket::account::{NewKey, create_key};
use docket::job::state::Mode;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{Events, StreamItem, TestApp, User, both, job_id, with_query};

const UPDATED: &str = "subscription($id: ID!) { jobUpdated(id: $id) { status } }";

async fn post(person: &User, path: &str, accept: &str, body: &Value) -> Response {
    let request = person.request(Method::POST, path).header("Accept", accept).json(body);
    request.send().await.expect("a response")
}

async fn subscribe(person: &User, job: &str) -> Events {
    let body = json!({"query": UPDATED, "variables": {"id": job}});
    Events::new(post(person, "/graphql/stream", "text/event-stream", &body).await)
}

both!(subscription_stream_ends_with_a_complete_event);
async fn subscription_stream_ends_with_a_complete_event(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let body = json!({"query": UPDATED, "variables": {"id": job}});
    let response = post(&ada, "/graphql/stream", "text/event-stream", &body).await;
    let headers = response.headers();
    assert_eq!(
        (&headers["cache-control"], &headers["x-accel-buffering"]),
        (&"no-store".parse().expect("text"), &"no".parse().expect("text"))
    );
    let mut events = Events::new(response);
    assert_eq!(events.next().await["data"]["jobUpdated"]["status"], "QUEUED");
    app.worker().finish(job_id(&job)).await;
    loop {
        let result = events.next().await;
        if result["data"]["jobUpdated"]["status"] == "COMPLETED" {
            break;
        }
    }
    events.expect_complete().await;
    app.wait_until("no snapshot is watched", async || app.jobs.hub.subscribed_jobs() == 0).await;
}

both!(disconnect_of_the_client_ends_its_subscription);
async fn disconnect_of_the_client_ends_its_subscription(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let mut events = subscribe(&ada, &job).await;
    events.next().await;
    drop(events);
    app.wait_until("no snapshot is watched", async || app.jobs.hub.subscribed_jobs() == 0).await;
}

both!(queries_and_mutations_can_run_over_sse);
async fn queries_and_mutations_can_run_over_sse(app: TestApp) {
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
            let mut events =
                Events::new(post(&ada, path, "text/event-stream", &json!({"query": query})).await);
            assert_eq!(events.next().await["data"], data);
            events.expect_complete().await;
        }
    }
    let request =
        ada.request(Method::GET, &with_query("/graphql/stream", &[("query", "{ viewer { name } }")]));
    let mut events = Events::new(request.send().await.expect("a response"));
    assert_eq!(events.next().await["data"]["viewer"]["name"], "ada");
    events.expect_complete().await;
    let request =
        ada.request(Method::GET, &with_query("/graphql/stream", &[("query", "mutation { __typename }")]));
    assert_eq!(request.send().await.expect("a response").status(), 405);
}

both!(client_accepting_json_gets_streams_only_for_subscriptions);
async fn client_accepting_json_gets_streams_only_for_subscriptions(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let urql = "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed";
    let query = post(&ada, "/graphql", urql, &json!({"query": "{ viewer { name } }"})).await;
    assert_eq!(query.headers()["content-type"], "application/graphql-response+json; charset=utf-8");
    let subscription = json!({"query": UPDATED, "variables": {"id": job}});
    let request =
        ada.request(Method::POST, "/graphql").header("Accept", urql).header("Accept-Encoding", "gzip, br");
    let response = request.json(&subscription).send().await.expect("a response");
    assert_eq!(response.headers().get("content-encoding"), None, "compression would buffer events");
    let mut events = Events::new(response);
    assert_eq!(events.next().await["data"]["jobUpdated"]["status"], "QUEUED");
    // A parse error is returned as JSON, not as a stream.
    let broken = post(&ada, "/graphql", urql, &json!({"query": "{"})).await;
    assert_eq!(broken.status(), 400);
}

both!(graphql_errors_are_sent_over_the_stream);
async fn graphql_errors_are_sent_over_the_stream(app: TestApp) {
    let ada = app.user("ada").await;
    let no_job = json!({"query": UPDATED, "variables": {"id": "0198c0de-0000-7000-8000-000000000000"}});
    for (body, code) in [
        (json!({"query": "{"}), "GRAPHQL_PARSE_FAILED"),
        (json!({"query": "{ nothing }"}), "GRAPHQL_VALIDATION_FAILED"),
        (json!({"query": UPDATED}), "BAD_USER_INPUT"),
        (json!({"documentId": "unknown"}), "PERSISTED_QUERY_NOT_FOUND"),
        (no_job, "NOT_FOUND"),
    ] {
        let mut events = Events::new(post(&ada, "/graphql/stream", "text/event-stream", &body).await);
        let result = events.next().await;
        assert_eq!(result["errors"][0]["extensions"]["code"], code, "{result}");
        events.expect_complete().await;
    }
    let mut events = subscribe(&app.anonymous(), "x").await;
    assert_eq!(events.next().await["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    events.expect_complete().await;
}

both!(invalid_request_is_refused_before_the_stream_starts);
async fn invalid_request_is_refused_before_the_stream_starts(app: TestApp) {
    let ada = app.user("ada").await;
    let query = json!({"query": "{ viewer { id } }"});
    for (person, accept, body, status) in [
        (&ada, "text/event-stream", &json!({"qeury": "x"}), 400),
        (&ada, "text/event-stream", &json!([query]), 400),
        (&ada, "application/json", &query, 406),
        (&app.with_authorization("Bearer wrong"), "text/event-stream", &query, 401),
    ] {
        let response = post(person, "/graphql/stream", accept, body).await;
        assert_eq!(response.status(), status, "{accept} {body}");
        let body_json: Value = response.json().await.expect("JSON");
        assert!(body_json["errors"][0]["extensions"]["code"].is_string(), "{body_json}");
    }
    let untyped = ada.request(Method::POST, "/graphql/stream").body(query.to_string());
    assert_eq!(untyped.send().await.expect("a response").status(), 415);
}

both!(slow_client_gets_newest_state_instead_of_backlog);
async fn slow_client_gets_newest_state_instead_of_backlog(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let body = json!({"query": "subscription($id: ID!) { jobUpdated(id: $id) { metadata } }", "variables": {"id": job}});
    let mut events = Events::new(post(&ada, "/graphql/stream", "text/event-stream", &body).await);
    events.next().await;
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    // Together the updates exceed the buffers of the connection.
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
    assert!(count < 200, "outdated states are skipped, but {count} arrived");
}

both!(idle_stream_receives_keep_alive_comments, |config| config.sse.keep_alive_milliseconds = 20);
async fn idle_stream_receives_keep_alive_comments(app: TestApp) {
    let ada = app.user("ada").await;
    let mut events = subscribe(&ada, &ada.noop_job().await).await;
    events.next().await;
    for _ in 0..3 {
        assert_eq!(events.next_item().await, StreamItem::Comment);
    }
}

both!(number_of_open_streams_per_user_is_limited, |config| config.sse.streams = 2);
async fn number_of_open_streams_per_user_is_limited(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let job = ada.noop_job().await;
    let (mut first, mut second) = (subscribe(&ada, &job).await, subscribe(&ada, &job).await);
    first.next().await;
    second.next().await;
    let body = json!({"query": UPDATED, "variables": {"id": job}});
    let third = post(&ada, "/graphql/stream", "text/event-stream", &body).await;
    assert_eq!(third.status(), 503);
    let body_json: Value = third.json().await.expect("JSON");
    assert_eq!(body_json["errors"][0]["extensions"]["code"], "UNAVAILABLE");
    subscribe(&bob, &bob.noop_job().await).await.next().await;
    drop(first);
    let accepted = async || post(&ada, "/graphql/stream", "text/event-stream", &body).await.status() == 200;
    app.wait_until("the closed stream no longer counts", accepted).await;
}

both!(shutdown_completes_all_open_streams);
async fn shutdown_completes_all_open_streams(app: TestApp) {
    let ada = app.user("ada").await;
    let mut events = subscribe(&ada, &ada.noop_job().await).await;
    events.next().await;
    app.stopping.cancel();
    events.expect_complete().await;
}

both!(expired_or_revoked_credential_ends_stream_with_error);
async fn expired_or_revoked_credential_ends_stream_with_error(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let account = app.accounts.by_email(&ada.email()).await.expect("a query").expect("an account");
    let soon = Some(app.clock.now() + TimeDelta::seconds(5));
    for (name, expires_at) in [("short", soon), ("revoked", None)] {
        let new = NewKey { name: name.into(), mode: Mode::Live, expires_at };
        let (secret, key) =
            create_key(&app.db, &app.clock, account.id, new, &app.config.limits).await.expect("a key");
        let mut events = subscribe(&app.with_authorization(&format!("Bearer {secret}")), &job).await;
        events.next().await;
        if expires_at.is_none() {
            let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id } } }";
            ada.gql(revoke, json!({"id": key.id.to_string()})).await;
        }
        let result = events.next().await;
        assert_eq!(result["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{name}: {result}");
        assert!(result["errors"][0]["extensions"]["tracking"].as_str().is_some_and(|id| !id.is_empty()));
        events.expect_complete().await;
    }
}
