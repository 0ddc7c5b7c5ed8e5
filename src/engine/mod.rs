//! The engine: runs the steps of the built-in job types, releases expired leases and claims, and removes what is no longer
//! needed. `job::decide` decides what is legal.
//!
//! ```text
//!   queue ──claim──► run in a child process ──complete / fail──► next step
//!                │     lease renewed after each third of its duration;
//!                │     child process stopped when the lease is lost
//!                └── lease expires ──reaper──► queue again, or FAILED
//! ```

mod execute;
mod run;
mod workdir;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account::remove_expired_logins;
use crate::config::Config;
use crate::error::Result;
use crate::job::Jobs;
use crate::job::retention::Removed;
use crate::job_type::{DATA_POINT_EXTRACTION, INDEXING, NOOP};
use crate::review;
use crate::tasks::supervise;
use workdir::Workdir;

/// Leases or claims that the reaper releases in one round.
const REAPER_PAGE: u64 = 100;
/// Time between two runs of the collector.
const COLLECT_INTERVAL: Duration = Duration::from_secs(3600);
/// Minimum age of the objects that the collector removes: bytes are stored before the row that names them is committed.
const COLLECT_AGE: TimeDelta = TimeDelta::hours(1);
/// Age of its last write at which an unfinished upload is removed. A slow upload writes seldom: one part at a time.
const UNFINISHED_UPLOAD_AGE: TimeDelta = TimeDelta::days(1);

/// Runs the steps of the built-in job types. Clones share one engine.
#[derive(Debug, Clone)]
pub struct Engine {
    jobs: Jobs,
    settings: Arc<Settings>,
    running: TaskTracker,
}

#[derive(Debug)]
struct Settings {
    /// The name of this engine, random for each process: a reused name would hide the work folders of its predecessor.
    name: String,
    lease_seconds: u32,
    poll_interval: Duration,
    shutdown_timeout: Duration,
    concurrency: Arc<Semaphore>,
    types: Vec<String>,
    workdir: Workdir,
    program: PathBuf,
    limits: docket_extract::child::Limits,
    /// Age at which TEST jobs and documents are removed; `None` keeps them.
    test_retention: Option<TimeDelta>,
}

impl Engine {
    /// Returns an engine whose child processes run the program of this process. Nothing runs yet.
    pub fn new(jobs: Jobs, config: &Config) -> std::io::Result<Self> {
        Self::with_program(jobs, config, std::env::current_exe()?)
    }

    /// Returns an engine whose child processes run another program, which must implement `extract-child`.
    pub fn with_program(jobs: Jobs, config: &Config, program: PathBuf) -> std::io::Result<Self> {
        let name = format!("engine-{:08x}", rand::random::<u32>());
        let workdir = Workdir::open(&config.data_dir.join("work"), &name)?;
        let settings = Settings {
            name,
            lease_seconds: config.engine.lease_seconds,
            poll_interval: Duration::from_millis(config.engine.poll_milliseconds),
            shutdown_timeout: Duration::from_secs(config.engine.shutdown_seconds),
            concurrency: Arc::new(Semaphore::new(config.engine_concurrency)),
            types: [DATA_POINT_EXTRACTION, INDEXING, NOOP].map(str::to_owned).to_vec(),
            workdir,
            program,
            limits: config.extract.clone(),
            test_retention: match config.retention.test_days {
                0 => None,
                days => TimeDelta::try_days(days.into()),
            },
        };
        Ok(Self { jobs, settings: Arc::new(settings), running: TaskTracker::new() })
    }

