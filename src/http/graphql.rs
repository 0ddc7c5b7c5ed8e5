//! GraphQL over HTTP: a request is read, checked by the guard, run, and answered in the media type that was asked for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response as Answer, ServerError, Value, Variables};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{FromRequest, Multipart, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::Value as Json;
use tracing::Instrument;

use super::{Server, refuse, tracking};
use crate::document::{Described, Staged};
use crate::error::{Error, Result};
use crate::graphql::guard::{self, Checked};
use crate::graphql::{Uploads, Viewer};
use crate::telemetry::OPERATIONS;

const RESPONSE_JSON: &str = "application/graphql-response+json";
/// One of these shows that a browser has asked the server first whether another site may send the request.
const PREFLIGHT: [HeaderName; 2] = [
    HeaderName::from_static("graphql-require-preflight"),
    HeaderName::from_static("apollo-require-preflight"),
];
/// Errors of one response: who has these to mend is not helped by more.
const MOST_ERRORS: usize = 20;
/// Names of operations that are counted apart; clients choose them, so there has to be an end.
const COUNTED_NAMES: usize = 200;

/// A request as JSON (GraphQL over HTTP, section 5.3).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    query: Option<String>,
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<Json>,
    #[serde(default)]
    extensions: Option<Json>,
}

impl Body {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let json: Json = serde_json::from_slice(bytes).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Error::invalid("", "JSON", format!("The body is not JSON: it ends or goes wrong at {place}."))
        })?;
        if json.is_array() {
            return Err(Error::invalid(
                "",
                "BATCH",
                "Batches are not taken; send one operation in each request.",
            ));
        }
        serde_json::from_value(json)
            .map_err(|error| Error::invalid("", "SHAPE", format!("The request is malformed: {error}.")))
    }

    fn request(self) -> Result<Request> {
        let missing = || Error::invalid("/query", "REQUIRED", "The request has no query.");
        let mut request = Request::new(self.query.ok_or_else(missing)?);
        request.operation_name = self.operation_name.filter(|name| !name.is_empty());
        request.variables = match self.variables {
            None | Some(Json::Null) => Variables::default(),
            Some(object @ Json::Object(_)) => Variables::from_json(object),
            Some(_) => return Err(Error::invalid("/variables", "TYPE", "Variables are a JSON object.")),
        };
        if !matches!(self.extensions, None | Some(Json::Null | Json::Object(_))) {
            return Err(Error::invalid("/extensions", "TYPE", "Extensions are a JSON object."));
        }
        Ok(request)
    }
}

/// `POST /graphql`.
pub(super) async fn post(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    request: HttpRequest,
) -> Response {
    let headers = request.headers().clone();
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|text| text.parse::<mime::Mime>().ok());
    match media_type.as_ref().map(mime::Mime::essence_str) {
        Some("application/json") => {
            let limit = server.app.config.limits.request_bytes;
            let read = async {
                let bytes = body(request, limit).await?;
                Body::parse(&bytes)?.request()
            };
            match read.await {
                Ok(request) => answer(&server, viewer, request, &headers, None).await,
                Err(error) => refuse(&error),
            }
        }
        Some("multipart/form-data") => {
            if !PREFLIGHT.iter().any(|name| headers.contains_key(name)) {
                let message = "Multipart requests carry the header GraphQL-Require-Preflight: 1.";
                return refuse(&Error::invalid("", "PREFLIGHT", message));
            }
            match multipart(&server, &viewer, request).await {
                Ok((request, uploads)) => answer(&server, viewer, request, &headers, Some(uploads)).await,
                Err(error) => refuse(&error),
            }
        }
        _ => refuse(&Error::UnsupportedMedia("Send the request as application/json.".into())),
    }
}

/// The query string of a `GET`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Params {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

