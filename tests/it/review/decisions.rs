//! Tests of decisions: receipts, corrections, and conflicts with other changes.

use serde_json::{Value, json};

use super::{BlockedJob, DECIDE, claim, job_state, last_event, mapping_result, open_review};
use crate::harness::{TestApp, User, both, job_id};

async fn content(user: &User, job: &str, role: &str) -> Value {
    let fields = format!("contents(role: \"{role}\") {{ version uri }}");
    let uri = user.job(job, &fields).await["contents"][0]["uri"].as_str().expect("a content").to_owned();
    let response = user.request(reqwest::Method::GET, &uri).send().await.expect("a response");
    response.json().await.expect("JSON")
}

both!(approval_with_corrections_creates_the_next_version);
async fn approval_with_corrections_creates_the_next_version(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": ["mapping"]}]);
    let blocked = BlockedJob::create(&app, &ada, share).await;
    claim(&bob, &blocked.review).await;
    let patch = json!([
        {"op": "test", "path": "/data_points/0/value", "value": "7"},
        {"op": "replace", "path": "/data_points/0/value", "value": "8"}
    ]);
    let decided =
        bob.gql(DECIDE, blocked.decision("APPROVE", &json!({"patch": patch, "comment": "It says 8."}))).await;
    assert_eq!(decided["decideReview"]["review"]["status"], "APPROVED");

    let mut expected = mapping_result();
    expected["data_points"][0]["value"] = json!("8");
    assert_eq!(content(&ada, &blocked.job, "mapping-json").await, expected);
    let job = ada.job(&blocked.job, "status currentStep { name } contents(role: \"mapping-json\", superseded: true) { version current }").await;
    assert_eq!((&job["status"], &job["currentStep"]["name"]), (&json!("QUEUED"), &json!("output")));
    assert_eq!(job["contents"], json!([{"version": 2, "current": true}, {"version": 1, "current": false}]));
    let event = last_event(&ada, &blocked.job, "REVIEW_DECIDED").await;
    assert_eq!(event["actor"]["id"], bob.id());
    let receipt = json!({
        "reviewId": blocked.review, "step": "mapping", "decision": "APPROVED", "comment": "It says 8.",
        "contentSha256": blocked.sha256, "patch": patch,
    });
    assert_eq!(event["data"], receipt);
    let twice = bob.gql_err(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
    assert_eq!(twice.code(), "CONFLICT");
}

both!(invalid_decision_changes_nothing_and_leaves_no_bytes);
async fn invalid_decision_changes_nothing_and_leaves_no_bytes(app: TestApp) {
    let ada = app.user("ada").await;
    let blocked = BlockedJob::create(&app, &ada, json!([])).await;
    claim(&ada, &blocked.review).await;
    let (before, bytes) = (job_state(&ada, &blocked.job).await, app.stored_keys());
    let replace = |path: &str, value: Value| json!({"op": "replace", "path": path, "value": value});
    let good = replace("/data_points/0/value", json!("8"));
    let with_patch = |bad: Value| json!({"patch": [good, bad]});
    for (decision, more, path) in [
        (
            "APPROVE",
            with_patch(json!({"op": "test", "path": "/data_points/0/name", "value": "x"})),
            "/patch/1",
        ),
        ("APPROVE", with_patch(replace("/data_points/9/value", json!("8"))), "/patch/1"),
        ("APPROVE", with_patch(replace("/data_points/1/confidence", json!(7))), "/patch/1"),
        ("APPROVE", with_patch(json!({"op": "remove", "path": "/data_points/1/name"})), "/patch/1"),
        ("APPROVE", with_patch(json!({"op": "dance"})), "/patch/1"),
        ("APPROVE", json!({"patch": "not a list"}), "/patch"),
        ("APPROVE", json!({"toStep": "zoning"}), "/toStep"),
        (
            "APPROVE",
            json!({"contents": [{"role": "mapping-json", "source": {"documentId": "x"}}]}),
            "/contents",
        ),
        ("APPROVE", json!({"contentSha256": null}), "/contentSha256"),
        ("APPROVE", json!({"comment": "x".repeat(10_001)}), "/comment"),
        ("REJECT", json!({"patch": [good]}), "/patch"),
        ("SEND_BACK", json!({}), "/toStep"),
        ("SEND_BACK", json!({"toStep": "mapping"}), "/toStep"),
        ("SEND_BACK", json!({"toStep": "output"}), "/toStep"),
        ("SEND_BACK", json!({"toStep": "dancing"}), "/toStep"),
    ] {
        let refused = ada.gql_err(DECIDE, blocked.decision(decision, &more.clone())).await;
        assert_eq!(refused.code(), "BAD_USER_INPUT", "{decision} {more}: {refused:?}");
        let problems = refused.problems();
        assert!(problems.iter().any(|(at, _)| at == path), "{decision} {more}: {problems:?}");
    }
    let stale = json!({"contentSha256": "0".repeat(64), "patch": [good]});
    let refused = ada.gql_err(DECIDE, blocked.decision("APPROVE", &stale)).await;
    assert_eq!((refused.code(), &refused.extensions["contentSha256"]), ("CONFLICT", &json!(blocked.sha256)));
    assert_eq!(job_state(&ada, &blocked.job).await, before);
    assert_eq!(app.stored_keys(), bytes);
    ada.gql(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
}

both!(rejection_fails_the_job_until_it_is_retried);
async fn rejection_fails_the_job_until_it_is_retried(app: TestApp) {
    let ada = app.user("ada").await;
    let blocked = BlockedJob::create(&app, &ada, json!([])).await;
    claim(&ada, &blocked.review).await;
    ada.gql(DECIDE, blocked.decision("REJECT", &json!({"comment": "Not an invoice."}))).await;
    let job = ada.job(&blocked.job, "status failure { code message step } currentStep { name }").await;
    let failure = json!({"code": "REVIEW_REJECTED", "message": "Not an invoice.", "step": "mapping"});
    assert_eq!(job, json!({"status": "FAILED", "failure": failure, "currentStep": null}));
    ada.gql("mutation($id: ID!) { retryJob(id: $id) { job { id } } }", json!({"id": blocked.job})).await;
    let job = ada.job(&blocked.job, "status failure { code } currentStep { name attempt }").await;
    assert_eq!(
        job,
        json!({"status": "QUEUED", "failure": null, "currentStep": {"name": "mapping", "attempt": 0}})
    );
}

both!(sent_back_steps_run_again_with_the_comment);
async fn sent_back_steps_run_again_with_the_comment(app: TestApp) {
    let ada = app.user("ada").await;
    let blocked = BlockedJob::create(&app, &ada, json!([])).await;
    claim(&ada, &blocked.review).await;
    let back = json!({"toStep": "zoning", "comment": "The table is cut in two."});
    ada.gql(DECIDE, blocked.decision("SEND_BACK", &back)).await;

    let fields = "status steps { name status comment } contents { role } superseded: contents(superseded: true) { role current }";
    let job = ada.job(&blocked.job, fields).await;
    assert_eq!(job["status"], "QUEUED");
    assert_eq!(
        job["steps"][1],
        json!({"name": "zoning", "status": "QUEUED", "comment": "The table is cut in two."})
    );
    assert_eq!(job["steps"][2]["status"], "PENDING");
    let mut roles: Vec<_> =
        job["contents"].as_array().expect("contents").iter().map(|c| c["role"].clone()).collect();
    roles.sort_by_key(ToString::to_string);
    assert_eq!(
        json!(roles),
        json!(["input", "mapping-taxonomy-json", "text-json"]),
        "contents given at creation stay"
    );
    assert_eq!(job["superseded"].as_array().expect("contents").len(), 6);
    let sent = last_event(&ada, &blocked.job, "REVIEW_DECIDED").await;
    assert_eq!((&sent["data"]["decision"], &sent["data"]["toStep"]), (&json!("SENT_BACK"), &json!("zoning")));

    let worker = app.worker();
    let claim = worker.claim_step_of(job_id(&blocked.job)).await;
    assert_eq!((claim.step.as_str(), claim.attempt), ("zoning", 1));
    worker
        .complete_with(&claim, &[("zoning-json", json!({"better": true}))])
        .await
        .expect("the result is accepted");
    let job = ada.job(&blocked.job, "steps { comment } contents(role: \"zoning-json\") { version }").await;
    assert_eq!((&job["steps"][1]["comment"], &job["contents"][0]["version"]), (&Value::Null, &json!(2)));
}

both!(job_can_be_rewound_from_any_status);
async fn job_can_be_rewound_from_any_status(app: TestApp) {
    let ada = app.user("ada").await;
    let rewind = "mutation($in: RewindJobInput!) { rewindJob(input: $in) { job { status } } }";
    let to = |job: &str, step: &str| json!({"in": {"id": job, "toStep": step, "reason": "Again."}});
    let blocked = BlockedJob::create(&app, &ada, json!([])).await;
    for (step, code) in [("output", "NOT_REACHED"), ("dancing", "UNKNOWN_STEP")] {
        let refused = ada.gql_err(rewind, to(&blocked.job, step)).await;
        assert_eq!(refused.problems(), [("/toStep".into(), code.into())]);
    }
    claim(&ada, &blocked.review).await;
    ada.gql(rewind, to(&blocked.job, "text-extraction")).await;
    let late = ada.gql_err(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
    assert_eq!(late.code(), "CONFLICT");
    let job = ada.job(&blocked.job, "status progress { current } contents { role }").await;
    assert_eq!((&job["status"], &job["progress"]["current"]), (&json!("QUEUED"), &json!(0)));
    let rewound = last_event(&ada, &blocked.job, "REWOUND").await;
    assert_eq!(rewound["data"], json!({"step": "text-extraction", "reason": "Again."}));
    assert_eq!(last_event(&ada, &blocked.job, "REVIEW_DECIDED").await["data"]["decision"], "CANCELLED");

    app.worker().finish(job_id(&blocked.job)).await;
    assert_eq!(ada.status(&blocked.job).await, "COMPLETED");
    let output = "outputContent { version }";
    assert_eq!(ada.job(&blocked.job, output).await["outputContent"]["version"], 1);
    ada.gql(rewind, to(&blocked.job, "output")).await;
    assert_eq!(ada.job(&blocked.job, output).await["outputContent"], Value::Null);
    let claim = app.worker().claim_step_of(job_id(&blocked.job)).await;
    ada.gql(rewind, to(&blocked.job, "output")).await;
    let late = app.worker().complete_with(&claim, &[("output", json!("late"))]).await;
    assert_eq!(late.expect_err("the lease is lost").code().as_str(), "CONFLICT");
    app.worker().finish(job_id(&blocked.job)).await;
    assert_eq!(ada.job(&blocked.job, output).await["outputContent"]["version"], 2);
}

both!(given_content_is_current_again_after_sending_back);
async fn given_content_is_current_again_after_sending_back(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let given = ada.upload("{\"data_points\": []}", "given.json", "application/json").await;
    let contents = json!([{"role": "mapping-json", "source": {"documentId": given}}]);
    let metadata = json!({"mapping.taxonomy": "invoices"});
    let new = json!({"type": "data-point-extraction", "contents": contents, "metadata": metadata});
    let job = ada.create_job(new).await;
    let worker = app.worker();
    let up_to_mapping = async |from: usize, note: &str| {
        for role in &["text-json", "zoning-json"][from..] {
            let claim = worker.claim_step_of(job_id(&job)).await;
            worker.complete_with(&claim, &[(*role, json!({}))]).await.expect("the result is accepted");
        }
        let claim = worker.claim_step_of(job_id(&job)).await;
        worker
            .complete_with_review(&claim, "mapping-json", &json!({"data_points": [], "note": note}))
            .await
            .expect("the result is accepted");
    };
    let current_contents = async || {
        let job = ada.job(&job, "contents(role: \"mapping-json\") { version document { sha256 } }").await;
        job["contents"].as_array().expect("contents").clone()
    };
    up_to_mapping(0, "first").await;
    let (review, sha256) = open_review(&ada, &job).await;
    claim(&ada, &review).await;
    let back = json!({"id": review, "decision": "SEND_BACK", "toStep": "zoning", "contentSha256": sha256});
    ada.gql(DECIDE, json!({"in": back})).await;
    assert_eq!(
        current_contents().await.iter().map(|c| c["version"].clone()).collect::<Vec<_>>(),
        [1],
        "the given content is current"
    );

    up_to_mapping(1, "second").await;
    let now = current_contents().await;
    assert_eq!((now.len(), &now[0]["version"]), (1, &json!(3)));
    let (review, sha256) = open_review(&ada, &job).await;
    assert_eq!(now[0]["document"]["sha256"], sha256.as_str());
    claim(&ada, &review).await;
    ada.gql(DECIDE, json!({"in": {"id": review, "decision": "APPROVE", "contentSha256": sha256}})).await;
    assert_eq!(ada.status(&job).await, "QUEUED");
}

both!(rewind_keeps_content_of_an_earlier_step_with_same_role);
async fn rewind_keeps_content_of_an_earlier_step_with_same_role(app: TestApp) {
    let (root, ada) = (app.admin("root").await, app.user("ada").await);
    let step = |name: &str| json!({"name": name, "kind": "MANUAL", "contentRoles": ["text"]});
    let steps = json!([step("draft"), step("check"), step("sign")]);
    let register = "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }";
    let new =
        json!({"id": "letter", "name": "Letter", "description": "By people.", "accepts": [], "steps": steps});
    root.gql(register, json!({"in": new})).await;
    let job = ada.create_job(json!({"type": "letter"})).await;
    let rewind = async |step: &str| {
        let query = "mutation($in: RewindJobInput!) { rewindJob(input: $in) { job { status } } }";
        ada.gql(query, json!({"in": {"id": job, "toStep": step}})).await;
        let job = ada.job(&job, "contents(role: \"text\") { version }").await;
        job["contents"].as_array().expect("contents").iter().map(|c| c["version"].clone()).collect::<Vec<_>>()
    };
    for text in ["draft", "check"] {
        let (review, _) = open_review(&ada, &job).await;
        claim(&ada, &review).await;
        let document = ada.upload(text, "x.txt", "text/plain").await;
        let contents = json!([{"role": "text", "source": {"documentId": document}}]);
        ada.gql(DECIDE, json!({"in": {"id": review, "decision": "APPROVE", "contents": contents}})).await;
    }
    assert_eq!(rewind("check").await, [1]);
    assert_eq!(rewind("draft").await, Vec::<Value>::new(), "contents of an earlier run stay superseded");
}

both!(automatic_approval_of_a_test_job_is_in_history);
async fn automatic_approval_of_a_test_job_is_in_history(app: TestApp) {
    let ada = app.test_mode_user("ada").await;
    let job = ada.extraction_job(json!([])).await;
    let worker = app.worker();
    for _ in 0..2 {
        worker.complete(&worker.claim_step_of(job_id(&job)).await).await.expect("the result is accepted");
    }
    worker
        .complete_with_review(&worker.claim_step_of(job_id(&job)).await, "mapping-json", &mapping_result())
        .await
        .expect("the result is accepted");
    assert_eq!(ada.status(&job).await, "QUEUED");
    let decided = last_event(&ada, &job, "REVIEW_DECIDED").await;
    assert_eq!((&decided["data"]["automatic"], &decided["actor"]), (&json!(true), &Value::Null));
}

both!(timing_separates_machine_review_and_waiting_time);
async fn timing_separates_machine_review_and_waiting_time(app: TestApp) {
    use chrono::TimeDelta;
    let ada = app.user("ada").await;
    let job = ada.extraction_job(json!([])).await;
    let worker = app.worker();
    for _ in 0..2 {
        worker.complete(&worker.claim_step_of(job_id(&job)).await).await.expect("the result is accepted");
    }
    app.clock.advance(TimeDelta::seconds(1_000));
    let claimed = worker.claim_step_of(job_id(&job)).await;
    app.clock.advance(TimeDelta::seconds(20));
    worker
        .complete_with_review(&claimed, "mapping-json", &mapping_result())
        .await
        .expect("the result is accepted");
    app.clock.advance(TimeDelta::seconds(300));
    claim(&ada, &open_review(&ada, &job).await.0).await;
    app.clock.advance(TimeDelta::seconds(40_000));
    let timing = "timing { machineSeconds reviewSeconds waitingSeconds remainingSeconds }";
    let timing = ada.job(&job, timing).await["timing"].take();
    let near = |key: &str, expected: f64| (timing[key].as_f64().expect("seconds") - expected).abs() < 19.0;
    assert!(near("machineSeconds", 20.0), "{timing}");
    assert!(near("waitingSeconds", 1_300.0), "{timing}");
    assert!(near("reviewSeconds", 40_000.0), "{timing}");
    assert_eq!(timing["remainingSeconds"], Value::Null, "no completed job allows an estimate");
}

both!(correction_of_too_large_content_is_refused, |config| config.review.content_bytes = 100);
async fn correction_of_too_large_content_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let blocked = BlockedJob::create(&app, &ada, json!([])).await;
    claim(&ada, &blocked.review).await;
    let patch = json!({"patch": [{"op": "replace", "path": "/data_points/0/value", "value": "8"}]});
    let before = job_state(&ada, &blocked.job).await;
    let refused = ada.gql_err(DECIDE, blocked.decision("APPROVE", &patch)).await;
    assert_eq!(refused.code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(job_state(&ada, &blocked.job).await, before);
    ada.gql(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
}

both!(corrections_wait_until_memory_is_available);
async fn corrections_wait_until_memory_is_available(app: TestApp) {
    let ada = app.user("ada").await;
    let (corrected, approved) =
        (BlockedJob::create(&app, &ada, json!([])).await, BlockedJob::create(&app, &ada, json!([])).await);
    for blocked in [&corrected, &approved] {
        claim(&ada, &blocked.review).await;
    }
    let count = u32::try_from(app.jobs.correcting.available_permits()).expect("16 MiB in KiB");
    let permits = app.jobs.correcting.acquire_many(count).await.expect("the semaphore is open");
    let patch = json!({"patch": [{"op": "replace", "path": "/data_points/0/value", "value": "8"}]});
    let decision = corrected.decision("APPROVE", &patch);
    let waiting = app.tasks.spawn({
        let ada = ada.clone();
        async move { ada.gql(DECIDE, decision).await }
    });
    ada.gql(DECIDE, approved.decision("APPROVE", &json!({}))).await;
    assert_eq!(ada.status(&corrected.job).await, "BLOCKED", "a decision without corrections does not wait");
    assert!(!waiting.is_finished());
    drop(permits);
    waiting.await.expect("the correction is decided");
    assert_eq!(ada.status(&corrected.job).await, "QUEUED");
}
