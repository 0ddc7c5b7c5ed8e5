//! Deciding: with a receipt, with corrections, and not on what has changed.

use serde_json::{Value, json};

use super::{Blocked, DECIDE, claim, everything, found, last, open_review};
use crate::harness::{TestApp, User, both, job_id};

async fn content(person: &User, job: &str, role: &str) -> Value {
    let fields = format!("contents(role: \"{role}\") {{ version uri }}");
    let uri = person.job(job, &fields).await["contents"][0]["uri"].as_str().expect("a content").to_owned();
    let response = person.request(reqwest::Method::GET, &uri).send().await.expect("an answer");
    response.json().await.expect("JSON")
}

both!(an_approval_with_corrections_makes_the_next_version_and_goes_on);
async fn an_approval_with_corrections_makes_the_next_version_and_goes_on(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let share = json!([{"collaborator": {"userId": bob.id()}, "steps": ["mapping"]}]);
    let blocked = Blocked::of(&app, &ada, share).await;
    claim(&bob, &blocked.review).await;
    let patch = json!([
        {"op": "test", "path": "/data_points/0/value", "value": "7"},
        {"op": "replace", "path": "/data_points/0/value", "value": "8"}
    ]);
    let decided =
        bob.gql(DECIDE, blocked.decision("APPROVE", &json!({"patch": patch, "comment": "It says 8."}))).await;
    assert_eq!(decided["decideReview"]["review"]["status"], "APPROVED");

    let mut expected = found();
    expected["data_points"][0]["value"] = json!("8");
    assert_eq!(content(&ada, &blocked.job, "mapping-json").await, expected);
    let job = ada.job(&blocked.job, "status currentStep { name } contents(role: \"mapping-json\", superseded: true) { version current }").await;
    assert_eq!((&job["status"], &job["currentStep"]["name"]), (&json!("QUEUED"), &json!("output")));
    assert_eq!(job["contents"], json!([{"version": 2, "current": true}, {"version": 1, "current": false}]));
    let event = last(&ada, &blocked.job, "REVIEW_DECIDED").await;
    assert_eq!(event["actor"]["id"], bob.id());
    let receipt = json!({
        "reviewId": blocked.review, "step": "mapping", "decision": "APPROVED", "comment": "It says 8.",
        "contentSha256": blocked.sha256, "patch": patch,
    });
    assert_eq!(event["data"], receipt);
    let twice = bob.refused(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
    assert_eq!(twice.code(), "CONFLICT");
}

both!(what_cannot_be_decided_changes_nothing_and_leaves_no_bytes);
async fn what_cannot_be_decided_changes_nothing_and_leaves_no_bytes(app: TestApp) {
    let ada = app.user("ada").await;
    let blocked = Blocked::of(&app, &ada, json!([])).await;
    claim(&ada, &blocked.review).await;
    let (before, bytes) = (everything(&ada, &blocked.job).await, app.stored());
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
        let refused = ada.refused(DECIDE, blocked.decision(decision, &more.clone())).await;
        assert_eq!(refused.code(), "BAD_USER_INPUT", "{decision} {more}: {refused:?}");
        let problems = refused.problems();
        assert!(problems.iter().any(|(at, _)| at == path), "{decision} {more}: {problems:?}");
    }
    let stale = json!({"contentSha256": "0".repeat(64), "patch": [good]});
    let refused = ada.refused(DECIDE, blocked.decision("APPROVE", &stale)).await;
    assert_eq!((refused.code(), &refused.extensions["contentSha256"]), ("CONFLICT", &json!(blocked.sha256)));
    assert_eq!(everything(&ada, &blocked.job).await, before);
    assert_eq!(app.stored(), bytes);
    ada.gql(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
}

both!(a_rejection_fails_the_job_with_the_comment_and_a_retry_opens_it);
async fn a_rejection_fails_the_job_with_the_comment_and_a_retry_opens_it(app: TestApp) {
    let ada = app.user("ada").await;
    let blocked = Blocked::of(&app, &ada, json!([])).await;
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

both!(what_is_sent_back_is_superseded_and_runs_again_with_the_comment);
async fn what_is_sent_back_is_superseded_and_runs_again_with_the_comment(app: TestApp) {
    let ada = app.user("ada").await;
    let blocked = Blocked::of(&app, &ada, json!([])).await;
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
    assert_eq!(json!(roles), json!(["input", "mapping-taxonomy-json", "text-json"]), "what was given stays");
    assert_eq!(job["superseded"].as_array().expect("contents").len(), 6);
    let sent = last(&ada, &blocked.job, "REVIEW_DECIDED").await;
    assert_eq!((&sent["data"]["decision"], &sent["data"]["toStep"]), (&json!("SENT_BACK"), &json!("zoning")));

    let worker = app.worker();
    let claim = worker.claim_of(job_id(&blocked.job)).await;
    assert_eq!((claim.step.as_str(), claim.attempt), ("zoning", 1));
    worker.complete_with(&claim, &[("zoning-json", json!({"better": true}))]).await.expect("it is taken");
    let job = ada.job(&blocked.job, "steps { comment } contents(role: \"zoning-json\") { version }").await;
    assert_eq!((&job["steps"][1]["comment"], &job["contents"][0]["version"]), (&Value::Null, &json!(2)));
}

both!(a_rewind_takes_a_job_back_from_any_status);
async fn a_rewind_takes_a_job_back_from_any_status(app: TestApp) {
    let ada = app.user("ada").await;
    let rewind = "mutation($in: RewindJobInput!) { rewindJob(input: $in) { job { status } } }";
    let to = |job: &str, step: &str| json!({"in": {"id": job, "toStep": step, "reason": "Again."}});
    let blocked = Blocked::of(&app, &ada, json!([])).await;
    for (step, code) in [("output", "NOT_REACHED"), ("dancing", "UNKNOWN_STEP")] {
        let refused = ada.refused(rewind, to(&blocked.job, step)).await;
        assert_eq!(refused.problems(), [("/toStep".into(), code.into())]);
    }
    claim(&ada, &blocked.review).await;
    ada.gql(rewind, to(&blocked.job, "text-extraction")).await;
    let late = ada.refused(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
    assert_eq!(late.code(), "CONFLICT");
    let job = ada.job(&blocked.job, "status progress { current } contents { role }").await;
    assert_eq!((&job["status"], &job["progress"]["current"]), (&json!("QUEUED"), &json!(0)));
    let rewound = last(&ada, &blocked.job, "REWOUND").await;
    assert_eq!(rewound["data"], json!({"step": "text-extraction", "reason": "Again."}));
    assert_eq!(last(&ada, &blocked.job, "REVIEW_DECIDED").await["data"]["decision"], "CANCELLED");

    app.worker().finish(job_id(&blocked.job)).await;
    assert_eq!(ada.status(&blocked.job).await, "COMPLETED");
    let output = "outputContent { version }";
    assert_eq!(ada.job(&blocked.job, output).await["outputContent"]["version"], 1);
    ada.gql(rewind, to(&blocked.job, "output")).await;
    assert_eq!(ada.job(&blocked.job, output).await["outputContent"], Value::Null);
    let claim = app.worker().claim_of(job_id(&blocked.job)).await;
    ada.gql(rewind, to(&blocked.job, "output")).await;
    let late = app.worker().complete_with(&claim, &[("output", json!("late"))]).await;
    assert_eq!(late.expect_err("the lease is gone").code().as_str(), "CONFLICT");
    app.worker().finish(job_id(&blocked.job)).await;
    assert_eq!(ada.job(&blocked.job, output).await["outputContent"]["version"], 2);
}

both!(what_was_given_counts_again_after_going_back_and_only_one_content_of_a_role_counts);
async fn what_was_given_counts_again_after_going_back_and_only_one_content_of_a_role_counts(app: TestApp) {
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
            let claim = worker.claim_of(job_id(&job)).await;
            worker.complete_with(&claim, &[(*role, json!({}))]).await.expect("it is taken");
        }
        let claim = worker.claim_of(job_id(&job)).await;
        worker
            .ask(&claim, "mapping-json", &json!({"data_points": [], "note": note}))
            .await
            .expect("it is taken");
    };
    let counting = async || {
        let job = ada.job(&job, "contents(role: \"mapping-json\") { version document { sha256 } }").await;
        job["contents"].as_array().expect("contents").clone()
    };
    up_to_mapping(0, "first").await;
    let (review, sha256) = open_review(&ada, &job).await;
    claim(&ada, &review).await;
    let back = json!({"id": review, "decision": "SEND_BACK", "toStep": "zoning", "contentSha256": sha256});
    ada.gql(DECIDE, json!({"in": back})).await;
    assert_eq!(
        counting().await.iter().map(|c| c["version"].clone()).collect::<Vec<_>>(),
        [1],
        "what was given"
    );

    up_to_mapping(1, "second").await;
    let now = counting().await;
    assert_eq!((now.len(), &now[0]["version"]), (1, &json!(3)));
    let (review, sha256) = open_review(&ada, &job).await;
    assert_eq!(now[0]["document"]["sha256"], sha256.as_str());
    claim(&ada, &review).await;
    ada.gql(DECIDE, json!({"in": {"id": review, "decision": "APPROVE", "contentSha256": sha256}})).await;
    assert_eq!(ada.status(&job).await, "QUEUED");
}

both!(going_back_behind_one_step_leaves_what_an_earlier_one_made_in_the_same_role);
async fn going_back_behind_one_step_leaves_what_an_earlier_one_made_in_the_same_role(app: TestApp) {
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
    assert_eq!(rewind("draft").await, Vec::<Value>::new(), "an earlier pass does not come back");
}

both!(a_test_job_approves_itself_and_its_history_says_so);
async fn a_test_job_approves_itself_and_its_history_says_so(app: TestApp) {
    let ada = app.tester("ada").await;
    let job = ada.extraction_job(json!([])).await;
    let worker = app.worker();
    for _ in 0..2 {
        worker.complete(&worker.claim_of(job_id(&job)).await).await.expect("it is taken");
    }
    worker.ask(&worker.claim_of(job_id(&job)).await, "mapping-json", &found()).await.expect("it is taken");
    assert_eq!(ada.status(&job).await, "QUEUED");
    let decided = last(&ada, &job, "REVIEW_DECIDED").await;
    assert_eq!((&decided["data"]["automatic"], &decided["actor"]), (&json!(true), &Value::Null));
}

both!(timing_tells_machines_people_and_waiting_apart);
async fn timing_tells_machines_people_and_waiting_apart(app: TestApp) {
    use chrono::TimeDelta;
    let ada = app.user("ada").await;
    let job = ada.extraction_job(json!([])).await;
    let worker = app.worker();
    for _ in 0..2 {
        worker.complete(&worker.claim_of(job_id(&job)).await).await.expect("it is taken");
    }
    app.clock.advance(TimeDelta::seconds(1_000));
    let claimed = worker.claim_of(job_id(&job)).await;
    app.clock.advance(TimeDelta::seconds(20));
    worker.ask(&claimed, "mapping-json", &found()).await.expect("it is taken");
    app.clock.advance(TimeDelta::seconds(300));
    claim(&ada, &open_review(&ada, &job).await.0).await;
    app.clock.advance(TimeDelta::seconds(40_000));
    let timing = "timing { machineSeconds reviewSeconds waitingSeconds remainingSeconds }";
    let timing = ada.job(&job, timing).await["timing"].take();
    let near = |key: &str, expected: f64| (timing[key].as_f64().expect("seconds") - expected).abs() < 19.0;
    assert!(near("machineSeconds", 20.0), "{timing}");
    assert!(near("waitingSeconds", 1_300.0), "{timing}");
    assert!(near("reviewSeconds", 40_000.0), "{timing}");
    assert_eq!(timing["remainingSeconds"], Value::Null, "there is no past to tell from");
}

both!(a_content_that_is_corrected_has_so_many_bytes, |config| config.review.content_bytes = 100);
async fn a_content_that_is_corrected_has_so_many_bytes(app: TestApp) {
    let ada = app.user("ada").await;
    let blocked = Blocked::of(&app, &ada, json!([])).await;
    claim(&ada, &blocked.review).await;
    let patch = json!({"patch": [{"op": "replace", "path": "/data_points/0/value", "value": "8"}]});
    let before = everything(&ada, &blocked.job).await;
    let refused = ada.refused(DECIDE, blocked.decision("APPROVE", &patch)).await;
    assert_eq!(refused.code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(everything(&ada, &blocked.job).await, before);
    ada.gql(DECIDE, blocked.decision("APPROVE", &json!({}))).await;
}

both!(corrections_wait_until_there_is_room);
async fn corrections_wait_until_there_is_room(app: TestApp) {
    let ada = app.user("ada").await;
    let (corrected, approved) =
        (Blocked::of(&app, &ada, json!([])).await, Blocked::of(&app, &ada, json!([])).await);
    for blocked in [&corrected, &approved] {
        claim(&ada, &blocked.review).await;
    }
    let all = u32::try_from(app.jobs.correcting.available_permits()).expect("16 MiB in KiB");
    let taken = app.jobs.correcting.acquire_many(all).await.expect("it stays open");
    let patch = json!({"patch": [{"op": "replace", "path": "/data_points/0/value", "value": "8"}]});
    let decision = corrected.decision("APPROVE", &patch);
    let waiting = app.tasks.spawn({
        let ada = ada.clone();
        async move { ada.gql(DECIDE, decision).await }
    });
    ada.gql(DECIDE, approved.decision("APPROVE", &json!({}))).await;
    assert_eq!(ada.status(&corrected.job).await, "BLOCKED", "what corrects nothing goes first");
    assert!(!waiting.is_finished());
    drop(taken);
    waiting.await.expect("it is decided");
    assert_eq!(ada.status(&corrected.job).await, "QUEUED");
}
