//! Limits of docs/limits.md that stand by themselves: one more than the most is refused, and says where and why.

use serde_json::{Value, json};

use crate::harness::{File, TestApp, User, both};

const UPLOAD: &str = "uploadDocument(file: $f) { document { id } }";

both!(a_multipart_request_has_so_many_files, |config| config.limits.request_files = 2);
async fn a_multipart_request_has_so_many_files(app: TestApp) {
    let ada = app.user("ada").await;
    let send = async |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("f{n}")).collect();
        let declared = names.iter().map(|name| format!("${name}: Upload!")).collect::<Vec<_>>().join(" ");
        let fields =
            names.iter().map(|name| format!("{name}: {}", UPLOAD.replace("$f", &format!("${name}"))));
        let query = format!("mutation({declared}) {{ {} }}", fields.collect::<Vec<_>>().join(" "));
        let nulls: Value =
            names.iter().map(|name| (name.clone(), Value::Null)).collect::<serde_json::Map<_, _>>().into();
        let map: Value = names
            .iter()
            .map(|name| (name.clone(), json!([format!("variables.{name}")])))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let file = |name| File { part: name, name: "a.txt", media_type: "text/plain", bytes: b"a" };
        let files: Vec<_> = names.iter().map(|name| file(name)).collect();
        ada.ask_multipart(&json!({"query": query, "variables": nulls}), &map, &files).await
    };
    assert!(send(2).await.into_data().is_ok());
    let before = app.stored().len();
    assert_eq!(send(3).await.code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(app.stored().len(), before, "and nothing of it is kept");
}

both!(a_taxonomy_has_so_many_bytes, |config| config.limits.taxonomy_bytes = 200);
async fn a_taxonomy_has_so_many_bytes(app: TestApp) {
    let ada = app.user("ada").await;
    let put = "mutation($in: PutTaxonomyInput!) { putTaxonomy(input: $in) { taxonomy { id } } }";
    let named = |name: &str| {
        let point = json!({"name": name, "type": "code", "labels": ["No"]});
        json!({"in": {"name": "t", "definition": {"name": "t", "data_points": [point]}}})
    };
    ada.gql(put, named("number")).await;
    assert_eq!(ada.refused(put, named(&"n".repeat(180))).await.code(), "PAYLOAD_TOO_LARGE");
}

both!(an_address_of_a_webhook_has_so_many_bytes, |config| config.webhooks.url_bytes = 40);
async fn an_address_of_a_webhook_has_so_many_bytes(app: TestApp) {
    let create = "mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { webhook { id } } }";
    let url = format!("https://example.com/{}", "a".repeat(21));
    let refused = app.user("ada").await.refused(create, json!({"in": {"url": url}})).await;
    assert_eq!(refused.problems(), [("/url".to_owned(), "TOO_LONG".to_owned())]);
}

both!(what_is_fixed_is_kept_to);
async fn what_is_fixed_is_kept_to(app: TestApp) {
    let ada = app.user("ada").await;
    let document = ada.upload("text", "a.txt", "text/plain").await;
    let job = |more: Value| {
        let mut input = json!({"type": "noop", "input": {"documentId": document}});
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"in": input})
    };
    let team = "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }";
    let key = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { secret } }";
    let create = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
    let sign_up = "mutation($in: SignUpInput!) { signUp(input: $in) { accessToken } }";
    let link = "query($id: ID!, $s: Int) { document(id: $id) { signedContentsUri(expiresInSeconds: $s) } }";
    let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let account = |email: &str, name: &str, password: &str| json!({"in": {"email": email, "name": name, "password": password}});
    let (long, password) = ("n".repeat(201), "correct horse battery");
    let cases: [(&str, Value, &str, &str); 14] = [
        (team, json!({"in": {"name": long}}), "/name", "INVALID"),
        (key, json!({"in": {"name": long}}), "/name", "INVALID"),
        (key, json!({"in": {"name": "k", "expiresAt": "+010000-01-01T00:00:00Z"}}), "/expiresAt", "RANGE"),
        (create, job(json!({"idempotencyKey": long})), "/idempotencyKey", "LENGTH"),
        (create, job(json!({"idempotencyKey": ""})), "/idempotencyKey", "LENGTH"),
        (create, job(json!({"priority": 1001})), "/priority", "RANGE"),
        (create, job(json!({"priority": -1001})), "/priority", "RANGE"),
        (sign_up, account("new@example.com", &long, password), "/name", "INVALID"),
        (sign_up, account(&format!("{}@example.com", "a".repeat(254)), "New", password), "/email", "INVALID"),
        (sign_up, account("new@example.com", "New", "elevenchars"), "/password", "LENGTH"),
        (sign_up, account("new@example.com", "New", &"p".repeat(257)), "/password", "LENGTH"),
        (link, json!({"id": document, "s": 604_801}), "/expiresInSeconds", "RANGE"),
        (link, json!({"id": document, "s": 0}), "/expiresInSeconds", "RANGE"),
        (nodes, json!({"ids": vec![&document; 101]}), "/ids", "TOO_MANY"),
    ];
    for (query, variables, path, code) in cases {
        let refused = refused(&ada, query, variables).await;
        assert_eq!(refused, [(path.to_owned(), code.to_owned())], "{query}");
    }
    ada.gql(create, job(json!({"idempotencyKey": "k".repeat(200), "priority": 1000}))).await;
    ada.gql(link, json!({"id": document, "s": 604_800})).await;
    ada.gql(nodes, json!({"ids": vec![&document; 100]})).await;
}

async fn refused(person: &User, query: &str, variables: Value) -> Vec<(String, String)> {
    let answer = person.ask(query, variables).await;
    assert_eq!(answer.code(), "BAD_USER_INPUT", "{query}");
    answer.errors[0].problems()
}
