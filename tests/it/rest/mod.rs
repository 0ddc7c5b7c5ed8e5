//! The REST façade under `/v1.1`.

mod access;
mod bodies;
mod jobs;
mod lists;
mod openapi;
mod refusals;
mod reviews;
mod users;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::harness::User;

/// What came back: the envelope is checked wherever there is one.
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Said {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The code of a refusal.
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Paths and codes of what is wrong with an input.
    fn problems(&self) -> Vec<(String, String)> {
        let problems = self.body["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
        problems.iter().map(|problem| (text(&problem["path"]), text(&problem["code"]))).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a string instead of {value}")).to_owned()
}

/// Sends a request whose answer has to be in the envelope.
async fn send(request: RequestBuilder) -> Said {
    let response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.expect("a whole answer");
    let mut all: Value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| panic!("{status}, not JSON: {}", String::from_utf8_lossy(&bytes)));
    assert_eq!(all["success"], json!(status.is_success()), "{all}");
    assert_eq!(all["status_code"], json!(status.as_u16()), "{all}");
    assert_eq!(all["tracking"], headers["x-request-id"].to_str().expect("text"), "{all}");
    assert_eq!(all.as_object().map(serde_json::Map::len), Some(4), "{all}");
    assert_eq!(headers["content-type"], "application/json");
    Said { status, headers, body: all["response"].take() }
}

async fn get(person: &User, path: &str) -> Said {
    send(person.request(Method::GET, &format!("/v1.1{path}"))).await
}

async fn ask(person: &User, method: Method, path: &str, body: Value) -> Said {
    send(person.request(method, &format!("/v1.1{path}")).json(&body)).await
}

/// An action without a body.
async fn post(person: &User, path: &str) -> Said {
    send(person.request(Method::POST, &format!("/v1.1{path}"))).await
}

/// Uploads a text by the façade; its `contents_uri`.
async fn upload(person: &User, bytes: &'static str) -> String {
    let request = person.request(Method::POST, "/v1.1/documents").header("X-Name", "a.txt");
    let said = send(request.header("X-Type", "text/plain").body(bytes)).await;
    assert_eq!(said.status, 201);
    text(&said.body["contents_uri"])
}

/// Makes a job that does nothing, with further fields; its ID.
async fn create(person: &User, mut more: Value) -> String {
    let uri = upload(person, "Invoice No 7").await;
    more["input_content"] = json!({"uri": uri});
    if more["type"].is_null() {
        more["type"] = json!("noop");
    }
    let said = ask(person, Method::POST, "/jobs", more).await;
    assert_eq!(said.status, 201, "{}", said.body);
    text(&said.body["id"])
}
