//! How much somebody may ask for in a minute.

use std::num::NonZeroU32;

use docket::config::{Config, Switch};
use reqwest::Method;
use reqwest::header::{ACCEPT, RETRY_AFTER};
use serde_json::{Value, json};

use crate::harness::{TestApp, User, both};

const VIEWER: &str = "{ viewer { id } }";

fn most(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("not 0")
}

/// Status, `Retry-After`, and the first error's extensions of an operation.
async fn ask(user: &User, query: &str, accept: &str) -> (u16, Option<u64>, Value) {
    let request = user.request(Method::POST, "/graphql").header(ACCEPT, accept);
    let response = request.json(&json!({"query": query})).send().await.expect("an answer");
    let retry = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("JSON");
    (status, retry, body["errors"][0]["extensions"].clone())
}

/// What old clients ask for.
const ANY: &str = "application/json";

both!(requests_are_counted_for_their_user, |config: &mut Config| config.rates.requests_per_minute = most(4));
async fn requests_are_counted_for_their_user(app: TestApp) {
    let (ada, bob, nobody) = (app.user("ada").await, app.user("bob").await, app.anonymous());
    for _ in 0..4 {
        assert_eq!(ask(&ada, VIEWER, ANY).await.0, 200);
    }
    let (status, retry, said) = ask(&ada, VIEWER, ANY).await;
    assert_eq!((status, &said["code"]), (429, &json!("RATE_LIMITED")));
    assert!(retry.is_some_and(|seconds| (1..=16).contains(&seconds)), "{retry:?}");
    assert_eq!(said["retryAfterSeconds"], json!(retry));
    for (method, path) in [(Method::POST, "/documents"), (Method::GET, "/documents/x/contents")] {
        let refused = ada.request(method, path).send().await.expect("an answer");
        assert_eq!(refused.status(), 429, "{path}");
    }
    assert_eq!(ask(&bob, VIEWER, ANY).await.0, 200, "others are not touched");

    // Credentials that were not seen before count for their address: here those of ada and bob, and guesses.
    for (guess, expected) in [("a", 401), ("b", 401), ("c", 429), ("d", 429)] {
        assert_eq!(ask(&app.bearer_of(&format!("Bearer {guess}")), VIEWER, ANY).await.0, expected);
    }
    // Requests without a credential have an allowance of their own.
    for expected in [200, 200, 200, 200, 429] {
        assert_eq!(ask(&nobody, VIEWER, ANY).await.0, expected);
    }
    assert_eq!(ask(&bob, VIEWER, ANY).await.0, 200);
    assert_eq!(nobody.request(Method::GET, "/readyz").send().await.expect("an answer").status(), 200);
}

both!(revoked_key_is_counted_like_a_guess, |config: &mut Config| config.rates.requests_per_minute = most(3));
async fn revoked_key_is_counted_like_a_guess(app: TestApp) {
    let ada = app.user("ada").await;
    assert_eq!(ask(&ada, VIEWER, ANY).await.0, 200);
    let actor = ada.actor().await;
    let key = actor.credential.api_key.expect("a key");
    app.accounts.revoke_key(&actor, key).await.expect("it is revoked");
    for expected in [401, 401, 429, 429] {
        assert_eq!(ask(&ada, VIEWER, ANY).await.0, expected);
    }
}

both!(operations_over_a_socket_count_as_requests, |config: &mut Config| {
    config.rates.requests_per_minute = most(3);
});
async fn operations_over_a_socket_count_as_requests(app: TestApp) {
    let ada = app.user("ada").await;
    // The upgrade is nobody's yet.
    let mut socket = ada.socket().await;
    for id in ["1", "2", "3"] {
        socket.run(id, VIEWER, &json!({})).await;
        assert_eq!(socket.receive().await["type"], "next");
        assert_eq!(socket.receive().await["type"], "complete");
    }
    socket.run("4", VIEWER, &json!({})).await;
    let refused = socket.receive().await;
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("4")));
    let said = &refused["payload"][0]["extensions"];
    assert_eq!(said["code"], "RATE_LIMITED");
    assert!(said["retryAfterSeconds"].as_u64().is_some_and(|seconds| seconds >= 1), "{said}");
    assert_eq!(ask(&ada, VIEWER, ANY).await.0, 429, "they are counted together");
}

both!(cost_is_counted_too, |config: &mut Config| config.rates.cost_per_minute = most(500));
async fn cost_is_counted_too(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let dear = "{ jobs(first: 100) { nodes { id status } } }";
    assert_eq!(ask(&ada, dear, ANY).await.0, 200);
    for accept in [ANY, "application/graphql-response+json"] {
        let (status, retry, said) = ask(&ada, dear, accept).await;
        assert_eq!((status, &said["code"]), (429, &json!("RATE_LIMITED")), "{accept}");
        assert!(retry.is_some_and(|seconds| seconds >= 1), "{accept}");
        assert_eq!(said["retryAfterSeconds"], json!(retry));
    }
    assert_eq!(ask(&ada, VIEWER, ANY).await.0, 200, "what is cheap goes on");
    assert_eq!(ask(&bob, dear, ANY).await.0, 200);
    let mut socket = ada.socket().await;
    socket.run("1", dear, &json!({})).await;
    let refused = socket.receive().await;
    assert_eq!(refused["payload"][0]["extensions"]["code"], "RATE_LIMITED", "{refused}");
}

both!(limits_can_be_turned_off, |config: &mut Config| {
    config.rate_limits = Switch::Off;
    (config.rates.requests_per_minute, config.rates.cost_per_minute) = (most(1), most(1));
    config.rates.sign_in_pair_per_minute = most(1);
});
async fn limits_can_be_turned_off(app: TestApp) {
    let (ada, nobody) = (app.user("ada").await, app.anonymous());
    for _ in 0..5 {
        assert_eq!(ask(&ada, VIEWER, ANY).await.0, 200);
    }
    let sign_in = "mutation { signIn(input: {email: \"ada@example.com\", password: \"x\"}) { accessToken } }";
    for _ in 0..3 {
        assert_eq!(ask(&nobody, sign_in, ANY).await.2["code"], "UNAUTHENTICATED");
    }
}

both!(a_trusted_proxy_says_where_a_client_is, |config: &mut Config| {
    config.rates.requests_per_minute = most(2);
    config.http.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
});
async fn a_trusted_proxy_says_where_a_client_is(app: TestApp) {
    let nobody = app.anonymous();
    let from = async |client: &str| {
        let request = nobody.request(Method::POST, "/graphql").header("X-Forwarded-For", client);
        request.json(&json!({"query": VIEWER})).send().await.expect("an answer").status().as_u16()
    };
    for expected in [200, 200, 429] {
        assert_eq!(from("203.0.113.9, 192.0.2.1").await, expected);
    }
    assert_eq!(from("203.0.113.8, 192.0.2.1").await, 429, "what the client itself wrote does not count");
    assert_eq!(from("192.0.2.2").await, 200);
}

both!(nobody_else_does, |config: &mut Config| config.rates.requests_per_minute = most(2));
async fn nobody_else_does(app: TestApp) {
    let nobody = app.anonymous();
    for (client, expected) in [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.3", 429)] {
        let request = nobody.request(Method::POST, "/graphql").header("X-Forwarded-For", client);
        let response = request.json(&json!({"query": VIEWER})).send().await.expect("an answer");
        assert_eq!(response.status(), expected);
    }
}
