//! Tests of jobs over REST, as clients of the original API write and read them.

use reqwest::Method;
use serde_json::{Value, json};

use super::{create_job, get, send, send_json, text, upload};
use crate::harness::{TestApp, both, job_id};

both!(job_can_be_created_polled_and_downloaded);
async fn job_can_be_created_polled_and_downloaded(app: TestApp) {
    let ada = app.user("ada").await;
    let uri = upload(&ada, "Invoice No 7").await;
    let created =
        send_json(&ada, Method::POST, "/jobs", json!({"type": "noop", "input_content": {"uri": uri}})).await;
    assert_eq!(created.status, 201);
    let id = text(&created.body["id"]);
    assert_eq!(created.header("location"), format!("/v1.1/jobs/{id}"));
    let job = &created.body;
    assert_eq!((&job["type"], &job["status"]), (&json!("noop"), &json!("queued")));
    assert_eq!(job["owner"], json!({"id": ada.id(), "email": "ada@example.com", "name": "ada"}));
    assert_eq!((&job["input_content"]["uri"], &job["output_content"]), (&json!(uri), &Value::Null));
    assert_eq!((&job["contents"][0]["role"], &job["contents"][0]["version"]), (&json!("input"), &json!(1)));
    assert_eq!(job["progress"], json!({"current": 0, "total": 3, "fraction": 0.0}));
    assert_eq!((&job["collaboration"], &job["metadata"]), (&json!({"teams": [], "users": []}), &json!({})));
    assert!(job["created_at"].is_string());

    let followed = get(&ada, &format!("/jobs/{id}")).await;
    let unchanged = ada.request(Method::GET, &format!("/v1.1/jobs/{id}"));
    let unchanged =
        unchanged.header("If-None-Match", followed.header("etag")).send().await.expect("a response");
    assert_eq!(unchanged.status(), 304);
    let worker = app.worker();
    worker.finish_one().await;
    let claim = worker.claim().await;
    assert!(worker.renew(&claim, 0.5).await);
    let further = ada.request(Method::GET, &format!("/v1.1/jobs/{id}"));
    let further = send(further.header("If-None-Match", followed.header("etag"))).await;
    assert_eq!(further.body["progress"], json!({"current": 1, "total": 3, "fraction": 0.5}));
    assert_eq!(
        (&further.body["status"], &further.body["current_step"]),
        (&json!("running"), &json!("second"))
    );
    assert!(worker.renew(&claim, 0.6).await);
    let within = get(&ada, &format!("/jobs/{id}")).await;
    assert_ne!(within.header("etag"), further.header("etag"), "progress within a step changes the ETag");
    worker.complete(&claim).await.expect("the result is accepted");
    worker.finish(job_id(&id)).await;

    let done = get(&ada, &format!("/jobs/{id}")).await;
    assert_eq!(done.body["status"], "completed");
    assert_eq!(done.body["output_content"]["role"], "output");
    for (path, expected) in [
        ("input/1", "Invoice No 7"),
        ("input/latest", "Invoice No 7"),
        ("output/latest", "{\"made by\":\"third\"}"),
    ] {
        let path = format!("/v1.1/jobs/{id}/contents/{path}");
        let bytes = ada.request(Method::GET, &path).send().await.expect("a response");
        assert_eq!(bytes.status(), 200, "{path}");
        assert_eq!(bytes.headers()["x-content-type-options"], "nosniff");
        assert_eq!(bytes.text().await.expect("text"), expected, "{path}");
    }
    for path in ["output/2", "text-json/1", "input/latest%00", "in%00put/1", "input/0", "input/first"] {
        let response = get(&ada, &format!("/jobs/{id}/contents/{path}")).await;
        assert!([400, 404].contains(&response.status.as_u16()), "{path}: {}", response.status);
    }
}

