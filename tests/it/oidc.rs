//! Who comes with tokens of an OpenID Connect issuer.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use docket::account::NewAccount;
use docket::config::{Config, Switch};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::{Answer, Backend, Issuer, Published, SigningKey, TestApp};

const VIEWER: &str = "{ viewer { id email name isAdmin } }";

/// Tells a story on both databases, with an issuer that the server takes tokens of.
macro_rules! with_issuer {
    ($story:ident) => {
        with_issuer!($story, |_| {});
    };
    ($story:ident, $configure:expr) => {
        mod $story {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                tell(Backend::Sqlite, $story, $configure).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                tell(Backend::Postgres, $story, $configure).await;
            }
        }
    };
}

async fn tell<F: Future<Output = ()>>(
    backend: Backend,
    story: impl FnOnce(TestApp, Issuer) -> F,
    configure: impl FnOnce(&mut Config),
) {
    let issuer = Issuer::start().await;
    let url = issuer.url().to_owned();
    let configured = move |config: &mut Config| {
        config.oidc.issuer = url;
        config.oidc.audience = "docket".into();
        configure(config);
    };
    TestApp::tell(backend, |app| story(app, issuer), configured).await;
}

/// What a good token says, with changes; null takes a claim out.
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

async fn ask(app: &TestApp, token: &str) -> Answer {
    app.bearer_of(&format!("Bearer {token}")).ask(VIEWER, json!({})).await
}

with_issuer!(whoever_comes_for_the_first_time_gets_an_account);
async fn whoever_comes_for_the_first_time_gets_an_account(app: TestApp, issuer: Issuer) {
    let (rsa, ec) = (SigningKey::rsa("rsa"), SigningKey::ec("ec"));
    issuer.publish_keys(&[&rsa, &ec]);
    let boast = json!({"isAdmin": true, "is_admin": true, "admin": true, "roles": ["admin"]});
    let first = ask(&app, &rsa.sign(&claims(&app, &issuer, boast))).await;
    let viewer = first.data["viewer"].clone();
    assert_eq!(viewer["email"], "ada@example.com", "{first:?}");
    assert_eq!((&viewer["name"], &viewer["isAdmin"]), (&json!("Ada Lovelace"), &json!(false)));

    let renamed = json!({"email": "lovelace@example.com", "name": "Countess"});
    let again = ask(&app, &ec.sign(&claims(&app, &issuer, renamed))).await;
    assert_eq!(again.data["viewer"], viewer, "the subject counts, by whichever key");
    let other = json!({"sub": "bob-1", "email": "bob@example.com", "name": null});
    let other = ask(&app, &rsa.sign(&claims(&app, &issuer, other))).await;
    assert_eq!(
        (&other.data["viewer"]["email"], &other.data["viewer"]["name"]),
        (&json!("bob@example.com"), &json!("bob@example.com"))
    );
    assert_eq!(issuer.fetches(), 1, "keys are kept");

    let at_once = ["eve", "eve", "eve"].map(|name| {
        let token = rsa.sign(&claims(&app, &issuer, json!({"sub": name, "email": "eve@example.com"})));
        let app = app.clone();
        async move { ask(&app, &token).await.data["viewer"]["id"].clone() }
    });
    let [a, b, c] = at_once;
    let (a, b, c) = tokio::join!(a, b, c);
    assert!(a.is_string() && a == b && b == c, "one account for all that came at once");
}

