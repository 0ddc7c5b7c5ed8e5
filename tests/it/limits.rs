//! Tests of the limits in docs/limits.md: one more than the maximum is refused, with path and code.

use reqwest::Method;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Backend, File, TestApp, User, both, job_id};

const UPLOAD: &str = "uploadDocument(file: $f) { document { id } }";

both!(number_of_files_per_multipart_request_is_limited, |config| config.limits.request_files = 2);
async fn number_of_files_per_multipart_request_is_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let send = async |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("f{n}")).collect();
        let declared = names.iter().map(|name| format!("${name}: Upload!")).collect::<Vec<_>>().join(" ");
        let fields =
            names.iter().map(|name| format!("{name}: {}", UPLOAD.replace("$f", &format!("${name}"))));
        let query = format!("mutation({declared}) {{ {} }}", fields.collect::<Vec<_>>().join(" "));
        let nulls: Value =
            names.iter().map(|name| (name.clone(), Value::Null)).collect::<serde_json::Map<_, _>>().into();
        let map: Value = names
            .iter()
            .map(|name| (name.clone(), json!([format!("variables.{name}")])))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let file = |name| File { part: name, name: "a.txt", media_type: "text/plain", bytes: b"a" };
        let files: Vec<_> = names.iter().map(|name| file(name)).collect();
        ada.execute_multipart(&json!({"query": query, "variables": nulls}), &map, &files).await
    };
    assert!(send(2).await.into_data().is_ok());
    let before = app.stored_keys().len();
    assert_eq!(send(3).await.code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(app.stored_keys().len(), before, "the refused files are not stored");
}

both!(size_of_multipart_form_fields_is_limited, |config| config.limits.request_bytes = 1_000);
async fn size_of_multipart_form_fields_is_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let query = format!("mutation($f: Upload!) {{ {UPLOAD} }}");
    let send = async |filler: &str, further: &str| {
        let operations = json!({"query": query, "variables": {"f": null, "filler": filler}});
        let map = json!({"0": ["variables.f"], (further): []});
        let file = File { part: "0", name: "a.txt", media_type: "text/plain", bytes: b"a" };
        ada.execute_multipart(&operations, &map, &[file]).await
    };
    let long = "x".repeat(1_000);
    for (filler, further) in [(long.as_str(), "x"), ("x", &long)] {
        let response = send(filler, further).await;
        assert_eq!((response.status.as_u16(), response.code()), (413, "PAYLOAD_TOO_LARGE"));
        assert!(app.stored_keys().is_empty());
    }
    assert!(send("x", "x").await.into_data().is_ok());
}

both!(nesting_depth_of_json_requests_is_limited);
async fn nesting_depth_of_json_requests_is_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let problem = async |levels: usize| {
        // The request object and its variables are two of the levels.
        let (open, close) = ("[".repeat(levels - 2), "]".repeat(levels - 2));
        let body =
            format!("{{\"query\": \"{{ viewer {{ id }} }}\", \"variables\": {{\"a\": {open}{close}}}}}");
        let request = ada.request(Method::POST, "/graphql").header("Content-Type", "application/json");
        let response = ada.send_gql(request.body(body)).await;
        assert_eq!((response.status.as_u16(), response.code()), (400, "BAD_USER_INPUT"));
        response.errors[0].problems()[0].1.clone()
    };
    assert_eq!(problem(128).await, "JSON");
    assert_ne!(problem(127).await, "JSON", "the JSON parses, but the variable is nested too deeply");
}

both!(length_of_a_mime_type_is_limited);
async fn length_of_a_mime_type_is_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let longest = format!("text/{}", "x".repeat(250));
    ada.upload("a", "a.txt", &longest).await;
    let request = ada.request(Method::POST, "/documents").header("X-Type", format!("{longest}x"));
    let response = ada.send_gql(request.body("a")).await;
    assert_eq!(response.errors[0].problems(), [("/type".to_owned(), "TOO_LONG".to_owned())]);
}

