//! Tests of external workers: claiming steps, renewing leases, and submitting results.

use chrono::TimeDelta;
use docket::entity::job;
use serde_json::{Value, json};

use crate::harness::{Backend, TestApp, User, both};

const CLAIM: &str = "mutation($in: ClaimStepsInput!) { claimSteps(input: $in) { claims {
    leaseToken leaseExpiresAt step { name status attempt comment } job { id metadata } } } }";
const REPORT: &str =
    "mutation($in: ReportStepInput!) { reportStep(input: $in) { leaseExpiresAt cancelled } }";
const COMPLETE: &str = "mutation($in: CompleteStepInput!) { completeStep(input: $in) { job { status } } }";
const FAIL: &str = "mutation($in: FailStepInput!) { failStep(input: $in) { job { status } } }";

/// Registers the job type `own` with the steps `read` and `write`, which only external workers run.
async fn register_job_type(app: &TestApp) {
    let register = "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }";
    let steps = json!([
        {"name": "read", "kind": "AUTOMATIC", "contentRoles": ["read-json"], "maxAttempts": 2},
        {"name": "write", "kind": "AUTOMATIC", "contentRoles": ["read-json", "output"]},
    ]);
    let input =
        json!({"id": "own", "name": "Own", "description": "Done outside.", "accepts": [], "steps": steps});
    app.admin("root").await.gql(register, json!({"in": input})).await;
}

async fn claim_steps(person: &User, limit: i32) -> Vec<Value> {
    let input = json!({"in": {"workerId": "w1", "types": ["own"], "limit": limit}});
    person.gql(CLAIM, input).await["claimSteps"]["claims"].as_array().expect("claims").clone()
}

