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

use super::session::Who;
use super::{Server, body, file_name, refuse, rejected, tracking};
use crate::access::Actor;
use crate::document::Described;
use crate::entity::{account, document};
use crate::error::{Error, Result};
use crate::graphql::Viewer;
use crate::id::DocumentId;

const X_NAME: HeaderName = HeaderName::from_static("x-name");
const X_TYPE: HeaderName = HeaderName::from_static("x-type");
/// What a parameter of a header may hold unescaped (RFC 8187 section 3.2.1).
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// `POST /documents`: the body is the document.
pub(super) async fn upload(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    request: Request,
) -> Response {
    let answer = async {
        let actor = signed_in(viewer)?;
        let document = store(&server, &actor, request).await?;
        let body = description(&server, &document, &actor.user);
        let location =
            HeaderValue::from_str(&format!("/documents/{}", document.id)).map_err(Error::internal)?;
        Ok::<_, Error>((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response())
    };
    answer.await.unwrap_or_else(|error| refuse(&error))
}

/// Stores the body of a request as a document of the actor's.
pub(super) async fn store(server: &Server, actor: &Actor, request: Request) -> Result<document::Model> {
    octet_stream(request.headers())?;
    let described = described(request.headers())?;
    let (app, uploader) = (server.app.clone(), actor.clone());
    let upload = receive(server, actor, request, |bytes| async move {
        app.jobs.documents.upload(&uploader, described, bytes).await
    });
    upload.await
}

/// Hands the body of a request to `take`, which stores it, in a task of its own: a client that goes away ends the stream
/// with an error, and `take` cleans up after itself.
pub(super) async fn receive<T, F>(
    server: &Server,
    actor: &Actor,
    request: Request,
    take: impl FnOnce(BodyDataStream) -> F,
) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    body::not_encoded(request.headers())?;
    let place = server.transfers.take(actor)?;
    let app = &server.app;
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    app.jobs.documents.fits(announced.and_then(|length| length.parse().ok()).unwrap_or_default())?;
    let taken = take(body::ending(request.into_body(), app).into_data_stream());
    let upload = async move {
        let _place = place;
        taken.await
    };
    let stored = app.tasks.spawn(tracking::within(tracking::current(), upload.in_current_span()));
    stored.await.map_err(Error::internal)?
}

/// Whose a document is.
pub(super) async fn owner(server: &Server, document: &document::Model) -> Result<account::Model> {
    let owner = account::Entity::find_by_id(document.owner_id).one(server.app.db.read()).await?;
    owner.ok_or_else(|| Error::internal("a document whose owner is gone"))
}

/// What a document is, as JSON.
fn description(server: &Server, document: &document::Model, owner: &account::Model) -> serde_json::Value {
    let uri = server.app.jobs.documents.links().contents(document.id);
    let owner = json!({"id": owner.id, "email": owner.email, "name": owner.name});
    json!({
        "id": document.id, "name": document.name, "type": document.media_type, "size": document.size,
        "sha256": document.sha256, "contentsUri": uri, "owner": owner, "createdAt": document.created_at,
    })
}

/// `GET /documents/{id}`: what `POST /documents` answered, for whoever may read the document.
pub(super) async fn describe(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    let id = match path {
        Ok(Path(id)) => id,
        Err(rejection) => return rejected(rejection.status(), "PATH", rejection.body_text()),
    };
    let answer = async {
        let document = find(&server, viewer, &id, Signed::default()).await?;
        let owner = owner(&server, &document).await?;
        Ok::<_, Error>(Json(description(&server, &document, &owner)).into_response())
    };
    answer.await.unwrap_or_else(|error| refuse(&error))
}

