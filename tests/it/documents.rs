//! Tests of uploading, downloading, listing and deleting documents.

use chrono::{DateTime, TimeDelta};
use docket::entity::document;
use reqwest::{Method, Response, StatusCode};
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{File, TestApp, User, both};

const DELETE: &str = "mutation($id: ID!) { deleteDocument(id: $id) { deletedId } }";

async fn fetch(person: &User, method: Method, id: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = person.request(method, &format!("/documents/{id}/contents"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("the server responds")
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

async fn count_documents(app: &TestApp) -> u64 {
    document::Entity::find().count(app.db.read()).await.expect("documents can be counted")
}

both!(upload_returns_the_stored_document);
async fn upload_returns_the_stored_document(app: TestApp) {
    let ada = app.user("ada").await;
    let request = ada
        .request(Method::POST, "/documents")
        .header("X-Name", "a/b/Brief.txt")
        .header("X-Type", "Text/Plain; charset=x");
    let response = request
        .header("Content-Type", "application/octet-stream; x=y")
        .body("Grüße")
        .send()
        .await
        .expect("a response");
    assert_eq!(response.status(), 201);
    let location = header(&response, "Location").to_owned();
    let made: Value = response.json().await.expect("JSON");
    let id = made["id"].as_str().expect("an ID");
    assert_eq!(location, format!("/documents/{id}"));
    assert_eq!(
        (&made["name"], &made["type"], &made["size"]),
        (&json!("Brief.txt"), &json!("text/plain"), &json!(7))
    );
    assert_eq!(made["sha256"], hex::encode(Sha256::digest("Grüße")));
    assert_eq!(made["contentsUri"], app.url(&format!("/documents/{id}/contents")));
    assert_eq!(made["owner"], json!({"id": ada.id(), "email": "ada@example.com", "name": "ada"}));
    assert!(made["createdAt"].is_string());
    let query = "query($id: ID!) { document(id: $id) { id name type size sha256 contentsUri owner { id email name } createdAt } }";
    let mut seen = ada.gql(query, json!({"id": id})).await["document"].take();
    let instant = |value: Value| DateTime::parse_from_rfc3339(value.as_str().unwrap_or_default()).ok();
    let mut made = made.clone();
    assert_eq!(instant(seen["createdAt"].take()), instant(made["createdAt"].take()));
    assert_eq!(seen, made, "GraphQL returns the same");
}

both!(upload_with_invalid_headers_is_refused);
async fn upload_with_invalid_headers_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    for (name, value, status) in [
        ("Content-Type", "application/json", 415),
        ("Content-Type", "multipart/form-data; boundary=x", 415),
        ("X-Type", "not a type", 400),
        ("X-Name", "UTF-8''%FF", 400),
    ] {
        let response = ada
            .request(Method::POST, "/documents")
            .header(name, value)
            .body("x")
            .send()
            .await
            .expect("a response");
        assert_eq!(response.status(), status, "{name}: {value}");
    }
    assert_eq!((count_documents(&app).await, app.stored_keys().len()), (0, 0));
}

both!(download_headers_prevent_execution_in_the_browser);
async fn download_headers_prevent_execution_in_the_browser(app: TestApp) {
    let ada = app.user("ada").await;
    let html = "<script>alert(1)</script>";
    let id = ada.upload(html, "page.html", "text/html").await;
    for method in [Method::GET, Method::HEAD] {
        let response = fetch(&ada, method.clone(), &id, &[]).await;
        assert_eq!(response.status(), 200);
        for (name, value) in [
            ("Content-Type", "text/html"),
            ("Content-Length", "25"),
            ("ETag", &format!("\"{}\"", hex::encode(Sha256::digest(html)))),
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "private"),
            ("Content-Security-Policy", "sandbox"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Disposition", "attachment; filename=\"page.html\"; filename*=UTF-8''page.html"),
        ] {
            assert_eq!(header(&response, name), value, "{method} {name}");
        }
        let body = response.text().await.expect("a body");
        assert_eq!(body, if method == Method::HEAD { "" } else { html });
    }
}

both!(names_survive_the_way_through_headers);
async fn names_survive_the_way_through_headers(app: TestApp) {
    let ada = app.user("ada").await;
    for (given, kept, disposition) in [
        (
            "UTF-8''R%C3%A9sum%C3%A9%20%E2%82%AC.txt",
            "Résumé €.txt",
            "filename=\"R_sum_ _.txt\"; filename*=UTF-8''R%C3%A9sum%C3%A9%20%E2%82%AC.txt",
        ),
        (
            "a\"; x=\"y.txt",
            "a\"; x=\"y.txt",
            "filename=\"a__ x=_y.txt\"; filename*=UTF-8''a%22%3B%20x%3D%22y.txt",
        ),
        (
            "UTF-8''a%0D%0AX-Evil:%201.txt",
            "aX-Evil: 1.txt",
            "filename=\"aX-Evil: 1.txt\"; filename*=UTF-8''aX-Evil%3A%201.txt",
        ),
        ("../../etc/passwd", "passwd", "filename=\"passwd\"; filename*=UTF-8''passwd"),
        ("..", "document", "filename=\"document\"; filename*=UTF-8''document"),
    ] {
        let id = ada.upload("x", given, "text/plain").await;
        let seen = ada.gql("query($id: ID!) { document(id: $id) { name } }", json!({"id": id})).await;
        assert_eq!(seen["document"]["name"], kept);
        let response = fetch(&ada, Method::GET, &id, &[]).await;
        assert_eq!(header(&response, "Content-Disposition"), format!("attachment; {disposition}"));
        assert!(!response.headers().contains_key("X-Evil"));
    }
}

both!(download_supports_byte_ranges_and_conditional_requests);
async fn download_supports_byte_ranges_and_conditional_requests(app: TestApp) {
    let ada = app.user("ada").await;
    let id = ada.upload("0123456789", "ten.txt", "text/plain").await;
    let etag = header(&fetch(&ada, Method::GET, &id, &[]).await, "ETag").to_owned();
    for (headers, status, range, body) in [
        (vec![("Range", "bytes=2-4")], 206, "bytes 2-4/10", "234"),
        (vec![("Range", "bytes=7-")], 206, "bytes 7-9/10", "789"),
        (vec![("Range", "bytes=-3")], 206, "bytes 7-9/10", "789"),
        (vec![("Range", "bytes=5-99")], 206, "bytes 5-9/10", "56789"),
        (vec![("Range", "bytes=10-")], 416, "bytes */10", "{\"errors\":"),
        (vec![("If-Match", etag.as_str())], 200, "", "0123456789"),
        (vec![("Range", "bytes=0-1,3-4")], 200, "", "0123456789"),
        (vec![("Range", "lines=1-2")], 200, "", "0123456789"),
        (vec![("Range", "bytes=0-1"), ("If-Range", etag.as_str())], 206, "bytes 0-1/10", "01"),
        (vec![("Range", "bytes=0-1"), ("If-Range", "\"other\"")], 200, "", "0123456789"),
        (vec![("If-None-Match", etag.as_str())], 304, "", ""),
        (vec![("If-None-Match", "\"x\", *")], 304, "", ""),
        (vec![("If-None-Match", "\"other\"")], 200, "", "0123456789"),
    ] {
        let response = fetch(&ada, Method::GET, &id, &headers).await;
        assert_eq!(response.status(), status, "{headers:?}");
        assert_eq!(header(&response, "Content-Range"), range, "{headers:?}");
        assert_eq!(header(&response, "ETag"), etag, "{headers:?}");
        let text = response.text().await.expect("a body");
        assert_eq!(if status == 416 { &text[..body.len()] } else { text.as_str() }, body, "{headers:?}");
    }
    for other in ["\"other\"", &format!("W/{etag}")] {
        let response = fetch(&ada, Method::GET, &id, &[("If-Match", other)]).await;
        assert_eq!(response.status(), 412, "{other}");
    }
    let empty = ada.upload("", "empty", "text/plain").await;
    let response = fetch(&ada, Method::GET, &empty, &[("Range", "bytes=0-")]).await;
    assert_eq!(
        (response.status().as_u16(), header(&response, "Content-Range")),
        (200, ""),
        "an empty document has no ranges"
    );
}

both!(large_document_is_streamed_without_changes);
async fn large_document_is_streamed_without_changes(app: TestApp) {
    let ada = app.user("ada").await;
    let bytes: Vec<u8> = (0..12_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let id = ada.upload(bytes.clone(), "large.bin", "application/octet-stream").await;
    let back = fetch(&ada, Method::GET, &id, &[]).await.bytes().await.expect("all of it");
    assert!(back == bytes, "the same bytes");
    let part =
        fetch(&ada, Method::GET, &id, &[("Range", "bytes=11999990-")]).await.bytes().await.expect("the end");
    assert!(part == bytes[11_999_990..]);
}

both!(interrupted_upload_leaves_no_bytes_behind);
async fn interrupted_upload_leaves_no_bytes_behind(app: TestApp) {
    let ada = app.user("ada").await;
    let head = format!(
        "POST /documents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 20000000\r\n\r\n",
        ada.secret()
    );
    let mut connection = TcpStream::connect(app.address()).await.expect("a connection");
    connection.write_all(head.as_bytes()).await.expect("the server reads");
    connection.write_all(&vec![7; 6_000_000]).await.expect("the server reads");
    // The client disconnects after the server has started to write.
    app.wait_until("the upload has started", async || !app.stored_keys().is_empty()).await;
    drop(connection);
    app.wait_until("the written bytes are removed", async || app.stored_keys().is_empty()).await;
    assert_eq!(count_documents(&app).await, 0);
}

both!(upload_above_the_limit_is_refused_and_removed, |config| config.limits.upload_bytes = 1000);
async fn upload_above_the_limit_is_refused_and_removed(app: TestApp) {
    let ada = app.user("ada").await;
    ada.upload(vec![7; 1000], "just right", "application/octet-stream").await;
    let request = ada.request(Method::POST, "/documents").body(vec![7; 1001]);
    assert_eq!(request.send().await.expect("a response").status(), StatusCode::PAYLOAD_TOO_LARGE);
    let file = File { part: "0", name: "x", media_type: "text/plain", bytes: &[7; 1001] };
    let refused = upload(&ada, file).await;
    assert_eq!(refused.code(), "PAYLOAD_TOO_LARGE");
    assert_eq!((count_documents(&app).await, app.stored_keys().len()), (1, 1));
}

both!(document_in_use_by_a_job_cannot_be_deleted);
async fn document_in_use_by_a_job_cannot_be_deleted(app: TestApp) {
    let ada = app.user("ada").await;
    let document = ada.upload("x", "x.txt", "text/plain").await;
    let job = ada.create_job(json!({"input": {"documentId": document}})).await;
    assert_eq!(ada.gql_err(DELETE, json!({"id": document})).await.code(), "CONFLICT");
    assert_eq!(fetch(&ada, Method::GET, &document, &[]).await.status(), 200, "the document still exists");
    ada.gql("mutation($id: ID!) { deleteJob(id: $id) { deletedId } }", json!({"id": job})).await;
    assert_eq!(
        ada.gql(DELETE, json!({"id": document})).await["deleteDocument"]["deletedId"],
        document.as_str()
    );
    assert_eq!(fetch(&ada, Method::GET, &document, &[]).await.status(), 404);
    assert_eq!(ada.gql_err(DELETE, json!({"id": document})).await.code(), "NOT_FOUND");
    assert!(app.stored_keys().is_empty());
}

both!(signed_link_works_without_credentials_until_it_expires);
async fn signed_link_works_without_credentials_until_it_expires(app: TestApp) {
    let (ada, anonymous) = (app.user("ada").await, app.anonymous());
    let (id, other) =
        (ada.upload("x", "x.txt", "text/plain").await, ada.upload("y", "y.txt", "text/plain").await);
    let query = "query($id: ID!, $s: Int) { document(id: $id) { signedContentsUri(expiresInSeconds: $s) } }";
    let link = ada.gql(query, json!({"id": id, "s": 60})).await["document"]["signedContentsUri"].take();
    let link = link.as_str().expect("an address");
    let status = async |link: &str| {
        anonymous.request(Method::GET, link).send().await.expect("a response").status().as_u16()
    };
    assert_eq!(status(link).await, 200);
    let (path, signature) = link.rsplit_once('=').expect("a signature");
    let reversed: String = signature.chars().rev().collect();
    for tampered in [
        link.replace(&id, &other),
        link.replace("expires=", "expires=9"),
        format!("{path}={reversed}"),
        format!("{path}="),
        format!("{path}=zz"),
    ] {
        assert_eq!(status(&tampered).await, 403, "{tampered}");
    }
    let unsigned = link.split('?').next().expect("a path");
    assert_eq!(status(unsigned).await, 401);
    app.clock.advance(TimeDelta::seconds(59));
    assert_eq!(status(link).await, 200);
    app.clock.advance(TimeDelta::seconds(2));
    assert_eq!(status(link).await, 403, "it has expired");

    for seconds in [0, -1, 604_801] {
        let refused = ada.gql_err(query, json!({"id": id, "s": seconds})).await;
        assert_eq!(refused.problems()[0].1, "RANGE");
    }
    ada.gql(DELETE, json!({"id": other})).await;
    let deleted = ada.gql(query, json!({"id": id, "s": 60})).await["document"]["signedContentsUri"].take();
    ada.gql(DELETE, json!({"id": id})).await;
    assert_eq!(status(deleted.as_str().expect("an address")).await, 404);
}

async fn upload(person: &User, file: File<'_>) -> crate::harness::GqlResponse {
    let query =
        "mutation($file: Upload!) { uploadDocument(file: $file) { document { name type size sha256 } } }";
    let operations = json!({"query": query, "variables": {"file": null}});
    person.execute_multipart(&operations, &json!({(file.part): ["variables.file"]}), &[file]).await
}

both!(documents_can_be_uploaded_in_multipart_requests);
async fn documents_can_be_uploaded_in_multipart_requests(app: TestApp) {
    let ada = app.user("ada").await;
    let file = File { part: "0", name: "Brief.txt", media_type: "text/plain", bytes: b"Dear Sirs" };
    let made = upload(&ada, file).await.into_data().expect("a document");
    let expected = json!({"name": "Brief.txt", "type": "text/plain", "size": 9, "sha256": hex::encode(Sha256::digest("Dear Sirs"))});
    assert_eq!(made["uploadDocument"]["document"], expected);

    let query = "mutation($a: Upload!, $b: Upload!) { a: uploadDocument(file: $a, name: \"one\") { document { name } }
                 b: uploadDocument(file: $b) { document { name } } }";
    let operations = json!({"query": query, "variables": {"a": null, "b": null}});
    let files = [File { part: "x", ..file }, File { part: "y", name: "two", ..file }];
    let both = ada
        .execute_multipart(&operations, &json!({"x": ["variables.a"], "y": ["variables.b"]}), &files)
        .await;
    let expected = json!({"a": {"document": {"name": "one"}}, "b": {"document": {"name": "two"}}});
    assert_eq!(both.into_data(), Ok(expected));
    assert_eq!((count_documents(&app).await, app.stored_keys().len()), (3, 3));
}

both!(invalid_multipart_request_stores_no_document);
async fn invalid_multipart_request_stores_no_document(app: TestApp) {
    let ada = app.user("ada").await;
    let query = "mutation($file: Upload!) { uploadDocument(file: $file) { document { id } } }";
    let good = json!({"query": query, "variables": {"file": null}});
    let file = File { part: "0", name: "x", media_type: "text/plain", bytes: b"x" };
    let map = json!({"0": ["variables.file"]});
    let many: Vec<_> =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"].map(|part| File { part, ..file }).into();
    let all_to_one: Value = many.iter().map(|file| (file.part.to_owned(), json!([]))).collect();
    for (case, operations, map, files, code) in [
        (
            "a path to no variable",
            good.clone(),
            json!({"0": ["variables.other"]}),
            vec![file],
            "BAD_USER_INPUT",
        ),
        ("a path outside the variables", good.clone(), json!({"0": ["query"]}), vec![file], "BAD_USER_INPUT"),
        ("a file missing from the map", good.clone(), json!({}), vec![file], "BAD_USER_INPUT"),
        ("no file", good.clone(), map.clone(), vec![], "BAD_USER_INPUT"),
        ("a map that is no object", good.clone(), json!([]), vec![file], "BAD_USER_INPUT"),
        ("too many files", good.clone(), all_to_one, many, "PAYLOAD_TOO_LARGE"),
        (
            "an unknown field",
            json!({"query": "mutation($file: Upload!) { x(file: $file) }", "variables": {"file": null}}),
            map.clone(),
            vec![file],
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "an unused file",
            json!({"query": "query { viewer { id } }", "variables": {"file": null}}),
            map.clone(),
            vec![file],
            "",
        ),
        (
            "too complex",
            json!({"query": format!("{{{}viewer{}}}", "{a".repeat(30), "}".repeat(30)), "variables": {"file": null}}),
            map.clone(),
            vec![file],
            "QUERY_TOO_COMPLEX",
        ),
    ] {
        let response = ada.execute_multipart(&operations, &map, &files).await;
        assert_eq!(response.code(), code, "{case}: {:?}", response.errors);
        assert_eq!((count_documents(&app).await, app.stored_keys().len()), (0, 0), "{case}");
    }
    // A multipart request without a header that forces a CORS preflight is refused.
    let body = crate::harness::multipart_body(&good, &map, &[file]);
    let request = ada.request(Method::POST, "/graphql").body(body);
    let response = ada
        .send_gql(request.header("Content-Type", "multipart/form-data; boundary=docket-test-boundary"))
        .await;
    assert_eq!((response.status.as_u16(), response.code()), (400, "BAD_USER_INPUT"));
    assert_eq!((count_documents(&app).await, app.stored_keys().len()), (0, 0));
}

both!(text_in_place_of_a_file_is_refused);
async fn text_in_place_of_a_file_is_refused(app: TestApp) {
    let ada = app.user("ada").await;
    let query = "mutation($file: Upload!) { uploadDocument(file: $file) { document { id } } }";
    for (text, code) in [
        ("#__graphql_file__:0", "BAD_USER_INPUT"),
        ("upload:0", "BAD_USER_INPUT"),
        ("upload:99999999999999999999", "BAD_USER_INPUT"),
        ("x", "BAD_USER_INPUT"),
    ] {
        let response = ada.execute(query, json!({"file": text})).await;
        assert!(
            [code, "GRAPHQL_VALIDATION_FAILED"].contains(&response.code()),
            "{text}: {:?}",
            response.errors
        );
        let literal = format!("mutation {{ uploadDocument(file: \"{text}\") {{ document {{ id }} }} }}");
        let response = ada.execute(&literal, json!({})).await;
        assert!(
            [code, "GRAPHQL_VALIDATION_FAILED"].contains(&response.code()),
            "{text}: {:?}",
            response.errors
        );
    }
    let metadata = json!({"in": {"type": "noop", "input": {"documentId": "x"}, "metadata": {"a": ["#__graphql_file__:0"]}}});
    let create = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
    assert_eq!(ada.execute(create, metadata).await.code(), "BAD_USER_INPUT");
    assert_eq!(
        ada.gql("{ viewer { email } }", json!({})).await["viewer"]["email"],
        "ada@example.com",
        "the server still responds"
    );
}

both!(document_list_shows_only_uploads_newest_first);
async fn document_list_shows_only_uploads_newest_first(app: TestApp) {
    let ada = app.user("ada").await;
    for i in 0..5 {
        ada.upload("x", &format!("{i}"), "text/plain").await;
    }
    let job = ada.extraction_job(json!([])).await;
    app.worker().finish(crate::harness::job_id(&job)).await;
    let query = "query($n: Int, $after: String) { documents(first: $n, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } } }";
    let (mut names, mut after) = (Vec::new(), Value::Null);
    loop {
        let mut page = ada.gql(query, json!({"n": 2, "after": after})).await["documents"].take();
        names.extend(page["nodes"].as_array().expect("nodes").iter().map(|node| node["name"].clone()));
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].take();
    }
    assert_eq!(
        names,
        ["invoice.txt", "4", "3", "2", "1", "0"].map(|name| json!(name)),
        "the list contains no documents of steps"
    );
}

both!(aborted_download_does_not_affect_later_downloads);
async fn aborted_download_does_not_affect_later_downloads(app: TestApp) {
    let ada = app.user("ada").await;
    let id = ada.upload(vec![7; 8_000_000], "large", "application/octet-stream").await;
    let mut connection = TcpStream::connect(app.address()).await.expect("a connection");
    let head = format!(
        "GET /documents/{id}/contents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        ada.secret()
    );
    connection.write_all(head.as_bytes()).await.expect("the server reads");
    let mut first = [0; 1000];
    connection.read_exact(&mut first).await.expect("the server writes");
    drop(connection);
    assert_eq!(
        fetch(&ada, Method::GET, &id, &[]).await.bytes().await.map(|all| all.len()).ok(),
        Some(8_000_000)
    );
}
