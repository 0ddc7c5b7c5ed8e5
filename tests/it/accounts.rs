//! Tests of accounts, passwords, tokens, API keys and teams.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use docket::config::Signup;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{TestApp, both};

const SIGN_UP: &str = "mutation($in: SignUpInput!) { signUp(input: $in) { accessToken expiresAt user { email name isAdmin } } }";
const SIGN_IN: &str =
    "mutation($in: SignInInput!) { signIn(input: $in) { accessToken expiresAt user { email } } }";
const VIEWER: &str = "{ viewer { email } }";
const PASSWORD: &str = "correct horse battery";

fn sign_up_input(email: &str, password: &str) -> Value {
    json!({"in": {"email": email, "name": " Ada ", "password": password}})
}

fn sign_in_input(email: &str, password: &str) -> Value {
    json!({"in": {"email": email, "password": password}})
}

both!(new_account_can_sign_in_with_its_password);
async fn new_account_can_sign_in_with_its_password(app: TestApp) {
    let anonymous = app.anonymous();
    let made = anonymous.gql(SIGN_UP, sign_up_input(" Ada@Example.COM ", PASSWORD)).await;
    assert_eq!(made["signUp"]["user"], json!({"email": "ada@example.com", "name": "Ada", "isAdmin": false}));
    let again = anonymous.gql(SIGN_IN, sign_in_input("ADA@example.com", PASSWORD)).await;
    for payload in [&made["signUp"], &again["signIn"]] {
        let token = payload["accessToken"].as_str().expect("a token");
        let ada = app.with_authorization(&format!("Bearer {token}"));
        assert_eq!(ada.gql(VIEWER, json!({})).await, json!({"viewer": {"email": "ada@example.com"}}));
    }
    let taken = anonymous.gql_err(SIGN_UP, sign_up_input("ada@example.com", "another password")).await;
    assert_eq!(taken.code(), "CONFLICT");
    assert_eq!(anonymous.gql(VIEWER, json!({})).await, json!({"viewer": null}));
}

both!(password_must_have_12_to_256_characters);
async fn password_must_have_12_to_256_characters(app: TestApp) {
    let anonymous = app.anonymous();
    for (i, (password, good)) in [
        ("elevenchars".to_owned(), false),
        ("twelve chars".to_owned(), true),
        ("ü".repeat(256), true),
        ("x".repeat(257), false),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("p{i}@example.com");
        match anonymous.try_gql(SIGN_UP, sign_up_input(&email, &password)).await {
            Ok(_) => {
                assert!(good, "{password}");
                anonymous.gql(SIGN_IN, sign_in_input(&email, &password)).await;
            }
            Err(error) => {
                assert!(!good, "{password}");
                assert_eq!(error.problems(), [("/password".to_owned(), "LENGTH".to_owned())]);
            }
        }
    }
    let all = json!({"in": {"email": "no address", "name": " ", "password": "short"}});
    let paths: Vec<_> =
        anonymous.gql_err(SIGN_UP, all).await.problems().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/email", "/name", "/password"], "all problems are reported at once");
}

both!(unknown_address_and_wrong_password_get_same_response);
async fn unknown_address_and_wrong_password_get_same_response(app: TestApp) {
    let anonymous = app.anonymous();
    anonymous.gql(SIGN_UP, sign_up_input("ada@example.com", PASSWORD)).await;
    app.user("keyed").await;
    let attempts = [
        sign_in_input("ada@example.com", "the wrong password"),
        sign_in_input("nobody@example.com", PASSWORD),
        // This account has no password.
        sign_in_input("keyed@example.com", PASSWORD),
        sign_in_input("ada@example.com", &"x".repeat(5000)),
    ];
    let mut seen = Vec::new();
    for variables in attempts {
        let response = anonymous.execute(SIGN_IN, variables).await;
        let mut error = response.errors[0].clone();
        error.extensions.remove("tracking");
        seen.push((response.status, response.data, error));
    }
    assert_eq!(seen[0].2.code(), "UNAUTHENTICATED");
    for response in &seen[1..] {
        assert_eq!(response, &seen[0]);
    }
}