both!(length_of_reasons_comments_and_descriptions_is_limited, |config| config.limits.comment_characters = 5);
async fn length_of_reasons_comments_and_descriptions_is_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let (job, worker) = (ada.extraction_job(json!([])).await, app.worker());
    for _ in 0..2 {
        worker.complete(&worker.claim_step_of(job_id(&job)).await).await.expect("the result is accepted");
    }
    let claim = worker.claim_step_of(job_id(&job)).await;
    worker
        .complete_with_review(&claim, "mapping-json", &json!({"data_points": []}))
        .await
        .expect("the result is accepted");
    let review = ada.job(&job, "review { id content { document { sha256 } } }").await["review"].take();
    let decision = json!({"id": review["id"], "decision": "REJECT", "comment": "longer",
                          "contentSha256": review["content"]["document"]["sha256"]});
    ada.noop_job().await;
    let claims = ada.gql(CLAIM, claim_input(&json!({}))).await["claimSteps"]["claims"].take();
    let token = &claims[0]["leaseToken"];
    let ask = json!({"leaseToken": token, "review": {"reason": "longer", "contentRole": "output"}});
    let before = ada.job(&job, "status updatedAt").await;
    for (query, variables, path) in [
        (
            "mutation($id: ID!) { cancelJob(id: $id, reason: \"longer\") { job { id } } }",
            json!({"id": job}),
            "/reason",
        ),
        (
            "mutation($in: RewindJobInput!) { rewindJob(input: $in) { job { id } } }",
            json!({"in": {"id": job, "toStep": "zoning", "reason": "longer"}}),
            "/reason",
        ),
        (
            "mutation($in: DecideReviewInput!) { decideReview(input: $in) { review { id } } }",
            json!({"in": decision}),
            "/comment",
        ),
        (
            "mutation($in: CompleteStepInput!) { completeStep(input: $in) { job { id } } }",
            json!({"in": ask}),
            "/review/reason",
        ),
        (
            "mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { webhook { id } } }",
            json!({"in": {"url": "https://example.invalid/", "description": "longer"}}),
            "/description",
        ),
    ] {
        let problems = problems_of_refused(&ada, query, variables).await;
        assert!(problems.contains(&(path.to_owned(), "TOO_LARGE".to_owned())), "{query}: {problems:?}");
    }
    assert_eq!(ada.job(&job, "status updatedAt").await, before);
}

const CLAIM: &str = "mutation($in: ClaimStepsInput!) { claimSteps(input: $in) { claims { leaseToken } } }";

/// Returns the input of `claimSteps` with changes.
fn claim_input(changes: &Value) -> Value {
    let mut input = json!({"workerId": "w", "types": ["noop"]});
    input.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    json!({"in": input})
}

both!(inputs_of_workers_are_limited_or_truncated);
async fn inputs_of_workers_are_limited_or_truncated(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    for (changes, path, code) in [
        (json!({"types": vec!["noop"; 21]}), "/types", "RANGE"),
        (json!({"workerId": "w".repeat(101)}), "/workerId", "LENGTH"),
    ] {
        assert_eq!(
            problems_of_refused(&ada, CLAIM, claim_input(&changes)).await,
            [(path.to_owned(), code.to_owned())]
        );
    }
    let query = "subscription($types: [ID!]!) { stepsQueued(types: $types) { count } }";
    let subscription = ada.subscribe(query, json!({"types": vec!["noop"; 21]})).await;
    assert_eq!(subscription.expect_error().await.problems(), [("/types".to_owned(), "RANGE".to_owned())]);
    let maximum = json!({"types": vec!["noop"; 20], "workerId": "w".repeat(100)});
    let claims = ada.gql(CLAIM, claim_input(&maximum)).await["claimSteps"]["claims"].take();
    let token = &claims[0]["leaseToken"];
    let report = "mutation($in: ReportStepInput!) { reportStep(input: $in) { cancelled } }";
    ada.gql(report, json!({"in": {"leaseToken": token, "message": "m".repeat(501)}})).await;
    let step = ada.job(&job, "currentStep { message }").await["currentStep"].take();
    assert_eq!(step["message"], "m".repeat(500), "the message is truncated");
    let fail = "mutation($in: FailStepInput!) { failStep(input: $in) { job { id } } }";
    let failure = |code: String| json!({"in": {"leaseToken": token, "code": code, "message": "m"}});
    let problems = problems_of_refused(&ada, fail, failure("C".repeat(101))).await;
    assert_eq!(problems, [("/code".to_owned(), "LENGTH".to_owned())]);
    ada.gql(fail, failure("C".repeat(100))).await;
}

