//! Tests of access tokens from an OpenID Connect issuer.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use docket::account::NewAccount;
use docket::config::{Config, Switch};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::{Backend, GqlResponse, Issuer, KeySetReply, SigningKey, TestApp};

const VIEWER: &str = "{ viewer { id email name isAdmin } }";

/// Defines a test on both databases with a server that accepts tokens of a test issuer.
macro_rules! with_issuer {
    ($test:ident) => {
        with_issuer!($test, |_| {});
    };
    ($test:ident, $configure:expr) => {
        mod $test {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run_test(Backend::Sqlite, $test, $configure).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run_test(Backend::Postgres, $test, $configure).await;
            }
        }
    };
}

async fn run_test<F: Future<Output = ()>>(
    backend: Backend,
    test: impl FnOnce(TestApp, Issuer) -> F,
    configure: impl FnOnce(&mut Config),
) {
    let issuer = Issuer::start().await;
    let url = issuer.url().to_owned();
    let configured = move |config: &mut Config| {
        config.oidc.issuer = url;
        config.oidc.audience = "docket".into();
        configure(config);
    };
    TestApp::run(backend, |app| test(app, issuer), configured).await;
}

/// Returns the claims of a valid token with changes. Null removes a claim.
fn claims(app: &TestApp, issuer: &Issuer, changes: Value) -> Value {
    let now = app.clock.now().timestamp();
    let mut claims = json!({
        "iss": issuer.url(), "aud": ["docket", "other"], "sub": "ada-1", "iat": now, "exp": now + 3_600,
        "email": "Ada@Example.com", "email_verified": true, "name": "Ada Lovelace",
    });
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    for (claim, value) in changes {
        claims[claim] = value;
    }
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    claims
}

async fn query_viewer(app: &TestApp, token: &str) -> GqlResponse {
    app.with_authorization(&format!("Bearer {token}")).execute(VIEWER, json!({})).await
}

with_issuer!(first_request_with_a_token_creates_an_account);
async fn first_request_with_a_token_creates_an_account(app: TestApp, issuer: Issuer) {
    let (rsa, ec) = (SigningKey::rsa("rsa"), SigningKey::ec("ec"));
    issuer.publish_keys(&[&rsa, &ec]);
    let admin_claims = json!({"isAdmin": true, "is_admin": true, "admin": true, "roles": ["admin"]});
    let first = query_viewer(&app, &rsa.sign(&claims(&app, &issuer, admin_claims))).await;
    let viewer = first.data["viewer"].clone();
    assert_eq!(viewer["email"], "ada@example.com", "{first:?}");
    assert_eq!((&viewer["name"], &viewer["isAdmin"]), (&json!("Ada Lovelace"), &json!(false)));

    let renamed = json!({"email": "lovelace@example.com", "name": "Countess"});
    let again = query_viewer(&app, &ec.sign(&claims(&app, &issuer, renamed))).await;
    assert_eq!(again.data["viewer"], viewer, "the subject identifies the account, with either key");
    let other = json!({"sub": "bob-1", "email": "bob@example.com", "name": null});
    let other = query_viewer(&app, &rsa.sign(&claims(&app, &issuer, other))).await;
    assert_eq!(
        (&other.data["viewer"]["email"], &other.data["viewer"]["name"]),
        (&json!("bob@example.com"), &json!("bob@example.com"))
    );
    assert_eq!(issuer.fetches(), 1, "keys are cached");

    let concurrent = ["eve", "eve", "eve"].map(|name| {
        let token = rsa.sign(&claims(&app, &issuer, json!({"sub": name, "email": "eve@example.com"})));
        let app = app.clone();
        async move { query_viewer(&app, &token).await.data["viewer"]["id"].clone() }
    });
    let [a, b, c] = concurrent;
    let (a, b, c) = tokio::join!(a, b, c);
    assert!(a.is_string() && a == b && b == c, "concurrent requests create one account");
}

