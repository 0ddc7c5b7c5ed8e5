//! A complete server in the process of the test, with a temporary database and data directory.

use std::net::SocketAddr;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use docket::account::{NewAccount, NewKey, create_key};
use docket::app::{App, Migrations};
use docket::changes::ChangePoller;
use docket::config::{Config, Flags, Secret, Switch};
use docket::engine::Engine;
use docket::entity::{account, api_key, job, task};
use docket::job::state::Mode;
use docket::{http, telemetry};
use futures_util::FutureExt;
use metrics_exporter_prometheus::PrometheusHandle;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::database::Backend;
use super::user::{User, job_id};
use super::worker::Worker;

/// The time limit of a test; a longer test hangs.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);
/// The time limit of [`TestApp::wait_until`].
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
/// The time limit for connections and tasks to end when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server. It dereferences to [`App`]: `app.clock`, `app.jobs`, `app.db`.
#[derive(Debug, Clone)]
pub(crate) struct TestApp {
    app: App,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    backend: Backend,
    database: String,
    address: SocketAddr,
    http: reqwest::Client,
    engines: Mutex<Vec<(CancellationToken, JoinHandle<()>)>>,
    _dir: tempfile::TempDir,
}

impl Deref for TestApp {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

/// Returns the metrics recorder, which all servers of the process share.
fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS
        .get_or_init(|| {
            telemetry::install_metrics_recorder().expect("no other metrics recorder is installed")
        })
        .clone()
}

impl TestApp {
    /// Runs a test on its own server and always cleans up afterwards.
    pub(crate) async fn run<F: Future<Output = ()>>(
        backend: Backend,
        test: impl FnOnce(Self) -> F,
        configure: impl FnOnce(&mut Config),
    ) {
        Self::run_with_timeout(backend, TEST_TIMEOUT, test, configure).await;
    }

