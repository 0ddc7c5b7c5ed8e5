//! The reasons for the end of a connection, and their close codes.

use axum::extract::ws::CloseFrame;

use super::{InitRefusal, PROTOCOL};

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The server closes the connection with a code and a reason.
    Close(u16, String),
    /// The peer sent a close frame.
    ClosedByPeer,
    /// The peer has disconnected, or does not read.
    Disconnected,
}

impl End {
    pub(super) fn invalid(message: impl std::fmt::Display) -> Self {
        Self::Close(4400, format!("Invalid message: {message}"))
    }

    pub(super) fn too_early() -> Self {
        Self::Close(4401, "Unauthorized: subscribe came before connection_ack".into())
    }

    pub(super) fn expired() -> Self {
        Self::Close(4401, "Unauthorized: the credential has expired or was revoked".into())
    }

    pub(super) fn unsupported_protocol() -> Self {
        Self::Close(4406, format!("Subprotocol not acceptable: use {PROTOCOL}"))
    }

    // The protocol defines the reasons of 4408, 4409 and 4429.
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
        Self::Close(1001, "The server is shutting down".into())
    }

    /// Returns the close frame to send, if any.
    pub(super) fn frame(&self) -> Option<CloseFrame> {
        match self {
            Self::Close(code, reason) => Some(CloseFrame { code: *code, reason: truncate(reason).into() }),
            Self::ClosedByPeer | Self::Disconnected => None,
        }
    }
}

impl From<InitRefusal> for End {
    fn from(refusal: InitRefusal) -> Self {
        match refusal {
            InitRefusal::Forbidden(reason) if reason.is_empty() => Self::Close(4403, "Forbidden".into()),
            InitRefusal::Forbidden(reason) => Self::Close(4403, reason),
            InitRefusal::Unavailable(reason) => Self::Close(1013, reason),
            InitRefusal::Internal => Self::Close(4500, "Internal server error".into()),
        }
    }
}

/// Truncates a reason between characters. A control frame has at most 125 bytes (RFC 6455, section 5.5), and the code
/// takes two of them.
fn truncate(reason: &str) -> &str {
    const MAX_REASON_BYTES: usize = 123;
    &reason[..reason.floor_char_boundary(MAX_REASON_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_truncated_between_characters() {
        assert_eq!(truncate("short"), "short");
        assert_eq!(truncate(&"x".repeat(124)).len(), 123);
        assert_eq!(truncate(&"ä".repeat(100)).len(), 122);
    }
}
