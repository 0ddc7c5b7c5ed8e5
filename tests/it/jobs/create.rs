//! Tests of `createJob` and `validateJob`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{TestApp, User, both};

const CREATE: &str = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
const VALIDATE: &str = "query($in: CreateJobInput!) { validateJob(input: $in) { path code } }";

both!(repeated_idempotency_key_returns_the_same_job);
async fn repeated_idempotency_key_returns_the_same_job(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let input = ada.job_input(json!({"idempotencyKey": "k", "metadata": {"a": 1}})).await;
    let first = ada.create_job(input.clone()).await;
    assert_eq!(ada.create_job(input.clone()).await, first);
    // A client that retries may upload its document again: bytes and name are compared, not the ID.
    let again = ada.job_input(json!({"idempotencyKey": "k", "metadata": {"a": 1}})).await;
    assert_ne!(again["input"], input["input"]);
    assert_eq!(ada.create_job(again).await, first);

    let mut other = input.clone();
    other["metadata"] = json!({"a": 2});
    assert_eq!(ada.gql_err(CREATE, json!({"in": other})).await.code(), "CONFLICT");
    let mut other = input;
    other["input"] = json!({"documentId": ada.upload("other bytes", "invoice.txt", "text/plain").await});
    assert_eq!(ada.gql_err(CREATE, json!({"in": other})).await.code(), "CONFLICT");

    let theirs = bob.create_job(json!({"idempotencyKey": "k", "metadata": {"a": 1}})).await;
    assert_ne!(theirs, first, "each owner has their own keys");
    assert_eq!(ada.gql("{ jobs { totalCount } }", json!({})).await["jobs"]["totalCount"], 1);
}

both!(concurrent_requests_with_one_key_create_one_job);
async fn concurrent_requests_with_one_key_create_one_job(app: TestApp) {
    let ada = app.user("ada").await;
    let input = ada.job_input(json!({"idempotencyKey": "same"})).await;
    let same = (0..8).map(|_| ada.try_gql(CREATE, json!({"in": input})));
    let responses = futures_util::future::join_all(same).await;
    let ids: BTreeSet<_> =
        responses.into_iter().map(|response| response.expect("the job").to_string()).collect();
    assert_eq!(ids.len(), 1, "all requests get the same job: {ids:?}");

    let different = (0..8).map(|i| {
        let mut input = input.clone();
        input["idempotencyKey"] = json!("other");
        input["metadata"] = json!({"i": i});
        let ada = ada.clone();
        async move { ada.try_gql(CREATE, json!({"in": input})).await }
    });
    let responses = futures_util::future::join_all(different).await;
    let (created, refused): (Vec<_>, Vec<_>) = responses.into_iter().partition(Result::is_ok);
    assert_eq!(created.len(), 1);
    assert!(
        refused.iter().all(|response| response.as_ref().is_err_and(|error| error.code() == "CONFLICT")),
        "{refused:?}"
    );
    assert_eq!(ada.gql("{ jobs { totalCount } }", json!({})).await["jobs"]["totalCount"], 2);
}

both!(steps_are_claimed_by_priority_and_then_age);
async fn steps_are_claimed_by_priority_and_then_age(app: TestApp) {
    let ada = app.user("ada").await;
    let mut jobs = Vec::new();
    for priority in [0, -5, 7, 0] {
        jobs.push(ada.create_job(json!({"priority": priority})).await);
    }
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
    jobs.push(ada.noop_job().await);
    ada.gql(update, json!({"in": {"id": jobs[4], "priority": 1000}})).await;
    let mut order = Vec::new();
    while let Some(claim) = app.worker().try_claim().await {
        order.push(claim.job.id.to_string());
    }
    let expected = [4, 2, 0, 3, 1].map(|i: usize| jobs[i].clone());
    assert_eq!(order, expected);
}

both!(new_job_is_shared_with_the_given_collaborators);
async fn new_job_is_shared_with_the_given_collaborators(app: TestApp) {
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
    assert_eq!(
        seen["permissions"].as_array().map(Vec::len),
        Some(6),
        "the owner keeps all permissions: {seen}"
    );
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
        "the last entry of a collaborator counts"
    );
    for user in [&bob, &cyd, &dan, &eve] {
        assert_eq!(user.status(&job).await, "QUEUED", "{} can see the job", user.name);
    }
}

both!(unknown_collaborators_are_reported_as_not_found);
async fn unknown_collaborators_are_reported_as_not_found(app: TestApp) {
    let ada = app.user("ada").await;
    for collaborator in [
        json!({"userEmail": "nobody@example.com"}),
        json!({"userId": "0198c0de-0000-7000-8000-000000000000"}),
        json!({"teamName": "unknown"}),
        json!({"teamId": "not a UUID"}),
    ] {
        let input = ada.job_input(json!({"collaboration": [{"collaborator": collaborator}]})).await;
        assert_eq!(ada.gql_err(CREATE, json!({"in": input})).await.code(), "NOT_FOUND", "{collaborator}");
    }
    let two = json!({"userId": ada.id(), "userEmail": ada.email()});
    let input = ada.job_input(json!({"collaboration": [{"collaborator": two}]})).await;
    assert!(
        !ada.gql_err(CREATE, json!({"in": input})).await.code().is_empty(),
        "a collaborator has only one identifier"
    );
}

