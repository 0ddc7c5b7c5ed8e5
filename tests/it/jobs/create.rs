//! createJob and validateJob.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{TestApp, User, both};

const CREATE: &str = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
const VALIDATE: &str = "query($in: CreateJobInput!) { validateJob(input: $in) { path code } }";

both!(a_key_that_comes_again_gets_the_same_job);
async fn a_key_that_comes_again_gets_the_same_job(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let input = ada.job_input(json!({"idempotencyKey": "k", "metadata": {"a": 1}})).await;
    let first = ada.create_job(input.clone()).await;
    assert_eq!(ada.create_job(input.clone()).await, first);
    // A client that tries again may have uploaded its document again: bytes and name count, not the ID.
    let again = ada.job_input(json!({"idempotencyKey": "k", "metadata": {"a": 1}})).await;
    assert_ne!(again["input"], input["input"]);
    assert_eq!(ada.create_job(again).await, first);

    let mut other = input.clone();
    other["metadata"] = json!({"a": 2});
    assert_eq!(ada.refused(CREATE, json!({"in": other})).await.code(), "CONFLICT");
    let mut other = input;
    other["input"] = json!({"documentId": ada.upload("other bytes", "invoice.txt", "text/plain").await});
    assert_eq!(ada.refused(CREATE, json!({"in": other})).await.code(), "CONFLICT");

    let theirs = bob.create_job(json!({"idempotencyKey": "k", "metadata": {"a": 1}})).await;
    assert_ne!(theirs, first, "keys are each owner's own");
    assert_eq!(ada.gql("{ jobs { totalCount } }", json!({})).await["jobs"]["totalCount"], 1);
}

both!(of_many_with_one_key_at_once_one_makes_the_job);
async fn of_many_with_one_key_at_once_one_makes_the_job(app: TestApp) {
    let ada = app.user("ada").await;
    let input = ada.job_input(json!({"idempotencyKey": "same"})).await;
    let same = (0..8).map(|_| ada.try_gql(CREATE, json!({"in": input})));
    let answers = futures_util::future::join_all(same).await;
    let ids: BTreeSet<_> = answers.into_iter().map(|answer| answer.expect("the job").to_string()).collect();
    assert_eq!(ids.len(), 1, "all get the same job: {ids:?}");

    let different = (0..8).map(|i| {
        let mut input = input.clone();
        input["idempotencyKey"] = json!("other");
        input["metadata"] = json!({"i": i});
        let ada = ada.clone();
        async move { ada.try_gql(CREATE, json!({"in": input})).await }
    });
    let answers = futures_util::future::join_all(different).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    assert!(
        refused.iter().all(|answer| answer.as_ref().is_err_and(|error| error.code() == "CONFLICT")),
        "{refused:?}"
    );
    assert_eq!(ada.gql("{ jobs { totalCount } }", json!({})).await["jobs"]["totalCount"], 2);
}

both!(high_priority_is_claimed_first_then_the_oldest);
async fn high_priority_is_claimed_first_then_the_oldest(app: TestApp) {
    let ada = app.user("ada").await;
    let mut jobs = Vec::new();
    for priority in [0, -5, 7, 0] {
        jobs.push(ada.create_job(json!({"priority": priority})).await);
    }
    let later = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    jobs.push(ada.noop_job().await);
    ada.gql(later, json!({"in": {"id": jobs[4], "priority": 1000}})).await;
    let mut order = Vec::new();
    while let Some(claim) = app.worker().try_claim().await {
        order.push(claim.job.id.to_string());
    }
    let expected = [4, 2, 0, 3, 1].map(|i: usize| jobs[i].clone());
    assert_eq!(order, expected);
}

