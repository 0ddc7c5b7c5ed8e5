//! Requests that are made to hurt: each is refused with its code, and the server goes on.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{TestApp, User, both};

/// Without the guard some of these take minutes or the whole process: more than any machine needs for what is refused.
const AT_LAST: Duration = Duration::from_secs(60);

/// `count` fragments, each of which spreads the next one twice.
fn chain(count: usize) -> String {
    let mut text = "{ viewer { ...f0 } }".to_owned();
    for i in 0..count {
        text.push_str(&format!(" fragment f{i} on User {{ ...f{next} ...f{next} }}", next = i + 1));
    }
    text + &format!(" fragment f{count} on User {{ id }}")
}

/// Pages within pages.
fn pages(depth: usize, size: usize) -> String {
    let open = format!("nodes {{ job {{ events(first: {size}) {{ ").repeat(depth);
    let close = "} } } ".repeat(depth);
    format!(
        "{{ jobs(first: {size}) {{ nodes {{ events(first: {size}) {{ {open} nodes {{ kind }} {close} }} }} }} }}"
    )
}

/// Types of fields of types of fields.
fn introspection(depth: usize) -> String {
    let open = "fields { type { ".repeat(depth);
    format!("{{ __schema {{ types {{ {open} name {} }} }} }}", "} }".repeat(depth))
}

