//! Tests of error responses: each has the envelope and the matching status.

use reqwest::Method;
use serde_json::json;

use super::{get, send};
use crate::harness::{TestApp, both};

both!(error_responses_have_the_envelope_and_the_status, |config| config.limits.request_bytes = 1000);
async fn error_responses_have_the_envelope_and_the_status(app: TestApp) {
    let ada = app.user("ada").await;
    let large = json!({"type": "x".repeat(2000)}).to_string();
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(400), "]".repeat(400));
    for (method, path, media_type, body, status, code) in [
        (Method::GET, "/v1.1/nowhere", "", "", 404, "NOT_FOUND"),
        (Method::GET, "/v1.1", "", "", 404, "NOT_FOUND"),
        (Method::PATCH, "/v1.1/jobs", "", "", 405, "BAD_USER_INPUT"),
        (Method::DELETE, "/v1.1/status", "", "", 405, "BAD_USER_INPUT"),
        (Method::GET, "/v1.1/documents/%ff", "", "", 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/jobs", "application/json", "{", 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/jobs", "application/json", "[]", 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/jobs", "application/json", "", 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/jobs", "", "", 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/jobs", "application/json", "{\"type\": 1}", 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/jobs", "application/json", "{\"a\\u0000\": 1}", 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/jobs", "application/json", &deep, 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/jobs", "application/json", &large, 413, "PAYLOAD_TOO_LARGE"),
        (Method::POST, "/v1.1/jobs", "text/plain", "{", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::POST, "/v1.1/jobs", "", "{", 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/jobs", "application/json; charset=utf-16", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::POST, "/v1.1/jobs", "text/plain;charset=iso-8859-1", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::POST, "/v1.1/jobs", "application/json", "{\"type\": 1e400}", 400, "BAD_USER_INPUT"),
        (Method::POST, "/v1.1/documents", "application/json", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ] {
        let mut request = ada.request(method.clone(), path).body(body.to_owned());
        if !media_type.is_empty() {
            request = request.header("Content-Type", media_type);
        }
        let response = send(request).await;
        assert_eq!((response.status.as_u16(), response.code()), (status, code), "{method} {path} {body:.60}");
        assert_eq!(response.headers.contains_key("allow"), status == 405, "{method} {path}");
        assert!(response.body["problems"].is_array() && response.body["message"].is_string());
    }
    let elsewhere = ada.request(Method::GET, "/v1.10/jobs").send().await.expect("a response");
    let body: serde_json::Value = elsewhere.json().await.expect("JSON");
    assert_eq!(body["errors"][0]["extensions"]["code"], "NOT_FOUND", "the envelope belongs to `/v1.1` only");
}

both!(upload_above_the_size_limit_is_refused, |config| config.limits.upload_bytes = 10);
async fn upload_above_the_size_limit_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let response = send(ada.request(Method::POST, "/v1.1/documents").body("eleven bytes")).await;
    assert_eq!((response.status.as_u16(), response.code()), (413, "PAYLOAD_TOO_LARGE"));
    assert_eq!(app.stored_keys(), Vec::<String>::new());
}

both!(reason_above_the_length_limit_is_refused, |config| config.limits.comment_characters = 5);
async fn reason_above_the_length_limit_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let id = super::create_job(&ada, json!({})).await;
    let request =
        ada.request(Method::POST, &format!("/v1.1/jobs/{id}/cancel")).json(&json!({"reason": "too long"}));
    assert_eq!(send(request).await.problems(), [("/reason".into(), "TOO_LARGE".into())]);
    assert_eq!(get(&ada, &format!("/jobs/{id}")).await.body["status"], "queued");
}