both!(size_of_a_job_type_definition_is_limited);
async fn size_of_a_job_type_definition_is_limited(app: TestApp) {
    let root = app.admin("root").await;
    let register = "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }";
    let steps = |count: usize| (0..count).map(|n| json!({"name": format!("s{n}")})).collect::<Vec<_>>();
    let job_type = |id: &str, steps: Value| json!({"in": {"id": id, "name": "T", "description": "d", "accepts": [], "steps": steps}});
    let step = |key: &str, value: Value| json!([{"name": "a", (key): value}]);
    for (variables, path, code) in [
        (job_type("t", json!(steps(101))), "/steps", "RANGE"),
        (job_type(&"t".repeat(101), json!(steps(1))), "/id", "INVALID"),
        (job_type("t", step("name", json!("s".repeat(101)))), "/steps/0/name", "INVALID"),
        (job_type("t", step("contentRoles", json!(["r".repeat(101)]))), "/steps/0/contentRoles/0", "INVALID"),
        (job_type("t", step("thresholdField", json!("f".repeat(201)))), "/steps/0/thresholdField", "INVALID"),
        (job_type("t", step("maxAttempts", json!(2_678_401))), "/steps/0/maxAttempts", "RANGE"),
        (job_type("t", step("timeoutSeconds", json!(2_678_401))), "/steps/0/timeoutSeconds", "RANGE"),
    ] {
        let problems = problems_of_refused(&root, register, variables).await;
        assert_eq!(problems, [(path.to_owned(), code.to_owned())]);
    }
    root.gql(register, job_type(&"t".repeat(100), json!(steps(100)))).await;
}

both!(database_connections_have_statement_and_lock_timeouts);
async fn database_connections_have_statement_and_lock_timeouts(app: TestApp) {
    let settings: &[(&str, &str)] = match app.backend() {
        Backend::Sqlite => &[("SELECT CAST(timeout AS TEXT) FROM pragma_busy_timeout", "10000")],
        Backend::Postgres => {
            &[("SHOW statement_timeout", "1min"), ("SHOW idle_in_transaction_session_timeout", "1min")]
        }
    };
    for connection in [app.db.read(), app.db.writer()] {
        for (query, expected) in settings {
            // Reads the configured timeout, because waiting for it would take minutes.
            let statement = Statement::from_string(connection.get_database_backend(), *query);
            let row = connection.query_one_raw(statement).await.expect("a response").expect("a row");
            assert_eq!(row.try_get_by_index::<String>(0).expect("a text"), *expected, "{query}");
        }
    }
}

both!(size_of_a_taxonomy_definition_is_limited, |config| config.limits.taxonomy_bytes = 200);
async fn size_of_a_taxonomy_definition_is_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let put = "mutation($in: PutTaxonomyInput!) { putTaxonomy(input: $in) { taxonomy { id } } }";
    let named = |name: &str| {
        let point = json!({"name": name, "type": "code", "labels": ["No"]});
        json!({"in": {"name": "t", "definition": {"name": "t", "data_points": [point]}}})
    };
    ada.gql(put, named("number")).await;
    assert_eq!(ada.gql_err(put, named(&"n".repeat(180))).await.code(), "PAYLOAD_TOO_LARGE");
}