    /// Runs a test like [`TestApp::run`], with another time limit.
    pub(crate) async fn run_with_timeout<F: Future<Output = ()>>(
        backend: Backend,
        limit: Duration,
        test: impl FnOnce(Self) -> F,
        configure: impl FnOnce(&mut Config),
    ) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let database = backend.create_migrated(dir.path()).await;
        let started = Box::pin(Self::start(backend, database.clone(), dir, configure));
        let mut failures = Vec::new();
        let outcome = match AssertUnwindSafe(started).catch_unwind().await {
            Ok(app) => {
                let test = AssertUnwindSafe(Box::pin(test(app.clone()))).catch_unwind();
                let outcome = tokio::time::timeout(limit, test).await.unwrap_or_else(|_| {
                    failures.push(format!("the test did not end within {limit:?}"));
                    Ok(())
                });
                failures.extend(app.finish().await);
                outcome
            }
            Err(panic) => Err(panic),
        };
        backend.drop(&database).await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert!(failures.is_empty(), "{}", failures.join("; "));
    }

    async fn start(
        backend: Backend,
        database: String,
        dir: tempfile::TempDir,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let flags = Flags { data_dir: Some(dir.path().join("data")), ..Flags::default() };
        let mut config = Config::load(None, &flags).expect("the default configuration is valid");
        config.database_url = Secret::from(database.clone());
        config.database_connections = 4;
        config.noop_type = Switch::On;
        config.engine.poll_milliseconds = 50;
        configure(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let app =
            App::open(config, &format!("http://{address}"), Migrations::Run).await.expect("an application");
        app.spawn(
            ChangePoller::start(&app.jobs, &app.changes)
                .await
                .expect("the feed is readable")
                .run(app.stopping.clone()),
        );
        app.spawn(http::serve(listener, app.clone(), metrics()).expect("a server"));
        // This fails only if a provider is already installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let shared = Shared { backend, database, address, http, engines: Mutex::default(), _dir: dir };
        Self { app, shared: Arc::new(shared) }
    }

    /// Stops the server and returns a message for everything it should not have left behind.
    async fn finish(&self) -> Vec<String> {
        let mut leftovers = Vec::new();
        self.stop_engines().await;
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.app.drain()).await.is_err() {
            leftovers.push(format!("{} tasks of the server did not end", self.app.tasks.len()));
        }
        let leased = task::Entity::find().filter(task::Column::LeaseOwner.starts_with("engine-"));
        for task in leased.all(self.app.db.read()).await.expect("leases can be read") {
            leftovers.push(format!("a stopped engine still holds a lease: {task:?}"));
        }
        for connection in [self.app.db.read(), self.app.db.writer()] {
            connection.close_by_ref().await.expect("the pool can be closed");
        }
        leftovers
    }

    /// Returns the kind of database.
    pub(crate) fn backend(&self) -> Backend {
        self.shared.backend
    }

    /// Returns the URL of the database, for connections besides those of the server.
    pub(crate) fn database_url(&self) -> &str {
        &self.shared.database
    }

    /// Returns the URL of a path of the server; a complete URL stays as it is.
    pub(crate) fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("http://{}{path}", self.shared.address)
        }
    }

    /// Returns the address on which the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.shared.http
    }

    /// Creates the user `NAME@example.com` with a LIVE API key.
    pub(crate) async fn user(&self, name: &str) -> User {
        let account = self.create_account(name, false).await;
        self.user_with_new_key(&account, Mode::Live).await
    }

    /// Creates a user with a TEST API key: reviews of their jobs approve themselves.
    pub(crate) async fn test_mode_user(&self, name: &str) -> User {
        let account = self.create_account(name, false).await;
        self.user_with_new_key(&account, Mode::Test).await
    }

    /// Creates an admin with a LIVE API key.
    pub(crate) async fn admin(&self, name: &str) -> User {
        let account = self.create_account(name, true).await;
        self.user_with_new_key(&account, Mode::Live).await
    }

    /// Returns a client without credentials.
    pub(crate) fn anonymous(&self) -> User {
        User::new(self.clone(), "anonymous", None, None)
    }

    /// Returns a client that sends this `Authorization` header.
    pub(crate) fn with_authorization(&self, authorization: &str) -> User {
        User::new(self.clone(), "custom", None, Some(authorization.to_owned()))
    }

    async fn create_account(&self, name: &str, is_admin: bool) -> account::Model {
        let email = format!("{name}@example.com");
        let new = NewAccount { email, name: name.to_owned(), password: None, is_admin };
        self.accounts.create(new).await.expect("a new account")
    }

    async fn user_with_new_key(&self, account: &account::Model, mode: Mode) -> User {
        let new = NewKey { name: "for tests".into(), mode, expires_at: None };
        let (secret, key) =
            create_key(&self.db, &self.clock, account.id, new, &self.config.limits).await.expect("a new key");
        // The first use of a key is recorded here, so that no test counts this statement.
        self.accounts.authenticate(&secret, None).await.expect("a new key is valid");
        let (db, id) = (self.db.read(), key.id);
        let used = async || {
            let key = api_key::Entity::find_by_id(id).one(db).await.expect("keys can be read");
            key.is_some_and(|key| key.last_used_at.is_some())
        };
        self.wait_until("the use of the key is recorded", used).await;
        User::new(self.clone(), &account.name, Some(account.id), Some(format!("Bearer {secret}")))
    }

    /// Returns a worker that the test controls.
    pub(crate) fn worker(&self) -> Worker {
        Worker::new(self.jobs.clone(), "worker")
    }

    /// Sets a column of the row of a job to an SQL expression, which may be a value that this version cannot read.
    pub(crate) async fn overwrite_job(&self, job: &str, column: job::Column, sql: &'static str) {
        let update = job::Entity::update_many().col_expr(column, Expr::cust(sql));
        let update = update.filter(job::Column::Id.eq(job_id(job)));
        update.exec(self.app.db.writer()).await.expect("the row is written");
    }

    /// Starts an engine, which runs steps until the end of the test or [`TestApp::stop_engines`].
    pub(crate) fn start_engine(&self) {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_docket"));
        let engine = Engine::with_program(self.jobs.clone(), &self.config, program).expect("an engine");
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let running = self.tasks.spawn(async move { engine.run(stopping).await });
        self.shared.engines.lock().expect("the lock is not poisoned").push((stop, running));
    }

    /// Stops every engine and waits until its steps have ended or are back in the queue.
    pub(crate) async fn stop_engines(&self) {
        let engines = std::mem::take(&mut *self.shared.engines.lock().expect("the lock is not poisoned"));
        for (stop, running) in engines {
            stop.cancel();
            running.await.expect("the engine ends");
        }
    }

    /// Waits until a condition holds, and fails the test after [`WAIT_TIMEOUT`].
    pub(crate) async fn wait_until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let polling = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(WAIT_TIMEOUT, polling).await;
        assert!(waited.is_ok(), "timed out after {WAIT_TIMEOUT:?} waiting until {what}");
    }

    /// Runs a future and returns its output and the number of database statements it sent.
    pub(crate) async fn count_statements<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        // The statements of the change poller must not be counted.
        let _paused = self.changes.pause().await;
        let before = self.db.statement_count();
        let result = work.await;
        (result, self.db.statement_count() - before)
    }

    /// Returns the keys of all objects in the store, including unfinished uploads.
    pub(crate) fn stored_keys(&self) -> Vec<String> {
        let folder = self.config.data_dir.join("objects");
        let mut keys = Vec::new();
        collect_keys(&folder, &folder, &mut keys);
        // The database marker belongs to no document.
        keys.retain(|key| key != "docket-database-id");
        keys.sort();
        keys
    }
}

fn collect_keys(folder: &Path, root: &Path, keys: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect_keys(&path, root, keys);
        } else {
            keys.push(path.strip_prefix(root).expect("a path below").display().to_string());
        }
    }
}