both!(input_may_be_given_as_one_of_the_contents);
async fn input_may_be_given_as_one_of_the_contents(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let (uri, other) = (upload(&ada, "Invoice No 7").await, upload(&ada, "{}").await);
    let contents = json!([{"role": "text-json", "uri": other}, {"Role": "input", "URI": uri}]);
    let body = json!({"Type": "data-point-extraction", "Contents": contents, "mapping.taxonomy": "invoices"});
    let created = send_json(&ada, Method::POST, "/jobs", body.clone()).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.body["input_content"]["uri"], json!(uri));
    let roles: Vec<_> =
        created.body["contents"].as_array().expect("a list").iter().map(|c| text(&c["role"])).collect();
    assert_eq!(roles.len(), 3, "the taxonomy is stored too: {roles:?}");

    let mut twice = body.clone();
    twice["input-content"] = json!({"uri": other});
    let response = send_json(&ada, Method::POST, "/jobs", twice.clone()).await;
    assert_eq!((response.status.as_u16(), response.code()), (400, "BAD_USER_INPUT"));
    assert_eq!(response.problems(), [("/contents/1/uri".into(), "CLASH".into())]);
    twice["input-content"] = json!({"uri": uri});
    assert_eq!(
        send_json(&ada, Method::POST, "/jobs", twice).await.status,
        201,
        "the same input given twice is accepted"
    );
    let response = send_json(&ada, Method::POST, "/jobs", json!({"type": "noop"})).await;
    assert_eq!(response.problems(), [("/input_content".into(), "REQUIRED".into())]);
}

both!(unknown_fields_of_a_job_become_metadata);
async fn unknown_fields_of_a_job_become_metadata(app: TestApp) {
    let ada = app.user("ada").await;
    let input =
        json!({"Customer": 7, "order.number": "x", "METADATA": {"order": {"line": 1}, "Customer": 7}});
    let id = create_job(&ada, input).await;
    let expected = json!({"Customer": 7, "order": {"number": "x", "line": 1}});
    assert_eq!(get(&ada, &format!("/jobs/{id}")).await.body["metadata"], expected);

    let uri = upload(&ada, "a").await;
    let body = json!({"type": "noop", "input_content": {"uri": uri}, "order.line": 2, "metadata": {"order": {"line": 1}}});
    let response = send_json(&ada, Method::POST, "/jobs", body).await;
    assert_eq!(response.problems(), [("/order.line".into(), "CLASH".into())]);
}

