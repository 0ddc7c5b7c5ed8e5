//! `/documents`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use super::super::{Server, documents};
use super::base::{ROOT, run_read};
use super::envelope::{Envelope, Failure, success};
use super::input::{Caller, JsonPath};
use super::view::Document;
use crate::access::Actor;
use crate::entity::document;
use crate::error::{Error, Result};
use crate::id::DocumentId;

/// Uploads a document
///
/// The body is the bytes of the document. Headers carry its name and its type; without a type, the server detects it
/// from the bytes. An interrupted upload stores nothing.
#[utoipa::path(
    post,
    path = "/documents",
    operation_id = "upload_document",
    tag = "Documents",
    params(
        ("X-Name" = Option<String>, Header, description = "File name: UTF-8, ISO 8859-1, percent-encoded UTF-8, or the same behind `UTF-8''` (RFC 8187). `document` by default.", example = "invoice.pdf", pattern = "^[ -~]*$"),
        ("X-Type" = Option<String>, Header, description = "MIME type of the bytes.", example = "application/pdf", pattern = "^[a-z]+/[a-z0-9]+([.+-][a-z0-9]+)*$"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The bytes."),
    responses((
        status = 201,
        description = "The document.",
        body = Envelope<Document>,
        headers(("Location" = String, description = "Path of the document in this API."))
    ))
)]
pub(super) async fn upload(
    State(server): State<Server>,
    Caller(actor): Caller,
    request: Request,
) -> Result<Response> {
    let document = documents::store(&server, &actor, request).await?;
    let location = format!("{ROOT}/documents/{}", document.id);
    let view = Document::new(&document, &actor.user, server.app.jobs.documents.links());
    let mut response = success(StatusCode::CREATED, view);
    response
        .headers_mut()
        .insert(header::LOCATION, HeaderValue::from_str(&location).map_err(Error::internal)?);
    Ok(response)
}

/// Describes a document
///
/// The caller has uploaded the document, or sees it as a content of a job.
#[utoipa::path(
    get,
    path = "/documents/{id}",
    operation_id = "get_document",
    tag = "Documents",
    params(("id" = uuid::Uuid, Path, description = "UUID of the document.")),
    responses(
        (status = 200, description = "The document.", body = Envelope<Document>),
        (status = 404, description = "There is no such document, or not for the caller.", body = Envelope<Failure>),
    )
)]
pub(super) async fn describe(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
) -> Result<Response> {
    let work = async {
        let document = find(&server, &actor, &id).await?;
        let owner = documents::owner(&server, &document).await?;
        Ok(Document::new(&document, &owner, server.app.jobs.documents.links()))
    };
    Ok(success(StatusCode::OK, run_read(&server, work).await?))
}

/// Fetches the bytes of a document
///
/// The response has no envelope, and the media type of the document.
#[utoipa::path(
    get,
    path = "/documents/{id}/contents",
    operation_id = "get_document_contents",
    tag = "Documents",
    params(
        ("id" = uuid::Uuid, Path, description = "UUID of the document."),
        ("Range" = Option<String>, Header, description = "One range of bytes.", example = "bytes=0-1023"),
        ("If-None-Match" = Option<String>, Header, description = "ETag of the caller's copy."),
    ),
    responses(
        (status = 200, description = "The bytes.", body = serde_json::Value, content_type = "*/*", headers(("ETag" = String, description = "SHA-256 of the bytes, in quotation marks."))),
        (status = 206, description = "The requested range.", body = serde_json::Value, content_type = "*/*"),
        (status = 304, description = "The caller's copy is current."),
        (status = 404, description = "There is no such document, or not for the caller.", body = Envelope<Failure>),
        (status = 412, description = "`If-Match` names other bytes.", body = Envelope<Failure>),
        (status = 416, description = "The document has no such range.", body = Envelope<Failure>),
    )
)]
pub(super) async fn contents(
    State(server): State<Server>,
    Caller(actor): Caller,
    JsonPath(id): JsonPath<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let document = run_read(&server, find(&server, &actor, &id)).await?;
    documents::serve(&server, (&actor).into(), &document, &method, &headers).await
}

async fn find(server: &Server, actor: &Actor, id: &str) -> Result<document::Model> {
    let id = DocumentId::parse(id).ok_or_else(|| Error::not_found("document"))?;
    server.app.jobs.document(actor, id).await
}
