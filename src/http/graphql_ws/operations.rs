//! The part of a connection that depends on the schema and on credentials.

use std::future::Future;

use futures_util::stream::BoxStream;

use crate::http::{EncodedResponse, Parameters};

/// The name of the subprotocol in `Sec-WebSocket-Protocol`.
pub(crate) const PROTOCOL: &str = "graphql-transport-ws";

/// The work of the server for one connection.
pub(crate) trait Operations: Send + Sync + 'static {
    /// The authenticated state of a connection.
    type Session: Send + Sync + 'static;

    /// Authenticates `connection_init`. `payload` is an object, or null if the client sent none.
    fn init(
        &self,
        payload: serde_json::Value,
    ) -> impl Future<Output = Result<Self::Session, InitRefusal>> + Send;

    /// Resolves when the session's credential has expired or was revoked; never for a credential without an end.
    fn credential_ended(&self, session: &Self::Session) -> impl Future<Output = ()> + Send + 'static;

    /// Starts an operation. Implementations return at once and do the work when the stream is polled.
    ///
    /// The stream has one response for a query or mutation, and any number for a subscription. A response with request
    /// errors becomes an `error` and ends the operation; other responses become `next`. A panic ends only this
    /// operation.
    fn execute(&self, session: &Self::Session, parameters: Parameters)
    -> BoxStream<'static, EncodedResponse>;
}

/// The reason why `connection_init` is refused. The texts go to the client, truncated to 123 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InitRefusal {
    /// The credentials are missing or wrong: close code 4403.
    Forbidden(String),
    /// The server cannot accept the connection now: close code 1013, upon which clients retry later.
    Unavailable(String),
    /// An internal error: close code 4500, without its cause.
    Internal,
}
