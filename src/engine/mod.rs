//! The engine: when and by whom a step is done. What is legal, `job::decide` says.
//!
//! A claim is a lease with a fencing token: taken in a short transaction, renewed while the step runs, and proved again
//! when its result is handed in. Whoever loses the lease learns of it there, and what it made is dropped.
//!
//! ```text
//!   queue ──claim──► run in a child process ──complete / fail──► next step
//!                │        renewed at a third of the lease;
//!                │        stopped when the renewal finds nothing
//!                └── lease runs out ──expire──► queue again, or FAILED
//! ```

pub mod claim;
mod execute;
pub mod external;
mod report;
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
use crate::tasks::keep_up;
use workdir::Workdir;

pub use claim::Claim;
pub use report::{Ask, Made, Results};

/// Steps looked at by one round of the sweeper.
const SWEEP_PAGE: u64 = 100;
/// Bytes that no row names, and what TEST keys made long ago, are looked for so often.
const CLEAR_EVERY: Duration = Duration::from_secs(3600);
/// Bytes may be named still when they are younger: they are stored before the change that names them is committed.
const COLLECT_AGE: TimeDelta = TimeDelta::hours(1);
/// An upload that nothing was written to for so long has died with its process. A slow one writes seldom: a part at a time.
const UNFINISHED_AGE: TimeDelta = TimeDelta::days(1);

/// Does the steps of the built-in job types, and frees what others let go of.
#[derive(Debug, Clone)]
pub struct Engine {
    jobs: Jobs,
    settings: Arc<Settings>,
    running: TaskTracker,
}

#[derive(Debug)]
struct Settings {
    /// Random for each start of a process: a name that comes back would hide what its namesake left behind.
    owner: String,
    lease_seconds: u32,
    poll: Duration,
    shutdown: Duration,
    places: Arc<Semaphore>,
    types: Vec<String>,
    workdir: Workdir,
    program: PathBuf,
    limits: docket_extract::child::Limits,
    /// How long what TEST keys make is kept; for ever, where there is nothing.
    tests_kept: Option<TimeDelta>,
}

impl Engine {
    /// An engine for this process, whose children run this process's own program; nothing runs yet.
    pub fn new(jobs: Jobs, config: &Config) -> std::io::Result<Self> {
        Self::with_program(jobs, config, std::env::current_exe()?)
    }

    /// The same with a program of its own for the children, which has to answer to `extract-child`.
    pub fn with_program(jobs: Jobs, config: &Config, program: PathBuf) -> std::io::Result<Self> {
        let owner = format!("engine-{:08x}", rand::random::<u32>());
        let workdir = Workdir::open(&config.data_dir.join("work"), &owner)?;
        let settings = Settings {
            owner,
            lease_seconds: config.engine.lease_seconds,
            poll: Duration::from_millis(config.engine.poll_milliseconds),
            shutdown: Duration::from_secs(config.engine.shutdown_seconds),
            places: Arc::new(Semaphore::new(config.engine_concurrency)),
            types: [DATA_POINT_EXTRACTION, INDEXING, NOOP].map(str::to_owned).to_vec(),
            workdir,
            program,
            limits: config.extract.clone(),
            tests_kept: match config.retention.test_days {
                0 => None,
                days => TimeDelta::try_days(days.into()),
            },
        };
        Ok(Self { jobs, settings: Arc::new(settings), running: TaskTracker::new() })
    }

