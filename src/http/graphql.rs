//! GraphQL over HTTP: reads a request, runs its operation, and responds with JSON or with a stream of events.

use async_graphql::parser::types::OperationType;
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mime::Mime;
use tracing::Instrument;

use super::negotiate::{Accepted, JsonType};
use super::operation::{self, discard_files, prepare};
use super::parameters::{Parameters, QueryString};
use super::response::EncodedResponse;
use super::{Server, body, multipart, refuse, refuse_request, sse, tracking};
use crate::access::Viewer;
use crate::error::{Code, Error, Result};
use crate::graphql::Uploads;

/// Headers that force a browser to send a preflight request before a request from another site.
const PREFLIGHT: [HeaderName; 2] = [
    HeaderName::from_static("graphql-require-preflight"),
    HeaderName::from_static("apollo-require-preflight"),
];

/// `POST /graphql` and `POST /graphql/stream`.
pub(super) async fn post(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    Extension(accepted): Extension<Accepted>,
    request: HttpRequest,
) -> Response {
    let media_type = media_type(request.headers());
    match media_type.as_ref().map(Mime::essence_str) {
        Some("application/json") => {
            let limit = server.app.config.limits.request_bytes;
            let read = async { Parameters::from_slice(&body::read(request, limit).await?) };
            match read.await {
                Ok(parameters) => respond(&server, viewer, parameters, &Method::POST, accepted, None).await,
                Err(error) => refuse(&error),
            }
        }
        Some("multipart/form-data") => {
            if !PREFLIGHT.iter().any(|name| request.headers().contains_key(name)) {
                let message = "A multipart request must have the header GraphQL-Require-Preflight: 1.";
                return refuse(&Error::invalid("", "PREFLIGHT", message));
            }
            // The request runs in its own task. If the client disconnects, the stream ends with an error, and the task
            // removes the stored files.
            let tasks = server.app.tasks.clone();
            let work = async move {
                match multipart::read(&server, &viewer, request).await {
                    Ok((parameters, uploads)) => {
                        respond(&server, viewer, parameters, &Method::POST, accepted, Some(uploads)).await
                    }
                    Err(error) => refuse(&error),
                }
            };
            let work = tracking::with_id(tracking::current(), Box::pin(work.in_current_span()));
            tasks.spawn(work).await.unwrap_or_else(|error| refuse(&Error::internal(error)))
        }
        _ => refuse(&Error::UnsupportedMedia("Send the request as application/json, in UTF-8.".into())),
    }
}

/// Returns the media type of a body, unless its charset is unsupported.
fn media_type(headers: &HeaderMap) -> Option<Mime> {
    let media_type: Mime = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.parse().ok()?;
    let is_other_charset = media_type.get_param(mime::CHARSET).is_some_and(|charset| charset != mime::UTF_8);
    (!is_other_charset).then_some(media_type)
}

/// `GET /graphql` and `GET /graphql/stream`: all operations except mutations. An upgrade opens a WebSocket.
pub(super) async fn get(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    Extension(accepted): Extension<Accepted>,
    params: Result<Query<QueryString>, QueryRejection>,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if socket.is_ok() {
        return super::socket::upgrade(State(server), Extension(viewer), socket).await;
    }
    let params = match params {
        Ok(Query(params)) => params,
        Err(rejection) => return refuse_request(rejection.status(), "QUERY", rejection.body_text()),
    };
    match Parameters::try_from(params) {
        Ok(parameters) => respond(&server, viewer, parameters, &Method::GET, accepted, None).await,
        Err(error) => refuse(&error),
    }
}

async fn respond(
    server: &Server,
    viewer: Viewer,
    parameters: Parameters,
    method: &Method,
    accepted: Accepted,
    uploads: Option<Uploads>,
) -> Response {
    let prepared = match prepare(server, &viewer, parameters, &tracking::current()) {
        Ok(prepared) if method == Method::GET && prepared.kind == OperationType::Mutation => {
            Err(refuse_mutation_by_get())
        }
        Ok(prepared) if prepared.kind == OperationType::Subscription && !accepted.events => {
            let message = "Send subscriptions with Accept: text/event-stream, or over WebSocket at /graphql/ws \
                           (graphql-transport-ws).";
            Err(refuse(&Error::invalid("", "TRANSPORT", message)))
        }
        Ok(prepared) => Ok(prepared),
        Err(refused) => Err(match accepted.json_type {
            Some(json_type) => json_response(*refused, json_type),
            None => sse::once(server, *refused),
        }),
    };
    match (prepared, accepted.json_type) {
        (Ok(prepared), Some(json_type)) if prepared.kind != OperationType::Subscription => {
            json_response(operation::run(server, viewer, prepared, uploads).await, json_type)
        }
        (Ok(prepared), _) => sse::run(server, viewer, prepared, uploads).await,
        (Err(response), _) => {
            if let Some(uploads) = uploads {
                discard_files(server, uploads.take_remaining()).await;
            }
            response
        }
    }
}

fn refuse_mutation_by_get() -> Response {
    let message = "GET does not run mutations. Send the operation by POST.";
    let mut response = refuse_request(StatusCode::METHOD_NOT_ALLOWED, "METHOD", message);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// Returns a JSON response.
///
/// With `application/graphql-response+json` the status tells whether the operation has run. With `application/json` the
/// status is 200 (GraphQL over HTTP, "Status Codes").
fn json_response(encoded: EncodedResponse, json_type: JsonType) -> Response {
    let status = match encoded.error_code {
        // With any media type, because proxies use this status too.
        Some(Code::RateLimited) if !encoded.has_run => StatusCode::TOO_MANY_REQUESTS,
        Some(code) if json_type != JsonType::Json && !encoded.has_run => status(code),
        _ => StatusCode::OK,
    };
    let first = encoded.request_errors.first();
    let retry_after = first.and_then(|error| error.extensions.as_ref()?.get("retryAfterSeconds").cloned());
    let content_type = [(header::CONTENT_TYPE, json_type.content_type())];
    let mut response = (status, content_type, encoded.json).into_response();
    if let Some(seconds) = retry_after.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// Returns the status of a request that did not run.
fn status(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::NotFound
        | Code::BadInput
        | Code::Conflict
        | Code::TooLarge
        | Code::UnsupportedMedia
        | Code::TooComplex
        | Code::ParseFailed
        | Code::ValidationFailed
        | Code::NotPersisted => StatusCode::BAD_REQUEST,
    }
}