with_issuer!(only_valid_unexpired_tokens_for_this_audience_are_accepted);
async fn only_valid_unexpired_tokens_for_this_audience_are_accepted(app: TestApp, issuer: Issuer) {
    let (rsa, ec, foreign) = (SigningKey::rsa("rsa"), SigningKey::ec("ec"), SigningKey::ec("ec"));
    issuer.publish_keys(&[&rsa, &ec]);
    let now = app.clock.now().timestamp();
    let with = |changes: Value| claims(&app, &issuer, changes);
    let signed = |changes: Value| ec.sign(&with(changes));
    for (case, token) in [
        ("valid", signed(json!({}))),
        ("for this audience only", signed(json!({"aud": "docket"}))),
        ("expired within the clock skew", signed(json!({"exp": now - 30}))),
        ("valid soon, within the clock skew", signed(json!({"nbf": now + 30}))),
        ("with fractional seconds", signed(json!({"exp": 0.5 + now as f64}))),
        ("with the type at+jwt", {
            let header = Header {
                typ: Some("at+jwt".into()),
                kid: Some("ec".into()),
                ..Header::new(Algorithm::ES256)
            };
            ec.sign_with(&header, &with(json!({})))
        }),
        (
            "without a key ID, with one key for the algorithm",
            ec.sign_with(&Header::new(Algorithm::ES256), &with(json!({}))),
        ),
    ] {
        let response = query_viewer(&app, &token).await;
        assert!(response.data["viewer"]["id"].is_string(), "{case}: {response:?}");
    }

    let header = |algorithm: Algorithm, kid: &str| Header { kid: Some(kid.into()), ..Header::new(algorithm) };
    let part = |json: Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let modulus = rsa.public_jwk()["n"].as_str().expect("a modulus").to_owned();
    let confused = |secret: &[u8]| {
        let token = jsonwebtoken::encode(
            &header(Algorithm::HS256, "rsa"),
            &with(json!({})),
            &EncodingKey::from_secret(secret),
        );
        token.expect("a token")
    };
    let typed = |typ: &str| Header { typ: Some(typ.into()), ..header(Algorithm::ES256, "ec") };
    let good = signed(json!({}));
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    for (case, token) in [
        ("expired", signed(json!({"exp": now - 61}))),
        ("without expiry", signed(json!({"exp": null}))),
        ("with an invalid expiry", signed(json!({"exp": 1e300}))),
        ("not yet valid", signed(json!({"nbf": now + 120}))),
        ("for another audience", signed(json!({"aud": "other"}))),
        ("without audience", signed(json!({"aud": null}))),
        ("of another issuer", signed(json!({"iss": "https://other.example.com"}))),
        ("of the server's own issuer", signed(json!({"iss": "docket", "aud": "docket-api"}))),
        ("without subject", signed(json!({"sub": null}))),
        ("with an empty subject", signed(json!({"sub": ""}))),
        ("with a subject that is too long", signed(json!({"sub": "x".repeat(256)}))),
        ("signed by another key with the same ID", foreign.sign(&with(json!({})))),
        (
            "with a key ID of another algorithm",
            ec.sign_with(&header(Algorithm::ES256, "rsa"), &with(json!({}))),
        ),
        (
            "with an algorithm that is not configured",
            rsa.sign_with(&header(Algorithm::RS512, "rsa"), &with(json!({}))),
        ),
        ("with the public key as a secret", confused(modulus.as_bytes())),
        ("unsigned", format!("{}.{}.", part(json!({"alg": "none", "kid": "ec"})), part(with(json!({}))))),
        ("without its signature", format!("{head}.")),
        (
            "with the signature of another token",
            format!(
                "{}.{}.{signature}",
                part(json!({"alg": "ES256", "kid": "ec"})),
                part(with(json!({"sub": "eve"})))
            ),
        ),
        ("with the type logout+jwt", ec.sign_with(&typed("logout+jwt"), &with(json!({})))),
        ("with an unknown critical header", {
            let crit = Header { crit: Some(vec!["b64".into()]), ..header(Algorithm::ES256, "ec") };
            ec.sign_with(&crit, &with(json!({})))
        }),
        ("with its own key in the header", {
            let jwk = serde_json::from_value(foreign.public_jwk()).expect("a key");
            foreign
                .sign_with(&Header { jwk: Some(jwk), ..header(Algorithm::ES256, "mine") }, &with(json!({})))
        }),
        ("above the size limit", signed(json!({"padding": "x".repeat(20_000)}))),
    ] {
        let response = query_viewer(&app, &token).await;
        assert_eq!((response.status.as_u16(), response.code()), (401, "UNAUTHENTICATED"), "{case}");
    }
}

