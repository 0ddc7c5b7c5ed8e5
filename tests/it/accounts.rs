//! Who somebody is: accounts, passwords, tokens, API keys and teams.

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

fn person(email: &str, password: &str) -> Value {
    json!({"in": {"email": email, "name": " Ada ", "password": password}})
}

fn credentials(email: &str, password: &str) -> Value {
    json!({"in": {"email": email, "password": password}})
}

both!(whoever_signs_up_can_sign_in);
async fn whoever_signs_up_can_sign_in(app: TestApp) {
    let nobody = app.anonymous();
    let made = nobody.gql(SIGN_UP, person(" Ada@Example.COM ", PASSWORD)).await;
    assert_eq!(made["signUp"]["user"], json!({"email": "ada@example.com", "name": "Ada", "isAdmin": false}));
    let again = nobody.gql(SIGN_IN, credentials("ADA@example.com", PASSWORD)).await;
    for payload in [&made["signUp"], &again["signIn"]] {
        let token = payload["accessToken"].as_str().expect("a token");
        let ada = app.bearer_of(&format!("Bearer {token}"));
        assert_eq!(ada.gql(VIEWER, json!({})).await, json!({"viewer": {"email": "ada@example.com"}}));
    }
    let taken = nobody.refused(SIGN_UP, person("ada@example.com", "another password")).await;
    assert_eq!(taken.code(), "CONFLICT");
    assert_eq!(nobody.gql(VIEWER, json!({})).await, json!({"viewer": null}));
}

both!(passwords_have_twelve_to_256_characters);
async fn passwords_have_twelve_to_256_characters(app: TestApp) {
    let nobody = app.anonymous();
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
        match nobody.try_gql(SIGN_UP, person(&email, &password)).await {
            Ok(_) => {
                assert!(good, "{password}");
                nobody.gql(SIGN_IN, credentials(&email, &password)).await;
            }
            Err(error) => {
                assert!(!good, "{password}");
                assert_eq!(error.problems(), [("/password".to_owned(), "LENGTH".to_owned())]);
            }
        }
    }
    let all = json!({"in": {"email": "no address", "name": " ", "password": "short"}});
    let paths: Vec<_> =
        nobody.refused(SIGN_UP, all).await.problems().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/email", "/name", "/password"], "all at once");
}

both!(an_unknown_address_and_a_wrong_password_look_the_same);
async fn an_unknown_address_and_a_wrong_password_look_the_same(app: TestApp) {
    let nobody = app.anonymous();
    nobody.gql(SIGN_UP, person("ada@example.com", PASSWORD)).await;
    app.user("keyed").await;
    let tries = [
        credentials("ada@example.com", "the wrong password"),
        credentials("nobody@example.com", PASSWORD),
        // An account that signs in by API key only.
        credentials("keyed@example.com", PASSWORD),
        credentials("ada@example.com", &"x".repeat(5000)),
    ];
    let mut seen = Vec::new();
    for variables in tries {
        let answer = nobody.ask(SIGN_IN, variables).await;
        let mut error = answer.errors[0].clone();
        error.extensions.remove("tracking");
        seen.push((answer.status, answer.data, error));
    }
    assert_eq!(seen[0].2.code(), "UNAUTHENTICATED");
    for answer in &seen[1..] {
        assert_eq!(answer, &seen[0]);
    }
}

both!(guessing_is_slowed_down);
async fn guessing_is_slowed_down(app: TestApp) {
    let nobody = app.anonymous();
    nobody.gql(SIGN_UP, person("ada@example.com", PASSWORD)).await;
    for _ in 0..10 {
        let refused = nobody.refused(SIGN_IN, credentials("ada@example.com", "the wrong password")).await;
        assert_eq!(refused.code(), "UNAUTHENTICATED");
    }
    let refused = nobody.refused(SIGN_IN, credentials("ADA@example.com", PASSWORD)).await;
    assert_eq!(refused.code(), "RATE_LIMITED", "the right one too, however it is written");
    let seconds = refused.extensions["retryAfterSeconds"].as_u64().expect("a number");
    assert!((1..=60).contains(&seconds), "{seconds}");
    let other = nobody.refused(SIGN_IN, credentials("bob@example.com", PASSWORD)).await;
    assert_eq!(other.code(), "UNAUTHENTICATED", "other accounts are not shut out");
}

