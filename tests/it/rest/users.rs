//! Tests of the REST login and of the API keys that it returns.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use docket::account::{MAX_LOGINS, NewAccount, remove_expired_logins};
use docket::config::{Config, Switch};
use reqwest::{Method, RequestBuilder};
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};

use super::{RestResponse, send, text};
use crate::harness::{TestApp, User, both};

const PASSWORD: &str = "correct horse battery";

async fn sign_up(app: &TestApp) {
    let new = NewAccount {
        email: "old@example.com".into(),
        name: "Old".into(),
        password: Some(PASSWORD.into()),
        is_admin: false,
    };
    app.accounts.create(new).await.expect("an account");
}

fn credentials(password: &str) -> Value {
    json!({"authentication_method": "password", "username": "Old@Example.com", "password": password})
}

async fn log_in(app: &TestApp) -> RestResponse {
    let request = app.anonymous().request(Method::POST, "/v1.1/users/login");
    send(request.json(&credentials(PASSWORD))).await
}

/// Builds a request with a key as user name and, as some clients send it, as password.
fn basic_request(user: &User, key: &str, path: &str) -> RequestBuilder {
    let encoded = BASE64_STANDARD.encode(format!("{key}:{key}"));
    user.request(Method::GET, path).header("Authorization", format!("Basic {encoded}"))
}

both!(login_returns_keys_for_basic_authentication);
async fn login_returns_keys_for_basic_authentication(app: TestApp) {
    sign_up(&app).await;
    let anonymous = app.anonymous();
    let body =
        json!({"Authentication_Method": "PASSWORD", "UserName": "old@example.com", "password": PASSWORD});
    for media_type in ["text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "application/json"] {
        let request = anonymous.request(Method::POST, "/v1.1/users/login").header("Content-Type", media_type);
        let response = send(request.body(body.to_string())).await;
        assert_eq!(
            (response.status.as_u16(), &response.body["email"]),
            (200, &json!("old@example.com")),
            "{media_type}"
        );
        for (mode, key) in
            [("live", &response.body["api_keys"]["live"]), ("test", &response.body["api_keys"]["test"])]
        {
            let key = text(key);
            assert!(key.starts_with(&format!("user-{mode}-")), "{key}");
            let me = send(basic_request(&anonymous, &key, "/v1.1/users/me")).await;
            let expected = json!({"id": response.body["id"], "email": "old@example.com", "name": "Old"});
            assert_eq!((me.status.as_u16(), me.body), (200, expected));
        }
    }
}

both!(login_ignores_an_invalid_key_in_the_request);
async fn login_ignores_an_invalid_key_in_the_request(app: TestApp) {
    sign_up(&app).await;
    let stale = app.with_authorization("Bearer user-live-expired");
    let response = send(stale.request(Method::POST, "/v1.1/users/login").json(&credentials(PASSWORD))).await;
    assert_eq!((response.status.as_u16(), &response.body["name"]), (200, &json!("Old")));
}

both!(wrong_password_is_refused_without_a_basic_challenge);
async fn wrong_password_is_refused_without_a_basic_challenge(app: TestApp) {
    sign_up(&app).await;
    let login = || app.anonymous().request(Method::POST, "/v1.1/users/login");
    let wrong = send(login().json(&credentials("wrong horse battery"))).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (401, "UNAUTHENTICATED"));
    assert!(!wrong.header("www-authenticate").contains("Basic"));
    for (body, path, code) in [
        (
            json!({"authentication_method": "sms", "username": "a", "password": "b"}),
            "/authentication_method",
            "UNKNOWN_VALUE",
        ),
        (json!({"username": "a"}), "", "SHAPE"),
    ] {
        assert_eq!(send(login().json(&body)).await.problems(), [(path.into(), code.into())], "{body}");
    }
    assert_eq!(send(login()).await.problems(), [("".into(), "REQUIRED".into())]);
}

both!(login_attempts_are_rate_limited_like_sign_in, |config: &mut Config| {
    config.rates.sign_in_pair_per_minute = std::num::NonZeroU32::new(2).expect("not 0");
});
async fn login_attempts_are_rate_limited_like_sign_in(app: TestApp) {
    sign_up(&app).await;
    let attempt = async || {
        let request = app.anonymous().request(Method::POST, "/v1.1/users/login");
        send(request.json(&credentials("wrong horse battery"))).await
    };
    assert_eq!(attempt().await.status, 401);
    assert_eq!(attempt().await.status, 401);
    let limited = attempt().await;
    assert_eq!((limited.status.as_u16(), limited.code()), (429, "RATE_LIMITED"));
    assert_eq!(limited.header("retry-after"), limited.body["retry_after_seconds"].to_string());
}

both!(login_keys_are_listed_but_not_counted_as_api_keys, |config: &mut Config| config.limits.api_keys = 1);
async fn login_keys_are_listed_but_not_counted_as_api_keys(app: TestApp) {
    sign_up(&app).await;
    let response = log_in(&app).await;
    log_in(&app).await;
    let me = app.with_authorization(&format!("Bearer {}", text(&response.body["api_keys"]["live"])));
    let create = "mutation { createApiKey(input: {name: \"own\"}) { secret } }";
    me.gql(create, json!({})).await;
    assert_eq!(
        me.gql_err(create, json!({})).await.code(),
        "BAD_USER_INPUT",
        "the limit of one key is reached"
    );
    let keys = me.gql("{ apiKeys { name mode expiresAt } }", json!({})).await["apiKeys"].take();
    let keys = keys.as_array().expect("a list");
    let logins: Vec<_> = keys.iter().filter(|key| key["name"] == "login").collect();
    assert_eq!((keys.len(), logins.len()), (5, 4));
    assert!(logins.iter().all(|key| key["expiresAt"].is_string()));
}

both!(oldest_login_is_revoked_above_the_login_limit, |config: &mut Config| config.rate_limits = Switch::Off);
async fn oldest_login_is_revoked_above_the_login_limit(app: TestApp) {
    sign_up(&app).await;
    let mut keys = Vec::new();
    for _ in 0..=MAX_LOGINS {
        keys.push(text(&log_in(&app).await.body["api_keys"]["live"]));
    }
    let anonymous = app.anonymous();
    let status =
        async |key: &str| send(basic_request(&anonymous, key, "/v1.1/users/me")).await.status.as_u16();
    assert_eq!((status(&keys[0]).await, status(&keys[1]).await), (401, 200));
    assert_eq!(status(keys.last().expect("the newest")).await, 200);
}

both!(expired_login_keys_are_removed_by_the_cleanup);
async fn expired_login_keys_are_removed_by_the_cleanup(app: TestApp) {
    sign_up(&app).await;
    let response = log_in(&app).await;
    let me = app.with_authorization(&format!("Bearer {}", text(&response.body["api_keys"]["live"])));
    let create = "mutation { createApiKey(input: {name: \"own\"}) { secret } }";
    me.gql(create, json!({})).await;
    let count = async || docket::entity::api_key::Entity::find().count(app.db.read()).await.expect("a count");
    let now = app.clock.now();
    assert_eq!(remove_expired_logins(&app.db, now).await, Ok(0));
    assert_eq!(count().await, 3);
    let later = now + chrono::TimeDelta::days(365);
    assert_eq!(remove_expired_logins(&app.db, later).await, Ok(2));
    assert_eq!(count().await, 1, "a key that the user created stays");
}
