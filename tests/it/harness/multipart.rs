//! Multipart requests, written out part by part, so that tests can also write wrong ones.

use reqwest::Method;
use serde_json::Value;

use super::answer::Answer;
use super::user::User;

/// A file of a multipart request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File<'a> {
    /// The part's name, which the map refers to.
    pub(crate) part: &'a str,
    pub(crate) name: &'a str,
    pub(crate) media_type: &'a str,
    pub(crate) bytes: &'a [u8],
}

const BOUNDARY: &str = "docket-test-boundary";

/// A body as the GraphQL multipart request specification has it.
pub(crate) fn body(operations: &Value, map: &Value, files: &[File<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut part = |head: String, bytes: &[u8]| {
        body.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"operations\"".into(), operations.to_string().as_bytes());
    part("name=\"map\"".into(), map.to_string().as_bytes());
    for file in files {
        let File { part: key, name, media_type, bytes } = file;
        part(format!("name=\"{key}\"; filename=\"{name}\"\r\nContent-Type: {media_type}"), bytes);
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

impl User {
    /// The answer to a multipart request.
    pub(crate) async fn ask_multipart(&self, operations: &Value, map: &Value, files: &[File<'_>]) -> Answer {
        let request = self.request(Method::POST, "/graphql").header("GraphQL-Require-Preflight", "1");
        let request = request.header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"));
        self.answer(request.body(body(operations, map, files))).await
    }
}
