//! Tests of the REST API under `/v1.1`.

mod access;
mod bodies;
mod errors;
mod jobs;
mod lists;
mod openapi;
mod reviews;
mod users;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::harness::User;

/// A response whose envelope has been checked.
struct RestResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl RestResponse {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Returns the error code, or an empty string without one.
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Returns the paths and codes of the problems with the input.
    fn problems(&self) -> Vec<(String, String)> {
        let problems = self.body["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
        problems.iter().map(|problem| (text(&problem["path"]), text(&problem["code"]))).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected a string, got {value}")).to_owned()
}

/// Sends a request, and checks the envelope of its response.
async fn send(request: RequestBuilder) -> RestResponse {
    let response = request.send().await.expect("a response");
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.expect("a complete response");
    let mut all: Value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| panic!("{status}, not JSON: {}", String::from_utf8_lossy(&bytes)));
    assert_eq!(all["success"], json!(status.is_success()), "{all}");
    assert_eq!(all["status_code"], json!(status.as_u16()), "{all}");
    assert_eq!(all["tracking"], headers["x-request-id"].to_str().expect("text"), "{all}");
    assert_eq!(all.as_object().map(serde_json::Map::len), Some(4), "{all}");
    assert_eq!(headers["content-type"], "application/json");
    RestResponse { status, headers, body: all["response"].take() }
}

async fn get(user: &User, path: &str) -> RestResponse {
    send(user.request(Method::GET, &format!("/v1.1{path}"))).await
}

async fn send_json(user: &User, method: Method, path: &str, body: Value) -> RestResponse {
    send(user.request(method, &format!("/v1.1{path}")).json(&body)).await
}

/// Sends a POST request without a body.
async fn post(user: &User, path: &str) -> RestResponse {
    send(user.request(Method::POST, &format!("/v1.1{path}"))).await
}

/// Uploads a text, and returns its `contents_uri`.
async fn upload(user: &User, bytes: &'static str) -> String {
    let request = user.request(Method::POST, "/v1.1/documents").header("X-Name", "a.txt");
    let response = send(request.header("X-Type", "text/plain").body(bytes)).await;
    assert_eq!(response.status, 201);
    text(&response.body["contents_uri"])
}

/// Creates a job, by default of the type `noop`, and returns its ID.
async fn create_job(user: &User, mut input: Value) -> String {
    let uri = upload(user, "Invoice No 7").await;
    input["input_content"] = json!({"uri": uri});
    if input["type"].is_null() {
        input["type"] = json!("noop");
    }
    let response = send_json(user, Method::POST, "/jobs", input).await;
    assert_eq!(response.status, 201, "{}", response.body);
    text(&response.body["id"])
}
