//! Runs one claimed step from its claim to its result.

use std::time::Duration;

use docket_extract::operation::{Operation, Outcome};
use docket_extract::{Failure, failure};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Engine, execute};
use crate::error::{Error, Result};
use crate::job::Jobs;
use crate::job::queue::{Claim, Output, OutputDocument, ReviewRequest, StepFailure, StepResult};
use crate::telemetry::{STEP_SECONDS, trace};

/// Minimum time between two progress reports.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Minimum difference of two fractions of progress that are reported.
const PROGRESS_STEP: f64 = 0.01;

/// How a step has ended, as far as the executor knows.
enum Ending {
    Completed(StepResult),
    Failed(Failure),
    /// An error of the server. Another attempt can succeed.
    Broken(Error),
    /// The lease is lost, or the server shuts down.
    Stopped,
}

impl Engine {
    /// Runs a claimed step and submits its result.
    pub(super) async fn run_claim(&self, claim: Claim, release: &CancellationToken) {
        let span =
            trace::step_span(&claim.job.id.to_string(), &claim.job.type_id, &claim.step, claim.attempt);
        async {
            let started = Instant::now();
            let ending = self.attempt(&claim, release).await;
            let (outcome, submitted) = self.submit(&claim, ending, release.is_cancelled()).await;
            let seconds = started.elapsed().as_secs_f64();
            let (job_type, step) = (claim.job.type_id.clone(), claim.step.clone());
            let labels = [("job_type", job_type), ("step", step), ("outcome", outcome.to_owned())];
            metrics::histogram!(STEP_SECONDS, &labels).record(seconds);
            trace::record_step_outcome(&span, outcome);
            match submitted {
                Ok(()) => tracing::info!(outcome, seconds, "step ended"),
                Err(Error::Conflict { message, .. }) => tracing::warn!(outcome, message, "result refused"),
                Err(Error::NotFound(_)) => {
                    tracing::info!(outcome, "result discarded: the job was deleted");
                }
                Err(error) => {
                    tracing::error!(outcome, %error, "failed to submit the result; its lease will expire")
                }
            }
        }
        .instrument(span.clone())
        .await;
    }

    /// Reports how a step has ended. Returns the outcome for the metrics.
    async fn submit(&self, claim: &Claim, ending: Ending, is_shutdown: bool) -> (&'static str, Result<()>) {
        match ending {
            Ending::Completed(result) => {
                let outcome = if result.review.is_some() { "review" } else { "completed" };
                (outcome, self.jobs.complete_step(claim.holder(), result).await.map(drop))
            }
            Ending::Failed(Failure { code, message, .. }) => {
                tracing::info!(code = code.as_str(), message, "step failed: the document cannot be read");
                let (code, retryable) = (code.as_str().to_owned(), code.is_retryable());
                ("failed", self.fail(claim, StepFailure { code, message, retryable }).await)
            }
            Ending::Broken(error) => {
                tracing::error!(%error, "step failed: internal error");
                let message = "An internal error of the server has stopped the step.".to_owned();
                let failure = StepFailure { code: "INTERNAL".into(), message, retryable: true };
                ("broken", self.fail(claim, failure).await)
            }
            Ending::Stopped if is_shutdown => {
                ("given_back", self.jobs.release_step(claim.holder()).await.map(drop))
            }
            Ending::Stopped => ("lost", Ok(())),
        }
    }

    async fn fail(&self, claim: &Claim, failure: StepFailure) -> Result<()> {
        self.jobs.fail_step(claim.holder(), failure).await.map(drop)
    }

    async fn attempt(&self, claim: &Claim, release: &CancellationToken) -> Ending {
        let stop = release.child_token();
        let (progress, reports) = watch::channel((0.0_f64, String::new()));
        let work = self.execute(claim, &progress, &stop);
        let keep_lease = self.keep_lease(claim, reports);
        tokio::pin!(work);
        tokio::select! {
            ended = &mut work => ended.unwrap_or_else(Ending::Broken),
            () = keep_lease => {
                // The child process must have ended before another worker may start.
                stop.cancel();
                match work.await {
                    Ok(Ending::Completed(result)) => self.discard(result.outputs).await,
                    Ok(_) => {}
                    Err(error) => tracing::info!(%error, "step failed after its lease was lost"),
                }
                Ending::Stopped
            }
        }
    }

    async fn discard(&self, outputs: Vec<Output>) {
        for output in outputs {
            if let OutputDocument::New { stored, .. } = output.document {
                self.jobs.documents.discard(&stored.key).await;
            }
        }
    }