/// Refuses a body that is not labeled as plain bytes.
fn octet_stream(headers: &HeaderMap) -> Result<()> {
    if let Some(given) = headers.get(header::CONTENT_TYPE) {
        let parsed = given.to_str().ok().and_then(|text| text.parse::<mime::Mime>().ok());
        if parsed.is_none_or(|mime| mime.essence_str() != mime::APPLICATION_OCTET_STREAM) {
            let message = "Send the bytes as application/octet-stream, and their own type in X-Type.";
            return Err(Error::UnsupportedMedia(message.into()));
        }
    }
    Ok(())
}

/// Reads name and MIME type of a document from the headers `X-Name` and `X-Type`.
pub(super) fn described(headers: &HeaderMap) -> Result<Described> {
    let name = headers.get(X_NAME).map(file_name::decode).transpose()?;
    let media_type = headers.get(X_TYPE).map(|value| {
        value
            .to_str()
            .map(str::to_owned)
            .map_err(|_| Error::invalid("/type", "INVALID", "X-Type is not a MIME type."))
    });
    Ok(Described { name, media_type: media_type.transpose()? })
}

/// What a signed link carries.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Signed {
    expires: Option<i64>,
    signature: Option<String>,
}

/// `GET` and `HEAD /documents/{id}/contents`.
pub(super) async fn contents(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<Signed>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let (id, signed) = match (path, query) {
        (Ok(Path(id)), Ok(Query(signed))) => (id, signed),
        (Err(rejection), _) => return rejected(rejection.status(), "PATH", rejection.body_text()),
        (_, Err(rejection)) => return rejected(rejection.status(), "QUERY", rejection.body_text()),
    };
    let who = Who::from(&viewer);
    let answer = async {
        let document = find(&server, viewer, &id, signed).await?;
        serve(&server, who, &document, &method, &headers).await
    };
    answer.await.unwrap_or_else(|error| refuse(&error))
}

async fn find(server: &Server, viewer: Viewer, id: &str, signed: Signed) -> Result<document::Model> {
    let missing = || Error::not_found("document");
    let app = &server.app;
    if let Signed { expires: Some(expires), signature: Some(signature) } = signed {
        let id = DocumentId::parse(id).ok_or_else(missing)?;
        if !app.jobs.documents.links().verify(id, expires, &signature, app.clock.now()) {
            return Err(Error::Forbidden("This link has expired, or is not one of this server's.".into()));
        }
        return document::Entity::find_by_id(id).one(app.db.read()).await?.ok_or_else(missing);
    }
    let actor = signed_in(viewer)?;
    app.jobs.document(&actor, DocumentId::parse(id).ok_or_else(missing)?).await
}