/// `GET /graphql`: queries only; an upgrade gets the WebSocket.
pub(super) async fn get(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    Query(params): Query<Params>,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Ok(socket) = socket {
        return super::socket::upgrade(State(server), Extension(viewer), socket).await;
    }
    let json = |name: &str, text: Option<String>| {
        let parsed = text.filter(|text| !text.is_empty()).map(|text| serde_json::from_str(&text)).transpose();
        parsed.map_err(|_| Error::invalid(format!("/{name}"), "JSON", "This parameter is not JSON."))
    };
    let read = || {
        let variables = json("variables", params.variables)?;
        let extensions = json("extensions", params.extensions)?;
        Body { query: params.query, operation_name: params.operation_name, variables, extensions }.request()
    };
    match read() {
        Ok(request) => match prepare(&server, &request, &tracking::current()) {
            Ok(checked) if checked.operation.kind == OperationType::Query => {
                run(&server, viewer, request, checked, &headers, None).await
            }
            Ok(_) => {
                let error =
                    Error::invalid("", "METHOD", "GET takes queries only; send the operation by POST.");
                let mut response = refuse(&error);
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
                response
            }
            Err(refusal) => send(&refusal, &headers),
        },
        Err(error) => refuse(&error),
    }
}

async fn body(request: HttpRequest, limit: usize) -> Result<Bytes> {
    axum::body::to_bytes(request.into_body(), limit).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            Error::TooLarge(format!("A request has {limit} bytes at the most."))
        } else {
            Error::invalid("", "BROKEN_OFF", "The request broke off.")
        }
    })
}

async fn answer(
    server: &Server,
    viewer: Viewer,
    request: Request,
    headers: &HeaderMap,
    uploads: Option<Uploads>,
) -> Response {
    match prepare(server, &request, &tracking::current()) {
        Ok(checked) => run(server, viewer, request, checked, headers, uploads).await,
        Err(refusal) => {
            if let Some(uploads) = uploads {
                discard(server, uploads.rest()).await;
            }
            send(&refusal, headers)
        }
    }
}

/// What every operation goes through before it is run, whatever it came by.
pub(super) fn prepare(server: &Server, request: &Request, tracking: &str) -> Result<Checked, Box<Answer>> {
    let limits = &server.app.config.graphql;
    guard::check(&request.query, request.operation_name.as_deref(), &request.variables, limits).map_err(
        |refusal| {
            count(request.operation_name.as_deref(), "none", refusal.code.as_str());
            Box::new(finished(refusal.into(), tracking))
        },
    )
}

async fn run(
    server: &Server,
    viewer: Viewer,
    mut request: Request,
    checked: Checked,
    headers: &HeaderMap,
    uploads: Option<Uploads>,
) -> Response {
    if checked.operation.kind == OperationType::Subscription {
        let message = "Subscriptions run over WebSocket at /graphql/ws (graphql-transport-ws).";
        return refuse(&Error::invalid("", "TRANSPORT", message));
    }
    let (kind, name) = (checked.operation.kind, request.operation_name.clone());
    checked.put_into(&mut request);
    let uploads = std::sync::Arc::new(uploads.unwrap_or_default());
    let request = request.data(viewer).data(std::sync::Arc::clone(&uploads));
    let response = match execute(server, kind, request).await {
        Ok(response) => response,
        Err(error) => return refuse(&error),
    };
    discard(server, uploads.rest()).await;
    let response = finished(response, &tracking::current());
    count(name.as_deref(), &kind.to_string(), outcome(&response));
    send(&response, headers)
}

/// Runs a query or mutation. A mutation that began ends, whether or not its client still waits for it.
async fn execute(server: &Server, kind: OperationType, request: Request) -> Result<Answer> {
    if kind != OperationType::Mutation {
        return Ok(crate::graphql::execute(&server.schema, &server.app, request).await);
    }
    let Server { schema, app, .. } = server.clone();
    let work = async move { crate::graphql::execute(&schema, &app, request).await }.in_current_span();
    server.app.tasks.spawn(tracking::within(tracking::current(), work)).await.map_err(Error::internal)
}