both!(length_of_a_webhook_url_is_limited, |config| config.webhooks.url_bytes = 40);
async fn length_of_a_webhook_url_is_limited(app: TestApp) {
    let create = "mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { webhook { id } } }";
    let url = format!("https://example.com/{}", "a".repeat(21));
    let refused = app.user("ada").await.gql_err(create, json!({"in": {"url": url}})).await;
    assert_eq!(refused.problems(), [("/url".to_owned(), "TOO_LONG".to_owned())]);
}

both!(fixed_limits_refuse_values_just_above_them);
async fn fixed_limits_refuse_values_just_above_them(app: TestApp) {
    let ada = app.user("ada").await;
    let document = ada.upload("text", "a.txt", "text/plain").await;
    let job = |more: Value| {
        let mut input = json!({"type": "noop", "input": {"documentId": document}});
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"in": input})
    };
    let team = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
    let key = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { secret } }";
    let create = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
    let sign_up = "mutation($in: SignUpInput!) { signUp(input: $in) { accessToken } }";
    let link = "query($id: ID!, $s: Int) { document(id: $id) { signedContentsUri(expiresInSeconds: $s) } }";
    let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let account = |email: &str, name: &str, password: &str| json!({"in": {"email": email, "name": name, "password": password}});
    let (long, password) = ("n".repeat(201), "correct horse battery");
    let put = "mutation($in: PutTaxonomyInput!) { putTaxonomy(input: $in) { taxonomy { id } } }";
    let defined = json!({"name": "t", "data_points": [{"name": "number", "type": "code"}]});
    let cases: [(&str, Value, &str, &str); 15] = [
        (put, json!({"in": {"name": long, "definition": defined}}), "/name", "INVALID"),
        (team, json!({"in": {"name": long}}), "/name", "INVALID"),
        (key, json!({"in": {"name": long}}), "/name", "INVALID"),
        (key, json!({"in": {"name": "k", "expiresAt": "+010000-01-01T00:00:00Z"}}), "/expiresAt", "RANGE"),
        (create, job(json!({"idempotencyKey": long})), "/idempotencyKey", "LENGTH"),
        (create, job(json!({"idempotencyKey": ""})), "/idempotencyKey", "LENGTH"),
        (create, job(json!({"priority": 1001})), "/priority", "RANGE"),
        (create, job(json!({"priority": -1001})), "/priority", "RANGE"),
        (sign_up, account("new@example.com", &long, password), "/name", "INVALID"),
        (sign_up, account(&format!("{}@example.com", "a".repeat(254)), "New", password), "/email", "INVALID"),
        (sign_up, account("new@example.com", "New", "elevenchars"), "/password", "LENGTH"),
        (sign_up, account("new@example.com", "New", &"p".repeat(257)), "/password", "LENGTH"),
        (link, json!({"id": document, "s": 604_801}), "/expiresInSeconds", "RANGE"),
        (link, json!({"id": document, "s": 0}), "/expiresInSeconds", "RANGE"),
        (nodes, json!({"ids": vec![&document; 101]}), "/ids", "TOO_MANY"),
    ];
    for (query, variables, path, code) in cases {
        let refused = problems_of_refused(&ada, query, variables).await;
        assert_eq!(refused, [(path.to_owned(), code.to_owned())], "{query}");
    }
    ada.gql(create, job(json!({"idempotencyKey": "k".repeat(200), "priority": 1000}))).await;
    ada.gql(link, json!({"id": document, "s": 604_800})).await;
    ada.gql(nodes, json!({"ids": vec![&document; 100]})).await;
}

