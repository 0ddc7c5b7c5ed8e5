//! Tests of bodies, paths and file names as older clients and browsers send them.

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::{create_job, get, post, send, text, upload};
use crate::harness::{TestApp, both};

both!(json_body_is_read_in_spite_of_other_media_types);
async fn json_body_is_read_in_spite_of_other_media_types(app: TestApp) {
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
        let response = send(request).await;
        assert_eq!(response.status, 201, "{media_type}: {}", response.body);
        assert_eq!(response.body["metadata"], json!({"mapping": {"taxonomy": "x.json"}}));
    }
}

both!(actions_accept_an_empty_body_of_any_type);
async fn actions_accept_an_empty_body_of_any_type(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create_job(&ada, json!({})).await;
    for (action, status) in [("cancel", "cancelled"), ("retry", "queued"), ("rewind", "queued")] {
        let request = ada.request(Method::POST, &format!("/v1.1/jobs/{id}/{action}"));
        let response =
            send(request.header("Content-Type", "application/x-www-form-urlencoded").body(" \n")).await;
        assert_eq!(
            (response.status.as_u16(), &response.body["status"]),
            (200, &json!(status)),
            "{action}: {}",
            response.body
        );
    }
}

both!(rewind_without_a_step_goes_one_step_back);
async fn rewind_without_a_step_goes_one_step_back(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create_job(&ada, json!({})).await;
    let worker = app.worker();
    worker.finish_one().await;
    worker.finish_one().await;
    let path = format!("/jobs/{id}/rewind");
    for expected in ["second", "first", "first"] {
        assert_eq!(post(&ada, &path).await.body["current_step"], expected);
    }
    worker.finish(crate::harness::job_id(&id)).await;
    assert_eq!(post(&ada, &path).await.body["current_step"], "third", "the job was completed");
    worker.finish(crate::harness::job_id(&id)).await;
    post(&ada, &path).await;
    post(&ada, &path).await;
    post(&ada, &format!("/jobs/{id}/cancel")).await;
    assert_eq!(post(&ada, &path).await.body["current_step"], "second", "the last step that the job reached");
}

both!(v1_and_trailing_slash_give_the_same_response);
async fn v1_and_trailing_slash_give_the_same_response(app: TestApp) {
    let ada = app.user("ada").await;
    let id = create_job(&ada, json!({})).await;
    let expected = get(&ada, &format!("/jobs/{id}")).await.body;
    for path in [format!("/v1/jobs/{id}"), format!("/v1/jobs/{id}/"), format!("/v1.1/jobs/{id}/")] {
        assert_eq!(send(ada.request(Method::GET, &path)).await.body, expected, "{path}");
    }
    assert_eq!(send(ada.request(Method::GET, "/v1/jobs/?limit=1")).await.body["jobs"][0]["id"], json!(id));
    assert_eq!(send(ada.request(Method::GET, "/v1/nowhere")).await.code(), "NOT_FOUND");
    for path in ["/healthz/", "/readyz/", "/metrics/", "/v1/openapi.json", "/graphiql/", "/schema.graphql/"] {
        let response = ada.request(Method::GET, path).send().await.expect("a response");
        assert_ne!(response.status(), 404, "{path}");
    }
    let graphql = ada.request(Method::POST, "/graphql/").json(&json!({"query": "{ viewer { name } }"}));
    assert_eq!(ada.send_gql(graphql).await.into_data().expect("data"), json!({"viewer": {"name": "ada"}}));
}

both!(file_names_are_decoded_from_all_client_encodings);
async fn file_names_are_decoded_from_all_client_encodings(app: TestApp) {
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
            let body: Value = request.send().await.expect("a response").json().await.expect("JSON");
            let document = if path == "/documents" { &body } else { &body["response"] };
            assert_eq!(document["name"], "Rechnung März.pdf", "{path}");
        }
    }
}

both!(metadata_numbers_keep_all_their_digits);
async fn metadata_numbers_keep_all_their_digits(app: TestApp) {
    const NUMBERS: &str = r#"{"big":123456789012345678901234567890,"list":[0.1,18446744073709551616,50000000000000000000000000000000000000000],"precise":12345678901234.56789}"#;
    let ada = app.user("ada").await;
    let uri = upload(&ada, "a").await;
    let body = format!(r#"{{"type":"noop","input_content":{{"uri":"{uri}"}},"metadata":{NUMBERS}}}"#);
    let created = send(ada.request(Method::POST, "/v1.1/jobs").body(body)).await;
    assert_eq!(created.body["metadata"].to_string(), NUMBERS);
    let id = text(&created.body["id"]);
    assert_eq!(get(&ada, &format!("/jobs/{id}")).await.body["metadata"].to_string(), NUMBERS);
    assert_eq!(ada.job(&id, "metadata").await["metadata"].to_string(), NUMBERS);

    let body = format!(
        r#"{{"type":"noop","input_content":{{"uri":"{uri}"}},"order":123456789012345678901234567890,"v":1.50}}"#
    );
    let unknown = send(ada.request(Method::POST, "/v1.1/jobs").body(body)).await;
    assert_eq!(unknown.body["metadata"].to_string(), r#"{"order":123456789012345678901234567890,"v":1.50}"#);

    // The same holds for variables, over WebSocket too, and for literals in the query.
    let mut socket = ada.socket().await;
    let query = "query($m: JSONObject) { jobs(filter: {metadata: $m}) { nodes { metadata } } }";
    socket.run("1", query, &json!({"m": {"big": created.body["metadata"]["big"]}})).await;
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
        let response = send(ada.request(Method::POST, "/v1.1/jobs").body(body)).await;
        assert_eq!(response.problems(), [("/metadata/a/0".into(), "TOO_LONG".into())], "{huge}");
        let filtered = get(&ada, &format!("/jobs?metadata.a={huge}")).await;
        assert_eq!(filtered.problems(), [("/metadata.a".into(), "TOO_LONG".into())], "{huge}");
        let variables: Value =
            serde_json::from_str(&format!(r#"{{"in":{{"id":"{id}","metadata":{{"a":{huge}}}}}}}"#))
                .expect("JSON");
        assert_eq!(ada.gql_err(update, variables).await.problems()[0].0, "/in/metadata/a");
    }
}