both!(sign_up_can_be_closed, |config| config.signup = Signup::Closed);
async fn sign_up_can_be_closed(app: TestApp) {
    let refused = app.anonymous().refused(SIGN_UP, person("ada@example.com", PASSWORD)).await;
    assert_eq!(refused.code(), "FORBIDDEN");
    assert_eq!(app.accounts.by_email("ada@example.com").await, Ok(None));
}

both!(tokens_end_when_they_say);
async fn tokens_end_when_they_say(app: TestApp) {
    let made = app.anonymous().gql(SIGN_UP, person("ada@example.com", PASSWORD)).await;
    let token = made["signUp"]["accessToken"].as_str().expect("a token");
    let ada = app.bearer_of(&format!("Bearer {token}"));
    app.clock.advance(TimeDelta::seconds(43_100));
    assert_eq!(ada.gql(VIEWER, json!({})).await["viewer"]["email"], "ada@example.com");
    app.clock.advance(TimeDelta::seconds(100));
    let answer = ada.ask(VIEWER, json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (401, "UNAUTHENTICATED"));
}

both!(tokens_that_are_not_the_servers_own_are_refused);
async fn tokens_that_are_not_the_servers_own_are_refused(app: TestApp) {
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
    let wrong = [
        ("unsigned", none.clone()),
        ("unsigned, with a signature", format!("{none}{signature}")),
        ("NONE", format!("{}.{}.", part(&json!({"alg": "NONE"})), part(&claims(&[])))),
        ("another secret", signed(Algorithm::HS256, &[7; 32], &claims(&[]))),
        ("another algorithm", signed(Algorithm::HS384, &secret, &claims(&[]))),
        ("another issuer", signed(Algorithm::HS256, &secret, &claims(&[("iss", json!("other"))]))),
        ("another audience", signed(Algorithm::HS256, &secret, &claims(&[("aud", json!("other"))]))),
        ("run out", signed(Algorithm::HS256, &secret, &claims(&[("exp", json!(now - 1))]))),
        ("without an end", signed(Algorithm::HS256, &secret, &claims(&[("exp", Value::Null)]))),
        (
            "of nobody",
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
    let seen = app.bearer_of(&format!("Bearer {good}")).gql(VIEWER, json!({})).await;
    assert_eq!(seen["viewer"]["email"], "ada@example.com", "as it should be, it is good");
    for (what, token) in wrong {
        let answer = app.bearer_of(&format!("Bearer {token}")).ask(VIEWER, json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (401, "UNAUTHENTICATED"), "{what}");
        assert!(answer.data.is_null(), "{what}");
    }
    let response =
        app.bearer_of("Bearer x").request(Method::POST, "/graphql").send().await.expect("an answer");
    assert_eq!(response.headers()["WWW-Authenticate"], "Bearer");
}

both!(api_keys_work_until_they_are_ended);
async fn api_keys_work_until_they_are_ended(app: TestApp) {
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
        let robot = app.bearer_of(&authorization);
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
        let answer = app.bearer_of(&authorization).ask(VIEWER, json!({})).await;
        assert_eq!(answer.code(), "UNAUTHENTICATED", "{authorization}");
    }
    let listed = async || ada.gql("{ apiKeys { id lastUsedAt prefix } }", json!({})).await;
    let used = async || {
        let listed = listed().await;
        let mut keys = listed["apiKeys"].as_array().expect("keys").iter();
        keys.find(|key| key["id"] == id).expect("this key")["lastUsedAt"].is_string()
    };
    app.wait_until("its use is noted", used).await;
    let listed = listed().await;
    assert!(!listed.to_string().contains(&secret[15..]), "the secret is shown once");

    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { revokedAt } } }";
    let first = ada.gql(revoke, json!({"id": id})).await;
    assert!(first["revokeApiKey"]["apiKey"]["revokedAt"].is_string());
    assert_eq!(ada.gql(revoke, json!({"id": id})).await, first, "once is enough");
    let answer = app.bearer_of(&format!("Bearer {secret}")).ask(VIEWER, json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (401, "UNAUTHENTICATED"));
}