fn attacks() -> Vec<(&'static str, String, &'static str)> {
    let complex = "QUERY_TOO_COMPLEX";
    let repeated = |text: &str, count: usize| text.repeat(count);
    vec![
        ("a chain of fragments", chain(12), complex),
        ("a longer chain of fragments", chain(40), complex),
        (
            "fragments that spread themselves",
            "{ viewer { ...a } } fragment a on User { ...b } fragment b on User { ...a }".into(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("fragments that nobody uses", chain(40).replacen("...f0", "id", 1), complex),
        (
            "nested lists",
            format!("{{ nodes(ids: {}{}) {{ id }} }}", repeated("[", 2000), repeated("]", 2000)),
            complex,
        ),
        ("nested lists that do not end", format!("{{ nodes(ids: {}", repeated("[", 8000)), complex),
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
        ("the same field often", format!("{{ viewer {{ {} }} }}", repeated("id ", 6)), complex),
        ("tokens", format!("{{ viewer {{ {} }} }}", repeated("id ", 2000)), complex),
        ("bytes", format!("{{ viewer {{ id }} }} #{}", repeated("x", 20_000)), complex),
        ("directives", format!("{{ viewer {{ id {} }} }}", repeated("@skip(if: false) ", 6)), complex),
        (
            "arguments",
            format!("{{ job({}) {{ id }} }}", (0..21).map(|i| format!("a{i}: 1 ")).collect::<String>()),
            complex,
        ),
        ("pages within pages", pages(1, 100), complex),
        ("deep pages", pages(6, 1), complex),
        ("introspection that multiplies", introspection(5), complex),
        (
            "many passwords at once",
            "mutation { a: signIn(input: {email: \"a\", password: \"b\"}) { accessToken }
             b: signIn(input: {email: \"a\", password: \"b\"}) { accessToken } }"
                .into(),
            complex,
        ),
        (
            "many mutations at once",
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
        ("a string that does not end", "{ viewer(a: \"".into(), "GRAPHQL_PARSE_FAILED"),
        (
            "a block string that hides brackets",
            format!("{{ viewer(a: \"\"\"{}", repeated("[", 5000)),
            "GRAPHQL_PARSE_FAILED",
        ),
        ("nothing", String::new(), "GRAPHQL_PARSE_FAILED"),
        ("only a comment", "# {".into(), "GRAPHQL_PARSE_FAILED"),
        ("zero bytes", "{ viewer { \0 } }".into(), "GRAPHQL_PARSE_FAILED"),
        ("a page that is too long", "{ jobs(first: 3000) { nodes { id } } }".into(), "BAD_USER_INPUT"),
        ("a field that is not there", "{ vewer { id } }".into(), "GRAPHQL_VALIDATION_FAILED"),
    ]
}

both!(documents_made_to_hurt_are_refused);
async fn documents_made_to_hurt_are_refused(app: TestApp) {
    let ada = app.user("ada").await;
    for (what, document, code) in attacks() {
        let answer = timeout(AT_LAST, ada.ask(&document, json!({}))).await.expect(what);
        assert_eq!(answer.code(), code, "{what}: {:?}", answer.errors);
        assert!(answer.data.is_null(), "{what}");
        assert!(answer.errors[0].message.len() < 500, "{what}: no novels");
    }
    assert_eq!(ada.gql("{ viewer { email } }", json!({})).await["viewer"]["email"], "ada@example.com");
}

both!(the_same_documents_are_refused_over_a_websocket);
async fn the_same_documents_are_refused_over_a_websocket(app: TestApp) {
    let ada = app.user("ada").await;
    let mut socket = ada.socket().await;
    for (what, document, code) in attacks() {
        socket.run(what, &document, &json!({})).await;
        let message = socket.receive().await;
        assert_eq!(message["id"], what);
        // What is refused while it runs is a result with an error; what does not run at all is an error.
        let error = match message["type"].as_str() {
            Some("next") if code == "BAD_USER_INPUT" => {
                let result = &message["payload"];
                assert_eq!(socket.receive().await["type"], "complete");
                &result["errors"][0]
            }
            Some("error") => &message["payload"][0],
            _ => panic!("{message}"),
        };
        assert_eq!(error["extensions"]["code"], code, "{what}: {message}");
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
    assert_eq!(socket.receive().await["payload"]["data"]["viewer"]["email"], "ada@example.com", "it goes on");
}

both!(variables_made_to_hurt_are_refused);
async fn variables_made_to_hurt_are_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let document =
        "query($ids: [ID!]!, $f: JobFilter) { nodes(ids: $ids) { id } jobs(filter: $f) { nodes { id } } }";
    let deep = (0..100).fold(json!(1), |inner, _| json!({"a": inner}));
    let deeper = (0..120).fold(json!("x"), |inner, _| json!([inner]));
    let wide: serde_json::Map<_, _> = (0..101).map(|i| (format!("v{i}"), json!(1))).collect();
    for (what, variables) in [
        ("deep objects", json!({"ids": [], "f": {"metadata": deep}})),
        ("deep lists", json!({"ids": deeper})),
        ("many values", json!({"ids": vec![0; 60_000]})),
        ("many variables", Value::Object(wide)),
        ("many IDs", json!({"ids": vec!["x"; 101]})),
        ("a file", json!({"ids": ["#__graphql_file__:0"]})),
    ] {
        let answer = timeout(AT_LAST, ada.ask(document, variables)).await.expect(what);
        assert!(
            ["BAD_USER_INPUT", "QUERY_TOO_COMPLEX"].contains(&answer.code()),
            "{what}: {:?}",
            answer.errors
        );
    }
    let answer = ada.ask(document, json!({"ids": ["x".repeat(300_000)]})).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (413, "PAYLOAD_TOO_LARGE"));
    // JSON that nests deeper than its reader goes.
    let nested = format!(
        "{{\"query\": \"{{ viewer {{ id }} }}\", \"variables\": {}1{}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let request =
        ada.request(Method::POST, "/graphql").header("Content-Type", "application/json").body(nested);
    let answer = timeout(AT_LAST, ada.answer(request)).await.expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "BAD_USER_INPUT"));
}

async fn post(person: &User, media_type: Option<&str>, body: &str) -> (u16, String, String) {
    let mut request = person.request(Method::POST, "/graphql").body(body.to_owned());
    if let Some(media_type) = media_type {
        request = request.header("Content-Type", media_type);
    }
    let answer = person.answer(request).await;
    let message = answer.errors.first().map(|error| error.message.clone()).unwrap_or_default();
    (answer.status.as_u16(), answer.code().to_owned(), message)
}

both!(requests_that_browsers_send_for_others_are_not_taken);
async fn requests_that_browsers_send_for_others_are_not_taken(app: TestApp) {
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
        let answer = ada.answer(request).await;
        (answer.status.as_u16(), answer.code().to_owned())
    };
    assert_eq!(get(cancel).await, (405, "BAD_USER_INPUT".to_owned()));
    assert_eq!(get("{ viewer { id } }").await, (200, String::new()));
    assert_eq!(get(&chain(12)).await, (400, "QUERY_TOO_COMPLEX".to_owned()));
    assert_eq!(get("subscription { jobUpdated(id: \"x\") { id } }").await.1, "BAD_USER_INPUT");
}

both!(what_tools_and_people_really_ask_is_let_through);
async fn what_tools_and_people_really_ask_is_let_through(app: TestApp) {
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
