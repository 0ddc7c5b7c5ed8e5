//! Tests of persisted queries over every transport.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Events, TestApp, both, with_query};

const TEXT: &str = "{ viewer { name } }";

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

fn extension(text: &str) -> Value {
    json!({"persistedQuery": {"version": 1, "sha256Hash": hash(text)}})
}

both!(registered_document_can_be_used_by_hash_on_every_transport);
async fn registered_document_can_be_used_by_hash_on_every_transport(app: TestApp) {
    let ada = app.user("ada").await;
    let by_hash = json!({"extensions": extension(TEXT)});
    let response = ada.execute_body(by_hash.clone()).await;
    assert_eq!((response.status.as_u16(), response.code()), (400, "PERSISTED_QUERY_NOT_FOUND"));
    assert_eq!(response.errors[0].message, "PersistedQueryNotFound", "clients compare this message");

    let wrong = ada.execute_body(json!({"query": "{ viewer { id } }", "extensions": extension(TEXT)})).await;
    assert_eq!(wrong.code(), "BAD_USER_INPUT");
    assert_eq!(
        ada.execute_body(by_hash.clone()).await.code(),
        "PERSISTED_QUERY_NOT_FOUND",
        "the document was not stored"
    );

    let registered = ada.execute_body(json!({"query": TEXT, "extensions": extension(TEXT)})).await;
    assert_eq!(registered.data["viewer"]["name"], "ada");
    assert_eq!(ada.execute_body(by_hash.clone()).await.data["viewer"]["name"], "ada");
    let id = json!({"documentId": format!("sha256:{}", hash(TEXT))});
    assert_eq!(ada.execute_body(id.clone()).await.data["viewer"]["name"], "ada");

    let by_get =
        ada.request(Method::GET, &with_query("/graphql", &[("extensions", &extension(TEXT).to_string())]));
    assert_eq!(ada.send_gql(by_get).await.data["viewer"]["name"], "ada");
    let id_text = format!("sha256:{}", hash(TEXT));
    let by_id = ada.request(Method::GET, &with_query("/graphql", &[("documentId", &id_text)]));
    assert_eq!(ada.send_gql(by_id).await.data["viewer"]["name"], "ada");

    let mut socket = ada.socket().await;
    for payload in [by_hash.clone(), id] {
        socket.send(&json!({"type": "subscribe", "id": "1", "payload": payload})).await;
        assert_eq!(socket.receive().await["payload"]["data"]["viewer"]["name"], "ada");
        assert_eq!(socket.receive().await["type"], "complete");
    }
    let stream =
        ada.request(Method::POST, "/graphql/stream").json(&by_hash).send().await.expect("a response");
    assert_eq!(Events::new(stream).next().await["data"]["viewer"]["name"], "ada");
}

both!(get_with_the_hash_of_a_mutation_is_refused);
async fn get_with_the_hash_of_a_mutation_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let mutation = "mutation { createTeam(input: {name: \"one\"}) { team { id } } }";
    ada.execute_body(json!({"query": mutation, "extensions": extension(mutation)})).await;
    let by_hash = extension(mutation).to_string();
    let request = ada.request(Method::GET, &with_query("/graphql", &[("extensions", &by_hash)]));
    assert_eq!(ada.send_gql(request).await.status, 405);
    let teams = ada.gql("{ viewer { teams { name } } }", json!({})).await;
    assert_eq!(teams["viewer"]["teams"], json!([{"name": "one"}]));
}

both!(disabled_automatic_persisted_queries_store_nothing, |config| config.persisted.automatic =
    docket::config::Switch::Off);
async fn disabled_automatic_persisted_queries_store_nothing(app: TestApp) {
    let ada = app.user("ada").await;
    assert_eq!(ada.execute_body(json!({"query": TEXT, "extensions": extension(TEXT)})).await.code(), "");
    assert_eq!(
        ada.execute_body(json!({"extensions": extension(TEXT)})).await.code(),
        "PERSISTED_QUERY_NOT_FOUND"
    );
}

both!(only_trusted_documents_run_in_trusted_only_mode, |config| {
    let path = config.data_dir.with_extension("json");
    std::fs::write(&path, json!({"viewer": TEXT}).to_string()).expect("a manifest");
    config.persisted.path = path.display().to_string();
    config.persisted.mode = docket::config::TrustedDocuments::Only;
});
async fn only_trusted_documents_run_in_trusted_only_mode(app: TestApp) {
    let ada = app.user("ada").await;
    for trusted in [
        json!({"query": TEXT}),
        json!({"documentId": "viewer"}),
        json!({"extensions": extension(TEXT)}),
        json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "viewer"}}}),
    ] {
        assert_eq!(ada.execute_body(trusted.clone()).await.data["viewer"]["name"], "ada", "{trusted}");
    }
    let other = "{ viewer { id } }";
    for untrusted in [json!({"query": other}), json!({"query": other, "extensions": extension(other)})] {
        let response = ada.execute_body(untrusted).await;
        assert_eq!((response.status.as_u16(), response.code()), (403, "FORBIDDEN"));
    }
    assert_eq!(
        ada.execute_body(json!({"extensions": extension(other)})).await.code(),
        "PERSISTED_QUERY_NOT_FOUND"
    );
    let mut socket = ada.socket().await;
    socket.run("1", other, &json!({})).await;
    assert_eq!(socket.receive().await["payload"][0]["extensions"]["code"], "FORBIDDEN");
    let stream = ada.request(Method::POST, "/graphql/stream").json(&json!({"query": other}));
    let mut events = Events::new(stream.send().await.expect("a response"));
    assert_eq!(events.next().await["errors"][0]["extensions"]["code"], "FORBIDDEN");
}