both!(repeated_wrong_passwords_are_rate_limited_per_account);
async fn repeated_wrong_passwords_are_rate_limited_per_account(app: TestApp) {
    let anonymous = app.anonymous();
    anonymous.gql(SIGN_UP, sign_up_input("ada@example.com", PASSWORD)).await;
    for _ in 0..10 {
        let refused =
            anonymous.gql_err(SIGN_IN, sign_in_input("ada@example.com", "the wrong password")).await;
        assert_eq!(refused.code(), "UNAUTHENTICATED");
    }
    let refused = anonymous.gql_err(SIGN_IN, sign_in_input("ADA@example.com", PASSWORD)).await;
    assert_eq!(refused.code(), "RATE_LIMITED", "the correct password too, in any case of the address");
    let seconds = refused.extensions["retryAfterSeconds"].as_u64().expect("a number");
    assert!((1..=60).contains(&seconds), "{seconds}");
    let other = anonymous.gql_err(SIGN_IN, sign_in_input("bob@example.com", PASSWORD)).await;
    assert_eq!(other.code(), "UNAUTHENTICATED", "other accounts are not limited");
}

both!(closed_sign_up_refuses_new_accounts, |config| config.signup = Signup::Closed);
async fn closed_sign_up_refuses_new_accounts(app: TestApp) {
    let refused = app.anonymous().gql_err(SIGN_UP, sign_up_input("ada@example.com", PASSWORD)).await;
    assert_eq!(refused.code(), "FORBIDDEN");
    assert_eq!(app.accounts.by_email("ada@example.com").await, Ok(None));
}

both!(token_is_refused_after_its_expiry);
async fn token_is_refused_after_its_expiry(app: TestApp) {
    let made = app.anonymous().gql(SIGN_UP, sign_up_input("ada@example.com", PASSWORD)).await;
    let token = made["signUp"]["accessToken"].as_str().expect("a token");
    let ada = app.with_authorization(&format!("Bearer {token}"));
    app.clock.advance(TimeDelta::seconds(43_100));
    assert_eq!(ada.gql(VIEWER, json!({})).await["viewer"]["email"], "ada@example.com");
    app.clock.advance(TimeDelta::seconds(100));
    let response = ada.execute(VIEWER, json!({})).await;
    assert_eq!((response.status.as_u16(), response.code()), (401, "UNAUTHENTICATED"));
}

both!(token_not_issued_by_this_server_is_refused);
async fn token_not_issued_by_this_server_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let secret = std::fs::read(app.config.data_dir.join("jwt.key")).expect("the signing key");
    let now = app.clock.now().timestamp();
    let claims = |change: &[(&str, Value)]| {
        let mut claims =
            json!({"iss": "docket", "aud": "docket-api", "sub": ada.id(), "iat": now, "exp": now + 60});
        for (key, value) in change {
            claims[key] = value.clone();
        }
        claims
    };
    let signed = |algorithm, secret: &[u8], claims: &Value| {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret))
            .expect("a token")
    };
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let good = signed(Algorithm::HS256, &secret, &claims(&[]));
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let none = format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(&claims(&[])));
    let invalid = [
        ("unsigned", none.clone()),
        ("unsigned, with a signature", format!("{none}{signature}")),
        ("NONE", format!("{}.{}.", part(&json!({"alg": "NONE"})), part(&claims(&[])))),
        ("another secret", signed(Algorithm::HS256, &[7; 32], &claims(&[]))),
        ("another algorithm", signed(Algorithm::HS384, &secret, &claims(&[]))),
        ("another issuer", signed(Algorithm::HS256, &secret, &claims(&[("iss", json!("other"))]))),
        ("another audience", signed(Algorithm::HS256, &secret, &claims(&[("aud", json!("other"))]))),
        ("expired", signed(Algorithm::HS256, &secret, &claims(&[("exp", json!(now - 1))]))),
        ("without expiry", signed(Algorithm::HS256, &secret, &claims(&[("exp", Value::Null)]))),
        (
            "of an unknown user",
            signed(
                Algorithm::HS256,
                &secret,
                &claims(&[("sub", json!("0198c0de-0000-7000-8000-000000000000"))]),
            ),
        ),
        ("without its signature", format!("{head}.")),
        (
            "other claims",
            format!(
                "{}.{}.{signature}",
                part(&json!({"alg": "HS256"})),
                part(&claims(&[("isAdmin", json!(true))]))
            ),
        ),
        ("nonsense", "a.b.c".to_owned()),
        ("empty", String::new()),
    ];
    let seen = app.with_authorization(&format!("Bearer {good}")).gql(VIEWER, json!({})).await;
    assert_eq!(seen["viewer"]["email"], "ada@example.com", "the unchanged token is valid");
    for (case, token) in invalid {
        let response = app.with_authorization(&format!("Bearer {token}")).execute(VIEWER, json!({})).await;
        assert_eq!((response.status.as_u16(), response.code()), (401, "UNAUTHENTICATED"), "{case}");
        assert!(response.data.is_null(), "{case}");
    }
    let response = app
        .with_authorization("Bearer x")
        .request(Method::POST, "/graphql")
        .send()
        .await
        .expect("a response");
    assert_eq!(response.headers()["WWW-Authenticate"], "Bearer");
}

