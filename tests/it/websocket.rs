//! `graphql-transport-ws` on the server itself; its rules and close codes are tested frame by frame with the module.

use docket::account::{NewKey, create_key};
use docket::job::state::Mode;
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use futures_util::StreamExt;

use crate::harness::{Received, Socket, TestApp, both};

const UPDATED: &str = "subscription($id: ID!) { jobUpdated(id: $id) { status } }";

both!(graphql_itself_is_upgraded_too);
async fn graphql_itself_is_upgraded_too(app: TestApp) {
    let ada = app.user("ada").await;
    for path in ["/graphql", "/graphql/ws"] {
        let mut socket = Socket::open_at(&app, path).await;
        socket.send(&json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {}", ada.secret())}})).await;
        assert_eq!(socket.receive().await, json!({"type": "connection_ack"}));
        socket.run("1", "{ viewer { name } }", &json!({})).await;
        let message = socket.receive().await;
        assert_eq!(message["payload"]["data"]["viewer"]["name"], "ada", "{path}");
        assert_eq!(message["payload"]["extensions"]["cost"]["requested"], 2);
        assert_eq!(socket.receive().await, json!({"type": "complete", "id": "1"}));
    }
}

both!(a_client_of_another_protocol_is_told);
async fn a_client_of_another_protocol_is_told(app: TestApp) {
    for path in ["/graphql", "/graphql/ws"] {
        let request = app.url(path).replacen("http", "ws", 1).into_client_request().expect("an address");
        let (mut stream, _) = connect_async(request).await.expect("an upgrade");
        match stream.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), 4406);
                assert!(frame.reason.contains("graphql-transport-ws") && frame.reason.len() <= 123);
            }
            other => panic!("a close frame was to come instead of {other:?}"),
        }
    }
}

both!(a_user_has_only_so_many_connections, |config| config.websocket.connections = 2);
async fn a_user_has_only_so_many_connections(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let (first, mut second) = (ada.socket().await, ada.socket().await);
    let init =
        json!({"type": "connection_init", "payload": {"Authorization": format!("Bearer {}", ada.secret())}});
    let mut third = Socket::open(&app).await;
    third.send(&init).await;
    assert_eq!(third.received().await, Received::Closed(1013), "clients try again later");
    bob.socket().await;
    second.run("1", "{ viewer { name } }", &json!({})).await;
    assert_eq!(
        second.receive().await["payload"]["data"]["viewer"]["name"],
        "ada",
        "those that are open go on"
    );
    drop(first);
    let accepted = async || {
        let mut socket = Socket::open(&app).await;
        socket.send(&init).await;
        socket.received().await == Received::Message(json!({"type": "connection_ack"}))
    };
    app.wait_until("the place of the first is free", accepted).await;
}

both!(a_revoked_key_ends_its_connections_at_once);
async fn a_revoked_key_ends_its_connections_at_once(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let account = app.accounts.by_email(&ada.email()).await.expect("a reading").expect("an account");
    let new = NewKey { name: "gone".into(), mode: Mode::Live, expires_at: None };
    let (secret, key) =
        create_key(&app.db, &app.clock, account.id, new, &app.config.limits).await.expect("a key");
    let mut updates = app.bearer_of(&format!("Bearer {secret}")).subscribe(UPDATED, json!({"id": job})).await;
    let mut others = ada.subscribe(UPDATED, json!({"id": job})).await;
    updates.next().await;
    others.next().await;
    // In less time than connections are looked at anyway.
    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id } } }";
    ada.gql(revoke, json!({"id": key.id.to_string()})).await;
    assert_eq!(updates.closed().await, 4401);
    ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
    others.until("the other key still works", |event| event["jobUpdated"]["status"] == "CANCELLED").await;
}

both!(stopping_completes_subscriptions_and_says_goodbye);
async fn stopping_completes_subscriptions_and_says_goodbye(app: TestApp) {
    let ada = app.user("ada").await;
    let mut socket = ada.socket().await;
    socket.run("1", UPDATED, &json!({"id": ada.noop_job().await})).await;
    assert_eq!(socket.receive().await["type"], "next");
    app.stopping.cancel();
    assert_eq!(socket.receive().await, json!({"type": "complete", "id": "1"}));
    assert_eq!(socket.received().await, Received::Closed(1001));
}

both!(responses_that_are_too_long_are_errors, |config| config.graphql.response_bytes = 50_000);
async fn responses_that_are_too_long_are_errors(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.create_job(json!({"metadata": {"filler": "x".repeat(40_000)}})).await;
    let mut socket = ada.socket().await;
    let twice = "query($id: ID!) { job(id: $id) { a: metadata b: metadata } }";
    socket.run("1", twice, &json!({"id": job})).await;
    let message = socket.receive().await;
    assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "PAYLOAD_TOO_LARGE", "{message}");
    assert_eq!(socket.receive().await["type"], "complete");
    // Each message of a subscription has the whole of it.
    socket
        .run("2", "subscription($id: ID!) { jobUpdated(id: $id) { status metadata } }", &json!({"id": job}))
        .await;
    assert_eq!(socket.receive().await["payload"]["data"]["jobUpdated"]["status"], "QUEUED");
    ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
    assert_eq!(socket.receive().await["payload"]["data"]["jobUpdated"]["status"], "CANCELLED");
}
