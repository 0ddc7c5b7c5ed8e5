//! `GET /graphql/ws`: the same operations as over HTTP, and subscriptions.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::Value;

use super::auth::credential_ended;
use super::graphql_ws::{self, InitRefusal, Operations};
use super::quota::QuotaPermit;
use super::{EncodedResponse, Parameters, Server, auth, operation, refuse_request, tracking};
use crate::access::Viewer;
use crate::error::Error;

/// Serves a WebSocket. The upgrade may also come to `/graphql` itself.
pub(super) async fn upgrade(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let socket = match socket {
        Ok(socket) => socket,
        Err(rejection) => return refuse_request(rejection.status(), "UPGRADE", rejection.body_text()),
    };
    let (tasks, stopping) = (server.app.tasks.clone(), server.app.stopping.clone());
    let settings = server.app.config.websocket.clone();
    let operations = Socket { server, viewer, tracking: tracking::current() };
    graphql_ws::upgrade(socket, operations, settings, &tasks, stopping)
}

struct Socket {
    server: Server,
    /// Viewer of the upgrade request.
    viewer: Viewer,
    tracking: String,
}

impl Socket {
    fn address(&self) -> Option<IpAddr> {
        self.viewer.address
    }
}

/// An open connection: its viewer and the permit that it holds.
struct Session {
    viewer: Viewer,
    _permit: QuotaPermit,
}

impl Operations for Socket {
    type Session = Session;

    async fn init(&self, payload: Value) -> Result<Session, InitRefusal> {
        let given = payload.as_object().and_then(|fields| {
            let is_authorization = |key: &&String| key.eq_ignore_ascii_case("authorization");
            fields.keys().find(is_authorization).map(|key| &fields[key]).filter(|value| !value.is_null())
        });
        // A value that is not a string is refused, because the client meant to authenticate.
        let text =
            given.map(|value| value.as_str().ok_or("Authorization in connection_init must be a string."));
        let text = text.transpose().map_err(|message| InitRefusal::Forbidden(message.to_owned()))?;
        let actor = match text {
            Some(authorization) => match auth::actor(&self.server, authorization, self.address()).await {
                Ok(actor) => Some(actor),
                Err(Error::Unauthenticated(message) | Error::Forbidden(message)) => {
                    return Err(InitRefusal::Forbidden(message));
                }
                Err(Error::Unavailable(message)) => return Err(InitRefusal::Unavailable(message)),
                Err(limited @ Error::RateLimited(_)) => {
                    return Err(InitRefusal::Unavailable(limited.message()));
                }
                Err(error) => {
                    tracing::error!(%error, "websocket authentication failed");
                    return Err(InitRefusal::Internal);
                }
            },
            None => self.viewer.actor.clone(),
        };
        let viewer = Viewer { actor, address: self.address() };
        match self.server.websocket_quota.acquire(&viewer) {
            Ok(permit) => Ok(Session { viewer, _permit: permit }),
            Err(error) => Err(InitRefusal::Unavailable(error.message())),
        }
    }

    fn credential_ended(&self, session: &Session) -> impl Future<Output = ()> + Send + 'static {
        credential_ended(&self.server.app, &session.viewer)
    }

    fn execute(&self, session: &Session, parameters: Parameters) -> BoxStream<'static, EncodedResponse> {
        let counted = self.server.rate_limits.count_request(&session.viewer);
        let counted = counted.map_err(|error| Box::new(operation::error_response(&self.server, &error)));
        let prepared = counted
            .and_then(|()| operation::prepare(&self.server, &session.viewer, parameters, &self.tracking));
        match prepared {
            Ok(prepared) => operation::stream(&self.server, session.viewer.clone(), prepared, None),
            Err(refused) => stream::once(async { *refused }).boxed(),
        }
    }
}
