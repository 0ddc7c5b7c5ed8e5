//! The sender of a request, on every transport.

use std::net::IpAddr;

use super::Actor;
use crate::error::{Error, Result};

/// Sender of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Viewer {
    /// The authenticated actor; `None` if the request has no credential.
    pub actor: Option<Actor>,
    /// Network address of the sender.
    pub address: Option<IpAddr>,
}

impl Viewer {
    /// Returns the actor. Fails with UNAUTHENTICATED if the request has no credential.
    pub(crate) fn require_actor(&self) -> Result<&Actor> {
        let message = "Sign in first: send Authorization: Bearer with a token or API key.";
        self.actor.as_ref().ok_or_else(|| Error::Unauthenticated(message.into()))
    }
}