both!(keys_teams_members_and_taxonomies_per_user_are_limited, |config| {
    config.limits.api_keys = 2;
    config.limits.teams = 1;
    config.limits.team_members = 2;
    config.limits.taxonomies = 1;
});
async fn keys_teams_members_and_taxonomies_per_user_are_limited(app: TestApp) {
    let (ada, bob, eve) = (app.user("ada").await, app.user("bob").await, app.user("eve").await);
    let too_many = [(String::new(), "TOO_MANY".to_owned())];

    // The key of the test user counts as the first.
    let key = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { apiKey { id } } }";
    let second = ada.gql(key, json!({"in": {"name": "k"}})).await["createApiKey"]["apiKey"]["id"].take();
    assert_eq!(problems_of_refused(&ada, key, json!({"in": {"name": "k"}})).await, too_many);
    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id } } }";
    ada.gql(revoke, json!({"id": second})).await;
    ada.gql(key, json!({"in": {"name": "k"}})).await;
    let keys = ada.gql("{ apiKeys { revokedAt } }", Value::Null).await["apiKeys"].take();
    let revoked: Vec<_> =
        keys.as_array().expect("keys").iter().map(|key| !key["revokedAt"].is_null()).collect();
    assert_eq!(revoked, [false, true, false], "newest first, revoked keys included");

    let create = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
    let team = ada.gql(create, json!({"in": {"name": "one"}})).await["createTeam"]["team"]["id"].take();
    assert_eq!(problems_of_refused(&ada, create, json!({"in": {"name": "two"}})).await, too_many);
    bob.gql(create, json!({"in": {"name": "two"}})).await;

    let add = "mutation($in: TeamMemberInput!) { addTeamMember(input: $in) { team { id } } }";
    let member = |user: &User| json!({"in": {"teamId": team, "userId": user.id()}});
    ada.gql(add, member(&bob)).await;
    assert_eq!(problems_of_refused(&ada, add, member(&eve)).await, too_many);
    ada.gql(add, member(&bob)).await;
    let names = ada.gql("query($id: ID!) { team(id: $id) { members { name } } }", json!({"id": team})).await;
    assert_eq!(names["team"]["members"].as_array().map(Vec::len), Some(2), "no member was added: {names}");

    let put = "mutation($in: PutTaxonomyInput!) { putTaxonomy(input: $in) { taxonomy { version } } }";
    let taxonomy = |name: &str, point: &str| json!({"in": {"name": name, "definition": {"data_points": [{"name": point, "type": "code"}]}}});
    ada.gql(put, taxonomy("a", "number")).await;
    assert_eq!(problems_of_refused(&ada, put, taxonomy("b", "number")).await, too_many);
    let next = ada.gql(put, taxonomy("a", "code")).await;
    assert_eq!(next["putTaxonomy"]["taxonomy"]["version"], 2, "a further version does not count");
    bob.gql(put, taxonomy("b", "number")).await;
}

