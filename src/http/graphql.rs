//! GraphQL over HTTP: a request is read, checked by the guard, run, and answered in the media type that was asked for.

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response as Answer, Value, Variables};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value as Json;
use tracing::Instrument;

use super::operation::{count, discard, execute, finished, outcome, prepare};
use super::{Server, multipart, refuse, rejected, tracking};
use crate::error::{Error, Result};
use crate::graphql::guard::Checked;
use crate::graphql::{Uploads, Viewer};

const RESPONSE_JSON: &str = "application/graphql-response+json";
/// One of these shows that a browser has asked the server first whether another site may send the request.
const PREFLIGHT: [HeaderName; 2] = [
    HeaderName::from_static("graphql-require-preflight"),
    HeaderName::from_static("apollo-require-preflight"),
];
/// A request as JSON (GraphQL over HTTP, section 5.3).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
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

    pub(super) fn request(self) -> Result<Request> {
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
            // A task of its own: a client that goes away ends the stream with an error, and what is stored by then is
            // removed.
            let tasks = server.app.tasks.clone();
            let work = async move {
                match multipart::read(&server, &viewer, request).await {
                    Ok((request, uploads)) => answer(&server, viewer, request, &headers, Some(uploads)).await,
                    Err(error) => refuse(&error),
                }
            };
            let work = tracking::within(tracking::current(), Box::pin(work.in_current_span()));
            tasks.spawn(work).await.unwrap_or_else(|error| refuse(&Error::internal(error)))
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
    params: Result<Query<Params>, QueryRejection>,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if socket.is_ok() {
        return super::socket::upgrade(State(server), Extension(viewer), socket).await;
    }
    let params = match params {
        Ok(Query(params)) => params,
        Err(rejection) => return rejected(rejection.status(), "QUERY", rejection.body_text()),
    };
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
        Ok(request) => match prepare(&server, &viewer, &request, &tracking::current()) {
            Ok(checked) if checked.operation.kind == OperationType::Query => {
                run(&server, viewer, request, checked, &headers, None).await
            }
            Ok(_) => {
                let message = "GET takes queries only; send the operation by POST.";
                let mut response = rejected(StatusCode::METHOD_NOT_ALLOWED, "METHOD", message);
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
                response
            }
            Err(refusal) => send(&refusal, &headers),
        },
        Err(error) => refuse(&error),
    }
}

/// The body of a request, where it is whole and not too large.
pub(super) async fn body(request: HttpRequest, limit: usize) -> Result<Bytes> {
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
    match prepare(server, &viewer, &request, &tracking::current()) {
        Ok(checked) => run(server, viewer, request, checked, headers, uploads).await,
        Err(refusal) => {
            if let Some(uploads) = uploads {
                discard(server, uploads.rest()).await;
            }
            send(&refusal, headers)
        }
    }
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
    let uploads = Arc::new(uploads.unwrap_or_default());
    let request = request.data(viewer).data(Arc::clone(&uploads));
    let response = match execute(server, kind, request, uploads).await {
        Ok(response) => response,
        Err(error) => return refuse(&error),
    };
    let response = finished(response, &tracking::current());
    count(name.as_deref(), &kind.to_string(), outcome(&response));
    send(&response, headers)
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
        // By any media type: what stands in between looks at the status too.
        "RATE_LIMITED" if refused => StatusCode::TOO_MANY_REQUESTS,
        _ if !typed || !refused || response.errors.is_empty() => StatusCode::OK,
        "UNAUTHENTICATED" => StatusCode::UNAUTHORIZED,
        "TIMEOUT" => StatusCode::GATEWAY_TIMEOUT,
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
