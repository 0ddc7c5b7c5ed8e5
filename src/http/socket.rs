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

use super::graphql_ws::{self, Operations, Refused};
use super::session::{Place, credential_ended};
use super::{Parameters, Server, Written, auth, operation, rejected, tracking};
use crate::error::Error;
use crate::graphql::Viewer;

/// Serves a WebSocket, also where the upgrade comes to `/graphql` itself.
pub(super) async fn upgrade(
    State(server): State<Server>,
    Extension(viewer): Extension<Viewer>,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let socket = match socket {
        Ok(socket) => socket,
        Err(rejection) => return rejected(rejection.status(), "UPGRADE", rejection.body_text()),
    };
    let (tasks, stopping) = (server.app.tasks.clone(), server.app.stopping.clone());
    let settings = server.app.config.websocket.clone();
    let operations = Socket { server, upgrade: viewer, tracking: tracking::current() };
    graphql_ws::upgrade(socket, operations, settings, &tasks, stopping)
}

struct Socket {
    server: Server,
    /// Whoever the upgrade's header named.
    upgrade: Viewer,
    tracking: String,
}

impl Socket {
    fn address(&self) -> Option<IpAddr> {
        self.upgrade.address
    }
}

/// Who is connected, and the place that they take.
struct Session {
    viewer: Viewer,
    _place: Place,
}

impl Operations for Socket {
    type Session = Session;

    async fn init(&self, payload: Value) -> Result<Session, Refused> {
        let given = payload.as_object().and_then(|fields| {
            let named = |key: &&String| key.eq_ignore_ascii_case("authorization");
            fields.keys().find(named).map(|key| &fields[key]).filter(|value| !value.is_null())
        });
        // What is no text is no credential, and somebody who meant to give one is not nobody.
        let text = given.map(|value| value.as_str().ok_or("The Authorization of connection_init is a text."));
        let text = text.transpose().map_err(|wrong| Refused::Forbidden(wrong.to_owned()))?;
        let actor = match text {
            Some(authorization) => match auth::actor(&self.server, authorization, self.address()).await {
                Ok(actor) => Some(actor),
                Err(Error::Unauthenticated(message) | Error::Forbidden(message)) => {
                    return Err(Refused::Forbidden(message));
                }
                Err(Error::Unavailable(message)) => return Err(Refused::Unavailable(message)),
                Err(limited @ Error::RateLimited(_)) => return Err(Refused::Unavailable(limited.message())),
                Err(error) => {
                    tracing::error!(%error, "a connection could not be authenticated");
                    return Err(Refused::Internal);
                }
            },
            None => self.upgrade.actor.clone(),
        };
        let viewer = Viewer { actor, address: self.address() };
        match self.server.sockets.take(&viewer) {
            Ok(place) => Ok(Session { viewer, _place: place }),
            Err(error) => Err(Refused::Unavailable(error.message())),
        }
    }

    fn ended(&self, session: &Session) -> impl Future<Output = ()> + Send + 'static {
        credential_ended(&self.server.app, &session.viewer)
    }

    fn execute(&self, session: &Session, asked: Parameters) -> BoxStream<'static, Written> {
        let counted = self.server.rates.request(&session.viewer);
        let counted = counted.map_err(|error| Box::new(operation::ended(&self.server, &error)));
        let prepared =
            counted.and_then(|()| operation::prepare(&self.server, &session.viewer, asked, &self.tracking));
        match prepared {
            Ok(prepared) => operation::stream(&self.server, session.viewer.clone(), prepared, None),
            Err(refused) => stream::once(async { *refused }).boxed(),
        }
    }
}