/// Gives every error its code and the request's ID.
pub(super) fn finished(mut response: Answer, tracking: &str) -> Answer {
    response.errors.truncate(MOST_ERRORS);
    for error in &mut response.errors {
        let request_error = error.path.is_empty();
        let values = error.extensions.get_or_insert_default();
        if values.get("code").is_none() {
            // Without a code of ours it is async-graphql's own: validation before the run, a scalar that did not parse in it.
            values.set("code", if request_error { "GRAPHQL_VALIDATION_FAILED" } else { "BAD_USER_INPUT" });
        }
        values.set("tracking", tracking);
    }
    response
}

fn send(response: &Answer, headers: &HeaderMap) -> Response {
    let accept = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect::<Vec<_>>()
        .join(",");
    let typed = accept.contains(RESPONSE_JSON);
    // Nothing was run: by this media type the status says so (GraphQL over HTTP, section 6.4.2).
    let refused = response.data == Value::Null && response.errors.iter().all(|error| error.path.is_empty());
    let status = match outcome(response) {
        _ if !typed || !refused || response.errors.is_empty() => StatusCode::OK,
        "UNAUTHENTICATED" => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    };
    let media_type = if typed {
        "application/graphql-response+json; charset=utf-8"
    } else {
        "application/json; charset=utf-8"
    };
    match serde_json::to_vec(response) {
        Ok(bytes) => {
            let mut answer = (status, [(header::CONTENT_TYPE, media_type)], bytes).into_response();
            for (name, value) in &response.http_headers {
                answer.headers_mut().append(name.clone(), value.clone());
            }
            answer
        }
        Err(error) => refuse(&Error::internal(error)),
    }
}

pub(super) fn outcome(response: &Answer) -> &str {
    let code = |error: &ServerError| match error.extensions.as_ref().and_then(|values| values.get("code")) {
        Some(Value::String(code)) => KNOWN.iter().find(|known| *known == code).copied(),
        _ => None,
    };
    response.errors.first().map_or("OK", |error| code(error).unwrap_or("INTERNAL_SERVER_ERROR"))
}

/// The codes of the contract, section 9.
const KNOWN: [&str; 15] = [
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    "BAD_USER_INPUT",
    "CONFLICT",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "RATE_LIMITED",
    "QUERY_TOO_COMPLEX",
    "TIMEOUT",
    "UNAVAILABLE",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "PERSISTED_QUERY_NOT_FOUND",
    "INTERNAL_SERVER_ERROR",
];

pub(super) fn count(name: Option<&str>, kind: &str, outcome: &str) {
    static NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let name = name.unwrap_or("(none)");
    let counted = {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.contains(name) || (names.len() < COUNTED_NAMES && names.insert(name.to_owned()))
    };
    let name = if counted { name } else { "(other)" }.to_owned();
    let labels = [("operation", name), ("type", kind.to_owned()), ("outcome", outcome.to_owned())];
    metrics::counter!(OPERATIONS, &labels).increment(1);
}

async fn discard(server: &Server, files: Vec<Staged>) {
    for file in files {
        server.app.jobs.documents.discard(file.key()).await;
    }
}

