//! Who sent a request. A credential that is wrong refuses the request; none at all makes it anonymous.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::forwarded::client_address;
use super::{Server, refuse};
use crate::access::Actor;
use crate::audit::{self, By, Event, Outcome};
use crate::error::{Error, Result};
use crate::graphql::Viewer;

/// Puts a [`Viewer`] into the request's extensions, and counts the request as theirs.
pub(super) async fn authenticate(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let address = address(&server, &request);
    let viewer = viewer(&server, request.headers(), address).await;
    let counted = viewer.and_then(|viewer| server.rates.request(&viewer).map(|()| viewer));
    match counted {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(error) => refuse(&error),
    }
}

/// Puts a [`Viewer`] without an account into the request's extensions, whatever credential comes with it, and counts the
/// request as its network's. For a login: a client may still send a key that has expired.
pub(super) async fn ignore_credential(
    State(server): State<Server>,
    mut request: Request,
    next: Next,
) -> Response {
    let viewer = Viewer { actor: None, address: address(&server, &request) };
    match server.rates.request(&viewer) {
        Ok(()) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(error) => refuse(&error),
    }
}

/// The address of the client, by the rule of `http.trusted_proxies`.
fn address(server: &Server, request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    peer.map(|peer| client_address(peer, request.headers(), &server.app.config.http.trusted_proxies))
}

async fn viewer(server: &Server, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Viewer> {
    let actor = match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            // A header that is no text is counted like any other credential that is wrong.
            Some(actor(server, value.to_str().unwrap_or_default(), address).await?)
        }
        None => None,
    };
    Ok(Viewer { actor, address })
}

/// Returns who an `Authorization` header, or its value in `connection_init`, names. A credential that was not seen lately
/// is counted before it is looked up.
pub(super) async fn actor(server: &Server, authorization: &str, address: Option<IpAddr>) -> Result<Actor> {
    server.rates.credential(authorization, address)?;
    let found = match credential(authorization) {
        Some(credential) => server.app.accounts.authenticate(&credential, address).await,
        None => Err(malformed()),
    };
    match &found {
        Ok(_) => server.rates.remember(authorization),
        Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => {
            audit::record(Event::Credential, Outcome::Refused, By::address(address));
            server.rates.forget(authorization, address)?;
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

/// The user name of Basic authentication (RFC 7617): an API key. The password does not matter.
fn basic_user(encoded: &str) -> Option<String> {
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    Some(decoded.split_once(':').map_or(decoded.as_str(), |(user, _)| user).to_owned())
}

fn malformed() -> Error {
    Error::Unauthenticated(
        "Authorization is Bearer with a token or API key, or Basic with an API key as user name.".into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_names_a_key_whatever_the_password() {
        for text in ["user-live-x:", "user-live-x", "user-live-x:pa:ss"] {
            assert_eq!(basic_user(&BASE64_STANDARD.encode(text)).as_deref(), Some("user-live-x"));
        }
        assert_eq!(basic_user("%%%"), None);
    }
}