    /// Takes steps and does them until `stop`; then takes no more, lets what runs end within the time that shutting down
    /// may take, and gives back what did not.
    pub async fn run(&self, stop: CancellationToken) {
        let give_back = CancellationToken::new();
        let (engine, until) = (self.clone(), stop.clone());
        let sweeper = keep_up(&self.running, &stop, "leases", self.settings.poll, move || {
            let (engine, until) = (engine.clone(), until.clone());
            async move { engine.sweep_until(&until).await }
        });
        let (engine, until) = (self.clone(), stop.clone());
        let clearer = keep_up(&self.running, &stop, "storage", self.settings.poll, move || {
            let (engine, until) = (engine.clone(), until.clone());
            async move { engine.clear_until(&until).await }
        });
        while !stop.is_cancelled() {
            let claimed = match self.take(&stop, &give_back).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::error!(%error, "the queue could not be read");
                    0
                }
            };
            if claimed > 0 {
                continue;
            }
            tokio::select! {
                () = self.jobs.hub.work() => {}
                () = tokio::time::sleep(self.settings.poll) => {}
                () = stop.cancelled() => {}
            }
        }
        self.running.close();
        if tokio::time::timeout(self.settings.shutdown, self.running.wait()).await.is_err() {
            give_back.cancel();
            self.running.wait().await;
        }
        for task in [sweeper, clearer] {
            if let Err(error) = task.await {
                tracing::error!(%error, "what keeps the house ended badly");
            }
        }
    }

    /// Waits for a free place, claims as many steps as there are free places, and starts them.
    async fn take(&self, stop: &CancellationToken, give_back: &CancellationToken) -> Result<usize> {
        let settings = &self.settings;
        let first = tokio::select! {
            // Nothing is claimed any more once the server was asked to stop, whatever place comes free.
            biased;
            () = stop.cancelled() => return Ok(0),
            place = Arc::clone(&settings.places).acquire_owned() => place,
        };
        let Ok(first) = first else { return Ok(0) };
        let mut places = vec![first];
        while let Ok(place) = Arc::clone(&settings.places).try_acquire_owned() {
            places.push(place);
        }
        let claims =
            self.jobs.claim(&settings.owner, &settings.types, places.len(), settings.lease_seconds).await?;
        let taken = claims.len();
        for (claim, place) in claims.into_iter().zip(places) {
            let (engine, give_back) = (self.clone(), give_back.clone());
            self.running.spawn(async move {
                engine.run_claim(claim, &give_back).await;
                drop(place);
                // A place is free: whoever waits in the queue may have it.
                engine.jobs.hub.queued();
            });
        }
        Ok(taken)
    }

    /// Removes what nobody needs any more. It may be dropped in between: what is left is removed next time.
    async fn clear(&self) {
        let now = self.jobs.clock.now();
        if let Some(kept) = self.settings.tests_kept {
            match self.jobs.remove_tests(now.checked_sub_signed(kept).unwrap_or_default()).await {
                Ok(removed) if removed == Removed::default() => {}
                Ok(Removed { jobs, documents }) => {
                    tracing::info!(jobs, documents, "what TEST keys made long ago was removed");
                }
                Err(error) => tracing::error!(%error, "what TEST keys made long ago could not be removed"),
            }
        }
        match remove_expired_logins(&self.jobs.db, now).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed expired API keys of logins"),
            Err(error) => tracing::error!(%error, "expired API keys of logins could not be removed"),
        }
        match self.jobs.documents.collect(now - COLLECT_AGE).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "bytes that nothing refers to were removed"),
            Err(error) => tracing::error!(%error, "bytes that nothing refers to could not be removed"),
        }
        match self.jobs.documents.remove_unfinished(now - UNFINISHED_AGE).await {
            Ok(0) => {}
            Ok(removed) => {
                tracing::info!(removed, "what uploads left that died with their process was removed")
            }
            Err(error) => tracing::error!(%error, "what dead uploads left could not be removed"),
        }
    }

    /// Apart from [`Engine::sweep_until`], so that no lease waits for a store to be walked.
    async fn clear_until(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.clear() => {}
                () = stop.cancelled() => {}
            }
            tokio::select! {
                () = tokio::time::sleep(CLEAR_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn sweep_until(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.jobs.expire(SWEEP_PAGE).await {
                tracing::error!(%error, "expired leases could not be freed");
            }
            if let Err(error) = review::claim::expire(&self.jobs, SWEEP_PAGE).await {
                tracing::error!(%error, "claims of reviews that ran out could not be freed");
            }
            tokio::select! {
                () = tokio::time::sleep(self.settings.poll) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