both!(api_keys_run_out);
async fn api_keys_run_out(app: TestApp) {
    let ada = app.user("ada").await;
    let create = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { secret apiKey { mode } } }";
    let at = (app.clock.now() + TimeDelta::hours(1)).to_rfc3339();
    let made = ada.gql(create, json!({"in": {"name": "x", "expiresAt": at}})).await["createApiKey"].take();
    assert_eq!(made["apiKey"]["mode"], "LIVE", "by default");
    let robot = app.bearer_of(&format!("Bearer {}", made["secret"].as_str().expect("a secret")));
    robot.gql(VIEWER, json!({})).await;
    app.clock.advance(TimeDelta::minutes(61));
    assert_eq!(robot.ask(VIEWER, json!({})).await.code(), "UNAUTHENTICATED");
    for (name, at, path) in [
        ("x", Some(at), "/expiresAt"),
        ("x", Some("+262142-12-31T23:59:59Z".into()), "/expiresAt"),
        ("x", Some("-262143-01-01T00:00:00Z".into()), "/expiresAt"),
        ("", None, "/name"),
        (&"x".repeat(201), None, "/name"),
    ] {
        let refused = ada.refused(create, json!({"in": {"name": name, "expiresAt": at}})).await;
        assert_eq!(refused.problems()[0].0, path);
    }
}

const ADD: &str =
    "mutation($in: TeamMemberInput!) { addTeamMember(input: $in) { team { members { email } } } }";
const REMOVE: &str =
    "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { members { email } } } }";

both!(members_let_others_into_their_team_and_out);
async fn members_let_others_into_their_team_and_out(app: TestApp) {
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
    assert_eq!(again, added, "who is in already stays");

    let by_name = cyd.gql("{ team(name: \" Readers \") { id } teams { name } }", json!({})).await;
    assert_eq!(by_name, json!({"team": {"id": team}, "teams": [{"name": "Readers"}]}));
    let removed = cyd.gql(REMOVE, json!({"in": {"teamId": team, "userId": ada.id()}})).await;
    assert_eq!(removed["removeTeamMember"]["team"]["members"], emails(&["bob", "cyd"]));
    assert_eq!(
        ada.refused(REMOVE, json!({"in": {"teamId": team, "userId": bob.id()}})).await.code(),
        "NOT_FOUND"
    );
    assert_eq!(
        bob.refused(REMOVE, json!({"in": {"teamId": team, "userId": ada.id()}})).await.code(),
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
        assert_eq!(bob.refused(ADD, json!({"in": input})).await.code(), code, "{person}");
    }
    let create = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
    assert_eq!(
        ada.refused(create, json!({"in": {"name": "Readers"}})).await.code(),
        "CONFLICT",
        "names are unique"
    );
    assert_eq!(ada.refused(create, json!({"in": {"name": "  "}})).await.code(), "BAD_USER_INPUT");
}

both!(of_others_teams_one_sees_those_that_one_shares);
async fn of_others_teams_one_sees_those_that_one_shares(app: TestApp) {
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

both!(a_test_key_makes_test_keys_only);
async fn a_test_key_makes_test_keys_only(app: TestApp) {
    let tess = app.tester("tess").await;
    let create = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { apiKey { mode } } }";
    let refused = tess.refused(create, json!({"in": {"name": "k", "mode": "LIVE"}})).await;
    assert_eq!(refused.code(), "FORBIDDEN");
    let made = tess.gql(create, json!({"in": {"name": "k", "mode": "TEST"}})).await;
    assert_eq!(made["createApiKey"]["apiKey"]["mode"], "TEST");
}
