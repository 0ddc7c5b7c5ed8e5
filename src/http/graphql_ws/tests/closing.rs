//! Every way a connection ends.

use super::*;

#[tokio::test]
async fn another_subprotocol_is_4406() {
    let server = Server::start(Settings::default()).await;
    let mut silent = server.handshake(None).await.unwrap();
    let said = "Subprotocol not acceptable: this is graphql-transport-ws";
    assert_eq!(silent.closed().await, (4406, said.into()));
    for protocol in ["graphql-ws", "chat, soap"] {
        // None is selected, so that a strict client does not even wait for the close frame.
        let Err(error) = server.handshake(Some(protocol)).await else { panic!("{protocol} was taken") };
        assert!(error.to_string().contains("SubProtocol error"), "{error}");
    }
    assert!(server.handshake(Some("graphql-ws, graphql-transport-ws")).await.is_ok());
}

#[tokio::test]
async fn nonsense_is_4400() {
    let server = Server::start(Settings { message_bytes: 1_000, id_bytes: 10, ..Settings::default() }).await;
    for (message, hint) in [
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
        let (code, reason) = client.closed().await;
        assert_eq!(code, 4400, "{reason}");
        assert!(reason.starts_with("Invalid message: ") && reason.contains(hint), "{reason}");
        assert!(reason.len() <= 123, "{reason}");
    }
}

#[tokio::test]
async fn subscribing_before_the_acknowledgement_is_4401() {
    let server = Server::start(Settings::default()).await;
    let mut early = server.connect().await;
    early.subscribe("1", "{ one }").await;
    assert_eq!(early.closed().await.0, 4401);
    let mut impatient = server.connect().await;
    impatient.send(&json!({"type": "connection_init", "payload": {"as": "slow"}})).await;
    impatient.subscribe("1", "{ one }").await;
    assert_eq!(impatient.closed().await.0, 4401);
}

#[tokio::test]
async fn the_end_of_the_credential_is_4401() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.wait("1").await;
    client.still_works().await;
    server.probe.credential.cancel();
    assert_eq!(client.closed().await, (4401, "Unauthorized: the credential has ended".into()));
    server.dropped().await;
}

#[tokio::test]
async fn a_refused_init_is_4403_and_an_impossible_one_says_so() {
    let server = Server::start(Settings::default()).await;
    for (who, code, reason) in [
        ("nobody", 4403, "Forbidden"),
        ("down", 1013, "Try again shortly"),
        ("broken", 4500, "Internal server error"),
        ("nö!", 4403, "nö!nö!"),
    ] {
        let mut client = server.connect().await;
        client.send(&json!({"type": "connection_init", "payload": {"as": who}})).await;
        let (got, text) = client.closed().await;
        assert_eq!(got, code);
        assert!(text.starts_with(reason) && text.len() <= 123, "{text}");
    }
}

#[tokio::test]
async fn a_late_init_is_4408() {
    let server = Server::start(Settings { init_milliseconds: 30, ..Settings::default() }).await;
    let mut mute = server.connect().await;
    assert_eq!(mute.closed().await.0, 4408);
    let mut slow = server.connect().await;
    slow.send(&json!({"type": "connection_init", "payload": {"as": "slow"}})).await;
    assert_eq!(slow.closed().await.0, 4408);
}

#[tokio::test]
async fn an_id_in_use_is_4409() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.wait("twice").await;
    client.send(&complete("twice")).await;
    server.dropped().await;
    client.wait("twice").await;
    client.subscribe("twice", "{ one }").await;
    assert_eq!(client.closed().await, (4409, "Subscriber for twice already exists".into()));
    server.dropped().await;
}

#[tokio::test]
async fn a_second_init_is_4429() {
    let server = Server::start(Settings::default()).await;
    let mut open = server.open().await;
    open.send(&json!({"type": "connection_init"})).await;
    assert_eq!(open.closed().await.0, 4429);
    let mut opening = server.connect().await;
    opening.send(&json!({"type": "connection_init", "payload": {"as": "slow"}})).await;
    opening.send(&json!({"type": "connection_init", "payload": {"as": "slow"}})).await;
    assert_eq!(opening.closed().await.0, 4429);
}

#[tokio::test]
async fn stopping_completes_what_runs_and_is_1001() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.wait("a").await;
    client.wait("b").await;
    client.still_works().await;
    server.stopping.cancel();
    let mut ended = [client.message().await, client.message().await];
    ended.sort_by_key(|message| message["id"].to_string());
    assert_eq!(ended, [complete("a"), complete("b")]);
    assert_eq!(client.closed().await, (1001, "The server is stopping".into()));
    assert!(timeout(PATIENCE, client.0.next()).await.unwrap().is_none(), "the handshake is finished");
    server.tasks.close();
    timeout(PATIENCE, server.tasks.wait()).await.expect("the connection's task ends");
}

#[tokio::test]
async fn a_silent_peer_is_4499() {
    let settings = Settings {
        ping_milliseconds: 10,
        pong_milliseconds: 35,
        write_milliseconds: 50,
        ..Settings::default()
    };
    let server = Server::start(settings).await;
    let mut client = server.connect().await;
    // Read as bytes, since the client's library would answer the pings.
    let mut bytes = Vec::new();
    timeout(PATIENCE, client.0.get_mut().read_to_end(&mut bytes)).await.unwrap().unwrap();
    let (pings, close) = bytes.split_at(bytes.iter().position(|byte| *byte == 0x88).unwrap());
    assert!(!pings.is_empty() && pings.chunks(2).all(|frame| frame == [0x89, 0]), "{pings:?}");
    assert_eq!(close[2..4], 4499_u16.to_be_bytes());
}