/// Claims the only queued step.
async fn claim_one(person: &User) -> Value {
    let mut all = claim_steps(person, 10).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn lease_input(claim: &Value, fields: &Value) -> Value {
    let mut input = json!({"leaseToken": claim["leaseToken"]});
    for (key, value) in fields.as_object().expect("an object") {
        input[key] = value.clone();
    }
    json!({"in": input})
}

both!(external_workers_run_only_steps_they_have_access_to);
async fn external_workers_run_only_steps_they_have_access_to(app: TestApp) {
    register_job_type(&app).await;
    let (ada, bob, stranger) = (app.user("ada").await, app.user("bob").await, app.user("eve").await);
    let share = json!([{"collaborator": {"userEmail": bob.email()}, "steps": ["read"]}]);
    let job = ada.create_job(json!({"type": "own", "collaboration": share, "metadata": {"a": 1}})).await;
    assert_eq!(
        claim_steps(&stranger, 10).await,
        Vec::<Value>::new(),
        "steps of invisible jobs cannot be claimed"
    );

    let claimed = claim_one(&bob).await;
    let step = json!({"name": "read", "status": "RUNNING", "attempt": 1, "comment": null});
    assert_eq!((&claimed["step"], &claimed["job"]["id"]), (&step, &json!(job)));
    assert!(claim_steps(&ada, 10).await.is_empty(), "the step is already claimed");
    let report = lease_input(&claimed, &json!({"fraction": 0.5, "message": "half"}));
    assert_eq!(bob.gql(REPORT, report).await["reportStep"]["cancelled"], false);
    bob.gql(REPORT, lease_input(&claimed, &json!({}))).await;
    let now = ada
        .job(
            &job,
            "currentStep { fraction message } events(first: 50) { nodes { kind actor { email } data } }",
        )
        .await;
    assert_eq!(now["currentStep"], json!({"fraction": 0.5, "message": "half"}), "omitted values are kept");
    let events = now["events"]["nodes"].as_array().expect("events");
    let running =
        events.iter().find(|event| event["data"]["to"] == "RUNNING" && event["kind"] == "STEP_CHANGED");
    let running = running.cloned().unwrap_or_default();
    assert_eq!((&running["actor"]["email"], &running["data"]["worker"]), (&json!(bob.email()), &json!("w1")));

    for (query, input) in
        [(REPORT, json!({})), (COMPLETE, json!({})), (FAIL, json!({"code": "X", "message": "x"}))]
    {
        let refused = stranger.gql_err(query, lease_input(&claimed, &input)).await;
        assert_eq!(refused.code(), "NOT_FOUND", "{query}");
    }
    let made = bob.upload("{\"values\": []}", "read.json", "application/json").await;
    let content = |role: &str, id: &str| json!({"contents": [{"role": role, "source": {"documentId": id}}]});
    for (input, path) in [
        (content("output", &made), "/contents/0/role"),
        (content("input", &made), "/contents/0/role"),
        (content("read-json", &job), "/contents/0/source"),
        (json!({"review": {"reason": "?", "contentRole": "read-json"}}), "/review/contentRole"),
    ] {
        assert_eq!(
            bob.gql_err(COMPLETE, lease_input(&claimed, &input)).await.problems()[0].0,
            path,
            "{input}"
        );
    }
    let mut result = content("read-json", &made);
    result["review"] =
        json!({"reason": "Not sure.", "contentRole": "read-json", "items": [{"path": "/values"}]});
    assert_eq!(
        bob.gql(COMPLETE, lease_input(&claimed, &result)).await["completeStep"]["job"]["status"],
        "BLOCKED"
    );
    let again = bob.gql_err(COMPLETE, lease_input(&claimed, &content("read-json", &made))).await;
    assert_eq!(again.code(), "CONFLICT", "a result is accepted once");
    let review =
        ada.job(&job, "review { id reason content { role document { sha256 } } items { path label } }").await;
    let review = &review["review"];
    assert_eq!(
        (&review["content"]["role"], &review["items"][0]),
        (&json!("read-json"), &json!({"path": "/values", "label": "/values"}))
    );
    for query in ["mutation($in: ID!) { claimReview(id: $in) { review { id } } }"] {
        ada.gql(query, json!({"in": review["id"]})).await;
    }
    let decision = json!({"id": review["id"], "decision": "APPROVE", "contentSha256": review["content"]["document"]["sha256"]});
    ada.gql(
        "mutation($in: DecideReviewInput!) { decideReview(input: $in) { review { id } } }",
        json!({"in": decision}),
    )
    .await;

    assert!(claim_steps(&bob, 10).await.is_empty(), "bob has no access to the next step");
    let claimed = claim_one(&ada).await;
    assert_eq!(claimed["step"]["name"], "write");
    let output = ada.upload("done", "done.txt", "text/plain").await;
    ada.gql(COMPLETE, lease_input(&claimed, &content("output", &output))).await;
    let done = ada.job(&job, "status outputContent { document { id } }").await;
    assert_eq!(done, json!({"status": "COMPLETED", "outputContent": {"document": {"id": output}}}));
}

both!(lost_lease_cannot_change_the_step);
async fn lost_lease_cannot_change_the_step(app: TestApp) {
    register_job_type(&app).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userEmail": bob.email()}}]);
    let job = ada.create_job(json!({"type": "own", "collaboration": share})).await;
    let first = claim_one(&ada).await;
    app.clock.advance(TimeDelta::seconds(31));
    let refused = ada.gql_err(REPORT, lease_input(&first, &json!({}))).await;
    assert_eq!((refused.code(), &refused.extensions["reason"]), ("CONFLICT", &json!("LEASE_LOST")));
    app.jobs.expire_leases(10).await.expect("the lease is released");
    app.clock.advance(TimeDelta::seconds(10));
    let second = claim_one(&bob).await;
    assert_eq!(second["step"]["attempt"], 2);
    for (query, input) in
        [(REPORT, json!({})), (COMPLETE, json!({})), (FAIL, json!({"code": "X", "message": "x"}))]
    {
        let refused = ada.gql_err(query, lease_input(&first, &input)).await;
        let reason = &refused.extensions["reason"];
        assert_eq!((refused.code(), reason), ("CONFLICT", &json!("LEASE_LOST")), "{query}");
    }
    // Each report renews the lease. A removed collaborator loses access to the step.
    app.clock.advance(TimeDelta::seconds(20));
    bob.gql(REPORT, lease_input(&second, &json!({}))).await;
    app.clock.advance(TimeDelta::seconds(20));
    bob.gql(REPORT, lease_input(&second, &json!({}))).await;
    let remove = "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { id } } }";
    ada.gql(remove, json!({"in": {"jobId": job, "collaborator": {"userEmail": bob.email()}}})).await;
    for query in [REPORT, COMPLETE] {
        assert_eq!(bob.gql_err(query, lease_input(&second, &json!({}))).await.code(), "NOT_FOUND", "{query}");
    }
    assert_eq!(ada.status(&job).await, "RUNNING");

    ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
    assert_eq!(ada.gql(REPORT, lease_input(&second, &json!({}))).await["reportStep"]["cancelled"], true);
    assert_eq!(ada.gql_err(COMPLETE, lease_input(&second, &json!({}))).await.code(), "CONFLICT");
    assert_eq!(ada.status(&job).await, "CANCELLED");
}

both!(retryable_failure_is_retried_until_attempts_are_used_up);
async fn retryable_failure_is_retried_until_attempts_are_used_up(app: TestApp) {
    register_job_type(&app).await;
    let ada = app.user("ada").await;
    let job = ada.create_job(json!({"type": "own"})).await;
    let failure = json!({"code": "UPSTREAM_DOWN", "message": "It does not response."});
    ada.gql(FAIL, lease_input(&claim_one(&ada).await, &failure)).await;
    assert_eq!(ada.status(&job).await, "QUEUED");
    assert!(claim_steps(&ada, 1).await.is_empty(), "not before the backoff has passed");
    app.clock.advance(TimeDelta::seconds(10));
    let last = claim_one(&ada).await;
    ada.gql(FAIL, lease_input(&last, &failure)).await;
    let job = ada.job(&job, "status failure { code message step }").await;
    let expected = json!({"code": "UPSTREAM_DOWN", "message": "It does not response.", "step": "read"});
    assert_eq!(job, json!({"status": "FAILED", "failure": expected}), "attempts are used up");

    let job = ada.create_job(json!({"type": "own"})).await;
    let mut permanent = failure.clone();
    permanent["retryable"] = json!(false);
    ada.gql(FAIL, lease_input(&claim_one(&ada).await, &permanent)).await;
    assert_eq!(ada.status(&job).await, "FAILED");
}

both!(invalid_input_of_a_worker_is_reported_with_path);
async fn invalid_input_of_a_worker_is_reported_with_path(app: TestApp) {
    register_job_type(&app).await;
    let (ada, tester) = (app.user("ada").await, app.test_mode_user("tess").await);
    for (change, path) in [
        (json!({"workerId": ""}), "/workerId"),
        (json!({"types": []}), "/types"),
        (json!({"types": ["own", "dance"]}), "/types/1"),
        (json!({"limit": 0}), "/limit"),
        (json!({"limit": 101}), "/limit"),
        (json!({"leaseSeconds": 3601}), "/leaseSeconds"),
    ] {
        let mut input = json!({"workerId": "w", "types": ["own"]});
        for (key, value) in change.as_object().expect("an object") {
            input[key] = value.clone();
        }
        assert_eq!(ada.gql_err(CLAIM, json!({"in": input})).await.problems()[0].0, path, "{change}");
    }
    ada.create_job(json!({"type": "own"})).await;
    let claimed = claim_one(&ada).await;
    for (query, input, path) in [
        (REPORT, json!({"fraction": 1.5}), "/fraction"),
        (FAIL, json!({"code": "", "message": "x"}), "/code"),
        (FAIL, json!({"code": "X", "message": "x".repeat(10_001)}), "/message"),
    ] {
        assert_eq!(ada.gql_err(query, lease_input(&claimed, &input)).await.problems()[0].0, path, "{input}");
    }
    assert_eq!(ada.gql_err(REPORT, json!({"in": {"leaseToken": "x"}})).await.code(), "NOT_FOUND");

    // A TEST key claims steps of TEST jobs.
    tester.create_job(json!({"type": "own"})).await;
    assert_eq!(claim_steps(&tester, 10).await.len(), 1);
}

both!(unreadable_jobs_do_not_block_the_queue);
async fn unreadable_jobs_do_not_block_the_queue(app: TestApp) {
    register_job_type(&app).await;
    let ada = app.user("ada").await;
    // PostgreSQL stores only valid JSON.
    let no_list = if app.backend() == Backend::Sqlite { "'['" } else { "'{}'" };
    for id in ["own", "noop"] {
        for (column, value) in [
            (job::Column::Status, "'PAUSED'"),
            (job::Column::Steps, no_list),
            (job::Column::Steps, "'[]'"),
            (job::Column::Steps, "'[\"read\"]'"),
        ] {
            let unreadable = ada.create_job(json!({"type": id})).await;
            app.overwrite_job(&unreadable, column, value).await;
        }
    }
    let (own, noop) = (ada.create_job(json!({"type": "own"})).await, ada.noop_job().await);
    let claims = claim_steps(&ada, 1).await;
    assert_eq!(claims.iter().map(|claim| &claim["job"]["id"]).collect::<Vec<_>>(), [&json!(own)]);
    assert_eq!(app.worker().try_claim().await.map(|claim| claim.job.id.to_string()), Some(noop));
    assert!(claim_steps(&ada, 10).await.is_empty() && app.worker().try_claim().await.is_none());
    let next = ada.create_job(json!({"type": "own"})).await;
    assert_eq!(claim_one(&ada).await["job"]["id"], json!(next));
}

both!(worker_is_notified_of_queued_steps);
async fn worker_is_notified_of_queued_steps(app: TestApp) {
    register_job_type(&app).await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let query = "subscription($types: [ID!]!) { stepsQueued(types: $types) { type count } }";
    ada.create_job(json!({"type": "own"})).await;
    let mut notifications = ada.subscribe(query, json!({"types": ["noop", "own"]})).await;
    assert_eq!(
        notifications.next().await["stepsQueued"],
        json!({"type": "own", "count": 1}),
        "the step that is already queued"
    );
    eve.create_job(json!({"type": "own"})).await;
    ada.create_job(json!({"type": "noop"})).await;
    assert_eq!(
        notifications.next().await["stepsQueued"],
        json!({"type": "noop", "count": 1}),
        "no step of an invisible job"
    );
    ada.create_job(json!({"type": "own"})).await;
    assert_eq!(notifications.next().await["stepsQueued"], json!({"type": "own", "count": 2}));
    // One step is claimed and another queued before the next poll, so the count stays the same.
    let writing = app.db.write(|tx| {
        Box::pin(async move {
            use docket::entity::task;
            use sea_orm::sea_query::Expr;
            use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
            let own = task::Entity::find().filter(task::Column::TypeId.eq("own"));
            let oldest = own.order_by_asc(task::Column::RunAt).limit(1).one(tx).await?.expect("a step");
            let later = oldest.run_at + TimeDelta::milliseconds(1);
            let newest = task::Entity::find().order_by_desc(task::Column::RunAt).one(tx).await?;
            let later = newest.map_or(later, |newest| newest.run_at.max(later) + TimeDelta::microseconds(1));
            let moved = task::Entity::update_many().col_expr(task::Column::RunAt, Expr::value(later));
            moved.filter(task::Column::JobId.eq(oldest.job_id)).exec(tx).await?;
            Ok(())
        })
    });
    writing.await.expect("the rows are written");
    assert_eq!(
        notifications.next().await["stepsQueued"],
        json!({"type": "own", "count": 2}),
        "a different step is queued"
    );
    let refused = ada.subscribe(query, json!({"types": ["dance"]})).await.expect_error().await;
    assert_eq!(refused.problems()[0].0, "/types/0");
}

/// Claims one step in another task, and waits for it on the server.
fn claim_waiting(person: &User, seconds: i32) -> tokio::task::JoinHandle<Vec<Value>> {
    let person = person.clone();
    tokio_util::task::TaskTracker::new().spawn(async move {
        let input = json!({"in": {"workerId": "w1", "types": ["own"], "waitSeconds": seconds}});
        person.gql(CLAIM, input).await["claimSteps"]["claims"].as_array().expect("claims").clone()
    })
}

both!(waiting_claim_gets_a_step_that_is_queued_later);
async fn waiting_claim_gets_a_step_that_is_queued_later(app: TestApp) {
    register_job_type(&app).await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let started = std::time::Instant::now();
    assert!(claim_waiting(&ada, 1).await.expect("a claim").is_empty());
    assert!(started.elapsed().as_secs_f64() >= 1.0, "without a step, the claim waits for the whole time");
    // The claim of a user without access waits first. It must not keep the wake-up for itself.
    let other = claim_waiting(&eve, 20);
    let waiting = claim_waiting(&ada, 20);
    // Several requests, so that both claims wait already.
    for _ in 0..5 {
        ada.create_job(json!({"type": "noop"})).await;
    }
    assert!(!waiting.is_finished());
    let job = ada.create_job(json!({"type": "own"})).await;
    let claims = waiting.await.expect("a claim");
    assert_eq!(claims.iter().map(|claim| &claim["job"]["id"]).collect::<Vec<_>>(), [&json!(job)]);
    assert!(!other.is_finished());
    let of_eve = eve.create_job(json!({"type": "own"})).await;
    assert_eq!(other.await.expect("a claim")[0]["job"]["id"], of_eve);
    for seconds in [-1, 31] {
        let input = json!({"in": {"workerId": "w1", "types": ["own"], "waitSeconds": seconds}});
        let refused = ada.gql_err(CLAIM, input).await;
        assert_eq!(refused.problems(), [("/waitSeconds".to_owned(), "RANGE".to_owned())]);
    }
}

both!(waiting_claim_ends_when_its_key_is_revoked);
async fn waiting_claim_ends_when_its_key_is_revoked(app: TestApp) {
    register_job_type(&app).await;
    let ada = app.user("ada").await;
    let create = "mutation { createApiKey(input: {name: \"k\"}) { secret apiKey { id } } }";
    let key = ada.gql(create, json!({})).await["createApiKey"].take();
    let worker = app.with_authorization(&format!("Bearer {}", key["secret"].as_str().expect("a secret")));
    let waiting = claim_waiting(&worker, 20);
    for _ in 0..3 {
        ada.create_job(json!({"type": "noop"})).await;
    }
    assert!(!waiting.is_finished());
    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id } } }";
    ada.gql(revoke, json!({"id": key["apiKey"]["id"]})).await;
    assert!(waiting.await.expect("an answer").is_empty());
    let job = ada.create_job(json!({"type": "own"})).await;
    assert_eq!(claim_one(&ada).await["job"]["id"], job);
}