both!(problem_paths_match_the_fields_of_the_request);
async fn problem_paths_match_the_fields_of_the_request(app: TestApp) {
    let ada = app.user("ada").await;
    let uri = upload(&ada, "a").await;
    let contents = json!([{"role": "input", "uri": uri}, {"role": "dance", "uri": "https://example.com/x"}]);
    let collaboration =
        json!({"teams": [], "users": [{"email": ada.email()}, {"email": ada.email(), "steps": ["x"]}]});
    let body =
        json!({"type": "noop", "contents": contents, "collaboration": collaboration, "priority": 5000});
    let response = send_json(&ada, Method::POST, "/jobs", body).await;
    let mut problems = response.problems();
    problems.sort();
    let expected = [
        ("/collaboration/users/1/steps/0", "UNKNOWN_STEP"),
        ("/contents/1/role", "UNKNOWN_ROLE"),
        ("/contents/1/uri", "FOREIGN_URI"),
        ("/priority", "RANGE"),
    ];
    assert_eq!(problems, expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
}

both!(repeated_idempotency_key_returns_the_same_job);
async fn repeated_idempotency_key_returns_the_same_job(app: TestApp) {
    let ada = app.user("ada").await;
    let uri = upload(&ada, "a").await;
    let create = async |key: &str, customer: u8| {
        let body = json!({"type": "noop", "input_content": {"uri": uri}, "customer": customer});
        send(ada.request(Method::POST, "/v1.1/jobs").header("Idempotency-Key", key).json(&body)).await
    };
    let first = create("k", 1).await;
    assert_eq!(create("k", 1).await.body["id"], first.body["id"]);
    let other = create("k", 2).await;
    assert_eq!((other.status.as_u16(), other.code()), (409, "CONFLICT"));
    let long = create(&"k".repeat(201), 1).await;
    assert_eq!(long.problems(), [("/Idempotency-Key".into(), "LENGTH".into())]);
}

both!(job_can_be_updated_cancelled_rewound_and_deleted);
async fn job_can_be_updated_cancelled_rewound_and_deleted(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create_job(&ada, json!({"a": 1, "b": 2})).await;
    let path = format!("/jobs/{id}");
    let body = json!({"Metadata": {"a": null, "c.d": 3}, "priority": 7});
    let changed = send_json(&ada, Method::PUT, &path, body).await;
    assert_eq!(
        (&changed.body["metadata"], &changed.body["priority"]),
        (&json!({"b": 2, "c": {"d": 3}}), &json!(7))
    );
    let response = send_json(&ada, Method::PUT, &path, json!({"status": "COMPLETED"})).await;
    assert_eq!(
        (response.status.as_u16(), response.code()),
        (400, "BAD_USER_INPUT"),
        "the status is read-only"
    );

    app.worker().finish_one().await;
    let cancelled =
        send_json(&ada, Method::POST, &format!("{path}/cancel"), json!({"reason": "enough"})).await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.body["status"]), (200, &json!("cancelled")));
    let again = send(ada.request(Method::POST, &format!("/v1.1{path}/cancel"))).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "CONFLICT"), "without a body");
    let rewound = send_json(
        &ada,
        Method::POST,
        &format!("{path}/rewind"),
        json!({"toStep": "first", "reason": "again"}),
    )
    .await;
    assert_eq!(
        (&rewound.body["status"], &rewound.body["progress"]["current"]),
        (&json!("queued"), &json!(0))
    );
    let response =
        send_json(&ada, Method::POST, &format!("{path}/rewind"), json!({"to_step": "dance"})).await;
    assert_eq!(response.problems(), [("/to_step".into(), "UNKNOWN_STEP".into())]);

    let deleted = send(ada.request(Method::DELETE, &format!("/v1.1{path}"))).await;
    assert_eq!((deleted.status.as_u16(), deleted.body), (200, json!({"id": id})));
    assert_eq!(get(&ada, &path).await.status, 404);
}

both!(job_types_documents_and_status_can_be_read);
async fn job_types_documents_and_status_can_be_read(app: TestApp) {
    let ada = app.user("ada").await;
    let all = get(&ada, "/job-types").await;
    let ids: Vec<_> =
        all.body["job_types"].as_array().expect("a list").iter().map(|one| text(&one["id"])).collect();
    assert_eq!(ids, ["data-point-extraction", "indexing", "noop"]);
    let one = get(&ada, "/job-types/noop").await;
    assert_eq!(one.body["steps"][2]["content_roles"], json!(["output"]));
    assert_eq!(one.body, all.body["job_types"][2]);
    assert_eq!(get(&ada, "/job-types/dance").await.status, 404);

    let uri = upload(&ada, "abc").await;
    let id = uri.split('/').rev().nth(1).expect("an ID");
    let document = get(&ada, &format!("/documents/{id}")).await;
    assert_eq!((&document.body["name"], &document.body["size"]), (&json!("a.txt"), &json!(3)));
    assert_eq!(document.body["contents_uri"], uri);
    let range =
        ada.request(Method::GET, &format!("/v1.1/documents/{id}/contents")).header("Range", "bytes=1-");
    let part = range.send().await.expect("a response");
    assert_eq!((part.status().as_u16(), part.text().await.expect("text")), (206, "bc".into()));
    let beyond =
        ada.request(Method::GET, &format!("/v1.1/documents/{id}/contents")).header("Range", "bytes=9-");
    let beyond = send(beyond).await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, "bytes */3"));

    let status = get(&app.anonymous(), "/status").await;
    assert_eq!((status.status.as_u16(), &status.body["status"]), (200, &json!("ok")));
}
