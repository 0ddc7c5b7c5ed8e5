//! Tests of GraphQL over HTTP, after the draft specification: media types, status codes, CORS and limits.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{TestApp, User, both, with_query};

const JSON: &str = "application/json";
const RESPONSE_JSON: &str = "application/graphql-response+json";

/// A parsed response.
struct HttpResponse {
    status: u16,
    media_type: String,
    body: Value,
}

impl HttpResponse {
    async fn read(response: Response) -> Self {
        let media_type = response.headers()["content-type"].to_str().expect("text").to_owned();
        Self { status: response.status().as_u16(), media_type, body: response.json().await.expect("JSON") }
    }

    fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
    }
}

async fn post(person: &User, accept: Option<&str>, body: Value) -> HttpResponse {
    let mut request = person.request(Method::POST, "/graphql").json(&body);
    if let Some(accept) = accept {
        request = request.header("Accept", accept);
    }
    HttpResponse::read(request.send().await.expect("a response")).await
}

async fn get(person: &User, accept: &str, query: &[(&str, &str)]) -> Response {
    let request = person.request(Method::GET, &with_query("/graphql", query)).header("Accept", accept);
    request.send().await.expect("a response")
}

both!(response_media_type_follows_the_accept_header);
async fn response_media_type_follows_the_accept_header(app: TestApp) {
    let ada = app.user("ada").await;
    let query = json!({"query": "{ viewer { name } }"});
    for (accept, media_type) in [
        (None, JSON),
        (Some("*/*"), JSON),
        (Some("application/json"), JSON),
        (Some(RESPONSE_JSON), RESPONSE_JSON),
        (Some("application/graphql-response+json, application/json;q=0.9"), RESPONSE_JSON),
        (Some("application/graphql-response+json;q=0.1, application/json"), JSON),
        (Some("application/json, text/event-stream, multipart/mixed"), JSON),
    ] {
        let response = post(&ada, accept, query.clone()).await;
        assert_eq!(
            (response.status, response.media_type),
            (200, format!("{media_type}; charset=utf-8")),
            "{accept:?}"
        );
        assert_eq!(response.body["data"]["viewer"]["name"], "ada");
    }
    let response = post(&ada, Some("text/html, image/*"), query).await;
    assert_eq!((response.status, response.code()), (406, "BAD_USER_INPUT"));
    let response = get(&ada, "text/html, */*;q=0.8", &[("query", "{ viewer { name } }")]).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(response.headers().get_all("vary").iter().any(|vary| vary == "accept"));
    assert_eq!(HttpResponse::read(response).await.media_type, "application/json; charset=utf-8");
}

both!(status_code_tells_whether_the_operation_was_executed);
async fn status_code_tells_whether_the_operation_was_executed(app: TestApp) {
    let ada = app.user("ada").await;
    let id = |value: Value| json!({"query": "query($id: ID!) { job(id: $id) { id } }", "variables": {"id": value}});
    // With application/json, every GraphQL response has status 200.
    for (body, code, status) in [
        (json!({"query": "{"}), "GRAPHQL_PARSE_FAILED", 400),
        (json!({"query": "{ nothing }"}), "GRAPHQL_VALIDATION_FAILED", 400),
        (
            json!({"query": "query A { viewer { id } } query B { viewer { id } }"}),
            "GRAPHQL_VALIDATION_FAILED",
            400,
        ),
        (json!({"query": "{ viewer { id } }", "operationName": "A"}), "GRAPHQL_VALIDATION_FAILED", 400),
        (id(Value::Null), "BAD_USER_INPUT", 400),
        (json!({"query": "query($id: ID!) { job(id: $id) { id } }"}), "BAD_USER_INPUT", 400),
        (
            json!({"query": "query($id: ID!) { viewer { id } }", "variables": {"id": null}}),
            "BAD_USER_INPUT",
            400,
        ),
        (
            json!({"query": "query($ids: [ID!]!) { nodes(ids: $ids) { id } }", "variables": {"ids": ["x", null]}}),
            "BAD_USER_INPUT",
            400,
        ),
        (json!({"query": "{ jobs(first: 9000) { nodes { id } } }"}), "QUERY_TOO_COMPLEX", 400),
        (json!({"documentId": "sha256:0"}), "PERSISTED_QUERY_NOT_FOUND", 400),
    ] {
        for (accept, expected) in [(RESPONSE_JSON, status), (JSON, 200)] {
            let response = post(&ada, Some(accept), body.clone()).await;
            assert_eq!(
                (response.status, response.code()),
                (expected, code),
                "{accept} {body} {}",
                response.body
            );
            assert_eq!(response.body.get("data"), None, "nothing was executed: {}", response.body);
        }
    }
    // The operation was executed and failed.
    let response =
        post(&ada, Some(RESPONSE_JSON), json!({"query": "{ jobs(first: 0, last: 0) { nodes { id } } }"}))
            .await;
    assert_eq!(
        (response.status, response.code(), response.body.get("data")),
        (200, "BAD_USER_INPUT", Some(&Value::Null))
    );
    // An invalid GraphQL request gets status 400 and the accepted media type.
    for (accept, media_type) in [(JSON, JSON), (RESPONSE_JSON, RESPONSE_JSON)] {
        let response = post(&ada, Some(accept), json!({"qeury": "{ viewer { id } }"})).await;
        assert_eq!((response.status, response.code()), (400, "BAD_USER_INPUT"));
        assert!(response.media_type.starts_with(media_type), "{}", response.media_type);
        let response = post(
            &app.with_authorization("Bearer wrong"),
            Some(accept),
            json!({"query": "{ viewer { id } }"}),
        )
        .await;
        assert_eq!((response.status, response.code()), (401, "UNAUTHENTICATED"));
        assert!(response.media_type.starts_with(media_type), "{}", response.media_type);
    }
}

