//! The life of a job, as clients of the API that this one descends from write it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ask, create, get, send, text, upload};
use crate::harness::{TestApp, both, job_id};

both!(a_job_is_made_followed_and_its_contents_fetched);
async fn a_job_is_made_followed_and_its_contents_fetched(app: TestApp) {
    let ada = app.user("ada").await;
    let uri = upload(&ada, "Invoice No 7").await;
    let made = ask(&ada, Method::POST, "/jobs", json!({"type": "noop", "input_content": {"uri": uri}})).await;
    assert_eq!(made.status, 201);
    let id = text(&made.body["id"]);
    assert_eq!(made.header("location"), format!("/v1.1/jobs/{id}"));
    let job = &made.body;
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
        unchanged.header("If-None-Match", followed.header("etag")).send().await.expect("an answer");
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
    assert_ne!(within.header("etag"), further.header("etag"), "a pollster sees progress within a step");
    worker.complete(&claim).await.expect("taken");
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
        let bytes = ada.request(Method::GET, &path).send().await.expect("an answer");
        assert_eq!(bytes.status(), 200, "{path}");
        assert_eq!(bytes.headers()["x-content-type-options"], "nosniff");
        assert_eq!(bytes.text().await.expect("text"), expected, "{path}");
    }
    for path in ["output/2", "text-json/1", "input/latest%00", "in%00put/1", "input/0", "input/first"] {
        let said = get(&ada, &format!("/jobs/{id}/contents/{path}")).await;
        assert!([400, 404].contains(&said.status.as_u16()), "{path}: {}", said.status);
    }
}

both!(the_input_may_be_one_of_the_contents);
async fn the_input_may_be_one_of_the_contents(app: TestApp) {
    let ada = app.user("ada").await;
    ada.put_taxonomy("invoices").await;
    let (uri, other) = (upload(&ada, "Invoice No 7").await, upload(&ada, "{}").await);
    let contents = json!([{"role": "text-json", "uri": other}, {"Role": "input", "URI": uri}]);
    let body = json!({"Type": "data-point-extraction", "Contents": contents, "mapping.taxonomy": "invoices"});
    let made = ask(&ada, Method::POST, "/jobs", body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["input_content"]["uri"], json!(uri));
    let roles: Vec<_> =
        made.body["contents"].as_array().expect("a list").iter().map(|c| text(&c["role"])).collect();
    assert_eq!(roles.len(), 3, "the taxonomy is kept too: {roles:?}");

    let mut twice = body.clone();
    twice["input-content"] = json!({"uri": other});
    let said = ask(&ada, Method::POST, "/jobs", twice.clone()).await;
    assert_eq!((said.status.as_u16(), said.code()), (400, "BAD_USER_INPUT"));
    assert_eq!(said.problems(), [("/contents/1/uri".into(), "CLASH".into())]);
    twice["input-content"] = json!({"uri": uri});
    assert_eq!(
        ask(&ada, Method::POST, "/jobs", twice).await.status,
        201,
        "the same twice is no contradiction"
    );
    let said = ask(&ada, Method::POST, "/jobs", json!({"type": "noop"})).await;
    assert_eq!(said.problems(), [("/input_content".into(), "REQUIRED".into())]);
}

both!(fields_that_are_not_known_are_metadata);
async fn fields_that_are_not_known_are_metadata(app: TestApp) {
    let ada = app.user("ada").await;
    let more = json!({"Customer": 7, "order.number": "x", "METADATA": {"order": {"line": 1}, "Customer": 7}});
    let id = create(&ada, more).await;
    let expected = json!({"Customer": 7, "order": {"number": "x", "line": 1}});
    assert_eq!(get(&ada, &format!("/jobs/{id}")).await.body["metadata"], expected);

    let uri = upload(&ada, "a").await;
    let body = json!({"type": "noop", "input_content": {"uri": uri}, "order.line": 2, "metadata": {"order": {"line": 1}}});
    let said = ask(&ada, Method::POST, "/jobs", body).await;
    assert_eq!(said.problems(), [("/order.line".into(), "CLASH".into())]);
}

