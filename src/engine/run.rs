//! One claimed step from beginning to end.

use std::time::Duration;

use docket_extract::operation::{Operation, Outcome};
use docket_extract::{Failure, failure};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::claim::Claim;
use super::report::{Ask, Made, Results};
use super::{Engine, execute};
use crate::error::{Error, Result};
use crate::job::Jobs;
use crate::telemetry::{STEP_SECONDS, trace};

/// Progress is passed on so often at the most.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How a step ended, as far as the executor can say.
enum Ending {
    Done(Results),
    Failed(Failure),
    /// Something of ours went wrong; worth another attempt.
    Broken(Error),
    /// The lease is gone, or the server has to go.
    Stopped,
}

impl Engine {
    /// Does a step and hands in what came of it.
    pub(super) async fn run_claim(&self, claim: Claim, give_back: &CancellationToken) {
        let span = trace::step(&claim.job.id.to_string(), &claim.job.type_id, &claim.step, claim.attempt);
        async {
            let began = Instant::now();
            let ending = self.attempt(&claim, give_back).await;
            let (outcome, handed_in) = self.hand_in(&claim, ending, give_back.is_cancelled()).await;
            let seconds = began.elapsed().as_secs_f64();
            let labels = [("job_type", claim.job.type_id.clone()), ("step", claim.step.clone()), ("outcome", outcome.to_owned())];
            metrics::histogram!(STEP_SECONDS, &labels).record(seconds);
            trace::ended(&span, outcome);
            match handed_in {
                Ok(()) => tracing::info!(outcome, seconds, "step ended"),
                Err(Error::Conflict { message, .. }) => tracing::warn!(outcome, message, "the result was not taken"),
                Err(Error::NotFound(_)) => tracing::info!(outcome, "the job was deleted meanwhile"),
                Err(error) => tracing::error!(outcome, %error, "the result could not be handed in; its lease will run out"),
            }
        }
        .instrument(span.clone())
        .await;
    }

    async fn hand_in(&self, claim: &Claim, ending: Ending, leaving: bool) -> (&'static str, Result<()>) {
        match ending {
            Ending::Done(results) => {
                let outcome = if results.ask.is_some() { "review" } else { "completed" };
                (outcome, self.jobs.complete(claim, results).await.map(drop))
            }
            Ending::Failed(failure) => {
                let (code, retryable) = (failure.code.as_str(), failure.code.retryable());
                tracing::info!(code, failure.message, "the document cannot be read");
                ("failed", self.jobs.fail(claim, code.to_owned(), failure.message, retryable).await.map(drop))
            }
            Ending::Broken(error) => {
                tracing::error!(%error, "the step broke");
                let message = "Something went wrong on the server while it did this step.".to_owned();
                ("broken", self.jobs.fail(claim, "INTERNAL".into(), message, true).await.map(drop))
            }
            Ending::Stopped if leaving => ("given_back", self.jobs.give_back(claim).await.map(drop)),
            Ending::Stopped => ("lost", Ok(())),
        }
    }

    async fn attempt(&self, claim: &Claim, give_back: &CancellationToken) -> Ending {
        let stop = give_back.child_token();
        let (progress, seen) = watch::channel((0.0_f64, String::new()));
        let work = self.work(claim, &progress, &stop);
        let keep = self.keep(claim, seen);
        tokio::pin!(work);
        tokio::select! {
            ended = &mut work => ended.unwrap_or_else(Ending::Broken),
            () = keep => {
                // Let the child be killed before anybody else may begin.
                stop.cancel();
                match work.await {
                    Ok(Ending::Done(results)) => self.drop_made(results.made).await,
                    Ok(_) => {}
                    Err(error) => tracing::info!(%error, "after its lease was lost, the step broke"),
                }
                Ending::Stopped
            }
        }
    }

    async fn drop_made(&self, made: Vec<Made>) {
        for made in made {
            self.jobs.documents.discard(&made.stored.key).await;
        }
    }