both!(a_job_is_shared_when_it_is_made);
async fn a_job_is_shared_when_it_is_made(app: TestApp) {
    let ada = app.user("ada").await;
    let (bob, cyd, dan, eve) =
        (app.user("bob").await, app.user("cyd").await, app.user("dan").await, app.user("eve").await);
    let by_id = cyd.team("by id", &[]).await;
    dan.team("by name", &[]).await;
    let share = json!([
        {"collaborator": {"userId": bob.id()}, "steps": ["first"]},
        {"collaborator": {"userEmail": "EVE@example.com"}, "steps": ["second", "third"]},
        {"collaborator": {"teamId": by_id}},
        {"collaborator": {"teamName": "by name"}, "steps": ["*"]},
        {"collaborator": {"userId": bob.id()}, "steps": ["second"]},
        {"collaborator": {"userId": ada.id()}, "steps": ["first"]}
    ]);
    let job = ada.create_job(json!({"collaboration": share})).await;
    let fields = "collaboration { teams { team { name } steps } users { user { email } steps } } permissions";
    let seen = ada.job(&job, fields).await;
    assert_eq!(seen["permissions"].as_array().map(Vec::len), Some(6), "the owner keeps everything: {seen}");
    let sorted = |list: &Value| {
        let mut texts: Vec<_> = list.as_array().expect("a list").iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    let teams =
        json!([{"team": {"name": "by id"}, "steps": ["*"]}, {"team": {"name": "by name"}, "steps": ["*"]}]);
    assert_eq!(sorted(&seen["collaboration"]["teams"]), sorted(&teams));
    let users = json!([
        {"user": {"email": "bob@example.com"}, "steps": ["second"]},
        {"user": {"email": "eve@example.com"}, "steps": ["second", "third"]}
    ]);
    assert_eq!(
        sorted(&seen["collaboration"]["users"]),
        sorted(&users),
        "one row each; the last one said counts"
    );
    for person in [&bob, &cyd, &dan, &eve] {
        assert_eq!(person.status(&job).await, "QUEUED", "{} sees it", person.name);
    }
}

both!(collaborators_that_are_not_there_are_not_found);
async fn collaborators_that_are_not_there_are_not_found(app: TestApp) {
    let ada = app.user("ada").await;
    for collaborator in [
        json!({"userEmail": "nobody@example.com"}),
        json!({"userId": "0198c0de-0000-7000-8000-000000000000"}),
        json!({"teamName": "nobody's"}),
        json!({"teamId": "not a UUID"}),
    ] {
        let input = ada.job_input(json!({"collaboration": [{"collaborator": collaborator}]})).await;
        assert_eq!(ada.refused(CREATE, json!({"in": input})).await.code(), "NOT_FOUND", "{collaborator}");
    }
    let two = json!({"userId": ada.id(), "userEmail": ada.email()});
    let input = ada.job_input(json!({"collaboration": [{"collaborator": two}]})).await;
    assert!(!ada.refused(CREATE, json!({"in": input})).await.code().is_empty(), "one of them, not two");
}

both!(metadata_is_opened_completed_and_taken_as_the_type_wants_it);
async fn metadata_is_opened_completed_and_taken_as_the_type_wants_it(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let metadata = json!({
        "mapping.taxonomy": "invoices",
        "mapping": {"high_confidence_threshold": "0.25"},
        "text-extraction.ocr": "true",
        "my.own.number": "7",
        "list": [{"a.b": 1}]
    });
    let job = ada.create_job(json!({"type": "data-point-extraction", "metadata": metadata})).await;
    let expected = json!({
        "mapping": {"taxonomy": "invoices", "high_confidence_threshold": 0.25},
        "text-extraction": {"ocr": true},
        "zoning": {"high_confidence_threshold": 1, "high_resolution_image_height": 1024},
        "my": {"own": {"number": "7"}},
        "list": [{"a.b": 1}]
    });
    assert_eq!(ada.job(&job, "metadata").await["metadata"], expected);
}

both!(everything_that_is_wrong_is_said_at_once_and_nothing_is_made);
async fn everything_that_is_wrong_is_said_at_once_and_nothing_is_made(app: TestApp) {
    let ada = app.user("ada").await;
    let input = json!({
        "type": "data-point-extraction",
        "input": {"uri": "http://169.254.169.254/latest/meta-data"},
        "contents": [
            {"role": "input", "source": {"documentId": "0198c0de-0000-7000-8000-000000000000"}},
            {"role": "made-up", "source": {"uri": "file:///etc/passwd"}}
        ],
        "metadata": {"mapping": {"high_confidence_threshold": 7}, "zoning.high_confidence_threshold": "often", "a": 1, "a.b": 2},
        "collaboration": [
            {"collaborator": {"teamName": "nobody's"}, "steps": ["mapping", "made-up"]},
            {"collaborator": {"userId": ada.id()}, "steps": ["*", ""]}
        ],
        "idempotencyKey": "",
        "priority": 1001
    });
    let expected = [
        ("/collaboration/0/collaborator", "NOT_FOUND"),
        ("/collaboration/0/steps/1", "UNKNOWN_STEP"),
        ("/collaboration/1/steps/1", "UNKNOWN_STEP"),
        ("/contents/0/role", "UNKNOWN_ROLE"),
        ("/contents/0/source", "NOT_FOUND"),
        ("/contents/1/role", "UNKNOWN_ROLE"),
        ("/contents/1/source/uri", "FOREIGN_URI"),
        ("/idempotencyKey", "LENGTH"),
        ("/input/uri", "FOREIGN_URI"),
        ("/metadata/a.b", "CLASH"),
        ("/metadata/mapping", "SCHEMA"),
        ("/metadata/mapping/high_confidence_threshold", "SCHEMA"),
        ("/metadata/zoning/high_confidence_threshold", "SCHEMA"),
        ("/priority", "RANGE"),
    ];
    let expected: Vec<_> = expected.map(|(path, code)| (path.to_owned(), code.to_owned())).into();
    let refused = ada.refused(CREATE, json!({"in": input})).await;
    assert_eq!((refused.code(), refused.path.clone()), ("BAD_USER_INPUT", vec![json!("createJob")]));
    assert_eq!(refused.problems(), expected);

    let told = ada.gql(VALIDATE, json!({"in": input})).await;
    let mut told: Vec<(String, String)> = told["validateJob"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| {
            (p["path"].as_str().unwrap_or_default().into(), p["code"].as_str().unwrap_or_default().into())
        })
        .collect();
    told.sort();
    assert_eq!(told, expected, "validateJob says the same");

    let unknown = ada.refused(CREATE, json!({"in": {"type": "made-up", "input": {"documentId": "x"}}})).await;
    assert_eq!(unknown.problems(), [("/type".to_owned(), "UNKNOWN_TYPE".to_owned())]);
    assert_eq!(ada.gql("{ jobs { totalCount } }", json!({})).await["jobs"]["totalCount"], 0);
}

both!(validating_what_is_good_says_nothing_and_makes_nothing);
async fn validating_what_is_good_says_nothing_and_makes_nothing(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let input = json!({"type": "data-point-extraction", "metadata": {"mapping.taxonomy": "invoices"}, "idempotencyKey": "k"});
    let input = ada.job_input(input).await;
    let before = app.stored();
    assert_eq!(ada.gql(VALIDATE, json!({"in": input})).await["validateJob"], json!([]));
    assert_eq!(app.stored(), before, "no bytes");
    assert_eq!(ada.gql("{ jobs { totalCount } }", json!({})).await["jobs"]["totalCount"], 0, "no job");
    assert!(app.worker().try_claim().await.is_none(), "nothing in the queue");
    ada.create_job(input).await;
    assert_eq!(app.stored().len(), before.len() + 1, "the taxonomy is kept with the job");
}

both!(the_input_is_what_it_says_and_what_the_type_takes);
async fn the_input_is_what_it_says_and_what_the_type_takes(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let refused = async |ada: &User, bytes: &[u8], media_type: &str| {
        let document = ada.upload(bytes, "x", media_type).await;
        let input = json!({
            "type": "data-point-extraction", "input": {"documentId": document}, "metadata": {"mapping.taxonomy": "invoices"}
        });
        match ada.try_gql(CREATE, json!({"in": input})).await {
            Ok(_) => String::new(),
            Err(error) => match error.problems().as_slice() {
                [(path, code)] => format!("{path} {code}"),
                other => panic!("{error:?} {other:?}"),
            },
        }
    };
    let (png, pdf): (&[u8], &[u8]) = (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"%PDF-1.7\n%%EOF");
    assert_eq!(refused(&ada, b"plain words", "text/plain").await, "");
    assert_eq!(refused(&ada, b"plain words", "application/pdf").await, "/input DOCUMENT_TYPE_UNSUPPORTED");
    assert_eq!(refused(&ada, pdf, "text/plain").await, "/input DOCUMENT_TYPE_UNSUPPORTED");
    assert_eq!(refused(&ada, png, "image/png").await, "/input DOCUMENT_TYPE_UNSUPPORTED");
    assert_eq!(refused(&ada, pdf, "application/octet-stream").await, "", "its bytes say what it is");
    assert_eq!(refused(&ada, b"", "text/plain").await, "/input DOCUMENT_EMPTY");
}

both!(a_document_is_named_by_its_id_or_by_its_address);
async fn a_document_is_named_by_its_id_or_by_its_address(app: TestApp) {
    let ada = app.user("ada").await;
    let document = ada.upload("bytes", "Scan 1.TXT", "text/plain").await;
    let uri = app.url(&format!("/documents/{document}/contents"));
    let job = ada.create_job(json!({"input": {"uri": uri}})).await;
    let seen =
        ada.job(&job, "inputContent { role version current uri document { id name } } mode status").await;
    let expected = json!({
        "inputContent": {
            "role": "input", "version": 1, "current": true, "uri": uri, "document": {"id": document, "name": "Scan 1.TXT"}
        },
        "mode": "LIVE", "status": "QUEUED"
    });
    assert_eq!(seen, expected);
}

both!(a_test_key_makes_test_jobs_whose_reviews_approve_themselves);
async fn a_test_key_makes_test_jobs_whose_reviews_approve_themselves(app: TestApp) {
    let ada = app.tester("ada").await;
    let job = ada.extraction_job(json!([])).await;
    let (worker, content) = (app.worker(), json!({"data_points": []}));
    for role in ["text-json", "zoning-json", "mapping-json"] {
        let claim = worker.claim().await;
        worker.ask(&claim, role, &content).await.expect("a result is taken");
    }
    let seen = ada.job(&job, "mode status currentStep { name } review { id }").await;
    assert_eq!(
        seen,
        json!({"mode": "TEST", "status": "QUEUED", "currentStep": {"name": "output"}, "review": null})
    );
}