both!(problems_are_where_the_client_wrote);
async fn problems_are_where_the_client_wrote(app: TestApp) {
    let ada = app.user("ada").await;
    let uri = upload(&ada, "a").await;
    let contents = json!([{"role": "input", "uri": uri}, {"role": "dance", "uri": "https://example.com/x"}]);
    let collaboration =
        json!({"teams": [], "users": [{"email": ada.email()}, {"email": ada.email(), "steps": ["x"]}]});
    let body =
        json!({"type": "noop", "contents": contents, "collaboration": collaboration, "priority": 5000});
    let said = ask(&ada, Method::POST, "/jobs", body).await;
    let mut problems = said.problems();
    problems.sort();
    let expected = [
        ("/collaboration/users/1/steps/0", "UNKNOWN_STEP"),
        ("/contents/1/role", "UNKNOWN_ROLE"),
        ("/contents/1/uri", "FOREIGN_URI"),
        ("/priority", "RANGE"),
    ];
    assert_eq!(problems, expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
}

both!(a_key_that_comes_again_gets_the_same_job);
async fn a_key_that_comes_again_gets_the_same_job(app: TestApp) {
    let ada = app.user("ada").await;
    let uri = upload(&ada, "a").await;
    let make = async |key: &str, customer: u8| {
        let body = json!({"type": "noop", "input_content": {"uri": uri}, "customer": customer});
        send(ada.request(Method::POST, "/v1.1/jobs").header("Idempotency-Key", key).json(&body)).await
    };
    let first = make("k", 1).await;
    assert_eq!(make("k", 1).await.body["id"], first.body["id"]);
    let other = make("k", 2).await;
    assert_eq!((other.status.as_u16(), other.code()), (409, "CONFLICT"));
    let long = make(&"k".repeat(201), 1).await;
    assert_eq!(long.problems(), [("/Idempotency-Key".into(), "LENGTH".into())]);
}

both!(a_job_is_changed_cancelled_rewound_and_deleted);
async fn a_job_is_changed_cancelled_rewound_and_deleted(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create(&ada, json!({"a": 1, "b": 2})).await;
    let path = format!("/jobs/{id}");
    let body = json!({"Metadata": {"a": null, "c.d": 3}, "priority": 7});
    let changed = ask(&ada, Method::PUT, &path, body).await;
    assert_eq!(
        (&changed.body["metadata"], &changed.body["priority"]),
        (&json!({"b": 2, "c": {"d": 3}}), &json!(7))
    );
    let said = ask(&ada, Method::PUT, &path, json!({"status": "COMPLETED"})).await;
    assert_eq!((said.status.as_u16(), said.code()), (400, "BAD_USER_INPUT"), "a status is not written");

    app.worker().finish_one().await;
    let cancelled = ask(&ada, Method::POST, &format!("{path}/cancel"), json!({"reason": "enough"})).await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.body["status"]), (200, &json!("cancelled")));
    let again = send(ada.request(Method::POST, &format!("/v1.1{path}/cancel"))).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "CONFLICT"), "without a body");
    let rewound =
        ask(&ada, Method::POST, &format!("{path}/rewind"), json!({"toStep": "first", "reason": "again"}))
            .await;
    assert_eq!(
        (&rewound.body["status"], &rewound.body["progress"]["current"]),
        (&json!("queued"), &json!(0))
    );
    let said = ask(&ada, Method::POST, &format!("{path}/rewind"), json!({"to_step": "dance"})).await;
    assert_eq!(said.problems(), [("/to_step".into(), "UNKNOWN_STEP".into())]);

    let gone = send(ada.request(Method::DELETE, &format!("/v1.1{path}"))).await;
    assert_eq!((gone.status.as_u16(), gone.body), (200, json!({"id": id})));
    assert_eq!(get(&ada, &path).await.status, 404);
}

both!(job_types_and_documents_are_described);
async fn job_types_and_documents_are_described(app: TestApp) {
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
    let part = range.send().await.expect("an answer");
    assert_eq!((part.status().as_u16(), part.text().await.expect("text")), (206, "bc".into()));
    let beyond =
        ada.request(Method::GET, &format!("/v1.1/documents/{id}/contents")).header("Range", "bytes=9-");
    let beyond = send(beyond).await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range")), (416, "bytes */3"));

    let status = get(&app.anonymous(), "/status").await;
    assert_eq!((status.status.as_u16(), &status.body["status"]), (200, &json!("ok")));
}