both!(api_key_works_until_it_is_revoked);
async fn api_key_works_until_it_is_revoked(app: TestApp) {
    let ada = app.user("ada").await;
    let create = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { secret apiKey { id name mode prefix lastUsedAt expiresAt revokedAt } } }";
    let made =
        ada.gql(create, json!({"in": {"name": " robot ", "mode": "TEST"}})).await["createApiKey"].take();
    let secret = made["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("user-test-"));
    let (id, prefix) = (made["apiKey"]["id"].clone(), made["apiKey"]["prefix"].as_str().expect("a prefix"));
    assert!(secret.starts_with(prefix) && prefix.len() < 16);
    let expected = json!({"id": id, "name": "robot", "mode": "TEST", "prefix": prefix, "lastUsedAt": null, "expiresAt": null, "revokedAt": null});
    assert_eq!(made["apiKey"], expected);

    let basic = |user: &str| format!("Basic {}", BASE64_STANDARD.encode(user));
    for authorization in [
        format!("Bearer {secret}"),
        format!("bearer  {secret}"),
        basic(&format!("{secret}:")),
        basic(&format!("{secret}:ignored:x")),
    ] {
        let robot = app.with_authorization(&authorization);
        assert_eq!(
            robot.gql(VIEWER, json!({})).await["viewer"]["email"],
            "ada@example.com",
            "{authorization}"
        );
    }
    for authorization in [
        secret.to_owned(),
        format!("Token {secret}"),
        "Basic %%%".into(),
        basic("ada@example.com:x"),
        format!("Bearer {secret}x"),
    ] {
        let response = app.with_authorization(&authorization).execute(VIEWER, json!({})).await;
        assert_eq!(response.code(), "UNAUTHENTICATED", "{authorization}");
    }
    let listed = async || ada.gql("{ apiKeys { id lastUsedAt prefix } }", json!({})).await;
    let used = async || {
        let listed = listed().await;
        let mut keys = listed["apiKeys"].as_array().expect("keys").iter();
        keys.find(|key| key["id"] == id).expect("this key")["lastUsedAt"].is_string()
    };
    app.wait_until("the last use is recorded", used).await;
    let listed = listed().await;
    assert!(!listed.to_string().contains(&secret[15..]), "the secret is shown once");

    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { revokedAt } } }";
    let first = ada.gql(revoke, json!({"id": id})).await;
    assert!(first["revokeApiKey"]["apiKey"]["revokedAt"].is_string());
    assert_eq!(ada.gql(revoke, json!({"id": id})).await, first, "revoking again changes nothing");
    let response = app.with_authorization(&format!("Bearer {secret}")).execute(VIEWER, json!({})).await;
    assert_eq!((response.status.as_u16(), response.code()), (401, "UNAUTHENTICATED"));
}

both!(api_key_is_refused_after_its_expiry);
async fn api_key_is_refused_after_its_expiry(app: TestApp) {
    let ada = app.user("ada").await;
    let create = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { secret apiKey { mode } } }";
    let at = (app.clock.now() + TimeDelta::hours(1)).to_rfc3339();
    let made = ada.gql(create, json!({"in": {"name": "x", "expiresAt": at}})).await["createApiKey"].take();
    assert_eq!(made["apiKey"]["mode"], "LIVE", "by default");
    let robot = app.with_authorization(&format!("Bearer {}", made["secret"].as_str().expect("a secret")));
    robot.gql(VIEWER, json!({})).await;
    app.clock.advance(TimeDelta::minutes(61));
    assert_eq!(robot.execute(VIEWER, json!({})).await.code(), "UNAUTHENTICATED");
    for (name, at, path) in [
        ("x", Some(at), "/expiresAt"),
        ("x", Some("+262142-12-31T23:59:59Z".into()), "/expiresAt"),
        ("x", Some("-262143-01-01T00:00:00Z".into()), "/expiresAt"),
        ("", None, "/name"),
        (&"x".repeat(201), None, "/name"),
    ] {
        let refused = ada.gql_err(create, json!({"in": {"name": name, "expiresAt": at}})).await;
        assert_eq!(refused.problems()[0].0, path);
    }
}

