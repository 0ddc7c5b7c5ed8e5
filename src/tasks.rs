//! Tasks that keep the house.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs work until `stop`, and again where it panics, after a pause: nobody would notice that it is not done any more.
pub fn keep_up<F>(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    what: &'static str,
    pause: Duration,
    mut work: impl FnMut() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (runs, stop) = (tasks.clone(), stop.clone());
    tasks.spawn(async move {
        while !stop.is_cancelled() {
            if let Err(error) = runs.spawn(work()).await {
                tracing::error!(what, %error, "what keeps the house broke; it goes on");
                stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_panics_is_run_again() {
        let (tasks, stop, runs) =
            (TaskTracker::new(), CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (counted, end) = (Arc::clone(&runs), stop.clone());
        let kept = keep_up(&tasks, &stop, "test", Duration::from_millis(1), move || {
            let (run, end) = (counted.fetch_add(1, Ordering::Relaxed), end.clone());
            async move {
                assert!(run == 2, "it breaks twice");
                end.cancel();
            }
        });
        kept.await.unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }
}