with_issuer!(issuer_keys_are_refreshed_and_withdrawn_keys_expire);
async fn issuer_keys_are_refreshed_and_withdrawn_keys_expire(app: TestApp, issuer: Issuer) {
    let (old, new) = (SigningKey::ec("old"), SigningKey::ec("new"));
    let long = json!({"exp": app.clock.now().timestamp() + 500_000});
    let (with_old, with_new) =
        (old.sign(&claims(&app, &issuer, long.clone())), new.sign(&claims(&app, &issuer, long)));
    let status = async |token: &str| query_viewer(&app, token).await.status.as_u16();
    issuer.publish_keys(&[&old]);
    assert_eq!(status(&with_old).await, 200);
    assert_eq!(issuer.fetches(), 1);

    issuer.publish_keys(&[&old, &new]);
    for kid in ["a", "b", "c", "d", "e"] {
        let unknown = Header { kid: Some(kid.into()), ..Header::new(Algorithm::ES256) };
        assert_eq!(status(&old.sign_with(&unknown, &claims(&app, &issuer, json!({})))).await, 401);
    }
    assert_eq!(issuer.fetches(), 1, "unknown key IDs cause no fetch within 30 s");
    app.clock.advance(TimeDelta::seconds(31));
    assert_eq!(status(&with_new).await, 200, "a new key is fetched");
    assert_eq!(issuer.fetches(), 2);
    assert_eq!((status(&with_old).await, status(&with_new).await), (200, 200));
    assert_eq!(issuer.fetches(), 2);

    issuer.publish_keys(&[&new]);
    assert_eq!(status(&with_old).await, 200, "the withdrawn key is still cached");
    app.clock.advance(TimeDelta::seconds(3_601));
    assert_eq!(
        (status(&with_old).await, status(&with_new).await),
        (401, 200),
        "the withdrawn key is refused"
    );
    assert_eq!(issuer.fetches(), 3);

    issuer.publish(KeySetReply::Error);
    app.clock.advance(TimeDelta::seconds(3_601));
    for _ in 0..3 {
        assert_eq!(status(&with_new).await, 200, "cached keys stay valid while the issuer is unavailable");
    }
    assert_eq!(issuer.fetches(), 4, "a failed fetch is not repeated at every request");
    app.clock.advance(TimeDelta::seconds(24 * 3_600));
    assert_eq!(status(&with_new).await, 503, "cached keys expire after a day");
}

with_issuer!(invalid_issuer_responses_make_sign_in_unavailable);
async fn invalid_issuer_responses_make_sign_in_unavailable(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    let token = key.sign(&claims(&app, &issuer, json!({})));
    for (i, published) in
        [KeySetReply::Error, KeySetReply::Redirect, KeySetReply::TooLarge].into_iter().enumerate()
    {
        issuer.publish(published.clone());
        let response = query_viewer(&app, &token).await;
        assert_eq!((response.status.as_u16(), response.code()), (503, "UNAVAILABLE"), "{published:?}");
        assert_eq!(issuer.fetches(), i + 1, "{published:?}");
        let again = query_viewer(&app, &token).await;
        assert_eq!((again.code(), issuer.fetches()), ("UNAVAILABLE", i + 1), "no further fetch within 30 s");
        app.clock.advance(TimeDelta::seconds(31));
    }
    issuer.publish_keys(&[&key]);
    assert_eq!(query_viewer(&app, &token).await.status.as_u16(), 200);
}

with_issuer!(only_the_first_hundred_issuer_keys_are_used);
async fn only_the_first_hundred_issuer_keys_are_used(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    let token = key.sign(&claims(&app, &issuer, json!({})));
    for (others, status) in [(100, 401), (99, 200)] {
        let mut keys = vec![json!({"kty": "new"}); others];
        keys.push(key.public_jwk());
        issuer.publish(KeySetReply::Keys(keys));
        assert_eq!(query_viewer(&app, &token).await.status.as_u16(), status, "behind {others} others");
        app.clock.advance(TimeDelta::seconds(31));
    }
}