    /// Renews the lease after each third of its duration, and stores progress. Returns when the lease is lost. If the lease
    /// cannot be renewed, returns after two thirds of its duration by the clock of this process, while it still holds.
    async fn keep_lease(&self, claim: &Claim, mut progress: watch::Receiver<(f64, String)>) {
        let lease = Duration::from_secs(self.settings.lease_seconds.into());
        let mut renewed = Instant::now();
        let mut reported = Instant::now();
        loop {
            let is_running = tokio::select! {
                () = tokio::time::sleep_until(renewed + lease / 3) => true,
                changed = progress.changed() => changed.is_ok(),
            };
            if !is_running {
                // The step has ended; its outcome decides.
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(reported + PROGRESS_INTERVAL).await;
            let (fraction, message) = progress.borrow_and_update().clone();
            let message = (!message.is_empty()).then_some(message.as_str());
            let requested = Instant::now();
            let renewal = self.jobs.renew_lease(claim, self.settings.lease_seconds, fraction, message);
            match tokio::time::timeout_at(renewed + lease * 2 / 3, renewal).await {
                Ok(Ok(Some(_))) => renewed = requested,
                Ok(Ok(None)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "failed to renew a lease"),
                Err(_) => {
                    tracing::warn!("failed to renew a lease: the database does not respond");
                    return;
                }
            }
            if renewed.elapsed() >= lease * 2 / 3 {
                return;
            }
            reported = Instant::now();
        }
    }

    async fn execute(
        &self,
        claim: &Claim,
        progress: &watch::Sender<(f64, String)>,
        stop: &CancellationToken,
    ) -> Result<Ending> {
        let Some(operation) = execute::operation(&self.jobs, claim).await? else {
            return Ok(Ending::Completed(StepResult::default()));
        };
        let folder = tempfile::Builder::new()
            .prefix("step-")
            .tempdir_in(self.settings.workdir.path())
            .map_err(Error::internal)?;
        let inputs = execute::inputs(&self.jobs, claim, &operation, folder.path()).await?;
        match self.run_child(operation, &inputs, folder.path(), progress, stop).await {
            Ok(outcome) => {
                let ending = self.store(claim, outcome).await?;
                tokio::task::spawn_blocking(move || drop(folder)).await.map_err(Error::internal)?;
                Ok(ending)
            }
            Err(Failure { code: failure::Code::Cancelled, .. }) => Ok(Ending::Stopped),
            Err(failure) => Ok(Ending::Failed(failure)),
        }
    }

    async fn run_child(
        &self,
        operation: Operation,
        inputs: &std::collections::BTreeMap<String, std::path::PathBuf>,
        folder: &std::path::Path,
        progress: &watch::Sender<(f64, String)>,
        stop: &CancellationToken,
    ) -> Result<Outcome, Failure> {
        let settings = &self.settings;
        let report = |fraction: f32, message: &str| {
            progress.send_if_modified(|(last, text)| {
                let fraction = f64::from(fraction);
                let is_changed = fraction - *last >= PROGRESS_STEP || text != message;
                if is_changed {
                    *last = last.max(fraction);
                    message.clone_into(text);
                }
                is_changed
            });
        };
        let run = docket_extract::child::run(
            &settings.program,
            operation,
            inputs,
            folder,
            &settings.limits,
            report,
            stop.clone(),
        );
        Box::pin(run).await
    }

    /// Stores the outputs of a child process.
    async fn store(&self, claim: &Claim, outcome: Outcome) -> Result<Ending> {
        let mut outputs = Vec::new();
        for content in outcome.outputs {
            let key = Jobs::output_key(claim, content.role);
            match self.jobs.storage.put_file(key, &content.path).await {
                Ok(stored) => {
                    let (name, media_type) = (content.name.to_owned(), content.mime.to_owned());
                    let document = OutputDocument::New { name, media_type, stored };
                    outputs.push(Output { role: content.role.to_owned(), document });
                }
                Err(error) => {
                    self.discard(outputs).await;
                    return Err(error);
                }
            }
        }
        let review = match outcome.review {
            Some(review) => {
                let items: Result<Vec<_>, _> = review.items.iter().map(serde_json::to_value).collect();
                let (reason, role) = (review.reason, review.content_role);
                Some(ReviewRequest { reason, role, items: items.map_err(Error::internal)? })
            }
            None => None,
        };
        Ok(Ending::Completed(StepResult { outputs, review, scored: outcome.scored }))
    }
}