both!(metadata_is_expanded_converted_and_completed_with_defaults);
async fn metadata_is_expanded_converted_and_completed_with_defaults(app: TestApp) {
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

both!(invalid_input_reports_all_problems_and_creates_no_job);
async fn invalid_input_reports_all_problems_and_creates_no_job(app: TestApp) {
    let ada = app.user("ada").await;
    let input = json!({
        "type": "data-point-extraction",
        "input": {"uri": "http://169.254.169.254/latest/meta-data"},
        "contents": [
            {"role": "input", "source": {"documentId": "0198c0de-0000-7000-8000-000000000000"}},
            {"role": "unknown", "source": {"uri": "file:///etc/passwd"}}
        ],
        "metadata": {"mapping": {"high_confidence_threshold": 7}, "zoning.high_confidence_threshold": "often", "a": 1, "a.b": 2},
        "collaboration": [
            {"collaborator": {"teamName": "unknown"}, "steps": ["mapping", "unknown"]},
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
    let refused = ada.gql_err(CREATE, json!({"in": input})).await;
    assert_eq!((refused.code(), refused.path.clone()), ("BAD_USER_INPUT", vec![json!("createJob")]));
    assert_eq!(refused.problems(), expected);

    let reported = ada.gql(VALIDATE, json!({"in": input})).await;
    let mut reported: Vec<(String, String)> = reported["validateJob"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| {
            (p["path"].as_str().unwrap_or_default().into(), p["code"].as_str().unwrap_or_default().into())
        })
        .collect();
    reported.sort();
    assert_eq!(reported, expected, "validateJob reports the same problems");

    let unknown = ada.gql_err(CREATE, json!({"in": {"type": "unknown", "input": {"documentId": "x"}}})).await;
    assert_eq!(unknown.problems(), [("/type".to_owned(), "UNKNOWN_TYPE".to_owned())]);
    assert_eq!(ada.gql("{ jobs { totalCount } }", json!({})).await["jobs"]["totalCount"], 0);
}

both!(validation_of_a_valid_job_creates_nothing);
async fn validation_of_a_valid_job_creates_nothing(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let input = json!({"type": "data-point-extraction", "metadata": {"mapping.taxonomy": "invoices"}, "idempotencyKey": "k"});
    let input = ada.job_input(input).await;
    let before = app.stored_keys();
    assert_eq!(ada.gql(VALIDATE, json!({"in": input})).await["validateJob"], json!([]));
    assert_eq!(app.stored_keys(), before, "no bytes are stored");
    assert_eq!(
        ada.gql("{ jobs { totalCount } }", json!({})).await["jobs"]["totalCount"],
        0,
        "no job is created"
    );
    assert!(app.worker().try_claim().await.is_none(), "no step is queued");
    ada.create_job(input).await;
    assert_eq!(app.stored_keys().len(), before.len() + 1, "the taxonomy is stored with the job");
}

both!(input_must_match_its_media_type_and_job_type);
async fn input_must_match_its_media_type_and_job_type(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let problem = async |ada: &User, bytes: &[u8], media_type: &str| {
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
    assert_eq!(problem(&ada, b"plain words", "text/plain").await, "");
    assert_eq!(problem(&ada, b"plain words", "application/pdf").await, "/input DOCUMENT_TYPE_UNSUPPORTED");
    assert_eq!(problem(&ada, pdf, "text/plain").await, "/input DOCUMENT_TYPE_UNSUPPORTED");
    assert_eq!(problem(&ada, png, "image/png").await, "/input DOCUMENT_TYPE_UNSUPPORTED");
    assert_eq!(
        problem(&ada, pdf, "application/octet-stream").await,
        "",
        "the media type is detected from the bytes"
    );
    assert_eq!(problem(&ada, b"", "text/plain").await, "/input DOCUMENT_EMPTY");
}

both!(input_document_can_be_given_by_uri);
async fn input_document_can_be_given_by_uri(app: TestApp) {
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

both!(test_key_creates_jobs_with_automatic_approval);
async fn test_key_creates_jobs_with_automatic_approval(app: TestApp) {
    let ada = app.test_mode_user("ada").await;
    let job = ada.extraction_job(json!([])).await;
    let (worker, content) = (app.worker(), json!({"data_points": []}));
    for role in ["text-json", "zoning-json", "mapping-json"] {
        let claim = worker.claim().await;
        worker.complete_with_review(&claim, role, &content).await.expect("the result is accepted");
    }
    let seen = ada.job(&job, "mode status currentStep { name } review { id }").await;
    assert_eq!(
        seen,
        json!({"mode": "TEST", "status": "QUEUED", "currentStep": {"name": "output"}, "review": null})
    );
}
