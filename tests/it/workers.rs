//! Workers outside of the server: taking steps, keeping them, handing in.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{TestApp, User, both};

const CLAIM: &str = "mutation($in: ClaimStepsInput!) { claimSteps(input: $in) { claims {
    leaseToken leaseExpiresAt step { name status attempt comment } job { id metadata } } } }";
const REPORT: &str =
    "mutation($in: ReportStepInput!) { reportStep(input: $in) { leaseExpiresAt cancelled } }";
const COMPLETE: &str = "mutation($in: CompleteStepInput!) { completeStep(input: $in) { job { status } } }";
const FAIL: &str = "mutation($in: FailStepInput!) { failStep(input: $in) { job { status } } }";

/// A type that nobody but workers does: `read`, then `write`.
async fn register(app: &TestApp) {
    let register = "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }";
    let steps = json!([
        {"name": "read", "kind": "AUTOMATIC", "contentRoles": ["read-json"], "maxAttempts": 2},
        {"name": "write", "kind": "AUTOMATIC", "contentRoles": ["read-json", "output"]},
    ]);
    let input =
        json!({"id": "own", "name": "Own", "description": "Done outside.", "accepts": [], "steps": steps});
    app.admin("root").await.gql(register, json!({"in": input})).await;
}

async fn claims(person: &User, limit: i32) -> Vec<Value> {
    let wish = json!({"in": {"workerId": "w1", "types": ["own"], "limit": limit}});
    person.gql(CLAIM, wish).await["claimSteps"]["claims"].as_array().expect("claims").clone()
}

