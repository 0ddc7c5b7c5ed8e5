//! `GET /graphql/ws`: the same operations as over HTTP, and subscriptions.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Request;
use async_graphql::parser::types::OperationType;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;

use super::graphql_ws::{self, Execution, Operations, Refused};
use super::operation::{count, execute, failed, finished, outcome, prepare};
use super::{Server, auth, rejected, tracking};
use crate::access::Actor;
use crate::error::Error;
use crate::graphql::Viewer;
use crate::telemetry::SUBSCRIPTIONS;

/// A key that another node ends, ends its connections within this time.
const CREDENTIAL_CHECK: Duration = Duration::from_secs(30);

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

impl Operations for Socket {
    type Session = Viewer;

    async fn init(&self, payload: Value) -> Result<Viewer, Refused> {
        let given = payload.as_object().and_then(|fields| {
            let named = |key: &&String| key.eq_ignore_ascii_case("authorization");
            fields.keys().find(named).and_then(|key| fields[key].as_str())
        });
        let actor = match given {
            Some(authorization) => match auth::actor(&self.server, authorization, self.address()).await {
                Ok(actor) => Some(actor),
                Err(Error::Unauthenticated(message) | Error::Forbidden(message)) => {
                    return Err(Refused::Forbidden(message));
                }
                Err(Error::Unavailable(message)) => return Err(Refused::Unavailable(message)),
                Err(error) => {
                    tracing::error!(%error, "a connection could not be authenticated");
                    return Err(Refused::Internal);
                }
            },
            None => self.upgrade.actor.clone(),
        };
        Ok(Viewer { actor, address: self.address() })
    }

    fn ended(&self, session: &Viewer) -> impl Future<Output = ()> + Send + 'static {
        let (app, actor) = (self.server.app.clone(), session.actor.clone());
        async move {
            let Some(actor) = actor else { return std::future::pending().await };
            loop {
                // Before looking, so that nothing falls in between.
                let revocation = app.accounts.revocation(&actor);
                if !app.accounts.still_good(&actor).await {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(left(&app.clock, &actor)) => {}
                    () = revocation => {}
                }
            }
        }
    }

    fn execute(&self, session: &Viewer, request: Request) -> Execution {
        let mut request = request;
        let counted = self.server.rates.request(session);
        let counted = counted.map_err(|error| Box::new(finished(failed(&error), &self.tracking)));
        let checked = counted.and_then(|()| prepare(&self.server, session, &request, &self.tracking));
        let checked = match checked {
            Ok(checked) => checked,
            Err(refusal) => {
                let responses = stream::once(async { *refusal }).boxed();
                return Execution { kind: OperationType::Query, responses };
            }
        };
        let (kind, name) = (checked.operation.kind, request.operation_name.clone());
        checked.put_into(&mut request);
        let request = request.data(session.clone());
        let tracking = self.tracking.clone();
        let open = (kind == OperationType::Subscription).then(Open::new);
        let mut counted = false;
        let server = self.server.clone();
        let run = match kind {
            OperationType::Subscription => {
                crate::graphql::execute_stream(&server.schema, &server.app, request).boxed()
            }
            _ => stream::once(async move {
                let ran = execute(&server, kind, request, Arc::default()).await;
                ran.unwrap_or_else(|error| failed(&error))
            })
            .boxed(),
        };
        let responses = run.map(move |response| {
            let _open = &open;
            let response = finished(response, &tracking);
            if !std::mem::replace(&mut counted, true) {
                count(name.as_deref(), &kind.to_string(), outcome(&response));
            }
            response
        });
        Execution { kind, responses: responses.boxed() }
    }
}

fn left(clock: &crate::clock::Clock, actor: &Actor) -> Duration {
    let until = actor.credential.expires_at.map(|at| (at - clock.now()).to_std().unwrap_or_default());
    let check = until.map_or(CREDENTIAL_CHECK, |left| left.min(CREDENTIAL_CHECK));
    check.max(Duration::from_millis(10))
}

/// Counts a subscription for as long as it is open.
struct Open;

impl Open {
    fn new() -> Self {
        metrics::gauge!(SUBSCRIPTIONS).increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(SUBSCRIPTIONS).decrement(1.0);
    }
}