both!(concurrent_requests_cannot_exceed_a_quota, |config| {
    config.limits.api_keys = 2;
    config.limits.teams = 1;
    config.limits.team_members = 2;
    config.limits.taxonomies = 1;
});
async fn concurrent_requests_cannot_exceed_a_quota(app: TestApp) {
    let ada = app.user("ada").await;
    let create_concurrently = async |kind: &str, query: &str, inputs: Vec<Value>| {
        let requests = inputs.into_iter().map(|input| ada.execute(query, json!({"in": input})));
        let responses = futures_util::future::join_all(requests).await;
        let (made, refused): (Vec<_>, Vec<_>) = responses.into_iter().partition(|a| a.errors.is_empty());
        let codes: Vec<_> = refused.iter().map(|response| response.errors[0].problems()).collect();
        assert_eq!(codes, vec![[(String::new(), "TOO_MANY".to_owned())]; 7], "{kind}");
        made.into_iter().next().map(|response| response.data).expect("one object is created")
    };
    let names = || (0..8).map(|n| json!({"name": format!("n{n}")}));
    create_concurrently(
        "keys",
        "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { secret } }",
        names().collect(),
    )
    .await;
    let create = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
    let team =
        create_concurrently("teams", create, names().collect()).await["createTeam"]["team"]["id"].take();
    let mut others = Vec::new();
    for n in 0..8 {
        others.push(json!({"teamId": team, "userId": app.user(&format!("u{n}")).await.id()}));
    }
    create_concurrently(
        "members",
        "mutation($in: TeamMemberInput!) { addTeamMember(input: $in) { team { id } } }",
        others,
    )
    .await;
    let defined = json!({"data_points": [{"name": "number", "type": "code"}]});
    let taxonomies = names().map(|mut input| {
        input["definition"] = defined.clone();
        input
    });
    let put = "mutation($in: PutTaxonomyInput!) { putTaxonomy(input: $in) { taxonomy { id } } }";
    create_concurrently("taxonomies", put, taxonomies.collect()).await;

    // Concurrent identical requests create one taxonomy.
    let bob = app.user("bob").await;
    let same = json!({"name": "same", "definition": defined});
    let puts = (0..8).map(|_| bob.gql(put, json!({"in": same})));
    let made = futures_util::future::join_all(puts).await;
    assert!(made.iter().all(|one| one == &made[0]), "{made:?}");
}

both!(expired_and_revoked_keys_do_not_count_toward_quota, |config| config.limits.api_keys = 2);
async fn expired_and_revoked_keys_do_not_count_toward_quota(app: TestApp) {
    let ada = app.user("ada").await;
    let create = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { apiKey { id } } }";
    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id } } }";
    let expires = app.clock.now() + chrono::TimeDelta::hours(1);
    let input = json!({"in": {"name": "short", "expiresAt": expires}});
    let short = ada.gql(create, input.clone()).await["createApiKey"]["apiKey"]["id"].take();
    assert_eq!(problems_of_refused(&ada, create, json!({"in": {"name": "k"}})).await.len(), 1);
    app.clock.advance(chrono::TimeDelta::hours(2));
    let mut ended = vec![short];
    for _ in 0..100 {
        let key = ada.gql(create, json!({"in": {"name": "k"}})).await["createApiKey"]["apiKey"]["id"].take();
        ada.gql(revoke, json!({"id": key})).await;
        ended.push(key);
    }
    let listed = ada.gql("{ apiKeys { id } }", Value::Null).await["apiKeys"].take();
    let listed: Vec<_> = listed.as_array().expect("keys").iter().map(|key| key["id"].clone()).collect();
    let newest: Vec<_> = ended[1..].iter().rev().cloned().collect();
    assert_eq!(listed[..100], newest, "the key that expired first is no longer listed");
    assert_eq!(listed.len(), 101, "the valid key is listed although it is older");
}

