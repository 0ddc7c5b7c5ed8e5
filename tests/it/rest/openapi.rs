//! Compares the OpenAPI document with the REST API.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::harness::{TestApp, both};

/// The routes of section 11 of the contract.
const ROUTES: [&str; 21] = [
    "DELETE /v1.1/jobs/{id}",
    "GET /v1.1/documents/{id}",
    "GET /v1.1/documents/{id}/contents",
    "GET /v1.1/job-types",
    "GET /v1.1/job-types/{id}",
    "GET /v1.1/jobs",
    "GET /v1.1/jobs/{id}",
    "GET /v1.1/jobs/{id}/contents/{role}/{version}",
    "GET /v1.1/status",
    "GET /v1.1/users/me",
    "POST /v1.1/documents",
    "POST /v1.1/jobs",
    "POST /v1.1/jobs/{id}/cancel",
    "POST /v1.1/jobs/{id}/checkout",
    "POST /v1.1/jobs/{id}/release",
    "POST /v1.1/jobs/{id}/retry",
    "POST /v1.1/jobs/{id}/rewind",
    "POST /v1.1/jobs/{id}/unblock",
    "POST /v1.1/users/login",
    "PUT /v1.1/jobs/{id}",
    "PUT /v1.1/jobs/{id}/contents/{role}",
];

async fn document(app: &TestApp) -> Value {
    let request = app.anonymous().request(Method::GET, "/v1.1/openapi.json");
    request.send().await.expect("a response").json().await.expect("JSON")
}

fn methods(item: &Value) -> BTreeSet<String> {
    item.as_object().expect("an object").keys().map(|method| method.to_uppercase()).collect()
}

both!(every_route_is_documented_and_every_documented_path_exists);
async fn every_route_is_documented_and_every_documented_path_exists(app: TestApp) {
    let document = document(&app).await;
    let paths = document["paths"].as_object().expect("paths");
    let documented: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, item)| methods(item).into_iter().map(move |m| format!("{m} {path}")))
        .collect();
    let contract: BTreeSet<String> = ROUTES.map(str::to_owned).into();
    assert_eq!(documented, contract);
    let ada = app.user("ada").await;
    for (path, item) in paths {
        // The response to an unsupported method lists the supported methods.
        let response = ada.request(Method::PATCH, path).send().await.expect("a response");
        assert_eq!(response.status(), 405, "{path} has a route");
        let allowed = response.headers()["allow"].to_str().expect("text");
        let allowed: BTreeSet<String> =
            allowed.split(',').map(str::to_owned).filter(|m| m != "HEAD").collect();
        assert_eq!(allowed, methods(item), "{path}");
    }
}

both!(openapi_document_is_complete_and_its_references_resolve);
async fn openapi_document_is_complete_and_its_references_resolve(app: TestApp) {
    let document = document(&app).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut wrong = Vec::new();
    check_references(&document, &document, &mut wrong);
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let name = format!("{method} {path}");
            for field in ["operationId", "summary", "description"] {
                if operation[field].as_str().is_none_or(str::is_empty) {
                    wrong.push(format!("{name} has no {field}"));
                }
            }
            let responses = operation["responses"].as_object().expect("responses");
            let open = path == "/v1.1/status";
            for status in ["400", "429", "500", "503", "504"].into_iter().chain((!open).then_some("401")) {
                if !responses.contains_key(status) {
                    wrong.push(format!("{name} does not document the status {status}"));
                }
            }
            let named: Vec<_> = operation["parameters"].as_array().into_iter().flatten().collect();
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                if !named.iter().any(|parameter| parameter["name"] == part && parameter["in"] == "path") {
                    wrong.push(format!("{name} does not document the parameter {part}"));
                }
            }
            if named.iter().any(|parameter| parameter["description"].as_str().is_none_or(str::is_empty)) {
                wrong.push(format!("{name} has a parameter without a description"));
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        for (field, described) in schema["properties"].as_object().into_iter().flatten() {
            let refers = described.get("$ref").is_some() || described.get("oneOf").is_some();
            if described["description"].as_str().is_none_or(str::is_empty) && !refers {
                wrong.push(format!("{name}.{field} has no description"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Reports every reference that does not resolve, and every null.
fn check_references(part: &Value, document: &Value, wrong: &mut Vec<String>) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref") {
                let pointer = to.strip_prefix('#').unwrap_or_default();
                if document.pointer(pointer).is_none() {
                    wrong.push(format!("{to} refers to nothing"));
                }
            }
            fields.values().for_each(|inner| check_references(inner, document, wrong));
        }
        Value::Array(entries) => entries.iter().for_each(|inner| check_references(inner, document, wrong)),
        Value::Null => wrong.push("a value is null".to_owned()),
        _ => {}
    }
}

both!(openapi_limits_match_the_configuration_of_the_server, |config| config.limits.page_size = 7);
async fn openapi_limits_match_the_configuration_of_the_server(app: TestApp) {
    let document = document(&app).await;
    let parameters = document["paths"]["/v1.1/jobs"]["get"]["parameters"].as_array().expect("parameters");
    let maximum = |name: &str| {
        let found = parameters.iter().find(|parameter| parameter["name"] == name);
        found.and_then(|parameter| parameter["schema"]["maximum"].as_u64())
    };
    assert_eq!((maximum("first"), maximum("limit")), (Some(7), Some(7)));
}

both!(docs_page_is_served_with_a_content_security_policy);
async fn docs_page_is_served_with_a_content_security_policy(app: TestApp) {
    let page = app.anonymous().request(Method::GET, "/v1.1/docs").send().await.expect("a response");
    // A build without Node has no page; the status is 503 then.
    assert!([200, 503].contains(&page.status().as_u16()));
    let policy = page.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("http"), "{policy}");
    assert!(page.text().await.expect("text").contains("openapi.json"));
}
