//! Upload and download of documents as plain bytes.

use std::ops::Range;

use axum::body::{Body, BodyDataStream};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::TryStreamExt;
use http_range_header::{EndPosition, StartPosition, parse_range_header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sea_orm::EntityTrait;
use serde::Deserialize;
use serde_json::json;
use tracing::Instrument;

use super::quota::QuotaHolder;
use super::{Server, body, file_name, refuse, refuse_request, tracking};
use crate::access::{Actor, Viewer};
use crate::document::UploadInfo;
use crate::entity::{account, document};
use crate::error::{Error, Result};
use crate::id::DocumentId;

const X_NAME: HeaderName = HeaderName::from_static("x-name");
const X_TYPE: HeaderName = HeaderName::from_static("x-type");
/// Characters that a header parameter escapes (RFC 8187 section 3.2.1).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// `POST /documents`: the body is the document.
pub(super) async fn upload(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    request: Request,
) -> Response {
    let response = async {
        let actor = viewer.require_actor()?;
        let document = store(&server, actor, request).await?;
        let body = description_json(&server, &document, &actor.user);
        let location =
            HeaderValue::from_str(&format!("/documents/{}", document.id)).map_err(Error::internal)?;
        Ok::<_, Error>((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response())
    };
    response.await.unwrap_or_else(|error| refuse(&error))
}

/// Stores the body of a request as a document of the actor.
pub(super) async fn store(server: &Server, actor: &Actor, request: Request) -> Result<document::Model> {
    require_octet_stream(request.headers())?;
    let description = read_description(request.headers())?;
    let (app, uploader) = (server.app.clone(), actor.clone());
    let upload = receive(server, actor, request, |bytes| async move {
        app.jobs.documents.upload(&uploader, description, bytes).await
    });
    upload.await
}

/// Passes the body of a request to `store`, which runs in its own task. If the client disconnects, the stream ends with
/// an error and `store` removes the partial upload.
pub(super) async fn receive<T, F>(
    server: &Server,
    actor: &Actor,
    request: Request,
    store: impl FnOnce(BodyDataStream) -> F,
) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    body::refuse_content_encoding(request.headers())?;
    let permit = server.transfer_quota.acquire(actor)?;
    let app = &server.app;
    let content_length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    app.jobs
        .documents
        .check_size(content_length.and_then(|length| length.parse().ok()).unwrap_or_default())?;
    let stored = store(body::end_at_shutdown(request.into_body(), app).into_data_stream());
    let upload = async move {
        let _permit = permit;
        stored.await
    };
    let upload = app.tasks.spawn(tracking::with_id(tracking::current(), upload.in_current_span()));
    upload.await.map_err(Error::internal)?
}

/// Returns the owner of a document.
pub(super) async fn owner(server: &Server, document: &document::Model) -> Result<account::Model> {
    let owner = account::Entity::find_by_id(document.owner_id).one(server.app.db.read()).await?;
    owner.ok_or_else(|| Error::internal("a document has no owner"))
}

/// Returns the JSON description of a document.
fn description_json(
    server: &Server,
    document: &document::Model,
    owner: &account::Model,
) -> serde_json::Value {
    let uri = server.app.jobs.documents.links().contents(document.id);
    let owner = json!({"id": owner.id, "email": owner.email, "name": owner.name});
    json!({
        "id": document.id, "name": document.name, "type": document.media_type, "size": document.size,
        "sha256": document.sha256, "contentsUri": uri, "owner": owner, "createdAt": document.created_at,
    })
}

/// `GET /documents/{id}`: the same description as in the response of `POST /documents`.
pub(super) async fn describe(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    let id = match path {
        Ok(Path(id)) => id,
        Err(rejection) => return refuse_request(rejection.status(), "PATH", rejection.body_text()),
    };
    let response = async {
        let document = find(&server, viewer, &id, LinkSignature::default()).await?;
        let owner = owner(&server, &document).await?;
        Ok::<_, Error>(Json(description_json(&server, &document, &owner)).into_response())
    };
    response.await.unwrap_or_else(|error| refuse(&error))
}

/// Refuses a body whose `Content-Type` is not `application/octet-stream`.
fn require_octet_stream(headers: &HeaderMap) -> Result<()> {
    if let Some(given) = headers.get(header::CONTENT_TYPE) {
        let parsed = given.to_str().ok().and_then(|text| text.parse::<mime::Mime>().ok());
        if parsed.is_none_or(|mime| mime.essence_str() != mime::APPLICATION_OCTET_STREAM) {
            let message = "Send the bytes as application/octet-stream, and their MIME type in X-Type.";
            return Err(Error::UnsupportedMedia(message.into()));
        }
    }
    Ok(())
}

/// Reads the name and MIME type of a document from the headers `X-Name` and `X-Type`.
pub(super) fn read_description(headers: &HeaderMap) -> Result<UploadInfo> {
    let name = headers.get(X_NAME).map(file_name::decode).transpose()?;
    let media_type = headers.get(X_TYPE).map(|value| {
        value
            .to_str()
            .map(str::to_owned)
            .map_err(|_| Error::invalid("/type", "INVALID", "X-Type is not a MIME type."))
    });
    Ok(UploadInfo { name, media_type: media_type.transpose()? })
}

/// Query parameters of a signed link.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LinkSignature {
    expires: Option<i64>,
    signature: Option<String>,
}

