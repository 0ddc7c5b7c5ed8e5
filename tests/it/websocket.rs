//! Tests of `graphql-transport-ws` on a running server. The unit tests of the module cover its rules and close codes.

use docket::account::{NewKey, create_key};
use docket::job::state::Mode;
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use futures_util::StreamExt;

use crate::harness::{Received, Socket, TestApp, both};

const UPDATED: &str = "subscription($id: ID!) { jobUpdated(id: $id) { status } }";

both!(both_graphql_paths_accept_websocket_upgrades);
async fn both_graphql_paths_accept_websocket_upgrades(app: TestApp) {
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

both!(client_without_the_subprotocol_is_closed_with_4406);
async fn client_without_the_subprotocol_is_closed_with_4406(app: TestApp) {
    for path in ["/graphql", "/graphql/ws"] {
        let request = app.url(path).replacen("http", "ws", 1).into_client_request().expect("a URL");
        let (mut stream, _) = connect_async(request).await.expect("an upgrade");
        match stream.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), 4406);
                assert!(frame.reason.contains("graphql-transport-ws") && frame.reason.len() <= 123);
            }
            other => panic!("expected a close frame, got {other:?}"),
        }
    }
}

both!(number_of_open_connections_per_user_is_limited, |config| config.websocket.connections = 2);
async fn number_of_open_connections_per_user_is_limited(app: TestApp) {
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let (first, mut second) = (ada.socket().await, ada.socket().await);
    let init =
        json!({"type": "connection_init", "payload": {"Authorization": format!("Bearer {}", ada.secret())}});
    let mut third = Socket::open(&app).await;
    third.send(&init).await;
    assert_eq!(third.receive_any().await, Received::Closed(1013), "clients retry after this code");
    bob.socket().await;
    second.run("1", "{ viewer { name } }", &json!({})).await;
    assert_eq!(
        second.receive().await["payload"]["data"]["viewer"]["name"],
        "ada",
        "open connections stay usable"
    );
    drop(first);
    let accepted = async || {
        let mut socket = Socket::open(&app).await;
        socket.send(&init).await;
        socket.receive_any().await == Received::Message(json!({"type": "connection_ack"}))
    };
    app.wait_until("the closed connection no longer counts", accepted).await;
}

both!(revoked_key_closes_only_its_own_connections_immediately);
async fn revoked_key_closes_only_its_own_connections_immediately(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.noop_job().await;
    let account = app.accounts.by_email(&ada.email()).await.expect("a query").expect("an account");
    let new = NewKey { name: "revoked".into(), mode: Mode::Live, expires_at: None };
    let (secret, key) =
        create_key(&app.db, &app.clock, account.id, new, &app.config.limits).await.expect("a key");
    let mut updates =
        app.with_authorization(&format!("Bearer {secret}")).subscribe(UPDATED, json!({"id": job})).await;
    let mut others = ada.subscribe(UPDATED, json!({"id": job})).await;
    updates.next().await;
    others.next().await;
    // This happens before the next periodic check of the connection.
    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id } } }";
    ada.gql(revoke, json!({"id": key.id.to_string()})).await;
    assert_eq!(updates.close_code().await, 4401);
    ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
    others.wait_for("the other key still works", |event| event["jobUpdated"]["status"] == "CANCELLED").await;
}

both!(shutdown_completes_subscriptions_and_closes_with_1001);
async fn shutdown_completes_subscriptions_and_closes_with_1001(app: TestApp) {
    let ada = app.user("ada").await;
    let mut socket = ada.socket().await;
    socket.run("1", UPDATED, &json!({"id": ada.noop_job().await})).await;
    assert_eq!(socket.receive().await["type"], "next");
    app.stopping.cancel();
    assert_eq!(socket.receive().await, json!({"type": "complete", "id": "1"}));
    assert_eq!(socket.receive_any().await, Received::Closed(1001));
}

both!(response_above_the_size_limit_is_an_error, |config| config.graphql.response_bytes = 50_000);
async fn response_above_the_size_limit_is_an_error(app: TestApp) {
    let ada = app.user("ada").await;
    let job = ada.create_job(json!({"metadata": {"filler": "x".repeat(40_000)}})).await;
    let mut socket = ada.socket().await;
    let twice = "query($id: ID!) { job(id: $id) { a: metadata b: metadata } }";
    socket.run("1", twice, &json!({"id": job})).await;
    let message = socket.receive().await;
    assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "PAYLOAD_TOO_LARGE", "{message}");
    assert_eq!(socket.receive().await["type"], "complete");
    // The limit applies to each message of a subscription separately.
    socket
        .run("2", "subscription($id: ID!) { jobUpdated(id: $id) { status metadata } }", &json!({"id": job}))
        .await;
    assert_eq!(socket.receive().await["payload"]["data"]["jobUpdated"]["status"], "QUEUED");
    ada.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": job})).await;
    assert_eq!(socket.receive().await["payload"]["data"]["jobUpdated"]["status"], "CANCELLED");
}
