//! Tests of malicious requests: each is refused with its error code, and the server keeps responding.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{TestApp, User, both};

/// Without the guard, some requests take minutes or exhaust the memory. Refusing one takes far less than this.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns a document with `count` fragments, each of which spreads the next one twice.
fn fragment_chain(count: usize) -> String {
    let mut text = "{ viewer { ...f0 } }".to_owned();
    for i in 0..count {
        text.push_str(&format!(" fragment f{i} on User {{ ...f{next} ...f{next} }}", next = i + 1));
    }
    text + &format!(" fragment f{count} on User {{ id }}")
}

/// Returns a query with nested connections.
fn nested_pages(depth: usize, size: usize) -> String {
    let open = format!("nodes {{ job {{ events(first: {size}) {{ ").repeat(depth);
    let close = "} } } ".repeat(depth);
    format!(
        "{{ jobs(first: {size}) {{ nodes {{ events(first: {size}) {{ {open} nodes {{ kind }} {close} }} }} }} }}"
    )
}

/// Returns an introspection query that nests the types of fields.
fn nested_introspection(depth: usize) -> String {
    let open = "fields { type { ".repeat(depth);
    format!("{{ __schema {{ types {{ {open} name {} }} }} }}", "} }".repeat(depth))
}

fn malicious_documents() -> Vec<(&'static str, String, &'static str)> {
    let complex = "QUERY_TOO_COMPLEX";
    let repeated = |text: &str, count: usize| text.repeat(count);
    vec![
        ("a chain of fragments", fragment_chain(12), complex),
        ("a longer chain of fragments", fragment_chain(40), complex),
        (
            "fragments with a cycle",
            "{ viewer { ...a } } fragment a on User { ...b } fragment b on User { ...a }".into(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("unused fragments", fragment_chain(40).replacen("...f0", "id", 1), complex),
        (
            "nested lists",
            format!("{{ nodes(ids: {}{}) {{ id }} }}", repeated("[", 2000), repeated("]", 2000)),
            complex,
        ),
        ("unclosed nested lists", format!("{{ nodes(ids: {}", repeated("[", 8000)), complex),
        ("nested objects", format!("{{ jobs(filter: {}", repeated("{a:", 4000)), complex),
        ("nested selections", format!("{}id{}", repeated("{ viewer ", 100), repeated("}", 100)), complex),
        (
            "nested fragments",
            format!("{{ viewer {{ {} id {} }} }}", repeated("... {", 21), repeated("}", 21)),
            complex,
        ),
        (
            "lists of lists of types",
            format!("query($a: {}Int{}) {{ viewer {{ id }} }}", repeated("[", 100), repeated("]", 100)),
            complex,
        ),
        (
            "aliases",
            format!("{{ viewer {{ {} }} }}", (0..51).map(|i| format!("a{i}: id ")).collect::<String>()),
            complex,
        ),
        (
            "aliases of the root",
            (0..31).fold("{".into(), |text, i| format!("{text} a{i}: viewer {{ id }}")) + "}",
            complex,
        ),
        ("a repeated field", format!("{{ viewer {{ {} }} }}", repeated("id ", 6)), complex),
        ("tokens", format!("{{ viewer {{ {} }} }}", repeated("id ", 2000)), complex),
        ("bytes", format!("{{ viewer {{ id }} }} #{}", repeated("x", 20_000)), complex),
        ("directives", format!("{{ viewer {{ id {} }} }}", repeated("@skip(if: false) ", 6)), complex),
        (
            "arguments",
            format!("{{ job({}) {{ id }} }}", (0..21).map(|i| format!("a{i}: 1 ")).collect::<String>()),
            complex,
        ),
        ("nested pages", nested_pages(1, 100), complex),
        ("deep pages", nested_pages(6, 1), complex),
        ("nested introspection", nested_introspection(5), complex),
        (
            "several sign-ins",
            "mutation { a: signIn(input: {email: \"a\", password: \"b\"}) { accessToken }
             b: signIn(input: {email: \"a\", password: \"b\"}) { accessToken } }"
                .into(),
            complex,
        ),
        (
            "many mutations",
            (0..11).fold("mutation {".into(), |text, i| {
                format!("{text} a{i}: cancelJob(id: \"x\") {{ job {{ id }} }}")
            }) + "}",
            complex,
        ),
        ("many operations", (0..11).map(|i| format!("query q{i} {{ viewer {{ id }} }} ")).collect(), complex),
        (
            "many variables",
            format!(
                "query({}) {{ viewer {{ id }} }}",
                (0..101).map(|i| format!("$a{i}: Int ")).collect::<String>()
            ),
            complex,
        ),
        ("an unclosed string", "{ viewer(a: \"".into(), "GRAPHQL_PARSE_FAILED"),
        (
            "a block string that hides brackets",
            format!("{{ viewer(a: \"\"\"{}", repeated("[", 5000)),
            "GRAPHQL_PARSE_FAILED",
        ),
        ("an empty document", String::new(), "GRAPHQL_PARSE_FAILED"),
        ("only a comment", "# {".into(), "GRAPHQL_PARSE_FAILED"),
        ("zero bytes", "{ viewer { \0 } }".into(), "GRAPHQL_PARSE_FAILED"),
        ("a page above the limit", "{ jobs(first: 3000) { nodes { id } } }".into(), "BAD_USER_INPUT"),
        ("an unknown field", "{ vewer { id } }".into(), "GRAPHQL_VALIDATION_FAILED"),
    ]
}

both!(malicious_document_is_refused_with_its_code);
async fn malicious_document_is_refused_with_its_code(app: TestApp) {
    let ada = app.user("ada").await;
    for (case, document, code) in malicious_documents() {
        let response = timeout(TIMEOUT, ada.execute(&document, json!({}))).await.expect(case);
        assert_eq!(response.code(), code, "{case}: {:?}", response.errors);
        assert!(response.data.is_null(), "{case}");
        assert!(response.errors[0].message.len() < 500, "{case}: the message is too long");
    }
    assert_eq!(ada.gql("{ viewer { email } }", json!({})).await["viewer"]["email"], "ada@example.com");
}

both!(malicious_document_is_refused_over_a_websocket);
async fn malicious_document_is_refused_over_a_websocket(app: TestApp) {
    let ada = app.user("ada").await;
    let mut socket = ada.socket().await;
    for (case, document, code) in malicious_documents() {
        socket.run(case, &document, &json!({})).await;
        let message = socket.receive().await;
        assert_eq!(message["id"], case);
        // An error during execution arrives in a `next` message, an error before it in an `error` message.
        let error = match message["type"].as_str() {
            Some("next") if code == "BAD_USER_INPUT" => {
                let result = &message["payload"];
                assert_eq!(socket.receive().await["type"], "complete");
                &result["errors"][0]
            }
            Some("error") => &message["payload"][0],
            _ => panic!("{message}"),
        };
        assert_eq!(error["extensions"]["code"], code, "{case}: {message}");
    }
    socket
        .run(
            "two",
            "subscription { a: jobUpdated(id: \"x\") { id } b: jobUpdated(id: \"x\") { id } }",
            &json!({}),
        )
        .await;
    assert_eq!(socket.receive().await["payload"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
    socket.run("good", "{ viewer { email } }", &json!({})).await;
    assert_eq!(
        socket.receive().await["payload"]["data"]["viewer"]["email"],
        "ada@example.com",
        "the connection stays usable"
    );
}

both!(malicious_variables_are_refused_with_an_error);
async fn malicious_variables_are_refused_with_an_error(app: TestApp) {
    let ada = app.user("ada").await;
    let document =
        "query($ids: [ID!]!, $f: JobFilter) { nodes(ids: $ids) { id } jobs(filter: $f) { nodes { id } } }";
    let deep = (0..100).fold(json!(1), |inner, _| json!({"a": inner}));
    let deeper = (0..120).fold(json!("x"), |inner, _| json!([inner]));
    let wide: serde_json::Map<_, _> = (0..101).map(|i| (format!("v{i}"), json!(1))).collect();
    for (case, variables) in [
        ("deep objects", json!({"ids": [], "f": {"metadata": deep}})),
        ("deep lists", json!({"ids": deeper})),
        ("many values", json!({"ids": vec![0; 60_000]})),
        ("many variables", Value::Object(wide)),
        ("many IDs", json!({"ids": vec!["x"; 101]})),
        ("a file", json!({"ids": ["#__graphql_file__:0"]})),
    ] {
        let response = timeout(TIMEOUT, ada.execute(document, variables)).await.expect(case);
        assert!(
            ["BAD_USER_INPUT", "QUERY_TOO_COMPLEX"].contains(&response.code()),
            "{case}: {:?}",
            response.errors
        );
    }
    let response = ada.execute(document, json!({"ids": ["x".repeat(300_000)]})).await;
    assert_eq!((response.status.as_u16(), response.code()), (413, "PAYLOAD_TOO_LARGE"));
    // JSON that is nested deeper than the parser supports.
    let nested = format!(
        "{{\"query\": \"{{ viewer {{ id }} }}\", \"variables\": {}1{}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let request =
        ada.request(Method::POST, "/graphql").header("Content-Type", "application/json").body(nested);
    let response = timeout(TIMEOUT, ada.send_gql(request)).await.expect("a response");
    assert_eq!((response.status.as_u16(), response.code()), (400, "BAD_USER_INPUT"));
}

async fn post(person: &User, media_type: Option<&str>, body: &str) -> (u16, String, String) {
    let mut request = person.request(Method::POST, "/graphql").body(body.to_owned());
    if let Some(media_type) = media_type {
        request = request.header("Content-Type", media_type);
    }
    let response = person.send_gql(request).await;
    let message = response.errors.first().map(|error| error.message.clone()).unwrap_or_default();
    (response.status.as_u16(), response.code().to_owned(), message)
}

both!(request_that_needs_no_cors_preflight_is_refused);
async fn request_that_needs_no_cors_preflight_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let good = "{\"query\": \"{ viewer { id } }\"}";
    for media_type in [Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("nonsense"), None]
    {
        let (status, code, _) = post(&ada, media_type, good).await;
        assert_eq!((status, code.as_str()), (415, "UNSUPPORTED_MEDIA_TYPE"), "{media_type:?}");
    }
    assert_eq!(post(&ada, Some("application/json; charset=utf-8"), good).await.0, 200);
    for body in [
        "[]",
        "[{\"query\": \"{ viewer { id } }\"}]",
        "{",
        "1",
        "null",
        "{\"query\": 7}",
        "{\"variables\": {}}",
        "",
        "{\"query\": \"{ viewer { id } }\", \"variables\": []}",
    ] {
        let (status, code, message) = post(&ada, Some("application/json"), body).await;
        assert_eq!((status, code.as_str()), (400, "BAD_USER_INPUT"), "{body}");
        assert!(
            !["Error(", "Some(", "::", "serde"].iter().any(|inside| message.contains(inside)),
            "{message}"
        );
    }
    let cancel = "mutation { cancelJob(id: \"x\") { job { id } } }";
    let get = async |query: &str| {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let request = ada.request(Method::GET, &format!("/graphql?query={query}"));
        let response = ada.send_gql(request).await;
        (response.status.as_u16(), response.code().to_owned())
    };
    assert_eq!(get(cancel).await, (405, "BAD_USER_INPUT".to_owned()));
    assert_eq!(get("{ viewer { id } }").await, (200, String::new()));
    assert_eq!(get(&fragment_chain(12)).await, (400, "QUERY_TOO_COMPLEX".to_owned()));
    assert_eq!(get("subscription { jobUpdated(id: \"x\") { id } }").await.1, "BAD_USER_INPUT");
}

both!(ordinary_introspection_and_dashboard_queries_are_accepted);
async fn ordinary_introspection_and_dashboard_queries_are_accepted(app: TestApp) {
    let ada = app.user("ada").await;
    ada.noop_job().await;
    let introspection = "query IntrospectionQuery { __schema { queryType { name } mutationType { name } subscriptionType { name }
        types { ...FullType } directives { name description locations args { ...InputValue } } } }
        fragment FullType on __Type { kind name description specifiedByURL
            fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason }
            inputFields { ...InputValue } interfaces { ...TypeRef }
            enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } possibleTypes { ...TypeRef } }
        fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
        fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
            ofType { kind name ofType { kind name ofType { kind name } } } } } } } }";
    assert!(
        ada.gql(introspection, json!({})).await["__schema"]["types"]
            .as_array()
            .is_some_and(|types| types.len() > 40)
    );
    let dashboard = "query($n: Int = 50) { viewer { name teams { name } } jobs(first: $n) { totalCount nodes {
        id status type { name } progress { fraction } owner { name } inputContent { document { name size } }
        currentStep { name message } steps { name status } permissions updatedAt } pageInfo { hasNextPage endCursor } } }";
    assert_eq!(ada.gql(dashboard, json!({})).await["jobs"]["totalCount"], 1);
}