    /// Renews the lease at a third of its time and passes progress on; returns when the lease is lost. Stops by its own
    /// clock at two thirds of a lease that could not be renewed, while it still holds.
    async fn keep(&self, claim: &Claim, mut progress: watch::Receiver<(f64, String)>) {
        let lease = Duration::from_secs(self.settings.lease_seconds.into());
        let mut renewed = Instant::now();
        let mut told = Instant::now();
        loop {
            let wake = tokio::select! {
                () = tokio::time::sleep_until(renewed + lease / 3) => true,
                changed = progress.changed() => changed.is_ok(),
            };
            if !wake {
                // The work has ended; its outcome decides.
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(told + PROGRESS_EVERY).await;
            let (fraction, message) = progress.borrow_and_update().clone();
            let message = (!message.is_empty()).then_some(message.as_str());
            let asked = Instant::now();
            let renewal = self.jobs.renew(claim, self.settings.lease_seconds, fraction, message);
            match tokio::time::timeout_at(renewed + lease * 2 / 3, renewal).await {
                Ok(Ok(Some(_))) => renewed = asked,
                Ok(Ok(None)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => {
                    tracing::warn!("the lease could not be renewed in time: the database does not answer");
                    return;
                }
            }
            if renewed.elapsed() >= lease * 2 / 3 {
                return;
            }
            told = Instant::now();
        }
    }

    async fn work(
        &self,
        claim: &Claim,
        progress: &watch::Sender<(f64, String)>,
        stop: &CancellationToken,
    ) -> Result<Ending> {
        let Some(operation) = execute::operation(&self.jobs, claim).await? else {
            return Ok(Ending::Done(Results::default()));
        };
        let folder = tempfile::Builder::new()
            .prefix("step-")
            .tempdir_in(self.settings.workdir.path())
            .map_err(Error::internal)?;
        let inputs = execute::inputs(&self.jobs, claim, &operation, folder.path()).await?;
        match self.in_child(operation, &inputs, folder.path(), progress, stop).await {
            Ok(outcome) => {
                let ending = self.store(claim, outcome).await?;
                tokio::task::spawn_blocking(move || drop(folder)).await.map_err(Error::internal)?;
                Ok(ending)
            }
            Err(Failure { code: failure::Code::Cancelled, .. }) => Ok(Ending::Stopped),
            Err(failure) => Ok(Ending::Failed(failure)),
        }
    }

    async fn in_child(
        &self,
        operation: Operation,
        inputs: &std::collections::BTreeMap<String, std::path::PathBuf>,
        folder: &std::path::Path,
        progress: &watch::Sender<(f64, String)>,
        stop: &CancellationToken,
    ) -> Result<Outcome, Failure> {
        let settings = &self.settings;
        let tell = |fraction: f32, message: &str| {
            progress.send_if_modified(|(known, text)| {
                let fraction = f64::from(fraction);
                let news = fraction - *known >= 0.01 || text != message;
                if news {
                    *known = known.max(fraction);
                    message.clone_into(text);
                }
                news
            });
        };
        let run = docket_extract::child::run(
            &settings.program,
            operation,
            inputs,
            folder,
            &settings.limits,
            tell,
            stop.clone(),
        );
        Box::pin(run).await
    }

    async fn store(&self, claim: &Claim, outcome: Outcome) -> Result<Ending> {
        let mut made = Vec::new();
        for content in outcome.outputs {
            let key = Jobs::content_key(claim, content.role);
            match self.jobs.storage.put_file(key, &content.path).await {
                Ok(stored) => made.push(Made {
                    role: content.role.to_owned(),
                    name: content.name.to_owned(),
                    media_type: content.mime.to_owned(),
                    stored,
                }),
                Err(error) => {
                    self.drop_made(made).await;
                    return Err(error);
                }
            }
        }
        let ask = match outcome.review {
            Some(review) => {
                let items: Result<Vec<_>, _> = review.items.iter().map(serde_json::to_value).collect();
                Some(Ask {
                    reason: review.reason,
                    role: review.content_role,
                    items: items.map_err(Error::internal)?,
                })
            }
            None => None,
        };
        Ok(Ending::Done(Results { made, ask, scored: outcome.scored }))
    }
}