/// The one step that waits for somebody.
async fn claim(person: &User) -> Value {
    let mut all = claims(person, 10).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn with(claim: &Value, further: &Value) -> Value {
    let mut input = json!({"leaseToken": claim["leaseToken"]});
    for (key, value) in further.as_object().expect("an object") {
        input[key] = value.clone();
    }
    json!({"in": input})
}

both!(steps_are_done_from_outside_by_those_who_work_on_them);
async fn steps_are_done_from_outside_by_those_who_work_on_them(app: TestApp) {
    register(&app).await;
    let (ada, bob, stranger) = (app.user("ada").await, app.user("bob").await, app.user("eve").await);
    let share = json!([{"collaborator": {"userEmail": bob.email()}, "steps": ["read"]}]);
    let job = ada.create_job(json!({"type": "own", "collaboration": share, "metadata": {"a": 1}})).await;
    assert_eq!(claims(&stranger, 10).await, Vec::<Value>::new(), "nobody else's steps are there");

    let claimed = claim(&bob).await;
    let step = json!({"name": "read", "status": "RUNNING", "attempt": 1, "comment": null});
    assert_eq!((&claimed["step"], &claimed["job"]["id"]), (&step, &json!(job)));
    assert!(claims(&ada, 10).await.is_empty(), "it is taken");
    let report = with(&claimed, &json!({"fraction": 0.5, "message": "half"}));
    assert_eq!(bob.gql(REPORT, report).await["reportStep"]["cancelled"], false);
    bob.gql(REPORT, with(&claimed, &json!({}))).await;
    let now = ada
        .job(
            &job,
            "currentStep { fraction message } events(first: 50) { nodes { kind actor { email } data } }",
        )
        .await;
    assert_eq!(now["currentStep"], json!({"fraction": 0.5, "message": "half"}), "what is not given stays");
    let events = now["events"]["nodes"].as_array().expect("events");
    let running =
        events.iter().find(|event| event["data"]["to"] == "RUNNING" && event["kind"] == "STEP_CHANGED");
    let running = running.cloned().unwrap_or_default();
    assert_eq!((&running["actor"]["email"], &running["data"]["worker"]), (&json!(bob.email()), &json!("w1")));

    for (query, input) in
        [(REPORT, json!({})), (COMPLETE, json!({})), (FAIL, json!({"code": "X", "message": "x"}))]
    {
        let refused = stranger.refused(query, with(&claimed, &input)).await;
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
        assert_eq!(bob.refused(COMPLETE, with(&claimed, &input)).await.problems()[0].0, path, "{input}");
    }
    let mut ask = content("read-json", &made);
    ask["review"] =
        json!({"reason": "Not sure.", "contentRole": "read-json", "items": [{"path": "/values"}]});
    assert_eq!(bob.gql(COMPLETE, with(&claimed, &ask)).await["completeStep"]["job"]["status"], "BLOCKED");
    let again = bob.refused(COMPLETE, with(&claimed, &content("read-json", &made))).await;
    assert_eq!(again.code(), "CONFLICT", "a result is taken once");
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

    assert!(claims(&bob, 10).await.is_empty(), "the next step is not his");
    let claimed = claim(&ada).await;
    assert_eq!(claimed["step"]["name"], "write");
    let output = ada.upload("done", "done.txt", "text/plain").await;
    ada.gql(COMPLETE, with(&claimed, &content("output", &output))).await;
    let done = ada.job(&job, "status outputContent { document { id } }").await;
    assert_eq!(done, json!({"status": "COMPLETED", "outputContent": {"document": {"id": output}}}));
}

both!(a_claim_that_was_lost_changes_nothing);
async fn a_claim_that_was_lost_changes_nothing(app: TestApp) {
    register(&app).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userEmail": bob.email()}}]);
    let job = ada.create_job(json!({"type": "own", "collaboration": share})).await;
    let first = claim(&ada).await;
    app.clock.advance(TimeDelta::seconds(31));
    assert_eq!(ada.refused(REPORT, with(&first, &json!({}))).await.code(), "CONFLICT");
    app.jobs.expire(10).await.expect("leases can be freed");
    app.clock.advance(TimeDelta::seconds(10));
    let second = claim(&bob).await;
    assert_eq!(second["step"]["attempt"], 2);
    for (query, input) in
        [(REPORT, json!({})), (COMPLETE, json!({})), (FAIL, json!({"code": "X", "message": "x"}))]
    {
        assert_eq!(ada.refused(query, with(&first, &input)).await.code(), "CONFLICT", "{query}");
    }
    // Reports renew for as long as was asked for, and whoever is let out has nothing any more.
    app.clock.advance(TimeDelta::seconds(20));
    bob.gql(REPORT, with(&second, &json!({}))).await;
    app.clock.advance(TimeDelta::seconds(20));
    bob.gql(REPORT, with(&second, &json!({}))).await;
    let remove = "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { id } } }";
    ada.gql(remove, json!({"in": {"jobId": job, "collaborator": {"userEmail": bob.email()}}})).await;
    for query in [REPORT, COMPLETE] {
        assert_eq!(bob.refused(query, with(&second, &json!({}))).await.code(), "NOT_FOUND", "{query}");
    }
    assert_eq!(ada.status(&job).await, "RUNNING");

    ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
    assert_eq!(ada.gql(REPORT, with(&second, &json!({}))).await["reportStep"]["cancelled"], true);
    assert_eq!(ada.refused(COMPLETE, with(&second, &json!({}))).await.code(), "CONFLICT");
    assert_eq!(ada.status(&job).await, "CANCELLED");
}

both!(a_failure_is_tried_again_where_that_can_help);
async fn a_failure_is_tried_again_where_that_can_help(app: TestApp) {
    register(&app).await;
    let ada = app.user("ada").await;
    let job = ada.create_job(json!({"type": "own"})).await;
    let failure = json!({"code": "UPSTREAM_DOWN", "message": "It does not answer."});
    ada.gql(FAIL, with(&claim(&ada).await, &failure)).await;
    assert_eq!(ada.status(&job).await, "QUEUED");
    assert!(claims(&ada, 1).await.is_empty(), "not before its time");
    app.clock.advance(TimeDelta::seconds(10));
    let last = claim(&ada).await;
    ada.gql(FAIL, with(&last, &failure)).await;
    let job = ada.job(&job, "status failure { code message step }").await;
    let expected = json!({"code": "UPSTREAM_DOWN", "message": "It does not answer.", "step": "read"});
    assert_eq!(job, json!({"status": "FAILED", "failure": expected}), "attempts are used up");

    let job = ada.create_job(json!({"type": "own"})).await;
    let mut at_once = failure.clone();
    at_once["retryable"] = json!(false);
    ada.gql(FAIL, with(&claim(&ada).await, &at_once)).await;
    assert_eq!(ada.status(&job).await, "FAILED");
}

both!(what_a_worker_asks_wrongly_is_said);
async fn what_a_worker_asks_wrongly_is_said(app: TestApp) {
    register(&app).await;
    let (ada, tester) = (app.user("ada").await, app.tester("tess").await);
    for (change, path) in [
        (json!({"workerId": ""}), "/workerId"),
        (json!({"types": []}), "/types"),
        (json!({"types": ["own", "dance"]}), "/types/1"),
        (json!({"limit": 0}), "/limit"),
        (json!({"limit": 101}), "/limit"),
        (json!({"leaseSeconds": 3601}), "/leaseSeconds"),
    ] {
        let mut wish = json!({"workerId": "w", "types": ["own"]});
        for (key, value) in change.as_object().expect("an object") {
            wish[key] = value.clone();
        }
        assert_eq!(ada.refused(CLAIM, json!({"in": wish})).await.problems()[0].0, path, "{change}");
    }
    ada.create_job(json!({"type": "own"})).await;
    let claimed = claim(&ada).await;
    for (query, input, path) in [
        (REPORT, json!({"fraction": 1.5}), "/fraction"),
        (FAIL, json!({"code": "", "message": "x"}), "/code"),
        (FAIL, json!({"code": "X", "message": "x".repeat(10_001)}), "/message"),
    ] {
        assert_eq!(ada.refused(query, with(&claimed, &input)).await.problems()[0].0, path, "{input}");
    }
    assert_eq!(ada.refused(REPORT, json!({"in": {"leaseToken": "x"}})).await.code(), "NOT_FOUND");

    // What a TEST key takes is for trying things out.
    tester.create_job(json!({"type": "own"})).await;
    assert_eq!(claims(&tester, 10).await.len(), 1);
}

both!(a_worker_is_woken);
async fn a_worker_is_woken(app: TestApp) {
    register(&app).await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let wake = "subscription($types: [ID!]!) { stepsQueued(types: $types) { type count } }";
    ada.create_job(json!({"type": "own"})).await;
    let mut woken = ada.subscribe(wake, json!({"types": ["noop", "own"]})).await;
    assert_eq!(woken.next().await["stepsQueued"], json!({"type": "own", "count": 1}), "what waits already");
    eve.create_job(json!({"type": "own"})).await;
    ada.create_job(json!({"type": "noop"})).await;
    assert_eq!(woken.next().await["stepsQueued"], json!({"type": "noop", "count": 1}), "and nobody else's");
    ada.create_job(json!({"type": "own"})).await;
    assert_eq!(woken.next().await["stepsQueued"], json!({"type": "own", "count": 2}));
    // One is taken, and another comes before anybody looks.
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
    writing.await.expect("it is written");
    assert_eq!(woken.next().await["stepsQueued"], json!({"type": "own", "count": 2}), "it is another");
    let refused = ada.subscribe(wake, json!({"types": ["dance"]})).await.error().await;
    assert_eq!(refused.problems()[0].0, "/types/0");
}

both!(four_eyes_keep_the_owner_from_their_own_step);
async fn four_eyes_keep_the_owner_from_their_own_step(app: TestApp) {
    let register = "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }";
    let steps = json!([{"name": "check", "kind": "AUTOMATIC", "contentRoles": ["output"], "fourEyes": true}]);
    let input =
        json!({"id": "own", "name": "Own", "description": "Needs another.", "accepts": [], "steps": steps});
    app.admin("root").await.gql(register, json!({"in": input})).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userEmail": bob.email()}}]);
    let job = ada.create_job(json!({"type": "own", "collaboration": share})).await;
    let his = bob.create_job(json!({"type": "own"})).await;
    for person in [&ada, &bob] {
        let wake = "subscription { stepsQueued(types: [\"own\"]) { count } }";
        let mut woken = person.subscribe(wake, json!({})).await;
        if person.name == "bob" {
            assert_eq!(woken.next().await["stepsQueued"]["count"], 1, "not his own");
        }
        let shown = claims(person, 1).await;
        let expected = if person.name == "bob" { vec![json!(job)] } else { Vec::new() };
        assert_eq!(shown.iter().map(|claim| claim["job"]["id"].clone()).collect::<Vec<_>>(), expected);
        if let [claimed] = shown.as_slice() {
            // Somebody gives away what they hold.
            for (query, input) in [(COMPLETE, json!({})), (FAIL, json!({"code": "X", "message": "x"}))] {
                assert_eq!(ada.refused(query, with(claimed, &input)).await.code(), "FORBIDDEN");
            }
            let output = bob.upload("done", "done.txt", "text/plain").await;
            let content = json!({"contents": [{"role": "output", "source": {"documentId": output}}]});
            assert_eq!(
                bob.gql(COMPLETE, with(claimed, &content)).await["completeStep"]["job"]["status"],
                "COMPLETED"
            );
        }
    }
    assert_eq!(bob.job(&his, "status").await["status"], "QUEUED", "it waits for somebody else");
}