with_issuer!(only_what_the_issuer_signed_for_this_server_and_now_is_taken);
async fn only_what_the_issuer_signed_for_this_server_and_now_is_taken(app: TestApp, issuer: Issuer) {
    let (rsa, ec, foreign) = (SigningKey::rsa("rsa"), SigningKey::ec("ec"), SigningKey::ec("ec"));
    issuer.publish_keys(&[&rsa, &ec]);
    let now = app.clock.now().timestamp();
    let with = |changes: Value| claims(&app, &issuer, changes);
    let signed = |changes: Value| ec.sign(&with(changes));
    for (what, token) in [
        ("as it should be", signed(json!({}))),
        ("for this server alone", signed(json!({"aud": "docket"}))),
        ("run out within the clocks' difference", signed(json!({"exp": now - 30}))),
        ("good in a moment", signed(json!({"nbf": now + 30}))),
        ("with fractions", signed(json!({"exp": 0.5 + now as f64}))),
        ("of a type of its own", {
            let header = Header {
                typ: Some("at+jwt".into()),
                kid: Some("ec".into()),
                ..Header::new(Algorithm::ES256)
            };
            ec.sign_with(&header, &with(json!({})))
        }),
        (
            "whose key is the only one that fits",
            ec.sign_with(&Header::new(Algorithm::ES256), &with(json!({}))),
        ),
    ] {
        let answer = ask(&app, &token).await;
        assert!(answer.data["viewer"]["id"].is_string(), "{what}: {answer:?}");
    }

    let header = |algorithm: Algorithm, kid: &str| Header { kid: Some(kid.into()), ..Header::new(algorithm) };
    let part = |json: Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let modulus = rsa.public()["n"].as_str().expect("a modulus").to_owned();
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
    for (what, token) in [
        ("run out", signed(json!({"exp": now - 61}))),
        ("without an end", signed(json!({"exp": null}))),
        ("with an end that is no time", signed(json!({"exp": 1e300}))),
        ("not good yet", signed(json!({"nbf": now + 120}))),
        ("for another server", signed(json!({"aud": "other"}))),
        ("for no server", signed(json!({"aud": null}))),
        ("of another issuer", signed(json!({"iss": "https://other.example.com"}))),
        ("of this server", signed(json!({"iss": "docket", "aud": "docket-api"}))),
        ("of nobody", signed(json!({"sub": null}))),
        ("of an empty subject", signed(json!({"sub": ""}))),
        ("of an endless subject", signed(json!({"sub": "x".repeat(256)}))),
        ("by another key of the same name", foreign.sign(&with(json!({})))),
        ("by a key of another kind", ec.sign_with(&header(Algorithm::ES256, "rsa"), &with(json!({})))),
        (
            "by an algorithm that is not configured",
            rsa.sign_with(&header(Algorithm::RS512, "rsa"), &with(json!({}))),
        ),
        ("with the public key as a secret", confused(modulus.as_bytes())),
        ("unsigned", format!("{}.{}.", part(json!({"alg": "none", "kid": "ec"})), part(with(json!({}))))),
        ("without its signature", format!("{head}.")),
        (
            "with another's signature",
            format!(
                "{}.{}.{signature}",
                part(json!({"alg": "ES256", "kid": "ec"})),
                part(with(json!({"sub": "eve"})))
            ),
        ),
        ("for a logout", ec.sign_with(&typed("logout+jwt"), &with(json!({})))),
        ("with what has to be understood", {
            let crit = Header { crit: Some(vec!["b64".into()]), ..header(Algorithm::ES256, "ec") };
            ec.sign_with(&crit, &with(json!({})))
        }),
        ("that brings its key along", {
            let jwk = serde_json::from_value(foreign.public()).expect("a key");
            foreign
                .sign_with(&Header { jwk: Some(jwk), ..header(Algorithm::ES256, "mine") }, &with(json!({})))
        }),
        ("that is too long", signed(json!({"padding": "x".repeat(20_000)}))),
    ] {
        let answer = ask(&app, &token).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (401, "UNAUTHENTICATED"), "{what}");
    }
}