both!(get_refuses_mutations_and_charset_must_be_utf_8);
async fn get_refuses_mutations_and_charset_must_be_utf_8(app: TestApp) {
    let ada = app.user("ada").await;
    let response = get(
        &ada,
        RESPONSE_JSON,
        &[("query", "mutation { createTeam(input: {name: \"t\"}) { team { id } } }")],
    )
    .await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"POST".parse().expect("a header"))
    );
    let named = [
        ("query", "query A($n: Int) { jobs(first: $n) { totalCount } } mutation B { __typename }"),
        ("operationName", "A"),
        ("variables", "{\"n\": 1}"),
        ("extensions", "{}"),
    ];
    let response = HttpResponse::read(get(&ada, JSON, &named).await).await;
    assert_eq!(response.body["data"]["jobs"]["totalCount"], 0, "{}", response.body);
    assert_eq!(ada.gql("{ viewer { teams { id } } }", json!({})).await["viewer"]["teams"], json!([]));
    for (media_type, status) in
        [("application/json; charset=UTF-8", 200), ("application/json; charset=latin1", 415)]
    {
        let request = ada.request(Method::POST, "/graphql").header("Content-Type", media_type);
        let response = request.body("{\"query\": \"{ viewer { id } }\"}").send().await.expect("a response");
        assert_eq!(response.status().as_u16(), status, "{media_type}");
    }
    let subscription = json!({"query": "subscription { jobUpdated(id: \"x\") { id } }"});
    for accept in [None, Some("*/*"), Some(RESPONSE_JSON)] {
        let response = post(&ada, accept, subscription.clone()).await;
        assert_eq!((response.status, response.code()), (400, "BAD_USER_INPUT"), "{accept:?}");
        assert_eq!(response.body["errors"][0]["extensions"]["problems"][0]["code"], "TRANSPORT");
    }
}

both!(response_reports_the_cost_of_the_operation, |config| config.graphql.cost = 500);
async fn response_reports_the_cost_of_the_operation(app: TestApp) {
    let ada = app.user("ada").await;
    let response = post(&ada, Some(JSON), json!({"query": "{ viewer { id name } }"})).await;
    assert_eq!(response.body["extensions"]["cost"], json!({"requested": 3, "limit": 500}));
    let response = post(
        &ada,
        Some(JSON),
        json!({"query": "{ jobs(first: 100) { nodes { id status mode priority } } }"}),
    )
    .await;
    assert_eq!(response.code(), "QUERY_TOO_COMPLEX");
    let extensions = &response.body["errors"][0]["extensions"];
    assert_eq!((&extensions["requested"], &extensions["limit"]), (&json!(600), &json!(500)), "{extensions}");
}

both!(response_above_the_size_limit_is_refused, |config| config.graphql.response_bytes = 200_000);
async fn response_above_the_size_limit_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    for i in 0..4 {
        ada.create_job(json!({"metadata": {"i": i, "filler": "x".repeat(60_000)}})).await;
    }
    let good = ada.gql("{ jobs(first: 2) { nodes { metadata } } }", json!({})).await;
    assert_eq!(good["jobs"]["nodes"].as_array().map(Vec::len), Some(2));
    for query in [
        "{ jobs(first: 4) { nodes { id } } }",
        "{ jobs(first: 2) { nodes { a: metadata b: metadata } } }",
        "{ a: jobs(first: 2) { nodes { id } } b: jobs(first: 2) { nodes { id } } }",
    ] {
        let error = ada.gql_err(query, json!({})).await;
        assert_eq!(error.code(), "PAYLOAD_TOO_LARGE", "{query}");
        assert!(error.message.contains("200000 bytes"), "{}", error.message);
    }
    // The mutation takes effect although its response is too long.
    let mutation = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { a: metadata b: metadata c: metadata d: metadata } } }";
    let input = ada.job_input(json!({"metadata": {"filler": "x".repeat(60_000)}})).await;
    let error = ada.gql_err(mutation, json!({"in": input})).await;
    assert_eq!(error.code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(ada.gql("{ jobs(first: 1) { totalCount } }", json!({})).await["jobs"]["totalCount"], 5);
}