/// `GET` and `HEAD /documents/{id}/contents`.
pub(super) async fn contents(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<LinkSignature>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let (id, signature) = match (path, query) {
        (Ok(Path(id)), Ok(Query(signature))) => (id, signature),
        (Err(rejection), _) => return refuse_request(rejection.status(), "PATH", rejection.body_text()),
        (_, Err(rejection)) => return refuse_request(rejection.status(), "QUERY", rejection.body_text()),
    };
    let holder = QuotaHolder::from(&viewer);
    let response = async {
        let document = find(&server, viewer, &id, signature).await?;
        serve(&server, holder, &document, &method, &headers).await
    };
    response.await.unwrap_or_else(|error| refuse(&error))
}

async fn find(server: &Server, viewer: Viewer, id: &str, link: LinkSignature) -> Result<document::Model> {
    let missing = || Error::not_found("document");
    let app = &server.app;
    if let LinkSignature { expires: Some(expires), signature: Some(signature) } = link {
        let id = DocumentId::parse(id).ok_or_else(missing)?;
        if !app.jobs.documents.links().verify(id, expires, &signature, app.clock.now()) {
            return Err(Error::Forbidden("This link has expired, or this server did not sign it.".into()));
        }
        return document::Entity::find_by_id(id).one(app.db.read()).await?.ok_or_else(missing);
    }
    let actor = viewer.require_actor()?;
    app.jobs.document(actor, DocumentId::parse(id).ok_or_else(missing)?).await
}

/// Returns the bytes of a document, or the requested range of them. The caller has checked the access.
pub(super) async fn serve(
    server: &Server,
    holder: QuotaHolder,
    document: &document::Model,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response> {
    let size = u64::try_from(document.size).map_err(Error::internal)?;
    let etag = format!("\"{}\"", document.sha256);
    let if_range = headers.get(header::IF_RANGE);
    // A weak tag never matches here (RFC 9110 section 13.1.1).
    let matches = |list: &HeaderValue| {
        list.to_str().is_ok_and(|list| list.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag))
    };
    if headers.get(header::IF_MATCH).is_some_and(|list| !matches(list)) {
        let message = format!("The entity tag of the document is {etag}.");
        return Ok(refuse_request(StatusCode::PRECONDITION_FAILED, "IF_MATCH", message));
    }
    let mut response = if matches_etag(headers, header::IF_NONE_MATCH, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // With another tag in If-Range the whole document is sent. A weak tag never matches (RFC 9110 section 13.1.5).
        let is_current = if_range.is_none_or(|tag| tag.as_bytes() == etag.as_bytes());
        let range = headers.get(header::RANGE).filter(|_| is_current && method == Method::GET);
        match range.map(|range| single_range(range, size)) {
            None | Some(RequestedRange::Whole) => {
                body_response(server, holder, document, method, None, size).await?
            }
            Some(RequestedRange::Part(range)) => {
                body_response(server, holder, document, method, Some(range), size).await?
            }
            Some(RequestedRange::Unsatisfiable) => {
                let message =
                    format!("The range starts after the end of the document, which has {size} bytes.");
                let mut refused = refuse_request(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE", message);
                let whole = HeaderValue::from_str(&format!("bytes */{size}")).map_err(Error::internal)?;
                refused.headers_mut().insert(header::CONTENT_RANGE, whole);
                refused
                    .headers_mut()
                    .insert(header::ETAG, HeaderValue::from_str(&etag).map_err(Error::internal)?);
                return Ok(refused);
            }
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ETAG, etag),
        (header::ACCEPT_RANGES, "bytes".into()),
        (header::CACHE_CONTROL, "private".into()),
        (header::CONTENT_SECURITY_POLICY, "sandbox".into()),
        (header::CONTENT_DISPOSITION, disposition(&document.name)),
    ] {
        headers.insert(name, HeaderValue::from_str(&value).map_err(Error::internal)?);
    }
    Ok(response)
}

/// Returns whether a header lists an entity tag, weak or strong, or `*`.
pub(super) fn matches_etag(headers: &HeaderMap, name: HeaderName, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|list| list.split(',').map(strong).any(|tag| tag == "*" || tag == strong(etag)))
}

