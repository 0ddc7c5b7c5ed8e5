//! Tests of the rate limits per minute.

use std::num::NonZeroU32;

use docket::config::{Config, Switch};
use reqwest::Method;
use reqwest::header::{ACCEPT, RETRY_AFTER};
use serde_json::{Value, json};

use crate::harness::{TestApp, User, both};

const VIEWER: &str = "{ viewer { id } }";

fn limit(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("not 0")
}

/// Runs an operation and returns the status, `Retry-After`, and the extensions of the first error.
async fn run_query(user: &User, query: &str, accept: &str) -> (u16, Option<u64>, Value) {
    let request = user.request(Method::POST, "/graphql").header(ACCEPT, accept);
    let response = request.json(&json!({"query": query})).send().await.expect("a response");
    let retry = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("JSON");
    (status, retry, body["errors"][0]["extensions"].clone())
}

/// The media type that older clients accept.
const JSON: &str = "application/json";

both!(requests_are_limited_per_user_and_per_address, |config: &mut Config| config
    .rates
    .requests_per_minute =
    limit(4));
async fn requests_are_limited_per_user_and_per_address(app: TestApp) {
    let (ada, bob, anonymous) = (app.user("ada").await, app.user("bob").await, app.anonymous());
    for _ in 0..4 {
        assert_eq!(run_query(&ada, VIEWER, JSON).await.0, 200);
    }
    let (status, retry, extensions) = run_query(&ada, VIEWER, JSON).await;
    assert_eq!((status, &extensions["code"]), (429, &json!("RATE_LIMITED")));
    assert!(retry.is_some_and(|seconds| (1..=16).contains(&seconds)), "{retry:?}");
    assert_eq!(extensions["retryAfterSeconds"], json!(retry));
    for (method, path) in [(Method::POST, "/documents"), (Method::GET, "/documents/x/contents")] {
        let refused = ada.request(method, path).send().await.expect("a response");
        assert_eq!(refused.status(), 429, "{path}");
    }
    assert_eq!(run_query(&bob, VIEWER, JSON).await.0, 200, "other users are not limited");

    // Unknown credentials count for the address: here the first requests of ada and bob, and the guesses.
    for (guess, expected) in [("a", 401), ("b", 401), ("c", 429), ("d", 429)] {
        assert_eq!(
            run_query(&app.with_authorization(&format!("Bearer {guess}")), VIEWER, JSON).await.0,
            expected
        );
    }
    // Requests without a credential have a separate limit.
    for expected in [200, 200, 200, 200, 429] {
        assert_eq!(run_query(&anonymous, VIEWER, JSON).await.0, expected);
    }
    assert_eq!(run_query(&bob, VIEWER, JSON).await.0, 200);
    assert_eq!(anonymous.request(Method::GET, "/readyz").send().await.expect("a response").status(), 200);
}

both!(revoked_key_counts_toward_limit_of_its_address, |config: &mut Config| config
    .rates
    .requests_per_minute =
    limit(3));
async fn revoked_key_counts_toward_limit_of_its_address(app: TestApp) {
    let ada = app.user("ada").await;
    assert_eq!(run_query(&ada, VIEWER, JSON).await.0, 200);
    let actor = ada.actor().await;
    let key = actor.credential.api_key.expect("a key");
    app.accounts.revoke_key(&actor, key).await.expect("the key is revoked");
    for expected in [401, 401, 429, 429] {
        assert_eq!(run_query(&ada, VIEWER, JSON).await.0, expected);
    }
}