const ADD: &str =
    "mutation($in: TeamMemberInput!) { addTeamMember(input: $in) { team { members { email } } } }";
const REMOVE: &str =
    "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { members { email } } } }";

both!(team_members_can_add_and_remove_members);
async fn team_members_can_add_and_remove_members(app: TestApp) {
    let (ada, bob, cyd) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let team = ada.team("Readers", &[]).await;
    let emails = |names: &[&str]| {
        json!(names.iter().map(|name| json!({"email": format!("{name}@example.com")})).collect::<Vec<_>>())
    };
    let added = ada.gql(ADD, json!({"in": {"teamId": team, "userEmail": "BOB@example.com"}})).await;
    assert_eq!(added["addTeamMember"]["team"]["members"], emails(&["ada", "bob"]));
    let added = bob.gql(ADD, json!({"in": {"teamId": team, "userId": cyd.id()}})).await;
    assert_eq!(added["addTeamMember"]["team"]["members"], emails(&["ada", "bob", "cyd"]));
    let again = bob.gql(ADD, json!({"in": {"teamId": team, "userId": cyd.id()}})).await;
    assert_eq!(again, added, "adding a member again changes nothing");

    let by_name = cyd.gql("{ team(name: \" Readers \") { id } teams { name } }", json!({})).await;
    assert_eq!(by_name, json!({"team": {"id": team}, "teams": [{"name": "Readers"}]}));
    let removed = cyd.gql(REMOVE, json!({"in": {"teamId": team, "userId": ada.id()}})).await;
    assert_eq!(removed["removeTeamMember"]["team"]["members"], emails(&["bob", "cyd"]));
    assert_eq!(
        ada.gql_err(REMOVE, json!({"in": {"teamId": team, "userId": bob.id()}})).await.code(),
        "NOT_FOUND"
    );
    assert_eq!(
        bob.gql_err(REMOVE, json!({"in": {"teamId": team, "userId": ada.id()}})).await.code(),
        "NOT_FOUND"
    );
    assert_eq!(ada.gql("{ teams { id } }", json!({})).await["teams"], json!([]));

    for (person, code) in [
        (json!({"userId": bob.id(), "userEmail": bob.email()}), "BAD_USER_INPUT"),
        (json!({}), "BAD_USER_INPUT"),
        (json!({"userEmail": "nobody@example.com"}), "NOT_FOUND"),
    ] {
        let mut input = person.clone();
        input["teamId"] = json!(team);
        assert_eq!(bob.gql_err(ADD, json!({"in": input})).await.code(), code, "{person}");
    }
    let create = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
    assert_eq!(
        ada.gql_err(create, json!({"in": {"name": "Readers"}})).await.code(),
        "CONFLICT",
        "names are unique"
    );
    assert_eq!(ada.gql_err(create, json!({"in": {"name": "  "}})).await.code(), "BAD_USER_INPUT");
}

both!(user_sees_only_shared_teams_of_other_members);
async fn user_sees_only_shared_teams_of_other_members(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let shared = ada.team("shared", &[&bob]).await;
    bob.team("private", &[]).await;
    let query = "query($id: ID!) { team(id: $id) { members { email teams { name } } } }";
    let seen = ada.gql(query, json!({"id": shared})).await;
    let members = json!([
        {"email": "ada@example.com", "teams": [{"name": "shared"}]},
        {"email": "bob@example.com", "teams": [{"name": "shared"}]}
    ]);
    assert_eq!(seen["team"]["members"], members);
    let own = bob.gql("{ viewer { teams { name } } }", json!({})).await;
    assert_eq!(own["viewer"]["teams"], json!([{"name": "private"}, {"name": "shared"}]));
    let admin = app.admin("root").await.gql(query, json!({"id": shared})).await;
    assert_eq!(admin["team"]["members"][1]["teams"], own["viewer"]["teams"], "admins see every team");
}

both!(test_key_can_create_only_test_keys);
async fn test_key_can_create_only_test_keys(app: TestApp) {
    let tess = app.test_mode_user("tess").await;
    let create = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { apiKey { mode } } }";
    let refused = tess.gql_err(create, json!({"in": {"name": "k", "mode": "LIVE"}})).await;
    assert_eq!(refused.code(), "FORBIDDEN");
    let made = tess.gql(create, json!({"in": {"name": "k", "mode": "TEST"}})).await;
    assert_eq!(made["createApiKey"]["apiKey"]["mode"], "TEST");
}
