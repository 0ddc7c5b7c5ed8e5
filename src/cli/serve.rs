//! `docket serve` and `docket worker`: start, and stop in bounded time.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Common, say};
use crate::app::{App, Migrations, lock};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::engine::Engine;
use crate::job::news::Newsroom;
use crate::tasks::keep_up;
use crate::webhook::dispatch::Dispatcher;
use crate::{http, telemetry};

/// Between a panic of what keeps the house and its next run.
const PAUSE: Duration = Duration::from_secs(1);
/// What connections may take to end after the engine has stopped.
const GRACE: Duration = Duration::from_secs(5);

/// Options of `docket serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    common: Common,
    /// Address to listen on; port 0 picks a free one [env: DOCKET_LISTEN].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Serve only; other nodes do the steps.
    #[arg(long)]
    no_engine: bool,
    /// Leave the schema as it is, and refuse to start where it is behind.
    #[arg(long)]
    no_migrate: bool,
}

/// A server that answers.
pub(crate) struct Running {
    /// The application.
    pub app: App,
    /// Where it listens.
    pub address: SocketAddr,
    engine: Option<tokio::task::JoinHandle<()>>,
    _lock: Option<lock::Embedded>,
}

/// Which parts of a server run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// API and engine.
    All,
    /// The API alone.
    Api,
}

/// Starts a server.
pub(crate) async fn start(config: Config, parts: Parts, migrations: Migrations) -> Result<Running, String> {
    allow_open_files();
    let metrics = telemetry::metrics()?;
    let embedded = config.database().starts_with("sqlite:");
    let lock = embedded.then(|| lock::embedded(&config)).transpose()?;
    let listener =
        TcpListener::bind(config.listen).await.map_err(|error| format!("{}: {error}", config.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let url = config.public_url(address);
    let app = App::open(config, &url, migrations).await?;
    if embedded {
        // The lock is ours, so whoever held these is dead.
        let orphans = app.jobs.orphan_all().await.map_err(|error| error.to_string())?;
        let unfinished = app.jobs.documents.remove_unfinished(Timestamp::MAX_UTC).await;
        let unfinished = unfinished.map_err(|error| error.to_string())?;
        tracing::info!(orphans, unfinished, "what an earlier process left behind is cleared");
    }
    let engine = match parts {
        Parts::All => {
            let engine =
                Engine::new(app.jobs.clone(), &app.config).map_err(|error| format!("the engine: {error}"))?;
            dispatch_webhooks(&app)?;
            let stop = app.stopping.clone();
            Some(app.tasks.spawn(async move { engine.run(stop).await }))
        }
        Parts::Api => None,
    };
    let newsroom = app.jobs.newsroom().await.map_err(|error| format!("the feed: {error}"))?;
    let mut begun = Some(newsroom);
    let (jobs, stop) = (app.jobs.clone(), app.stopping.clone());
    keep_up(&app.tasks, &app.stopping, "news", PAUSE, move || {
        let newsroom = begun.take().unwrap_or_else(|| Newsroom::anew(&jobs));
        newsroom.run(stop.clone())
    });
    app.spawn(telemetry::upkeep(metrics.clone(), app.stopping.clone()));
    app.spawn(http::serve(listener, app.clone(), metrics)?);
    Ok(Running { app, address, engine, _lock: lock })
}

/// Sends events to webhooks until the application stops.
fn dispatch_webhooks(app: &App) -> Result<(), String> {
    let dispatcher = Dispatcher::new(app.webhooks.clone()).map_err(|error| format!("webhooks: {error}"))?;
    let stop = app.stopping.clone();
    keep_up(&app.tasks, &app.stopping, "webhooks", PAUSE, move || {
        let (dispatcher, stop) = (dispatcher.clone(), stop.clone());
        async move { dispatcher.run(stop).await }
    });
    Ok(())
}

impl Running {
    /// Stops claiming, lets running steps end or gives them back, then waits for connections and whatever else is under way:
    /// subscribers are told that the server stops, and mutations that began end. All in bounded time.
    pub(crate) async fn stop(self) -> Result<(), String> {
        self.app.stopping.cancel();
        if let Some(engine) = self.engine {
            engine.await.map_err(|error| error.to_string())?;
        }
        self.app.tasks.close();
        if tokio::time::timeout(GRACE, self.app.tasks.wait()).await.is_err() {
            tracing::info!(
                left = self.app.tasks.len(),
                "connections and operations that did not end are cut"
            );
        }
        tokio::time::timeout(GRACE, self.app.db.drain())
            .await
            .map_err(|_| "transactions did not end".to_owned())
    }
}

/// Lets this process have as many files open as it may: what a shell gives at first, often 1,024, is for programs that
/// wait for files by `select`.
fn allow_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::info!(from = current, to = maximum, "more files may be open"),
        Err(error) => tracing::warn!(%error, current, "no more files may be open"),
    }
}

/// `docket serve`.
pub(super) async fn serve(args: ServeArgs) -> Result<(), String> {
    let config = args.common.load(args.listen)?;
    let traces = telemetry::start(&config)?;
    tracing::info!(?config, "configuration");
    let parts = if args.no_engine { Parts::Api } else { Parts::All };
    let migrations = if args.no_migrate { Migrations::Check } else { Migrations::Run };
    let stop = asked_to_stop()?;
    let running = start(config, parts, migrations).await?;
    say(&format!("Docket listens on http://{}", running.address))?;
    stop.cancelled().await;
    tracing::info!("stopping");
    let stopped = running.stop().await;
    traces.stop().await;
    stopped
}

/// `docket worker`.
pub(super) async fn worker(common: &Common) -> Result<(), String> {
    let config = common.load(None)?;
    let traces = telemetry::start(&config)?;
    if config.database().starts_with("sqlite:") {
        return Err("a worker shares a PostgreSQL database with its servers; set database_url".into());
    }
    let url = config.public_url(config.listen);
    let app = App::open(config, &url, Migrations::Check).await?;
    let engine =
        Engine::new(app.jobs.clone(), &app.config).map_err(|error| format!("the engine: {error}"))?;
    dispatch_webhooks(&app)?;
    let stop = asked_to_stop()?;
    say("Docket works")?;
    engine.run(stop).await;
    app.drain().await;
    traces.stop().await;
    Ok(())
}

/// Cancelled by SIGTERM and SIGINT.
pub(crate) fn asked_to_stop() -> Result<CancellationToken, String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    #[expect(clippy::disallowed_methods, reason = "it lives as long as the process and holds nothing")]
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(token)
}