/// The bytes of a document that the client may read, or as much of them as it wants.
pub(super) async fn serve(
    server: &Server,
    who: Who,
    document: &document::Model,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response> {
    let size = u64::try_from(document.size).map_err(Error::internal)?;
    let etag = format!("\"{}\"", document.sha256);
    let if_range = headers.get(header::IF_RANGE);
    // A weak tag never matches here (RFC 9110 section 13.1.1).
    let same = |list: &HeaderValue| {
        list.to_str().is_ok_and(|list| list.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag))
    };
    if headers.get(header::IF_MATCH).is_some_and(|list| !same(list)) {
        let message = format!("The document has the entity tag {etag}.");
        return Ok(rejected(StatusCode::PRECONDITION_FAILED, "IF_MATCH", message));
    }
    let mut response = if names_tag(headers, header::IF_NONE_MATCH, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // A range of something that changed meanwhile is of no use, and a weak tag does not tell (RFC 9110 section 13.1.5).
        let fresh = if_range.is_none_or(|tag| tag.as_bytes() == etag.as_bytes());
        let asked = headers.get(header::RANGE).filter(|_| fresh && method == Method::GET);
        match asked.map(|range| single_range(range, size)) {
            None | Some(Asked::Whole) => body(server, who, document, method, None, size).await?,
            Some(Asked::Part(range)) => body(server, who, document, method, Some(range), size).await?,
            Some(Asked::Unsatisfiable) => {
                let message = format!("The document has {size} bytes; the range begins behind them.");
                let mut refused = rejected(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE", message);
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

/// Whether a header names an entity tag, weak or not.
pub(super) fn names_tag(headers: &HeaderMap, name: HeaderName, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|list| list.split(',').map(strong).any(|tag| tag == "*" || tag == strong(etag)))
}

enum Asked {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// One range is served; several, and what cannot be read, get the whole (RFC 9110 section 14.2 allows both). So does every
/// range of an empty document, which has no byte to name.
fn single_range(header: &HeaderValue, size: u64) -> Asked {
    let text = header.to_str().unwrap_or_default();
    if text == "bytes=-0" && size > 0 {
        return Asked::Unsatisfiable;
    }
    let parsed = parse_range_header(text).ok();
    let Some([range]) = parsed.as_ref().map(|parsed| parsed.ranges.as_slice()).filter(|_| size > 0) else {
        return Asked::Whole;
    };
    match (range.start, range.end) {
        (StartPosition::Index(start), EndPosition::Index(end)) if end < start => Asked::Whole,
        (StartPosition::Index(start), _) if start >= size => Asked::Unsatisfiable,
        (StartPosition::Index(start), EndPosition::Index(end)) => {
            Asked::Part(start..size.min(end.saturating_add(1)))
        }
        (StartPosition::Index(start), EndPosition::LastByte) => Asked::Part(start..size),
        (StartPosition::FromLast(0), _) => Asked::Unsatisfiable,
        // The end of something shorter is all of it (RFC 9110 section 14.1.2).
        (StartPosition::FromLast(last), _) => Asked::Part(size.saturating_sub(last)..size),
    }
}

async fn body(
    server: &Server,
    who: Who,
    document: &document::Model,
    method: &Method,
    range: Option<Range<u64>>,
    size: u64,
) -> Result<Response> {
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    let mut response = if method == Method::HEAD || size == 0 {
        Response::new(Body::empty())
    } else {
        let place = server.transfers.take(who)?;
        let stream = server.app.storage.get(&document.storage_key, range.clone()).await?;
        Response::new(Body::from_stream(stream.map_err(move |error| {
            // Held for as long as the stream.
            let _place = &place;
            tracing::error!(%error, "a download broke off");
            std::io::Error::other("the download broke off")
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

/// The name in ASCII for old clients, and whole (RFC 6266 section 5).
fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !"\"\\%;".contains(c) || c == ' ' { c } else { '_' })
        .collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ATTRIBUTE))
}

pub(super) fn signed_in(viewer: Viewer) -> Result<Actor> {
    let none = "Sign in first: send Authorization: Bearer and a token or API key.";
    viewer.actor.ok_or_else(|| Error::Unauthenticated(none.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_nul() {
        let named = |name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_NAME, HeaderValue::from_str(name).unwrap());
            described(&headers).map(|described| described.name)
        };
        assert_eq!(named("UTF-8''a%20b"), Ok(Some("a b".into())));
        assert!(matches!(named("UTF-8''a%00b"), Err(Error::Invalid(_))));
    }

    #[test]
    fn a_range_is_what_rfc_9110_says() {
        let asked = |text: &str, size| match single_range(&HeaderValue::from_str(text).unwrap(), size) {
            Asked::Whole => "whole".to_owned(),
            Asked::Part(range) => format!("{range:?}"),
            Asked::Unsatisfiable => "unsatisfiable".to_owned(),
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
            assert_eq!(asked(text, 10), expected, "{text}");
        }
        assert_eq!(asked("bytes=0-0", 0), "whole");
    }

    #[test]
    fn names_survive_headers() {
        assert_eq!(disposition("a b.pdf"), "attachment; filename=\"a b.pdf\"; filename*=UTF-8''a%20b.pdf");
        assert_eq!(
            disposition("März\"; x=\".pdf"),
            "attachment; filename=\"M_rz__ x=_.pdf\"; filename*=UTF-8''M%C3%A4rz%22%3B%20x%3D%22.pdf"
        );
    }
}