/// A multipart request (GraphQL multipart request specification): `operations`, `map`, then the files, each of which is
/// in the store before the operation runs.
async fn multipart(server: &Server, viewer: &Viewer, request: HttpRequest) -> Result<(Request, Uploads)> {
    if viewer.actor.is_none() {
        return Err(Error::Unauthenticated("Sign in before you upload.".into()));
    }
    let broken = |error: axum::extract::multipart::MultipartError| {
        Error::invalid("", "MULTIPART", format!("The multipart body is malformed: {}", error.body_text()))
    };
    let mut parts = Multipart::from_request(request, &()).await.map_err(|rejection| {
        Error::invalid("", "MULTIPART", format!("The multipart body is malformed: {rejection}"))
    })?;
    let (mut operations, mut map) = (None::<Json>, None::<Vec<(String, Vec<String>)>>);
    let mut files: Vec<Staged> = Vec::new();
    let outcome = loop {
        let part = match parts.next_field().await {
            Ok(Some(part)) => part,
            Ok(None) => break Ok(()),
            Err(error) => break Err(broken(error)),
        };
        let name = part.name().unwrap_or_default().to_owned();
        let read = match (name.as_str(), &mut operations, &map) {
            ("operations", None, _) => text(part, server).await.map(|json| operations = Some(json)),
            ("map", Some(_), None) => {
                text(part, server).await.and_then(|json| places(&json)).map(|places| map = Some(places))
            }
            (file, Some(operations), Some(places)) => match places.iter().find(|(key, _)| key == file) {
                Some((_, paths)) if files.len() < server.app.config.limits.request_files => {
                    let paths = paths.clone();
                    stage(server, part).await.and_then(|staged| {
                        files.push(staged);
                        paths.iter().try_for_each(|path| put(operations, path, files.len() - 1))
                    })
                }
                Some(_) => Err(Error::TooLarge(format!(
                    "A request has {} files at the most.",
                    server.app.config.limits.request_files
                ))),
                None => Err(Error::invalid("", "MULTIPART", "A file is not in the request's map.")),
            },
            _ => Err(Error::invalid("", "MULTIPART", "The parts are operations, then map, then the files.")),
        };
        if let Err(error) = read {
            break Err(error);
        }
    };
    let request = outcome.and_then(|()| {
        let missing = || Error::invalid("", "MULTIPART", "The request has no operations.");
        let body: Body = serde_json::from_value(operations.ok_or_else(missing)?).map_err(|error| {
            Error::invalid("/operations", "SHAPE", format!("The request is malformed: {error}."))
        })?;
        body.request()
    });
    match request {
        Ok(request) => Ok((request, Uploads::new(files))),
        Err(error) => {
            discard(server, files).await;
            Err(error)
        }
    }
}

async fn text(part: axum::extract::multipart::Field<'_>, server: &Server) -> Result<Json> {
    let limit = server.app.config.limits.request_bytes;
    let mut bytes = Vec::new();
    let mut part = part;
    while let Some(chunk) =
        part.chunk().await.map_err(|error| Error::invalid("", "MULTIPART", error.body_text()))?
    {
        if bytes.len() + chunk.len() > limit {
            return Err(Error::TooLarge(format!(
                "A request has {limit} bytes at the most besides its files."
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes)
        .map_err(|_| Error::invalid("", "JSON", "The parts operations and map are JSON."))
}

fn places(map: &Json) -> Result<Vec<(String, Vec<String>)>> {
    let wrong = || {
        Error::invalid("/map", "SHAPE", "The map names for each file a list of paths such as variables.file.")
    };
    let entries = map.as_object().ok_or_else(wrong)?;
    let paths = |value: &Json| -> Result<Vec<String>> {
        let list = value.as_array().ok_or_else(wrong)?;
        list.iter().map(|path| path.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    };
    entries.iter().map(|(key, value)| Ok((key.clone(), paths(value)?))).collect()
}

async fn stage(server: &Server, part: axum::extract::multipart::Field<'_>) -> Result<Staged> {
    let described = Described {
        name: part.file_name().map(str::to_owned),
        media_type: part.content_type().filter(|text| !text.is_empty()).map(str::to_owned),
    };
    let bytes = part.map_err(|error| error.body_text());
    Box::pin(server.app.jobs.documents.stage(described, Box::pin(bytes))).await
}

/// Puts the place of a file where the map says, in place of null.
fn put(operations: &mut Json, path: &str, place: usize) -> Result<()> {
    let pointer: String =
        path.split('.').map(|key| format!("/{}", crate::job_type::metadata::escape(key))).collect();
    match operations.pointer_mut(&pointer).filter(|_| pointer.starts_with("/variables/")) {
        Some(slot @ Json::Null) => {
            *slot = Json::String(Uploads::variable(place));
            Ok(())
        }
        _ => Err(Error::invalid(
            "/map",
            "PATH",
            format!("There is no null at {path} of the operations for a file."),
        )),
    }
}
