//! Supervision of background tasks.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs a background task until `stop`. If it panics, logs that and restarts it after a pause.
pub(crate) fn supervise<F>(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    task: &'static str,
    pause: Duration,
    mut run: impl FnMut() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (runs, stop) = (tasks.clone(), stop.clone());
    tasks.spawn(async move {
        while !stop.is_cancelled() {
            if let Err(error) = runs.spawn(run()).await {
                tracing::error!(task, %error, "background task panicked, restarting");
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
    async fn panicked_task_is_restarted() {
        let (tasks, stop, runs) =
            (TaskTracker::new(), CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (counted, end) = (Arc::clone(&runs), stop.clone());
        let supervised = supervise(&tasks, &stop, "test", Duration::from_millis(1), move || {
            let (run, end) = (counted.fetch_add(1, Ordering::Relaxed), end.clone());
            async move {
                assert!(run == 2, "the first two runs panic");
                end.cancel();
            }
        });
        supervised.await.unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }
}