/// Returns status and error code of a request with these claims.
async fn status_and_code(app: &TestApp, issuer: &Issuer, key: &SigningKey, changes: Value) -> (u16, String) {
    let response = query_viewer(app, &key.sign(&claims(app, issuer, changes))).await;
    let code = if response.code().is_empty() { "OK" } else { response.code() };
    (response.status.as_u16(), code.to_owned())
}

fn forbidden() -> (u16, String) {
    (403, "FORBIDDEN".into())
}

with_issuer!(unverified_or_taken_email_creates_no_account);
async fn unverified_or_taken_email_creates_no_account(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    issuer.publish_keys(&[&key]);
    app.user("ada").await;
    assert_eq!(
        status_and_code(&app, &issuer, &key, json!({})).await,
        forbidden(),
        "the address belongs to an account"
    );
    for (case, email, verified) in [
        ("no address", json!(null), json!(true)),
        ("an invalid address", json!("nobody"), json!(true)),
        ("not verified", json!("new@example.com"), json!(false)),
        ("not verified, as a string", json!("new@example.com"), json!("false")),
    ] {
        let changes = json!({"email": email, "email_verified": verified});
        assert_eq!(status_and_code(&app, &issuer, &key, changes).await, forbidden(), "{case}");
    }
    assert_eq!(app.accounts.by_email("new@example.com").await, Ok(None));
    let unstated = json!({"sub": "new", "email": "new@example.com", "email_verified": null});
    assert_eq!(
        status_and_code(&app, &issuer, &key, unstated).await.0,
        200,
        "an address without `email_verified` is trusted"
    );
}

with_issuer!(verified_email_links_to_its_account_if_configured, |config| {
    config.oidc.link_verified_email = Switch::On;
});
async fn verified_email_links_to_its_account_if_configured(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    issuer.publish_keys(&[&key]);
    let (ada, root) = (app.user("ada").await, app.admin("root").await);
    for unverified in [json!(false), json!(null)] {
        assert_eq!(
            status_and_code(&app, &issuer, &key, json!({"email_verified": unverified})).await,
            forbidden()
        );
    }
    let linked = query_viewer(&app, &key.sign(&claims(&app, &issuer, json!({})))).await;
    assert_eq!(linked.data["viewer"]["id"], json!(ada.id()), "{linked:?}");
    let successor = status_and_code(&app, &issuer, &key, json!({"sub": "ada-2"})).await;
    assert_eq!(successor, forbidden(), "another subject cannot take over the account");
    let admin = status_and_code(&app, &issuer, &key, json!({"sub": "root", "email": root.email()})).await;
    assert_eq!(admin, forbidden(), "a token cannot link to an admin account");
}

with_issuer!(token_creates_no_account_if_creation_is_disabled, |config| {
    config.oidc.create_users = Switch::Off;
    config.oidc.link_verified_email = Switch::On;
});
async fn token_creates_no_account_if_creation_is_disabled(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    issuer.publish_keys(&[&key]);
    assert_eq!(status_and_code(&app, &issuer, &key, json!({})).await, forbidden());
    assert_eq!(app.accounts.by_email("ada@example.com").await, Ok(None));
    let (email, name) = ("ada@example.com".to_owned(), "Ada".to_owned());
    let new = NewAccount { email, name, password: None, is_admin: false };
    app.accounts.create(new).await.expect("an account");
    assert_eq!(
        status_and_code(&app, &issuer, &key, json!({})).await.0,
        200,
        "an account created by the operator is linked"
    );
}

with_issuer!(expired_token_closes_its_websocket_connection, |config| config.oidc.clock_skew_seconds = 0);
async fn expired_token_closes_its_websocket_connection(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    issuer.publish_keys(&[&key]);
    let bearer = |token: &str| app.with_authorization(&format!("Bearer {token}"));
    let job = bearer(&key.sign(&claims(&app, &issuer, json!({})))).noop_job().await;
    let token = key.sign(&claims(&app, &issuer, json!({"exp": app.clock.now().timestamp() + 5})));
    let ada = bearer(&token);
    let query = "subscription($id: ID!) { jobUpdated(id: $id) { status } }";
    let mut updates = ada.subscribe(query, json!({"id": job})).await;
    updates.next().await;
    assert_eq!(updates.close_code().await, 4401);
    assert_eq!(query_viewer(&app, &token).await.code(), "UNAUTHENTICATED");
}
