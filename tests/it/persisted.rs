//! Documents that are named by their hash, by every way that operations come.

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

both!(a_document_that_was_sent_once_is_named_by_its_hash_everywhere);
async fn a_document_that_was_sent_once_is_named_by_its_hash_everywhere(app: TestApp) {
    let ada = app.user("ada").await;
    let named = json!({"extensions": extension(TEXT)});
    let answer = ada.ask_with(named.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "PERSISTED_QUERY_NOT_FOUND"));
    assert_eq!(answer.errors[0].message, "PersistedQueryNotFound", "what clients look for");

    let wrong = ada.ask_with(json!({"query": "{ viewer { id } }", "extensions": extension(TEXT)})).await;
    assert_eq!(wrong.code(), "BAD_USER_INPUT");
    assert_eq!(ada.ask_with(named.clone()).await.code(), "PERSISTED_QUERY_NOT_FOUND", "nothing was kept");

    let registered = ada.ask_with(json!({"query": TEXT, "extensions": extension(TEXT)})).await;
    assert_eq!(registered.data["viewer"]["name"], "ada");
    assert_eq!(ada.ask_with(named.clone()).await.data["viewer"]["name"], "ada");
    let id = json!({"documentId": format!("sha256:{}", hash(TEXT))});
    assert_eq!(ada.ask_with(id.clone()).await.data["viewer"]["name"], "ada");

    let by_get =
        ada.request(Method::GET, &with_query("/graphql", &[("extensions", &extension(TEXT).to_string())]));
    assert_eq!(ada.answer(by_get).await.data["viewer"]["name"], "ada");
    let id_text = format!("sha256:{}", hash(TEXT));
    let by_id = ada.request(Method::GET, &with_query("/graphql", &[("documentId", &id_text)]));
    assert_eq!(ada.answer(by_id).await.data["viewer"]["name"], "ada");

    let mut socket = ada.socket().await;
    for payload in [named.clone(), id] {
        socket.send(&json!({"type": "subscribe", "id": "1", "payload": payload})).await;
        assert_eq!(socket.receive().await["payload"]["data"]["viewer"]["name"], "ada");
        assert_eq!(socket.receive().await["type"], "complete");
    }
    let stream = ada.request(Method::POST, "/graphql/stream").json(&named).send().await.expect("an answer");
    assert_eq!(Events::of(stream).next().await["data"]["viewer"]["name"], "ada");
}

both!(a_mutation_that_is_named_by_its_hash_is_not_run_by_get);
async fn a_mutation_that_is_named_by_its_hash_is_not_run_by_get(app: TestApp) {
    let ada = app.user("ada").await;
    let mutation = "mutation { createTeam(input: {name: \"one\"}) { team { id } } }";
    ada.ask_with(json!({"query": mutation, "extensions": extension(mutation)})).await;
    let named = extension(mutation).to_string();
    let request = ada.request(Method::GET, &with_query("/graphql", &[("extensions", &named)]));
    assert_eq!(ada.answer(request).await.status, 405);
    let teams = ada.gql("{ viewer { teams { name } } }", json!({})).await;
    assert_eq!(teams["viewer"]["teams"], json!([{"name": "one"}]));
}

both!(where_it_is_off_nothing_is_found, |config| config.persisted.automatic = docket::config::Switch::Off);
async fn where_it_is_off_nothing_is_found(app: TestApp) {
    let ada = app.user("ada").await;
    assert_eq!(ada.ask_with(json!({"query": TEXT, "extensions": extension(TEXT)})).await.code(), "");
    assert_eq!(
        ada.ask_with(json!({"extensions": extension(TEXT)})).await.code(),
        "PERSISTED_QUERY_NOT_FOUND"
    );
}

both!(only_trusted_documents_run_where_the_operator_says_so, |config| {
    let path = config.data_dir.with_extension("json");
    std::fs::write(&path, json!({"viewer": TEXT}).to_string()).expect("a manifest");
    config.persisted.path = path.display().to_string();
    config.persisted.mode = docket::config::Trusted::Only;
});
async fn only_trusted_documents_run_where_the_operator_says_so(app: TestApp) {
    let ada = app.user("ada").await;
    for trusted in [
        json!({"query": TEXT}),
        json!({"documentId": "viewer"}),
        json!({"extensions": extension(TEXT)}),
        json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "viewer"}}}),
    ] {
        assert_eq!(ada.ask_with(trusted.clone()).await.data["viewer"]["name"], "ada", "{trusted}");
    }
    let other = "{ viewer { id } }";
    for untrusted in [json!({"query": other}), json!({"query": other, "extensions": extension(other)})] {
        let answer = ada.ask_with(untrusted).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "FORBIDDEN"));
    }
    assert_eq!(
        ada.ask_with(json!({"extensions": extension(other)})).await.code(),
        "PERSISTED_QUERY_NOT_FOUND"
    );
    let mut socket = ada.socket().await;
    socket.run("1", other, &json!({})).await;
    assert_eq!(socket.receive().await["payload"][0]["extensions"]["code"], "FORBIDDEN");
    let stream = ada.request(Method::POST, "/graphql/stream").json(&json!({"query": other}));
    let mut events = Events::of(stream.send().await.expect("an answer"));
    assert_eq!(events.next().await["errors"][0]["extensions"]["code"], "FORBIDDEN");
}
