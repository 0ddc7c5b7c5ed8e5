//! Tests of operations, their limits, and pings.

use super::*;

#[tokio::test]
async fn queries_mutations_and_subscriptions_complete() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.subscribe("q", "{ one }").await;
    client.expect(&next("q", &json!({"one": 1}))).await;
    client.expect(&complete("q")).await;
    client.subscribe("m", "mutation { bump }").await;
    client.expect(&next("m", &json!({"bump": 1}))).await;
    client.expect(&complete("m")).await;
    let payload = json!({"query": "subscription A { count(to: 0) } subscription B($to: Int!) { count(to: $to) }",
                         "operationName": "B", "variables": {"to": 3}, "extensions": null});
    client.send(&json!({"id": "s", "type": "subscribe", "payload": payload})).await;
    for n in 1..=3 {
        client.expect(&next("s", &json!({"count": n}))).await;
    }
    client.expect(&complete("s")).await;
    client.subscribe("s", "subscription { count(to: 1) }").await;
    client.expect(&next("s", &json!({"count": 1}))).await;
}

#[tokio::test]
async fn request_errors_are_errors_and_field_errors_are_results() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    for query in ["{ one", "{ two }", "subscription { refuses }"] {
        client.subscribe("e", query).await;
        let message = client.message().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("e")), "{message}");
        assert!(message["payload"][0]["message"].is_string(), "{message}");
    }
    for (query, data) in [("{ fails }", json!(null)), ("{ perhaps }", json!({"perhaps": null}))] {
        client.subscribe("f", query).await;
        let message = client.message().await;
        assert_eq!((&message["type"], &message["payload"]["data"]), (&json!("next"), &data), "{message}");
        assert_eq!(message["payload"]["errors"][0]["message"], "no luck");
        client.expect(&complete("f")).await;
    }
    client.assert_works().await;
}

#[tokio::test]
async fn panic_ends_only_its_operation() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.subscribe("p", "{ panics }").await;
    let message = client.message().await;
    assert_eq!(message["type"], "error");
    assert_eq!(message["payload"][0]["extensions"]["code"], "INTERNAL_SERVER_ERROR");
    assert_eq!(message["payload"][0]["extensions"]["tracking"], "of-the-upgrade");
    assert!(!message.to_string().contains("test panic"), "{message}");
    client.assert_works().await;
}

#[tokio::test]
async fn operations_have_the_tracking_id_of_the_upgrade() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.subscribe("t", "{ tracking }").await;
    client.expect(&next("t", &json!({"tracking": "of-the-upgrade"}))).await;
}

#[tokio::test]
async fn pings_are_answered_at_any_time() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.connect().await;
    client.send(&json!({"type": "ping"})).await;
    client.expect(&json!({"type": "pong"})).await;
    client.send(&json!({"type": "ping", "payload": {"n": 1}})).await;
    client.expect(&json!({"type": "pong", "payload": {"n": 1}})).await;
    client.send(&json!({"type": "pong", "payload": {"unsolicited": true}})).await;
    client.send(&json!({"type": "complete", "id": "unknown"})).await;
    client.send(&json!({"type": "connection_init"})).await;
    client.expect(&json!({"type": "connection_ack"})).await;
    client.assert_works().await;
}

#[tokio::test]
async fn concurrent_operations_of_a_connection_are_limited() {
    let server = Server::start(Settings { operations: 2, ..Settings::default() }).await;
    let mut client = server.open().await;
    client.start_waiting("a").await;
    client.start_waiting("b").await;
    client.subscribe("c", "{ one }").await;
    let message = client.message().await;
    assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("c")));
    let extensions = &message["payload"][0]["extensions"];
    assert_eq!((&extensions["code"], &extensions["retryAfterSeconds"]), (&json!("UNAVAILABLE"), &json!(1)));
    client.send(&complete("a")).await;
    client.assert_works().await;
}

#[tokio::test]
async fn peer_that_answers_pings_stays_connected() {
    let server = Server::start(Settings { ping_milliseconds: 5, ..Settings::default() }).await;
    let mut client = server.open().await;
    for _ in 0..5 {
        assert!(matches!(client.frame().await, Message::Ping(_)));
    }
    client.assert_works().await;
}

#[tokio::test]
async fn slow_reader_delays_its_operation_and_is_disconnected() {
    let server = Server::start(Settings { write_milliseconds: 200, ..Settings::default() }).await;
    let mut client = server.open().await;
    client.subscribe("f", "subscription { flood(bytes: 65536) }").await;
    server.wait_for_drop().await;
    let produced = server.probe.produced.load(Ordering::SeqCst);
    assert!((1..256).contains(&produced), "{produced} messages of 64 KiB; socket buffers hold some MiB");
    server.tasks.close();
    timeout(TEST_TIMEOUT, server.tasks.wait()).await.expect("the connection's task ends");
}

#[tokio::test]
async fn busy_operation_can_be_completed_and_does_not_starve_others() {
    let server = Server::start(Settings::default()).await;
    let mut client = server.open().await;
    client.subscribe("f", "subscription { flood(bytes: 1000) }").await;
    client.subscribe("q", "{ one }").await;
    let mut others = Vec::new();
    while others.len() < 2 {
        let message = client.message().await;
        if message["id"] != "f" {
            others.push(message);
        }
    }
    assert_eq!(others, [next("q", &json!({"one": 1})), complete("q")]);
    client.send(&complete("f")).await;
    client.send(&json!({"type": "ping"})).await;
    while client.message().await["type"] != "pong" {}
    client.assert_works().await;
    server.wait_for_drop().await;
}

#[tokio::test]
async fn operations_end_with_their_connection() {
    let server = Server::start(Settings::default()).await;
    let mut closing = server.open().await;
    closing.start_waiting("a").await;
    closing.0.close(None).await.unwrap();
    server.wait_for_drop().await;
    while timeout(TEST_TIMEOUT, closing.0.next()).await.unwrap().is_some() {}
    let mut dropping = server.open().await;
    dropping.start_waiting("a").await;
    drop(dropping);
    server.wait_for_drop().await;
    server.tasks.close();
    timeout(TEST_TIMEOUT, server.tasks.wait()).await.expect("both tasks end");
}

#[test]
fn setting_of_zero_is_named_in_the_error() {
    assert_eq!(Settings::default().check(), Ok(()));
    let settings = Settings { ping_milliseconds: 0, ..Settings::default() };
    assert_eq!(settings.check(), Err("ping_milliseconds must be at least 1".into()));
}
