//! `docket serve` and `docket worker`: start, and stop in bounded time.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::common::{CommonArgs, print_line};
use crate::app::{App, Migrations, lock};
use crate::changes::ChangePoller;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::engine::Engine;
use crate::tasks::supervise;
use crate::webhook::dispatch::Dispatcher;
use crate::{http, telemetry};

/// Delay between a panic of a background task and its restart.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// Time for connections, and then for transactions, to end after the engine has stopped.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Options of `docket serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Address to listen on; port 0 picks a free one [env: DOCKET_LISTEN].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Serve the API only; other nodes run the steps.
    #[arg(long)]
    no_engine: bool,
    /// Do not migrate the database, and refuse to start if its schema is too old.
    #[arg(long)]
    no_migrate: bool,
}

/// A server that accepts requests.
pub(crate) struct Running {
    /// The application.
    pub app: App,
    /// The address that the server listens on.
    pub address: SocketAddr,
    engine: Option<tokio::task::JoinHandle<()>>,
    _lock: Option<lock::ExclusiveAccess>,
}

/// The parts of a server that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// API and engine.
    All,
    /// API only.
    Api,
}

/// Starts a server and returns when it accepts requests.
pub(crate) async fn start(config: Config, parts: Parts, migrations: Migrations) -> Result<Running, String> {
    raise_open_file_limit();
    let metrics = telemetry::install_metrics_recorder()?;
    let embedded = config.database().starts_with("sqlite:");
    let lock = embedded.then(|| lock::acquire_exclusive_access(&config)).transpose()?;
    let listener =
        TcpListener::bind(config.listen).await.map_err(|error| format!("{}: {error}", config.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let url = config.public_url(address);
    let app = App::open(config, &url, migrations).await?;
    if embedded {
        // This process holds the lock, so the previous owner of these steps and uploads has ended.
        let orphans = app.jobs.expire_all_leases().await.map_err(|error| error.to_string())?;
        let unfinished = app.jobs.documents.remove_unfinished(Timestamp::MAX_UTC).await;
        let unfinished = unfinished.map_err(|error| error.to_string())?;
        tracing::info!(
            orphans,
            unfinished,
            "expired the leases and removed the uploads of a previous process"
        );
    }
    let engine = match parts {
        Parts::All => {
            let engine = Engine::new(app.jobs.clone(), &app.config)
                .map_err(|error| format!("cannot start the engine: {error}"))?;
            dispatch_webhooks(&app)?;
            let stop = app.stopping.clone();
            Some(app.tasks.spawn(async move { engine.run(stop).await }))
        }
        Parts::Api => None,
    };
    let poller = ChangePoller::start(&app.jobs, &app.changes)
        .await
        .map_err(|error| format!("cannot read the feed: {error}"))?;
    let mut initial = Some(poller);
    let (jobs, changes, stop) = (app.jobs.clone(), app.changes.clone(), app.stopping.clone());
    supervise(&app.tasks, &app.stopping, "change poller", RESTART_DELAY, move || {
        let poller = initial.take().unwrap_or_else(|| ChangePoller::restart(&jobs, &changes));
        poller.run(stop.clone())
    });
    app.spawn(telemetry::run_metrics_upkeep(metrics.clone(), app.stopping.clone()));
    app.spawn(http::serve(listener, app.clone(), metrics)?);
    Ok(Running { app, address, engine, _lock: lock })
}

/// Sends events to webhooks until the application stops.
fn dispatch_webhooks(app: &App) -> Result<(), String> {
    let dispatcher = Dispatcher::new(app.webhooks.clone())
        .map_err(|error| format!("cannot start the webhook dispatcher: {error}"))?;
    let stop = app.stopping.clone();
    supervise(&app.tasks, &app.stopping, "webhooks", RESTART_DELAY, move || {
        let (dispatcher, stop) = (dispatcher.clone(), stop.clone());
        async move { dispatcher.run(stop).await }
    });
    Ok(())
}

impl Running {
    /// Stops claiming steps, lets running steps end or releases them, then waits for connections and mutations to end.
    /// Subscribers learn that the server stops. Each wait has a time limit.
    pub(crate) async fn stop(self) -> Result<(), String> {
        self.app.stopping.cancel();
        if let Some(engine) = self.engine {
            engine.await.map_err(|error| error.to_string())?;
        }
        self.app.tasks.close();
        if tokio::time::timeout(SHUTDOWN_GRACE, self.app.tasks.wait()).await.is_err() {
            tracing::info!(
                left = self.app.tasks.len(),
                "shutdown timed out, closing the remaining connections and operations"
            );
        }
        tokio::time::timeout(SHUTDOWN_GRACE, self.app.db.drain())
            .await
            .map_err(|_| "shutdown timed out while transactions were running".to_owned())
    }
}

/// Raises the limit of open files to its maximum. Shells start with a low limit, often 1,024, for programs that use
/// `select`.
fn raise_open_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::info!(from = current, to = maximum, "raised the limit of open files"),
        Err(error) => tracing::warn!(%error, current, "could not raise the limit of open files"),
    }
}

/// `docket serve`.
pub(super) async fn serve(args: ServeArgs) -> Result<(), String> {
    let config = args.common.load(args.listen)?;
    let traces = telemetry::init(&config)?;
    tracing::info!(?config, "loaded configuration");
    let parts = if args.no_engine { Parts::Api } else { Parts::All };
    let migrations = if args.no_migrate { Migrations::Check } else { Migrations::Run };
    let stop = listen_for_shutdown()?;
    let running = start(config, parts, migrations).await?;
    print_line(&format!("Docket listens on http://{}", running.address))?;
    stop.cancelled().await;
    tracing::info!("stopping");
    let stopped = running.stop().await;
    traces.stop().await;
    stopped
}

/// `docket worker`.
pub(super) async fn worker(common: &CommonArgs) -> Result<(), String> {
    let config = common.load(None)?;
    let traces = telemetry::init(&config)?;
    if config.database().starts_with("sqlite:") {
        return Err("a worker needs the PostgreSQL database of its servers; set database_url".into());
    }
    let url = config.public_url(config.listen);
    let app = App::open(config, &url, Migrations::Check).await?;
    let engine = Engine::new(app.jobs.clone(), &app.config)
        .map_err(|error| format!("cannot start the engine: {error}"))?;
    dispatch_webhooks(&app)?;
    let stop = listen_for_shutdown()?;
    print_line("Docket worker started")?;
    engine.run(stop).await;
    app.drain().await;
    traces.stop().await;
    Ok(())
}

/// Returns a token that SIGTERM and SIGINT cancel.
pub(crate) fn listen_for_shutdown() -> Result<CancellationToken, String> {
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