/// A requested range.
enum RequestedRange {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// Parses a `Range` header with one range.
///
/// Several ranges, an invalid header, and any range of an empty document select the whole document (RFC 9110 section
/// 14.2).
fn single_range(header: &HeaderValue, size: u64) -> RequestedRange {
    let text = header.to_str().unwrap_or_default();
    if text == "bytes=-0" && size > 0 {
        return RequestedRange::Unsatisfiable;
    }
    let parsed = parse_range_header(text).ok();
    let Some([range]) = parsed.as_ref().map(|parsed| parsed.ranges.as_slice()).filter(|_| size > 0) else {
        return RequestedRange::Whole;
    };
    match (range.start, range.end) {
        (StartPosition::Index(start), EndPosition::Index(end)) if end < start => RequestedRange::Whole,
        (StartPosition::Index(start), _) if start >= size => RequestedRange::Unsatisfiable,
        (StartPosition::Index(start), EndPosition::Index(end)) => {
            RequestedRange::Part(start..size.min(end.saturating_add(1)))
        }
        (StartPosition::Index(start), EndPosition::LastByte) => RequestedRange::Part(start..size),
        (StartPosition::FromLast(0), _) => RequestedRange::Unsatisfiable,
        // A suffix range longer than the document is the whole document (RFC 9110 section 14.1.2).
        (StartPosition::FromLast(last), _) => RequestedRange::Part(size.saturating_sub(last)..size),
    }
}

async fn body_response(
    server: &Server,
    holder: QuotaHolder,
    document: &document::Model,
    method: &Method,
    range: Option<Range<u64>>,
    size: u64,
) -> Result<Response> {
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    let mut response = if method == Method::HEAD || size == 0 {
        Response::new(Body::empty())
    } else {
        let permit = server.transfer_quota.acquire(holder)?;
        let stream = server.app.storage.get(&document.storage_key, range.clone()).await?;
        Response::new(Body::from_stream(stream.map_err(move |error| {
            // The closure holds the permit until the stream ends.
            let _permit = &permit;
            tracing::error!(%error, "download failed");
            std::io::Error::other("the download failed")
        })))
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let media_type = HeaderValue::from_str(&document.media_type).map_err(Error::internal)?;
    headers.insert(header::CONTENT_TYPE, media_type);
    if let Some(range) = range {
        let part = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&part).map_err(Error::internal)?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Returns `Content-Disposition` with an ASCII name for old clients and the full name (RFC 6266 section 5).
fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !"\"\\%;".contains(c) || c == ' ' { c } else { '_' })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ESCAPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_nul_is_refused() {
        let read_name = |name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_NAME, HeaderValue::from_str(name).unwrap());
            read_description(&headers).map(|description| description.name)
        };
        assert_eq!(read_name("UTF-8''a%20b"), Ok(Some("a b".into())));
        assert!(matches!(read_name("UTF-8''a%00b"), Err(Error::Invalid(_))));
    }

    #[test]
    fn ranges_follow_rfc_9110() {
        let parse = |text: &str, size| match single_range(&HeaderValue::from_str(text).unwrap(), size) {
            RequestedRange::Whole => "whole".to_owned(),
            RequestedRange::Part(range) => format!("{range:?}"),
            RequestedRange::Unsatisfiable => "unsatisfiable".to_owned(),
        };
        for (text, expected) in [
            ("bytes=0-0", "0..1"),
            ("bytes=5-", "5..10"),
            ("bytes=5-99", "5..10"),
            ("bytes=-3", "7..10"),
            ("bytes=-99999", "0..10"),
            ("bytes=-0", "unsatisfiable"),
            ("bytes=10-", "unsatisfiable"),
            ("bytes=5-2", "whole"),
            ("bytes=0-1,4-5", "whole"),
            ("lines=0-1", "whole"),
        ] {
            assert_eq!(parse(text, 10), expected, "{text}");
        }
        assert_eq!(parse("bytes=0-0", 0), "whole");
    }

    #[test]
    fn names_are_escaped_in_content_disposition() {
        assert_eq!(disposition("a b.pdf"), "attachment; filename=\"a b.pdf\"; filename*=UTF-8''a%20b.pdf");
        assert_eq!(
            disposition("März\"; x=\".pdf"),
            "attachment; filename=\"M_rz__ x=_.pdf\"; filename*=UTF-8''M%C3%A4rz%22%3B%20x%3D%22.pdf"
        );
    }
}