with_issuer!(keys_are_taken_and_given_up_as_the_issuer_says);
async fn keys_are_taken_and_given_up_as_the_issuer_says(app: TestApp, issuer: Issuer) {
    let (old, new) = (SigningKey::ec("old"), SigningKey::ec("new"));
    let long = json!({"exp": app.clock.now().timestamp() + 500_000});
    let (with_old, with_new) =
        (old.sign(&claims(&app, &issuer, long.clone())), new.sign(&claims(&app, &issuer, long)));
    let status = async |token: &str| ask(&app, token).await.status.as_u16();
    issuer.publish_keys(&[&old]);
    assert_eq!(status(&with_old).await, 200);
    assert_eq!(issuer.fetches(), 1);

    issuer.publish_keys(&[&old, &new]);
    for kid in ["a", "b", "c", "d", "e"] {
        let made_up = Header { kid: Some(kid.into()), ..Header::new(Algorithm::ES256) };
        assert_eq!(status(&old.sign_with(&made_up, &claims(&app, &issuer, json!({})))).await, 401);
    }
    assert_eq!(issuer.fetches(), 1, "made-up keys make nobody ask again so soon");
    app.clock.advance(TimeDelta::seconds(31));
    assert_eq!(status(&with_new).await, 200, "a key that is new is found");
    assert_eq!(issuer.fetches(), 2);
    assert_eq!((status(&with_old).await, status(&with_new).await), (200, 200));
    assert_eq!(issuer.fetches(), 2);

    issuer.publish_keys(&[&new]);
    assert_eq!(status(&with_old).await, 200, "nobody knows yet");
    app.clock.advance(TimeDelta::seconds(3_601));
    assert_eq!(
        (status(&with_old).await, status(&with_new).await),
        (401, 200),
        "a key that was taken back is not taken"
    );
    assert_eq!(issuer.fetches(), 3);

    issuer.publish(Published::Broken);
    app.clock.advance(TimeDelta::seconds(3_601));
    for _ in 0..3 {
        assert_eq!(status(&with_new).await, 200, "the issuer may be away for a while");
    }
    assert_eq!(issuer.fetches(), 4, "and is not asked at every request");
    app.clock.advance(TimeDelta::seconds(24 * 3_600));
    assert_eq!(status(&with_new).await, 503, "but not for ever");
}

with_issuer!(an_issuer_that_misbehaves_is_not_followed);
async fn an_issuer_that_misbehaves_is_not_followed(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    let token = key.sign(&claims(&app, &issuer, json!({})));
    for (i, published) in
        [Published::Broken, Published::Elsewhere, Published::TooMuch].into_iter().enumerate()
    {
        issuer.publish(published.clone());
        let answer = ask(&app, &token).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "UNAVAILABLE"), "{published:?}");
        assert_eq!(issuer.fetches(), i + 1, "{published:?}");
        let again = ask(&app, &token).await;
        assert_eq!((again.code(), issuer.fetches()), ("UNAVAILABLE", i + 1), "not asked again so soon");
        app.clock.advance(TimeDelta::seconds(31));
    }
    issuer.publish_keys(&[&key]);
    assert_eq!(ask(&app, &token).await.status.as_u16(), 200);
}

with_issuer!(of_the_keys_so_many_are_looked_at);
async fn of_the_keys_so_many_are_looked_at(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    let token = key.sign(&claims(&app, &issuer, json!({})));
    for (others, status) in [(100, 401), (99, 200)] {
        let mut keys = vec![json!({"kty": "new"}); others];
        keys.push(key.public());
        issuer.publish(Published::Keys(keys));
        assert_eq!(ask(&app, &token).await.status.as_u16(), status, "behind {others} others");
        app.clock.advance(TimeDelta::seconds(31));
    }
}

/// What somebody with these claims is told.
async fn told(app: &TestApp, issuer: &Issuer, key: &SigningKey, changes: Value) -> (u16, String) {
    let answer = ask(app, &key.sign(&claims(app, issuer, changes))).await;
    let code = if answer.code().is_empty() { "OK" } else { answer.code() };
    (answer.status.as_u16(), code.to_owned())
}

