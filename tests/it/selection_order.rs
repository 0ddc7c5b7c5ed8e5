//! Tests that response fields follow the order of the selection (GraphQL specification, section 7.2.2).

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Events, TestApp, User, both};

/// Root fields that complete at different times: lists from the database, lookups, and a list from memory.
const QUERY: &str = "query Q($no: Boolean = false) { jobs(first: 2) { totalCount nodes { status ...J id } } viewer { teams { id } name id }
    nothing: job(id: \"00000000-0000-7000-8000-000000000000\") { id } jobTypes { id name } again: viewer { id }
    reviews { nodes { id } totalCount } node(id: \"ID\") { ... on User { name } ...J ... on Job { id } }
    viewer { email @include(if: $no) createdAt } }
    fragment J on Job { updatedAt owner { name id } createdAt }";

/// Returns the keys of all objects in a JSON text, in the order of the text.
fn keys(text: &str) -> Vec<String> {
    // `serde_json` sorts keys, so this reads them from the text.
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        let end = start + 1 + rest[start + 1..].find('"').expect("the end of a string");
        let is_key = rest[end + 1..].starts_with(':');
        if is_key {
            found.push(rest[start + 1..end].to_owned());
        }
        rest = &rest[end + 1..];
    }
    found
}

fn expected_keys() -> Vec<String> {
    let job = ["status", "updatedAt", "owner", "name", "id", "createdAt", "id"];
    let mut all = vec!["data", "jobs", "totalCount", "nodes"];
    all.extend(job);
    all.extend(job);
    all.extend(["viewer", "teams", "id", "name", "id", "createdAt", "nothing", "jobTypes"]);
    all.extend(["id", "name"].repeat(3));
    all.extend(["again", "id", "reviews", "nodes", "totalCount", "node"]);
    all.extend([
        "updatedAt",
        "owner",
        "name",
        "id",
        "createdAt",
        "id",
        "extensions",
        "cost",
        "requested",
        "limit",
    ]);
    all.into_iter().map(str::to_owned).collect()
}

async fn request_body(ada: &User) -> Value {
    ada.team("one", &[]).await;
    let (_, job) = (ada.noop_job().await, ada.noop_job().await);
    json!({"query": QUERY.replace("\"ID\"", &format!("\"{job}\"")), "operationName": "Q"})
}

both!(http_response_fields_follow_order_of_selection);
async fn http_response_fields_follow_order_of_selection(app: TestApp) {
    let ada = app.user("ada").await;
    let query = request_body(&ada).await;
    for attempt in 0..60 {
        let response = ada.request(Method::POST, "/graphql").json(&query).send().await.expect("a response");
        let text = response.text().await.expect("text");
        assert_eq!(keys(&text), expected_keys(), "attempt {attempt}: {text}");
    }
}

both!(websocket_and_sse_fields_follow_order_of_selection);
async fn websocket_and_sse_fields_follow_order_of_selection(app: TestApp) {
    let ada = app.user("ada").await;
    let query = request_body(&ada).await;
    let mut socket = ada.socket().await;
    for attempt in 0..20 {
        socket.send(&json!({"type": "subscribe", "id": "1", "payload": query})).await;
        let text = socket.receive_text().await;
        let keys = keys(&text);
        assert_eq!(keys[3..], expected_keys(), "attempt {attempt}: {text}");
        assert_eq!(socket.receive().await["type"], "complete");
        let stream =
            ada.request(Method::POST, "/graphql/stream").json(&query).send().await.expect("a response");
        let text = stream.text().await.expect("text");
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("a result");
        assert_eq!(self::keys(data), expected_keys(), "attempt {attempt}: {text}");
    }
}

both!(subscription_event_fields_follow_order_of_selection);
async fn subscription_event_fields_follow_order_of_selection(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let query = "subscription($id: ID!) { jobUpdated(id: $id) { owner { name } status steps { status name } inputContent { role document { name } } id } }";
    let body = json!({"query": query, "variables": {"id": job}});
    let request = ada.request(Method::POST, "/graphql/stream").json(&body);
    let mut events = Events::new(request.send().await.expect("a response"));
    let event = events.next_text().await.expect("a result");
    let text = event.lines().find_map(|line| line.strip_prefix("data: ")).expect("event data");
    let mut expected = vec!["data", "jobUpdated", "owner", "name", "status", "steps"];
    expected.extend(["status", "name"].repeat(3));
    expected.extend([
        "inputContent",
        "role",
        "document",
        "name",
        "id",
        "extensions",
        "cost",
        "requested",
        "limit",
    ]);
    assert_eq!(keys(text), expected);
}
