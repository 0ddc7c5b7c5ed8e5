//! The time limit of requests: at the deadline a read is dropped, but a change continues in the background.

use std::time::Duration;

use tokio::time::timeout;
use tracing::Instrument;

use super::{Server, tracking};
use crate::error::{Error, Result};

/// Runs a read, and drops it at the deadline. `noun` names it in the error message.
pub(super) async fn run_read<T>(
    server: &Server,
    noun: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let seconds = server.app.config.http.execution_seconds;
    let timed_out = || {
        Error::TimedOut(format!(
            "The {noun} took longer than {seconds} s and was canceled. Request less at once."
        ))
    };
    timeout(Duration::from_secs(seconds), work).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Runs a change to its end, even after the deadline or if the client disconnects. `noun` names it in the error
/// message.
pub(super) async fn run_change<T: Send + 'static>(
    server: &Server,
    noun: &str,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let seconds = server.app.config.http.execution_seconds;
    let work = tracking::with_id(tracking::current(), work.in_current_span());
    match timeout(Duration::from_secs(seconds), server.app.tasks.spawn(work)).await {
        Ok(result) => result.map_err(Error::internal)?,
        Err(_) => Err(Error::TimedOut(format!(
            "Timed out after {seconds} s. The {noun} continues in the background: check its effect before you send it \
             again."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::app::tests::open;

    #[tokio::test]
    async fn slow_read_times_out_and_slow_change_continues_in_the_background() {
        let (app, _dir) = open(|config| config.http.execution_seconds = 1).await;
        let server = super::super::tests::server(app.clone());
        let read = run_read(&server, "request", std::future::pending::<Result<()>>());
        let read = timeout(Duration::from_secs(60), read).await;
        assert!(matches!(read, Ok(Err(Error::TimedOut(_)))));
        let (resume, waiting) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let change = async move {
            waiting.await.map_err(Error::internal)?;
            done.send(()).map_err(|()| Error::internal("the receiver was dropped"))
        };
        let changed = timeout(Duration::from_secs(60), run_change(&server, "change", change)).await;
        assert!(matches!(changed, Ok(Err(Error::TimedOut(_)))));
        resume.send(()).unwrap();
        assert_eq!(ended.await, Ok(()));
    }
}
