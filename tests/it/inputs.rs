//! Tests of invalid variables and literals: each problem has a path and a readable message.

use docket::config::{Config, Switch};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Events, Received, TestApp, both};

const JOBS: &str = "query($f: JobFilter) { jobs(first: 1, filter: $f) { totalCount } }";

both!(each_invalid_variable_is_reported_as_one_problem);
async fn each_invalid_variable_is_reported_as_one_problem(app: TestApp) {
    let ada = app.user("ada").await;
    let response = ada.execute(JOBS, json!({"f": {"createdAfter": "2024-07-02"}})).await;
    assert_eq!((response.status.as_u16(), response.code()), (400, "BAD_USER_INPUT"));
    assert_eq!(response.errors[0].problems(), [("/f/createdAfter".into(), "INVALID_FORMAT".into())]);
    let message = &response.errors[0].message;
    assert!(message.contains("2024-07-02") && message.contains("RFC 3339"), "{message}");
    assert!(!message.contains("occurred while parsing"), "{message}");

    let invalid = json!({"f": {"status": ["STUCK", "BLOCKED"], "owner": 7, "color": "red", "metadata": "x"}});
    let mut problems = ada.gql_err(JOBS, invalid).await.problems();
    problems.sort();
    let expected = [
        ("/f/color", "UNKNOWN_FIELD"),
        ("/f/metadata", "WRONG_TYPE"),
        ("/f/owner", "WRONG_TYPE"),
        ("/f/status/0", "UNKNOWN_VALUE"),
    ];
    assert_eq!(problems, expected.map(|(path, code)| (path.to_owned(), code.to_owned())));

    let create = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
    let refused = ada.gql_err(create, json!({"in": {"type": "noop"}})).await;
    assert_eq!(
        (refused.code(), refused.problems()),
        ("BAD_USER_INPUT", vec![("/in/input".into(), "REQUIRED".into())])
    );
    let refused = ada.gql_err(create, json!({})).await;
    assert_eq!(refused.problems(), [("/in".into(), "REQUIRED".into())]);

    // WebSocket and SSE report the same problems.
    let payload = json!({"query": JOBS, "variables": {"f": {"teamId": {}}}});
    let mut socket = ada.socket().await;
    socket.send(&json!({"type": "subscribe", "id": "1", "payload": payload})).await;
    let refused = socket.receive().await;
    assert_eq!(refused["payload"][0]["extensions"]["problems"][0]["path"], "/f/teamId");
    let stream =
        ada.request(Method::POST, "/graphql/stream").json(&payload).send().await.expect("a response");
    let refused = Events::new(stream).next().await;
    assert_eq!(refused["errors"][0]["extensions"]["problems"][0]["code"], "WRONG_TYPE");
}

both!(invalid_literal_in_a_document_fails_validation);
async fn invalid_literal_in_a_document_fails_validation(app: TestApp) {
    let ada = app.user("ada").await;
    for query in [
        "{ jobs(filter: {status: \"BLOCKED\"}) { totalCount } }",
        "{ jobs(orderBy: {field: \"UPDATED_AT\"}) { totalCount } }",
        "query($s: [JobStatus!] = [\"BLOCKED\"]) { jobs(filter: {status: $s}) { totalCount } }",
        "{ jobs(filter: {createdAfter: \"2024-07-02\"}) { totalCount } }",
        "{ jobs(filter: {status: [STUCK]}) { totalCount } }",
    ] {
        let response = ada.execute(query, json!({})).await;
        assert_eq!(
            (response.status.as_u16(), response.code()),
            (400, "GRAPHQL_VALIDATION_FAILED"),
            "{query}"
        );
    }
    ada.gql("{ jobs(filter: {status: BLOCKED}, orderBy: {field: UPDATED_AT}) { totalCount } }", json!({}))
        .await;
}

both!(invalid_document_is_not_stored_as_persisted_query);
async fn invalid_document_is_not_stored_as_persisted_query(app: TestApp) {
    let ada = app.user("ada").await;
    for (text, is_stored) in [("{ viewer { color } }", false), ("{ viewer { name } }", true)] {
        let hash = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let extension = json!({"persistedQuery": {"version": 1, "sha256Hash": hash}});
        ada.execute_body(json!({"query": text, "extensions": extension})).await;
        let found = ada.execute_body(json!({"extensions": extension})).await;
        let code = if is_stored { "" } else { "PERSISTED_QUERY_NOT_FOUND" };
        assert_eq!(found.errors.first().map_or("", |error| error.code()), code, "{text}");
    }
}

both!(byte_order_mark_before_the_body_is_ignored);
async fn byte_order_mark_before_the_body_is_ignored(app: TestApp) {
    let ada = app.user("ada").await;
    let body = format!("\u{feff}{}", json!({"query": "{ viewer { name } }"}));
    let request = ada.request(Method::POST, "/graphql").header("Content-Type", "application/json");
    assert_eq!(ada.send_gql(request.body(body)).await.data, json!({"viewer": {"name": "ada"}}));
}

both!(empty_operation_id_closes_the_websocket);
async fn empty_operation_id_closes_the_websocket(app: TestApp) {
    let mut socket = app.user("ada").await.socket().await;
    socket.run("", "{ viewer { id } }", &Value::Null).await;
    assert_eq!(socket.receive_any().await, Received::Closed(4400));
}

both!(disabled_introspection_hides_the_schema_and_suggestions, |config: &mut Config| config
    .graphql
    .introspection =
    Switch::Off);
async fn disabled_introspection_hides_the_schema_and_suggestions(app: TestApp) {
    let ada = app.user("ada").await;
    for query in ["{ __schema { queryType { name } } }", "{ viewer { id } __type(name: \"Job\") { name } }"] {
        let response = ada.execute(query, json!({})).await;
        assert_eq!(
            (response.status.as_u16(), response.code()),
            (400, "GRAPHQL_VALIDATION_FAILED"),
            "{query}"
        );
        assert!(
            response.errors[0].message.contains("Introspection is off"),
            "{}",
            response.errors[0].message
        );
    }
    assert_eq!(
        ada.gql("{ __typename viewer { __typename } }", json!({})).await["viewer"]["__typename"],
        "User"
    );
    let misspelled = ada.gql_err("{ viewer { nam } }", json!({})).await.message;
    assert!(!misspelled.contains("name"), "the message suggests a field: {misspelled}");
    let file = ada.request(Method::GET, "/schema.graphql").send().await.expect("a response");
    assert_eq!(file.status(), 404);
}
