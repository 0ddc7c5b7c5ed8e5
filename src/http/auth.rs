//! Authentication. A wrong credential refuses the request; without a credential the request is anonymous. Long
//! connections end with their credential.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::forwarded::client_address;
use super::{Server, refuse};
use crate::access::{Actor, Viewer};
use crate::app::App;
use crate::audit::{self, AuditEvent, AuditOrigin, Outcome};
use crate::clock::Clock;
use crate::error::{Error, Result};

/// Interval of credential checks. Connections of a key that another node revokes end within this time.
const CREDENTIAL_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Puts a [`Viewer`] into the request's extensions and counts the request for the viewer's rate limit.
pub(super) async fn authenticate(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let address = address(&server, &request);
    let viewer = viewer(&server, request.headers(), address).await;
    let counted = viewer.and_then(|viewer| server.rate_limits.count_request(&viewer).map(|()| viewer));
    match counted {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(error) => refuse(&error),
    }
}

/// Puts an anonymous [`Viewer`] into the request's extensions and counts the request for the rate limit of its network.
///
/// A login ignores the credential, because a client may still send a key that has expired.
pub(super) async fn ignore_credential(
    State(server): State<Server>,
    mut request: Request,
    next: Next,
) -> Response {
    let viewer = Viewer { actor: None, address: address(&server, &request) };
    match server.rate_limits.count_request(&viewer) {
        Ok(()) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(error) => refuse(&error),
    }
}

/// Returns the address of the client, which depends on `http.trusted_proxies`.
fn address(server: &Server, request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    peer.map(|peer| client_address(peer, request.headers(), &server.app.config.http.trusted_proxies))
}

async fn viewer(server: &Server, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Viewer> {
    let actor = match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            // A header that is not text counts like any other wrong credential.
            Some(actor(server, value.to_str().unwrap_or_default(), address).await?)
        }
        None => None,
    };
    Ok(Viewer { actor, address })
}

/// Returns the actor of an `Authorization` header, or of its value in `connection_init`.
///
/// A credential that is not known as good counts for the rate limit before it is looked up.
pub(super) async fn actor(server: &Server, authorization: &str, address: Option<IpAddr>) -> Result<Actor> {
    server.rate_limits.count_credential(authorization, address)?;
    let found = match credential(authorization) {
        Some(credential) => server.app.accounts.authenticate(&credential, address).await,
        None => Err(malformed()),
    };
    match &found {
        Ok(_) => server.rate_limits.remember(authorization),
        Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => {
            audit::record(AuditEvent::Credential, Outcome::Refused, AuditOrigin::address(address));
            server.rate_limits.forget(authorization, address)?;
        }
        Err(_) => {}
    }
    found
}

fn credential(authorization: &str) -> Option<String> {
    let (scheme, rest) = authorization.trim().split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => basic_user(rest.trim()),
        _ => None,
    }
}

/// Returns the user name of Basic authentication (RFC 7617), which is an API key. The password is ignored.
fn basic_user(encoded: &str) -> Option<String> {
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    Some(decoded.split_once(':').map_or(decoded.as_str(), |(user, _)| user).to_owned())
}

/// Resolves when the viewer's credential has expired or was revoked; never for a viewer without a credential.
pub(super) fn credential_ended(app: &App, viewer: &Viewer) -> impl Future<Output = ()> + Send + use<> {
    let (app, actor) = (app.clone(), viewer.actor.clone());
    async move {
        let Some(actor) = actor else { return std::future::pending().await };
        loop {
            // The wait for a revocation starts before the check, so that no revocation is missed in between.
            let revocation = app.accounts.wait_for_revocation(&actor);
            if !app.accounts.is_credential_valid(&actor).await {
                return;
            }
            // A revocation and a timeout both lead to another check.
            let _outcome = tokio::time::timeout(next_check(&app.clock, &actor), revocation).await;
        }
    }
}

/// Returns the time until the next check of a credential.
fn next_check(clock: &Clock, actor: &Actor) -> Duration {
    let until = actor.credential.expires_at.map(|at| (at - clock.now()).to_std().unwrap_or_default());
    let check = until.map_or(CREDENTIAL_CHECK_INTERVAL, |left| left.min(CREDENTIAL_CHECK_INTERVAL));
    check.max(Duration::from_millis(10))
}

fn malformed() -> Error {
    Error::Unauthenticated(
        "Authorization must be Bearer with a token or API key, or Basic with an API key as user name.".into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_user_name_is_the_key_with_any_password() {
        for text in ["user-live-x:", "user-live-x", "user-live-x:pa:ss"] {
            assert_eq!(basic_user(&BASE64_STANDARD.encode(text)).as_deref(), Some("user-live-x"));
        }
        assert_eq!(basic_user("%%%"), None);
    }
}