both!(each_queued_step_goes_to_one_waiting_claim);
async fn each_queued_step_goes_to_one_waiting_claim(app: TestApp) {
    register_job_type(&app).await;
    let ada = app.user("ada").await;
    let waiting: Vec<_> = (0..8).map(|_| claim_waiting(&ada, 20)).collect();
    let mut jobs = Vec::new();
    for _ in 0..8 {
        jobs.push(json!(ada.create_job(json!({"type": "own"})).await));
    }
    let mut claimed = Vec::new();
    for claims in waiting {
        let claims = claims.await.expect("a claim");
        assert_eq!(claims.len(), 1);
        claimed.push(claims[0]["job"]["id"].clone());
    }
    let by_id = |id: &Value| id.as_str().map(str::to_owned);
    jobs.sort_by_key(by_id);
    claimed.sort_by_key(by_id);
    assert_eq!(claimed, jobs);
}

both!(owner_can_neither_claim_nor_complete_four_eyes_step);
async fn owner_can_neither_claim_nor_complete_four_eyes_step(app: TestApp) {
    let register = "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }";
    let steps = json!([{"name": "check", "kind": "AUTOMATIC", "contentRoles": ["output"], "fourEyes": true}]);
    let input =
        json!({"id": "own", "name": "Own", "description": "Needs another.", "accepts": [], "steps": steps});
    app.admin("root").await.gql(register, json!({"in": input})).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userEmail": bob.email()}}]);
    let job = ada.create_job(json!({"type": "own", "collaboration": share})).await;
    let own_job = bob.create_job(json!({"type": "own"})).await;
    for person in [&ada, &bob] {
        let query = "subscription { stepsQueued(types: [\"own\"]) { count } }";
        let mut notifications = person.subscribe(query, json!({})).await;
        if person.name == "bob" {
            assert_eq!(notifications.next().await["stepsQueued"]["count"], 1, "without his own job");
        }
        let claims = claim_steps(person, 1).await;
        let expected = if person.name == "bob" { vec![json!(job)] } else { Vec::new() };
        assert_eq!(claims.iter().map(|claim| claim["job"]["id"].clone()).collect::<Vec<_>>(), expected);
        if let [claimed] = claims.as_slice() {
            // The owner has the lease token, but may not use it.
            for (query, input) in [(COMPLETE, json!({})), (FAIL, json!({"code": "X", "message": "x"}))] {
                assert_eq!(ada.gql_err(query, lease_input(claimed, &input)).await.code(), "FORBIDDEN");
            }
            let output = bob.upload("done", "done.txt", "text/plain").await;
            let content = json!({"contents": [{"role": "output", "source": {"documentId": output}}]});
            assert_eq!(
                bob.gql(COMPLETE, lease_input(claimed, &content)).await["completeStep"]["job"]["status"],
                "COMPLETED"
            );
        }
    }
    assert_eq!(bob.job(&own_job, "status").await["status"], "QUEUED", "the step waits for another worker");
}
