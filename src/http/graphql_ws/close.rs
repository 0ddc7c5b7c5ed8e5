//! Why a connection ends, and the close code that says so.

use axum::extract::ws::CloseFrame;

use super::{PROTOCOL, Refused};

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The peer is told why, by a code and a reason.
    Close(u16, String),
    /// The peer sent a close frame.
    ClosedByPeer,
    /// Nobody is there to be told.
    Gone,
}

impl End {
    pub(super) fn invalid(message: impl std::fmt::Display) -> Self {
        Self::Close(4400, format!("Invalid message: {message}"))
    }

    pub(super) fn too_early() -> Self {
        Self::Close(4401, "Unauthorized: subscribe came before connection_ack".into())
    }

    pub(super) fn expired() -> Self {
        Self::Close(4401, "Unauthorized: the credential has ended".into())
    }

    pub(super) fn foreign_protocol() -> Self {
        Self::Close(4406, format!("Subprotocol not acceptable: this is {PROTOCOL}"))
    }

    pub(super) fn init_timeout() -> Self {
        Self::Close(4408, "Connection initialisation timeout".into())
    }

    pub(super) fn duplicate(id: &str) -> Self {
        Self::Close(4409, format!("Subscriber for {id} already exists"))
    }

    pub(super) fn second_init() -> Self {
        Self::Close(4429, "Too many initialisation requests".into())
    }

    pub(super) fn silent() -> Self {
        Self::Close(4499, "Terminated: no answer to a ping".into())
    }

    pub(super) fn stopping() -> Self {
        Self::Close(1001, "The server is stopping".into())
    }

    /// As it is sent; `None` where nothing is.
    pub(super) fn frame(&self) -> Option<CloseFrame> {
        match self {
            Self::Close(code, reason) => Some(CloseFrame { code: *code, reason: cut(reason).into() }),
            Self::ClosedByPeer | Self::Gone => None,
        }
    }
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Forbidden(reason) if reason.is_empty() => Self::Close(4403, "Forbidden".into()),
            Refused::Forbidden(reason) => Self::Close(4403, reason),
            Refused::Unavailable(reason) => Self::Close(1013, reason),
            Refused::Internal => Self::Close(4500, "Internal server error".into()),
        }
    }
}

/// A control frame carries 125 bytes (RFC 6455, section 5.5), two of which are the code. Cuts between characters.
fn cut(reason: &str) -> &str {
    const MOST: usize = 123;
    &reason[..reason.floor_char_boundary(MOST)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(124)).len(), 123);
        assert_eq!(cut(&"ä".repeat(100)).len(), 122);
    }
}
