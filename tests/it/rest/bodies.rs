//! Bodies, paths and names as old clients and browsers send them.

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::{create, get, post, send, text, upload};
use crate::harness::{TestApp, both};

both!(json_is_read_whatever_its_label_says);
async fn json_is_read_whatever_its_label_says(app: TestApp) {
    let ada = app.user("ada").await;
    let uri = upload(&ada, "a").await;
    let body =
        json!({"type": "noop", "input_content": {"uri": uri}, "mapping": {"taxonomy": "x.json"}}).to_string();
    for media_type in
        ["text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "application/octet-stream", ""]
    {
        let mut request = ada.request(Method::POST, "/v1.1/jobs").body(format!("\u{feff}{body}\n"));
        if !media_type.is_empty() {
            request = request.header("Content-Type", media_type);
        }
        let said = send(request).await;
        assert_eq!(said.status, 201, "{media_type}: {}", said.body);
        assert_eq!(said.body["metadata"], json!({"mapping": {"taxonomy": "x.json"}}));
    }
}

both!(actions_take_an_empty_body_of_any_type);
async fn actions_take_an_empty_body_of_any_type(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create(&ada, json!({})).await;
    for (action, status) in [("cancel", "cancelled"), ("retry", "queued"), ("rewind", "queued")] {
        let request = ada.request(Method::POST, &format!("/v1.1/jobs/{id}/{action}"));
        let said =
            send(request.header("Content-Type", "application/x-www-form-urlencoded").body(" \n")).await;
        assert_eq!(
            (said.status.as_u16(), &said.body["status"]),
            (200, &json!(status)),
            "{action}: {}",
            said.body
        );
    }
}

both!(rewind_without_a_step_goes_one_step_back);
async fn rewind_without_a_step_goes_one_step_back(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create(&ada, json!({})).await;
    let worker = app.worker();
    worker.finish_one().await;
    worker.finish_one().await;
    let path = format!("/jobs/{id}/rewind");
    for expected in ["second", "first", "first"] {
        assert_eq!(post(&ada, &path).await.body["current_step"], expected);
    }
    worker.finish(crate::harness::job_id(&id)).await;
    assert_eq!(post(&ada, &path).await.body["current_step"], "third", "of a job that has ended");
    worker.finish(crate::harness::job_id(&id)).await;
    post(&ada, &path).await;
    post(&ada, &path).await;
    post(&ada, &format!("/jobs/{id}/cancel")).await;
    assert_eq!(post(&ada, &path).await.body["current_step"], "second", "the last one that it has reached");
}

both!(v1_and_a_slash_at_the_end_answer_alike);
async fn v1_and_a_slash_at_the_end_answer_alike(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create(&ada, json!({})).await;
    let expected = get(&ada, &format!("/jobs/{id}")).await.body;
    for path in [format!("/v1/jobs/{id}"), format!("/v1/jobs/{id}/"), format!("/v1.1/jobs/{id}/")] {
        assert_eq!(send(ada.request(Method::GET, &path)).await.body, expected, "{path}");
    }
    assert_eq!(send(ada.request(Method::GET, "/v1/jobs/?limit=1")).await.body["jobs"][0]["id"], json!(id));
    assert_eq!(send(ada.request(Method::GET, "/v1/nowhere")).await.code(), "NOT_FOUND");
    for path in ["/healthz/", "/readyz/", "/metrics/", "/v1/openapi.json", "/graphiql/", "/schema.graphql/"] {
        let answer = ada.request(Method::GET, path).send().await.expect("an answer");
        assert_ne!(answer.status(), 404, "{path}");
    }
    let graphql = ada.request(Method::POST, "/graphql/").json(&json!({"query": "{ viewer { name } }"}));
    assert_eq!(ada.answer(graphql).await.into_data().expect("data"), json!({"viewer": {"name": "ada"}}));
}

both!(file_names_arrive_however_clients_encode_them);
async fn file_names_arrive_however_clients_encode_them(app: TestApp) {
    let ada = app.user("ada").await;
    for name in [
        "Rechnung März.pdf".as_bytes(),
        b"Rechnung M\xe4rz.pdf",
        b"Rechnung%20M%C3%A4rz.pdf",
        b"UTF-8''Rechnung%20M%C3%A4rz.pdf",
    ] {
        for path in ["/v1.1/documents", "/documents"] {
            let name = HeaderValue::from_bytes(name).expect("a header");
            let request = ada.request(Method::POST, path).header("X-Name", name).body("abc");
            let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
            let document = if path == "/documents" { &answer } else { &answer["response"] };
            assert_eq!(document["name"], "Rechnung März.pdf", "{path}");
        }
    }
}

both!(metadata_numbers_keep_their_digits);
async fn metadata_numbers_keep_their_digits(app: TestApp) {
    const NUMBERS: &str = r#"{"big":123456789012345678901234567890,"list":[0.1,18446744073709551616,50000000000000000000000000000000000000000],"precise":12345678901234.56789}"#;
    let ada = app.user("ada").await;
    let uri = upload(&ada, "a").await;
    let body = format!(r#"{{"type":"noop","input_content":{{"uri":"{uri}"}},"metadata":{NUMBERS}}}"#);
    let made = send(ada.request(Method::POST, "/v1.1/jobs").body(body)).await;
    assert_eq!(made.body["metadata"].to_string(), NUMBERS);
    let id = text(&made.body["id"]);
    assert_eq!(get(&ada, &format!("/jobs/{id}")).await.body["metadata"].to_string(), NUMBERS);
    assert_eq!(ada.job(&id, "metadata").await["metadata"].to_string(), NUMBERS);

    let body = format!(
        r#"{{"type":"noop","input_content":{{"uri":"{uri}"}},"order":123456789012345678901234567890,"v":1.50}}"#
    );
    let unknown = send(ada.request(Method::POST, "/v1.1/jobs").body(body)).await;
    assert_eq!(unknown.body["metadata"].to_string(), r#"{"order":123456789012345678901234567890,"v":1.50}"#);

    // The same by variables, over a WebSocket too, and by literals in the document.
    let mut socket = ada.socket().await;
    let query = "query($m: JSONObject) { jobs(filter: {metadata: $m}) { nodes { metadata } } }";
    socket.run("1", query, &json!({"m": {"big": made.body["metadata"]["big"]}})).await;
    let found = socket.receive().await["payload"]["data"]["jobs"]["nodes"][0]["metadata"].take();
    assert_eq!(found.to_string(), NUMBERS);
    let big: Value = serde_json::from_str("98765432109876543210.123456789").expect("a number");
    let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { metadata } } }";
    let changed = ada.gql(update, json!({"in": {"id": id, "metadata": {"big": big}}})).await;
    assert_eq!(changed["updateJob"]["job"]["metadata"]["big"].to_string(), "98765432109876543210.123456789");
    let literal = format!(
        "mutation {{ updateJob(input: {{id: \"{id}\", metadata: {{big: 1111111111111111111111}}}}) {{ job {{ metadata }} }} }}"
    );
    let changed = ada.gql(&literal, json!({})).await;
    assert_eq!(changed["updateJob"]["job"]["metadata"]["big"].to_string(), "1111111111111111111111");
    let events = ada.job(&id, "events(first: 10) { nodes { kind data } }").await["events"]["nodes"].take();
    assert!(events.to_string().contains("98765432109876543210.123456789"), "{events}");

    for (text, found) in [("1111111111111111111111", 1), ("1111111111111111111112e5", 0)] {
        let list = get(&ada, &format!("/jobs?metadata.big={text}")).await;
        assert_eq!(list.body["jobs"].as_array().map(Vec::len), Some(found), "{text}: {}", list.body);
    }
    for huge in [format!("1{}", "0".repeat(100)), "1e400".to_owned(), "1e-400".to_owned()] {
        let body =
            format!(r#"{{"type":"noop","input_content":{{"uri":"{uri}"}},"metadata":{{"a":[{huge}]}}}}"#);
        let said = send(ada.request(Method::POST, "/v1.1/jobs").body(body)).await;
        assert_eq!(said.problems(), [("/metadata/a/0".into(), "TOO_LONG".into())], "{huge}");
        let filtered = get(&ada, &format!("/jobs?metadata.a={huge}")).await;
        assert_eq!(filtered.problems(), [("/metadata.a".into(), "TOO_LONG".into())], "{huge}");
        let variables: Value =
            serde_json::from_str(&format!(r#"{{"in":{{"id":"{id}","metadata":{{"a":{huge}}}}}}}"#))
                .expect("JSON");
        assert_eq!(ada.refused(update, variables).await.problems()[0].0, "/in/metadata/a");
    }
}