fn forbidden() -> (u16, String) {
    (403, "FORBIDDEN".into())
}

with_issuer!(an_address_alone_opens_no_account);
async fn an_address_alone_opens_no_account(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    issuer.publish_keys(&[&key]);
    app.user("ada").await;
    assert_eq!(told(&app, &issuer, &key, json!({})).await, forbidden(), "it is somebody's already");
    for (what, email, verified) in [
        ("none", json!(null), json!(true)),
        ("not one", json!("nobody"), json!(true)),
        ("not verified", json!("new@example.com"), json!(false)),
        ("not verified, as some write it", json!("new@example.com"), json!("false")),
    ] {
        let changes = json!({"email": email, "email_verified": verified});
        assert_eq!(told(&app, &issuer, &key, changes).await, forbidden(), "{what}");
    }
    assert_eq!(app.accounts.by_email("new@example.com").await, Ok(None));
    let silent = json!({"sub": "new", "email": "new@example.com", "email_verified": null});
    assert_eq!(told(&app, &issuer, &key, silent).await.0, 200, "issuers that say nothing of it are believed");
}

with_issuer!(a_verified_address_leads_to_its_account_where_that_is_configured, |config| {
    config.oidc.link_verified_email = Switch::On;
});
async fn a_verified_address_leads_to_its_account_where_that_is_configured(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    issuer.publish_keys(&[&key]);
    let (ada, root) = (app.user("ada").await, app.admin("root").await);
    for unverified in [json!(false), json!(null)] {
        assert_eq!(told(&app, &issuer, &key, json!({"email_verified": unverified})).await, forbidden());
    }
    let linked = ask(&app, &key.sign(&claims(&app, &issuer, json!({})))).await;
    assert_eq!(linked.data["viewer"]["id"], json!(ada.id()), "{linked:?}");
    let successor = told(&app, &issuer, &key, json!({"sub": "ada-2"})).await;
    assert_eq!(successor, forbidden(), "who has the address now is not who had it then");
    let admin = told(&app, &issuer, &key, json!({"sub": "root", "email": root.email()})).await;
    assert_eq!(admin, forbidden(), "nobody becomes an admin by a token");
}

with_issuer!(users_are_made_only_where_that_is_configured, |config| {
    config.oidc.create_users = Switch::Off;
    config.oidc.link_verified_email = Switch::On;
});
async fn users_are_made_only_where_that_is_configured(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    issuer.publish_keys(&[&key]);
    assert_eq!(told(&app, &issuer, &key, json!({})).await, forbidden());
    assert_eq!(app.accounts.by_email("ada@example.com").await, Ok(None));
    let (email, name) = ("ada@example.com".to_owned(), "Ada".to_owned());
    let new = NewAccount { email, name, password: None, is_admin: false };
    app.accounts.create(new).await.expect("an account");
    assert_eq!(told(&app, &issuer, &key, json!({})).await.0, 200, "the operator has made one");
}

with_issuer!(what_a_token_opened_ends_with_it, |config| config.oidc.clock_skew_seconds = 0);
async fn what_a_token_opened_ends_with_it(app: TestApp, issuer: Issuer) {
    let key = SigningKey::ec("key");
    issuer.publish_keys(&[&key]);
    let bearer = |token: &str| app.bearer_of(&format!("Bearer {token}"));
    let job = bearer(&key.sign(&claims(&app, &issuer, json!({})))).noop_job().await;
    let token = key.sign(&claims(&app, &issuer, json!({"exp": app.clock.now().timestamp() + 5})));
    let ada = bearer(&token);
    let query = "subscription($id: ID!) { jobUpdated(id: $id) { status } }";
    let mut updates = ada.subscribe(query, json!({"id": job})).await;
    updates.next().await;
    assert_eq!(updates.closed().await, 4401);
    assert_eq!(ask(&app, &token).await.code(), "UNAUTHENTICATED");
}
