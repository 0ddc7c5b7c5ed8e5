//! The root of the façade, and the time limits of its requests.

use crate::error::Result;
use crate::http::{Server, deadline};

/// Root of the façade. The version is that of the original API.
pub(in crate::http) const ROOT: &str = "/v1.1";
/// Alternative root of the façade for older clients.
pub(in crate::http) const ALIAS: &str = "/v1";

/// Runs a read within the time limit of requests. The work is boxed, because it is large.
pub(super) fn run_read<'a, T>(
    server: &'a Server,
    work: impl Future<Output = Result<T>> + 'a,
) -> impl Future<Output = Result<T>> + 'a
where
    T: 'a,
{
    deadline::run_read(server, "request", Box::pin(work))
}

/// Runs a change to its end, even after the time limit or if the client disconnects. The work is boxed, because it is
/// large.
pub(super) fn run_change<T: Send + 'static>(
    server: &Server,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> impl Future<Output = Result<T>> {
    deadline::run_change(server, "change", Box::pin(work))
}