both!(operations_over_a_websocket_count_as_requests, |config: &mut Config| {
    config.rates.requests_per_minute = limit(3);
});
async fn operations_over_a_websocket_count_as_requests(app: TestApp) {
    let ada = app.user("ada").await;
    // The upgrade does not count for a user yet.
    let mut socket = ada.socket().await;
    for id in ["1", "2", "3"] {
        socket.run(id, VIEWER, &json!({})).await;
        assert_eq!(socket.receive().await["type"], "next");
        assert_eq!(socket.receive().await["type"], "complete");
    }
    socket.run("4", VIEWER, &json!({})).await;
    let refused = socket.receive().await;
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("4")));
    let extensions = &refused["payload"][0]["extensions"];
    assert_eq!(extensions["code"], "RATE_LIMITED");
    assert!(extensions["retryAfterSeconds"].as_u64().is_some_and(|seconds| seconds >= 1), "{extensions}");
    assert_eq!(run_query(&ada, VIEWER, JSON).await.0, 429, "HTTP and WebSocket share the limit");
}

both!(cost_of_operations_is_limited_per_user, |config: &mut Config| config.rates.cost_per_minute =
    limit(500));
async fn cost_of_operations_is_limited_per_user(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let expensive = "{ jobs(first: 100) { nodes { id status } } }";
    assert_eq!(run_query(&ada, expensive, JSON).await.0, 200);
    for accept in [JSON, "application/graphql-response+json"] {
        let (status, retry, extensions) = run_query(&ada, expensive, accept).await;
        assert_eq!((status, &extensions["code"]), (429, &json!("RATE_LIMITED")), "{accept}");
        assert!(retry.is_some_and(|seconds| seconds >= 1), "{accept}");
        assert_eq!(extensions["retryAfterSeconds"], json!(retry));
    }
    assert_eq!(run_query(&ada, VIEWER, JSON).await.0, 200, "a cheap operation is still accepted");
    assert_eq!(run_query(&bob, expensive, JSON).await.0, 200);
    let mut socket = ada.socket().await;
    socket.run("1", expensive, &json!({})).await;
    let refused = socket.receive().await;
    assert_eq!(refused["payload"][0]["extensions"]["code"], "RATE_LIMITED", "{refused}");
}

both!(disabled_rate_limits_accept_every_request, |config: &mut Config| {
    config.rate_limits = Switch::Off;
    (config.rates.requests_per_minute, config.rates.cost_per_minute) = (limit(1), limit(1));
    config.rates.sign_in_pair_per_minute = limit(1);
});
async fn disabled_rate_limits_accept_every_request(app: TestApp) {
    let (ada, anonymous) = (app.user("ada").await, app.anonymous());
    for _ in 0..5 {
        assert_eq!(run_query(&ada, VIEWER, JSON).await.0, 200);
    }
    let sign_in = "mutation { signIn(input: {email: \"ada@example.com\", password: \"x\"}) { accessToken } }";
    for _ in 0..3 {
        assert_eq!(run_query(&anonymous, sign_in, JSON).await.2["code"], "UNAUTHENTICATED");
    }
}

both!(trusted_proxy_determines_the_address_of_the_client, |config: &mut Config| {
    config.rates.requests_per_minute = limit(2);
    config.http.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
});
async fn trusted_proxy_determines_the_address_of_the_client(app: TestApp) {
    let anonymous = app.anonymous();
    let from = async |client: &str| {
        let request = anonymous.request(Method::POST, "/graphql").header("X-Forwarded-For", client);
        request.json(&json!({"query": VIEWER})).send().await.expect("a response").status().as_u16()
    };
    for expected in [200, 200, 429] {
        assert_eq!(from("203.0.113.9, 192.0.2.1").await, expected);
    }
    assert_eq!(
        from("203.0.113.8, 192.0.2.1").await,
        429,
        "addresses before the one of the trusted proxy are ignored"
    );
    assert_eq!(from("192.0.2.2").await, 200);
}

both!(forwarded_header_of_untrusted_client_is_ignored, |config: &mut Config| config
    .rates
    .requests_per_minute =
    limit(2));
async fn forwarded_header_of_untrusted_client_is_ignored(app: TestApp) {
    let anonymous = app.anonymous();
    for (client, expected) in [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.3", 429)] {
        let request = anonymous.request(Method::POST, "/graphql").header("X-Forwarded-For", client);
        let response = request.json(&json!({"query": VIEWER})).send().await.expect("a response");
        assert_eq!(response.status(), expected);
    }
}