    /// Claims and runs steps until `stop`. Then claims no more, waits for the running steps up to the shutdown timeout, and
    /// releases the rest.
    pub async fn run(&self, stop: CancellationToken) {
        let release = CancellationToken::new();
        let (engine, until) = (self.clone(), stop.clone());
        let reaper = supervise(&self.running, &stop, "reaper", self.settings.poll_interval, move || {
            let (engine, until) = (engine.clone(), until.clone());
            async move { engine.reap_until(&until).await }
        });
        let (engine, until) = (self.clone(), stop.clone());
        let collector =
            supervise(&self.running, &stop, "collector", self.settings.poll_interval, move || {
                let (engine, until) = (engine.clone(), until.clone());
                async move { engine.collect_until(&until).await }
            });
        let queued = self.jobs.hub.queue().subscribe(&self.settings.types);
        while !stop.is_cancelled() {
            let claimed = match self.claim_and_start(&stop, &release).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::error!(%error, "failed to claim steps");
                    0
                }
            };
            if claimed > 0 {
                continue;
            }
            tokio::select! {
                () = queued.notified() => {}
                () = tokio::time::sleep(self.settings.poll_interval) => {}
                () = stop.cancelled() => {}
            }
        }
        self.running.close();
        if tokio::time::timeout(self.settings.shutdown_timeout, self.running.wait()).await.is_err() {
            release.cancel();
            self.running.wait().await;
        }
        for (task, handle) in [("reaper", reaper), ("collector", collector)] {
            if let Err(error) = handle.await {
                tracing::error!(task, %error, "background task panicked during shutdown");
            }
        }
    }

    /// Waits until a step may run, claims as many steps as may run at once, and starts them. Returns how many.
    async fn claim_and_start(&self, stop: &CancellationToken, release: &CancellationToken) -> Result<usize> {
        let settings = &self.settings;
        let first = tokio::select! {
            // A stopping server claims nothing, even if a step may run.
            biased;
            () = stop.cancelled() => return Ok(0),
            permit = Arc::clone(&settings.concurrency).acquire_owned() => permit,
        };
        let Ok(first) = first else { return Ok(0) };
        let mut permits = vec![first];
        while let Ok(permit) = Arc::clone(&settings.concurrency).try_acquire_owned() {
            permits.push(permit);
        }
        let (limit, lease_seconds) = (permits.len(), settings.lease_seconds);
        let claims = self.jobs.claim_steps(&settings.name, &settings.types, limit, lease_seconds).await?;
        let claimed = claims.len();
        for (claim, permit) in claims.into_iter().zip(permits) {
            let (engine, release) = (self.clone(), release.clone());
            self.running.spawn(async move {
                engine.run_claim(claim, &release).await;
                drop(permit);
            });
        }
        Ok(claimed)
    }

    /// Removes expired rows and objects. May be dropped at any await: the next run removes the rest.
    async fn collect(&self) {
        let now = self.jobs.clock.now();
        if let Some(retention) = self.settings.test_retention {
            match self.jobs.remove_test_data(now.checked_sub_signed(retention).unwrap_or_default()).await {
                Ok(removed) if removed == Removed::default() => {}
                Ok(Removed { jobs, documents }) => {
                    tracing::info!(jobs, documents, "removed expired TEST jobs and documents");
                }
                Err(error) => tracing::error!(%error, "failed to remove expired TEST jobs and documents"),
            }
        }
        match remove_expired_logins(&self.jobs.db, now).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed expired API keys of logins"),
            Err(error) => tracing::error!(%error, "failed to remove expired API keys of logins"),
        }
        match self.jobs.documents.collect(now - COLLECT_AGE).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed objects without a row"),
            Err(error) => tracing::error!(%error, "failed to remove objects without a row"),
        }
        match self.jobs.documents.remove_unfinished(now - UNFINISHED_UPLOAD_AGE).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed unfinished uploads of crashed processes"),
            Err(error) => tracing::error!(%error, "failed to remove unfinished uploads"),
        }
    }

    /// Runs the collector. It is a task of its own, so that no lease waits while it walks the store.
    async fn collect_until(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.collect() => {}
                () = stop.cancelled() => {}
            }
            tokio::select! {
                () = tokio::time::sleep(COLLECT_INTERVAL) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Runs the reaper, which releases expired leases and claims. A transaction in progress ends by itself.
    async fn reap_until(&self, stop: &CancellationToken) {
        let reap = async {
            loop {
                if let Err(error) = self.jobs.expire_leases(REAPER_PAGE).await {
                    tracing::error!(%error, "failed to release expired leases");
                }
                if let Err(error) = review::claim::expire(&self.jobs, REAPER_PAGE).await {
                    tracing::error!(%error, "failed to release expired claims of reviews");
                }
                tokio::time::sleep(self.settings.poll_interval).await;
            }
        };
        stop.run_until_cancelled(reap).await;
    }
}
