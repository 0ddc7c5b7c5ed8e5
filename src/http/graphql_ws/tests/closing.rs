//! Tests of all ways in which a connection ends.

use super::*;

#[tokio::test]
async fn unsupported_subprotocol_is_closed_with_4406() {
    let server = Server::start(Settings::default()).await;
    let mut silent = server.handshake(None).await.unwrap();
    let reason = "Subprotocol not acceptable: use graphql-transport-ws";
    assert_eq!(silent.wait_for_close().await, (4406, reason.into()));
    for protocol in ["graphql-ws", "chat, soap"] {
        // The server selects no protocol, so a strict client does not wait for the close frame.
        let Err(error) = server.handshake(Some(protocol)).await else { panic!("{protocol} was accepted") };
        assert!(error.to_string().contains("SubProtocol error"), "{error}");
    }
    assert!(server.handshake(Some("graphql-ws, graphql-transport-ws")).await.is_ok());
}

#[tokio::test]
async fn invalid_message_is_closed_with_4400() {
    let server = Server::start(Settings { message_bytes: 1_000, id_bytes: 10, ..Settings::default() }).await;
    for (message, expected) in [
        (Message::text("not JSON"), "expected"),
        (Message::text("[]"), ""),
        (Message::text(r#"{"type": "start", "id": "1"}"#), "unknown variant `start`"),
        (Message::text(r#"{"type": "connection_init", "payload": 7}"#), "invalid type"),
        (Message::text(r#"{"type": "subscribe", "payload": {"query": "{ one }"}}"#), "missing field `id`"),
        (Message::text(r#"{"type": "subscribe", "id": "1"}"#), "missing field `payload`"),
        (Message::text(r#"{"type": "subscribe", "id": "1", "payload": {}}"#), "no query"),
        (
            Message::text(r#"{"type": "subscribe", "id": "12345678901", "payload": {"query": "{ one }"}}"#),
            "11 bytes",
        ),
        (Message::text(r#"{"type": "complete"}"#), "missing field `id`"),
        (Message::text("x".repeat(2_000)), "2000 > 1000"),
        (Message::binary(vec![1, 2, 3]), "binary"),
    ] {
        let mut client = server.open().await;
        client.0.send(message).await.unwrap();
        let (code, reason) = client.wait_for_close().await;
        assert_eq!(code, 4400, "{reason}");
        assert!(reason.starts_with("Invalid message: ") && reason.contains(expected), "{reason}");
        assert!(reason.len() <= 123, "{reason}");
    }
}

#[tokio::test]
async fn subscribe_before_the_acknowledgment_is_closed_with_4401() {
    let server = Server::start(Settings::default()).await;
    let mut early = server.connect().await;
    early.subscribe("1", "{ one }").await;
    assert_eq!(early.wait_for_close().await.0, 4401);
    let mut unacknowledged = server.connect().await;
    unacknowledged.send(&json!({"type": "connection_init", "payload": {"as": "slow"}})).await;
    unacknowledged.subscribe("1", "{ one }").await;
    assert_eq!(unacknowledged.wait_for_close().await.0, 4401);
}

#[tokio::test]
async fn end_of_the_credential_is_closed_with_4401() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.start_waiting("1").await;
    client.assert_works().await;
    server.probe.credential.cancel();
    assert_eq!(
        client.wait_for_close().await,
        (4401, "Unauthorized: the credential has expired or was revoked".into())
    );
    server.wait_for_drop().await;
}

#[tokio::test]
async fn refused_init_is_closed_with_the_code_of_its_reason() {
    let server = Server::start(Settings::default()).await;
    for (user, code, reason) in [
        ("nobody", 4403, "Forbidden"),
        ("down", 1013, "Try again shortly"),
        ("broken", 4500, "Internal server error"),
        ("nö!", 4403, "nö!nö!"),
    ] {
        let mut client = server.connect().await;
        client.send(&json!({"type": "connection_init", "payload": {"as": user}})).await;
        let (got, text) = client.wait_for_close().await;
        assert_eq!(got, code);
        assert!(text.starts_with(reason) && text.len() <= 123, "{text}");
    }
}

#[tokio::test]
async fn late_init_is_closed_with_4408() {
    let server = Server::start(Settings { init_milliseconds: 30, ..Settings::default() }).await;
    let mut silent = server.connect().await;
    assert_eq!(silent.wait_for_close().await.0, 4408);
    let mut slow = server.connect().await;
    slow.send(&json!({"type": "connection_init", "payload": {"as": "slow"}})).await;
    assert_eq!(slow.wait_for_close().await.0, 4408);
}

#[tokio::test]
async fn duplicate_id_is_closed_with_4409() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.start_waiting("twice").await;
    client.send(&complete("twice")).await;
    server.wait_for_drop().await;
    client.start_waiting("twice").await;
    client.subscribe("twice", "{ one }").await;
    assert_eq!(client.wait_for_close().await, (4409, "Subscriber for twice already exists".into()));
    server.wait_for_drop().await;
}

#[tokio::test]
async fn second_init_is_closed_with_4429() {
    let server = Server::start(Settings::default()).await;
    let mut open = server.open().await;
    open.send(&json!({"type": "connection_init"})).await;
    assert_eq!(open.wait_for_close().await.0, 4429);
    let mut opening = server.connect().await;
    opening.send(&json!({"type": "connection_init", "payload": {"as": "slow"}})).await;
    opening.send(&json!({"type": "connection_init", "payload": {"as": "slow"}})).await;
    assert_eq!(opening.wait_for_close().await.0, 4429);
}

#[tokio::test]
async fn shutdown_completes_operations_and_closes_with_1001() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.start_waiting("a").await;
    client.start_waiting("b").await;
    client.assert_works().await;
    server.stopping.cancel();
    let mut ended = [client.message().await, client.message().await];
    ended.sort_by_key(|message| message["id"].to_string());
    assert_eq!(ended, [complete("a"), complete("b")]);
    assert_eq!(client.wait_for_close().await, (1001, "The server is shutting down".into()));
    assert!(timeout(TEST_TIMEOUT, client.0.next()).await.unwrap().is_none(), "the handshake is finished");
    server.tasks.close();
    timeout(TEST_TIMEOUT, server.tasks.wait()).await.expect("the connection's task ends");
}

#[tokio::test]
async fn silent_peer_is_closed_with_4499() {
    let settings = Settings {
        ping_milliseconds: 10,
        pong_milliseconds: 35,
        write_milliseconds: 50,
        ..Settings::default()
    };
    let server = Server::start(settings).await;
    let mut client = server.connect().await;
    // Reads raw bytes, because the client's library would answer the pings.
    let mut bytes = Vec::new();
    timeout(TEST_TIMEOUT, client.0.get_mut().read_to_end(&mut bytes)).await.unwrap().unwrap();
    let (pings, close) = bytes.split_at(bytes.iter().position(|byte| *byte == 0x88).unwrap());
    assert!(!pings.is_empty() && pings.chunks(2).all(|frame| frame == [0x89, 0]), "{pings:?}");
    assert_eq!(close[2..4], 4499_u16.to_be_bytes());
}