both!(concurrent_uploads_and_downloads_per_user_are_limited, |config| config.limits.transfers = 1);
async fn concurrent_uploads_and_downloads_per_user_are_limited(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let begin = async |head: &str| {
        let mut slow = TcpStream::connect(app.address()).await.expect("a connection");
        let head = format!(
            "POST {head}\r\nhost: x\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\n\r\n",
            ada.secret()
        );
        slow.write_all(head.as_bytes()).await.expect("the bytes are sent");
        // The server is now waiting for the body.
        let mut line = [0; 25];
        slow.read_exact(&mut line).await.expect("a response");
        assert_eq!(line, *b"HTTP/1.1 100 Continue\r\n\r\n");
        slow
    };
    let can_upload =
        async || ada.send_gql(ada.request(Method::POST, "/documents").body("a")).await.status.as_u16() == 201;
    let document = ada.upload("a", "a.txt", "text/plain").await;
    let multipart = "content-type: multipart/form-data; boundary=b\r\napollo-require-preflight: true";
    let aborted = begin(&format!("/graphql HTTP/1.1\r\ncontent-length: 9\r\n{multipart}")).await;
    let refused = ada.send_gql(ada.request(Method::POST, "/documents").body("a")).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "UNAVAILABLE"));
    drop(aborted);
    app.wait_until("the aborted upload no longer counts", can_upload).await;
    let mut slow = begin("/documents HTTP/1.1\r\ncontent-length: 2").await;
    slow.write_all(b"a").await.expect("the bytes are sent");

    let file = File { part: "0", name: "a.txt", media_type: "text/plain", bytes: b"a" };
    let operations =
        json!({"query": format!("mutation($f: Upload!) {{ {UPLOAD} }}"), "variables": {"f": null}});
    let map = json!({"0": ["variables.f"]});
    let plain = ada.send_gql(ada.request(Method::POST, "/documents").body("a")).await;
    let multipart = ada.execute_multipart(&operations, &map, std::slice::from_ref(&file)).await;
    let rest = ada.send_gql(ada.request(Method::POST, "/v1.1/documents").body("a")).await;
    let contents = format!("/documents/{document}/contents");
    let download = ada.send_gql(ada.request(Method::GET, &contents)).await;
    for (method, header, expected) in [
        (Method::HEAD, ("Accept", "*/*"), 200),
        (Method::GET, ("If-None-Match", "*"), 304),
        (Method::GET, ("Range", "bytes=9-"), 416),
    ] {
        let request = ada.request(method, &contents).header(header.0, header.1);
        assert_eq!(
            request.send().await.expect("a response").status(),
            expected,
            "responses without a body do not count"
        );
    }
    for response in [&plain, &multipart, &download] {
        assert_eq!((response.status.as_u16(), response.code()), (503, "UNAVAILABLE"));
    }
    assert_eq!(plain.errors[0].extensions["retryAfterSeconds"], 1);
    assert_eq!(rest.status.as_u16(), 503);
    for path in ["/documents", "/v1.1/documents"] {
        let refused = ada.request(Method::POST, path).body("a").send().await.expect("a response");
        let header = |name| refused.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("retry-after"), Some("1"), "{path}");
    }
    bob.upload("a", "a.txt", "text/plain").await;

    slow.write_all(b"b").await.expect("the bytes are sent");
    let mut response = [0; 12];
    slow.read_exact(&mut response).await.expect("a response");
    assert_eq!(response, *b"HTTP/1.1 201");
    app.wait_until("the finished upload no longer counts", can_upload).await;
}

both!(page_has_twenty_entries_by_default);
async fn page_has_twenty_entries_by_default(app: TestApp) {
    let ada = app.user("ada").await;
    for _ in 0..21 {
        ada.noop_job().await;
    }
    let page = ada.gql("{ jobs { nodes { id } pageInfo { hasNextPage } } }", Value::Null).await;
    assert_eq!(page["jobs"]["nodes"].as_array().map(Vec::len), Some(20));
    assert_eq!(page["jobs"]["pageInfo"]["hasNextPage"], true);
}

both!(size_of_the_metadata_of_a_new_job_is_limited, |config| config.limits.metadata_bytes = 20);
async fn size_of_the_metadata_of_a_new_job_is_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let create = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
    // `{"note":""}` has 11 bytes.
    let longest = ada.job_input(json!({"type": "noop", "metadata": {"note": "n".repeat(9)}})).await;
    let longer = ada.job_input(json!({"type": "noop", "metadata": {"note": "n".repeat(10)}})).await;
    assert_eq!(
        problems_of_refused(&ada, create, json!({"in": longer})).await,
        [("/metadata".to_owned(), "TOO_LARGE".to_owned())]
    );
    ada.gql(create, json!({"in": longest})).await;
}

async fn problems_of_refused(person: &User, query: &str, variables: Value) -> Vec<(String, String)> {
    let response = person.execute(query, variables).await;
    assert_eq!(response.code(), "BAD_USER_INPUT", "{query}");
    response.errors[0].problems()
}
