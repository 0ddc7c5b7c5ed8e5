//! Multipart requests, written part by part, so that tests can also send invalid ones.

use reqwest::Method;
use serde_json::Value;

use super::response::GqlResponse;
use super::user::User;

/// A file of a multipart request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File<'a> {
    /// The name of the part, to which the map refers.
    pub(crate) part: &'a str,
    pub(crate) name: &'a str,
    pub(crate) media_type: &'a str,
    pub(crate) bytes: &'a [u8],
}

const BOUNDARY: &str = "docket-test-boundary";

/// Returns a body that follows the GraphQL multipart request specification.
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
    /// Sends a multipart request and returns its response.
    pub(crate) async fn execute_multipart(
        &self,
        operations: &Value,
        map: &Value,
        files: &[File<'_>],
    ) -> GqlResponse {
        let request = self.request(Method::POST, "/graphql").header("GraphQL-Require-Preflight", "1");
        let request = request.header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"));
        self.send_gql(request.body(body(operations, map, files))).await
    }
}