both!(number_and_length_of_errors_are_limited, |config| {
    config.graphql.errors = 3;
    config.graphql.message_characters = 60;
    config.graphql.problems = 2;
});
async fn number_and_length_of_errors_are_limited(app: TestApp) {
    let ada = app.user("ada").await;
    let fields: String = (0..40).map(|i| format!("{}{i} ", "nothing".repeat(10))).collect();
    let response = post(&ada, Some(JSON), json!({"query": format!("{{ viewer {{ {fields} }} }}")})).await;
    let errors = response.body["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 3);
    assert!(
        errors.iter().all(|error| error["message"].as_str().is_some_and(|text| text.chars().count() <= 61))
    );
    let query = "mutation { createJob(input: {type: \"noop\", priority: 9999, input: {documentId: \"x\"}, idempotencyKey: \"\"}) { job { id } } }";
    let response = post(&ada, Some(JSON), json!({"query": query})).await;
    let problems = response.body["errors"][0]["extensions"]["problems"].as_array().map(Vec::len);
    assert_eq!(problems, Some(2), "{}", response.body);
}

both!(response_is_compressed_if_the_client_accepts_it);
async fn response_is_compressed_if_the_client_accepts_it(app: TestApp) {
    let ada = app.user("ada").await;
    for encoding in ["gzip", "br"] {
        let request = ada.request(Method::POST, "/graphql").header("Accept-Encoding", encoding);
        let query = json!({"query": "{ __schema { types { name description } } }"});
        let response = request.json(&query).send().await.expect("a response");
        assert_eq!(response.headers()["content-encoding"], encoding);
    }
}

both!(cors_allows_no_origin_by_default);
async fn cors_allows_no_origin_by_default(app: TestApp) {
    let response = preflight(&app, "https://app.example.com").await;
    assert_eq!(response.headers().get("access-control-allow-origin"), None);
}

both!(cors_allows_only_the_configured_origins, |config| config.http.cors_origins =
    vec!["https://app.example.com".into()]);
async fn cors_allows_only_the_configured_origins(app: TestApp) {
    let response = preflight(&app, "https://app.example.com").await;
    let headers = response.headers();
    assert_eq!(headers["access-control-allow-origin"], "https://app.example.com");
    assert_eq!(headers["access-control-allow-headers"], "authorization,content-type");
    assert!(headers["access-control-allow-methods"].to_str().expect("text").contains("POST"));
    assert_eq!(headers.get("access-control-allow-credentials"), None);
    assert_eq!(
        preflight(&app, "https://evil.example").await.headers().get("access-control-allow-origin"),
        None
    );
    let ada = app.user("ada").await;
    let request = ada.request(Method::POST, "/graphql").header("Origin", "https://app.example.com");
    let response = request.json(&json!({"query": "{ viewer { id } }"})).send().await.expect("a response");
    assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example.com");
    let exposed = response.headers()["access-control-expose-headers"].to_str().expect("text").to_owned();
    for name in ["x-request-id", "retry-after", "etag", "location"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

async fn preflight(app: &TestApp, origin: &str) -> Response {
    let request = app.anonymous().request(Method::OPTIONS, "/graphql").header("Origin", origin);
    let request = request.header("Access-Control-Request-Method", "POST");
    let request = request.header("Access-Control-Request-Headers", "authorization,content-type");
    request.send().await.expect("a response")
}

both!(object_without_selected_fields_is_an_empty_object);
async fn object_without_selected_fields_is_an_empty_object(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let query = "query($id: ID!, $no: Boolean!) {
        viewer { id @include(if: $no) }
        other: node(id: $id) { ... on Team { name } }
        jobs { nodes { ...Nothing } }
        sure: node(id: $id) { ...Nothing ... on Job { id } }
    }
    fragment Nothing on Job { status @include(if: $no) owner @skip(if: true) { id } }";
    let data = ada.gql(query, json!({"id": job, "no": false})).await;
    let empty = json!({});
    assert_eq!(
        data,
        json!({"viewer": empty, "other": empty, "jobs": {"nodes": [empty]}, "sure": {"id": job}})
    );
    assert_eq!(ada.gql("{ viewer @skip(if: true) { id } }", json!({})).await, empty);
    let missing = ada.gql(
        "query($id: ID!) { node(id: $id) { ... on Team { name } } }",
        json!({"id": "00000000-0000-7000-8000-000000000000"}),
    );
    assert_eq!(missing.await, json!({"node": null}), "an unknown node is null");
}
