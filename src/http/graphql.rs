//! GraphQL over HTTP: a request is read, goes through the front door, and is answered as its client accepts it, at once or
//! as a stream of events.

use async_graphql::parser::types::OperationType;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mime::Mime;
use tracing::Instrument;

use super::answer::Written;
use super::body::not_encoded;
use super::negotiate::{Accepted, Whole};
use super::operation::{self, discard, prepare};
use super::parameters::{Parameters, QueryString};
use super::{Server, multipart, refuse, rejected, sse, tracking};
use crate::error::{Code, Error, Result};
use crate::graphql::{Uploads, Viewer};

/// One of these shows that a browser has asked the server first whether another site may send the request.
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
            let read = async { Parameters::from_slice(&body(request, limit).await?) };
            match read.await {
                Ok(asked) => answer(&server, viewer, asked, &Method::POST, accepted, None).await,
                Err(error) => refuse(&error),
            }
        }
        Some("multipart/form-data") => {
            if !PREFLIGHT.iter().any(|name| request.headers().contains_key(name)) {
                let message = "Multipart requests carry the header GraphQL-Require-Preflight: 1.";
                return refuse(&Error::invalid("", "PREFLIGHT", message));
            }
            // A task of its own: a client that goes away ends the stream with an error, and what is stored by then is
            // removed.
            let tasks = server.app.tasks.clone();
            let work = async move {
                match multipart::read(&server, &viewer, request).await {
                    Ok((asked, uploads)) => {
                        answer(&server, viewer, asked, &Method::POST, accepted, Some(uploads)).await
                    }
                    Err(error) => refuse(&error),
                }
            };
            let work = tracking::within(tracking::current(), Box::pin(work.in_current_span()));
            tasks.spawn(work).await.unwrap_or_else(|error| refuse(&Error::internal(error)))
        }
        _ => refuse(&Error::UnsupportedMedia("Send the request as application/json, in UTF-8.".into())),
    }
}

/// The type of a body, where it is one that can be read.
fn media_type(headers: &HeaderMap) -> Option<Mime> {
    let media_type: Mime = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.parse().ok()?;
    let foreign = media_type.get_param(mime::CHARSET).is_some_and(|charset| charset != mime::UTF_8);
    (!foreign).then_some(media_type)
}

/// `GET /graphql` and `GET /graphql/stream`: anything but mutations; an upgrade gets the WebSocket.
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
        Err(rejection) => return rejected(rejection.status(), "QUERY", rejection.body_text()),
    };
    match Parameters::try_from(params) {
        Ok(asked) => answer(&server, viewer, asked, &Method::GET, accepted, None).await,
        Err(error) => refuse(&error),
    }
}

/// The body of a request, where it is whole and not too large.
pub(super) async fn body(request: HttpRequest, limit: usize) -> Result<Bytes> {
    not_encoded(request.headers())?;
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
    asked: Parameters,
    method: &Method,
    accepted: Accepted,
    uploads: Option<Uploads>,
) -> Response {
    let prepared = match prepare(server, &viewer, asked, &tracking::current()) {
        Ok(prepared) if method == Method::GET && prepared.kind == OperationType::Mutation => {
            Err(mutation_by_get())
        }
        Ok(prepared) if prepared.kind == OperationType::Subscription && !accepted.events => {
            let message = "Subscriptions run as an event stream (Accept: text/event-stream), or over WebSocket at \
                           /graphql/ws (graphql-transport-ws).";
            Err(refuse(&Error::invalid("", "TRANSPORT", message)))
        }
        Ok(prepared) => Ok(prepared),
        Err(refused) => Err(match accepted.whole {
            Some(whole) => send(*refused, whole),
            None => sse::once(server, *refused),
        }),
    };
    match (prepared, accepted.whole) {
        (Ok(prepared), Some(whole)) if prepared.kind != OperationType::Subscription => {
            send(operation::run(server, viewer, prepared, uploads).await, whole)
        }
        (Ok(prepared), _) => sse::run(server, viewer, prepared, uploads).await,
        (Err(response), _) => {
            if let Some(uploads) = uploads {
                discard(server, uploads.rest()).await;
            }
            response
        }
    }
}

fn mutation_by_get() -> Response {
    let message = "GET takes queries only; send the operation by POST.";
    let mut response = rejected(StatusCode::METHOD_NOT_ALLOWED, "METHOD", message);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// By `application/graphql-response+json` the status says whether anything was run; by `application/json` it says that the
/// answer is GraphQL's ("Status Codes").
fn send(answer: Written, whole: Whole) -> Response {
    let status = match answer.outcome {
        // By any media type: what stands in between looks at the status too.
        Some(Code::RateLimited) if !answer.ran => StatusCode::TOO_MANY_REQUESTS,
        Some(code) if whole != Whole::Json && !answer.ran => status(code),
        _ => StatusCode::OK,
    };
    let wait =
        answer.refused.first().and_then(|error| error.extensions.as_ref()?.get("retryAfterSeconds").cloned());
    let mut response = (status, [(header::CONTENT_TYPE, whole.content_type())], answer.json).into_response();
    if let Some(seconds) = wait.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// The status of a request that was not run.
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
