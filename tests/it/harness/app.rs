//! A whole server in the test's own process, with a database and a data directory that go away with it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use docket::account::{NewAccount, NewKey, create_key};
use docket::app::{App, Migrations};
use docket::config::{Config, Flags, Secret, Switch};
use docket::engine::Engine;
use docket::entity::{account, api_key, task};
use docket::job::state::Mode;
use docket::{http, telemetry};
use futures_util::FutureExt;
use metrics_exporter_prometheus::PrometheusHandle;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::database::Backend;
use super::user::User;
use super::worker::Worker;

/// No test takes so long unless something hangs.
const LONGEST_TEST: Duration = Duration::from_secs(300);
/// What [`TestApp::wait_until`] waits at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// How long connections and tasks may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// A server that listens. Everything of [`App`] is within reach: `app.clock`, `app.jobs`, `app.db`.
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

/// The recorder of metrics is the process's, so all servers of it share one.
fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| telemetry::metrics().expect("nobody else records metrics")).clone()
}

impl TestApp {
    /// Runs a story on a server of its own and clears up after it, whatever became of it.
    pub(crate) async fn tell<F: Future<Output = ()>>(
        backend: Backend,
        story: impl FnOnce(Self) -> F,
        configure: impl FnOnce(&mut Config),
    ) {
        Self::tell_long(backend, LONGEST_TEST, story, configure).await;
    }

    /// The same for a story that takes its time.
    pub(crate) async fn tell_long<F: Future<Output = ()>>(
        backend: Backend,
        longest: Duration,
        story: impl FnOnce(Self) -> F,
        configure: impl FnOnce(&mut Config),
    ) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let database = backend.create(dir.path()).await;
        let started = Box::pin(Self::start(backend, database.clone(), dir, configure));
        let mut failures = Vec::new();
        let told = match AssertUnwindSafe(started).catch_unwind().await {
            Ok((app, server)) => {
                let story = AssertUnwindSafe(Box::pin(story(app.clone()))).catch_unwind();
                let told = tokio::time::timeout(longest, story).await.unwrap_or_else(|_| {
                    failures.push(format!("the test was not done within {longest:?}"));
                    Ok(())
                });
                failures.extend(app.finish(server).await);
                told
            }
            Err(panic) => Err(panic),
        };
        backend.drop(&database).await;
        if let Err(panic) = told {
            std::panic::resume_unwind(panic);
        }
        assert!(failures.is_empty(), "{}", failures.join("; "));
    }

    async fn start(
        backend: Backend,
        database: String,
        dir: tempfile::TempDir,
        configure: impl FnOnce(&mut Config),
    ) -> (Self, JoinHandle<()>) {
        let flags = Flags { data_dir: Some(dir.path().join("data")), ..Flags::default() };
        let mut config = Config::load(None, &flags).expect("the defaults are a configuration");
        config.database_url = Secret::from(database.clone());
        config.database_connections = 4;
        config.noop_type = Switch::On;
        config.engine.poll_milliseconds = 50;
        configure(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let app =
            App::open(config, &format!("http://{address}"), Migrations::Run).await.expect("an application");
        app.spawn(app.jobs.newsroom().await.expect("the feed can be read").run(app.stopping.clone()));
        let service = http::service(app.clone(), metrics()).expect("a service");
        let stop = app.stopping.clone();
        let server = app.tasks.spawn(async move {
            let serve = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned());
            serve.await.expect("the server ends without an error");
        });
        // Fails only where there is a provider already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let shared = Shared { backend, database, address, http, engines: Mutex::default(), _dir: dir };
        (Self { app, shared: Arc::new(shared) }, server)
    }

    /// Stops the server; what it should not have left behind.
    async fn finish(&self, server: JoinHandle<()>) -> Vec<String> {
        let mut left = Vec::new();
        self.stop_engines().await;
        self.app.stopping.cancel();
        let abort = server.abort_handle();
        if tokio::time::timeout(GRACE, server).await.is_err() {
            abort.abort();
        }
        if tokio::time::timeout(GRACE, self.app.drain()).await.is_err() {
            left.push(format!("{} tasks of the server do not end", self.app.tasks.len()));
        }
        let held = task::Entity::find().filter(task::Column::LeaseOwner.starts_with("engine-"));
        for task in held.all(self.app.db.read()).await.expect("leases can be read") {
            left.push(format!("the engine is gone and holds a lease: {task:?}"));
        }
        for connection in [self.app.db.read(), self.app.db.writer()] {
            connection.close_by_ref().await.expect("the pool can be closed");
        }
        left
    }

    /// Which database this is.
    pub(crate) fn backend(&self) -> Backend {
        self.shared.backend
    }

    /// The database's URL, for connections beside the server's.
    pub(crate) fn database_url(&self) -> &str {
        &self.shared.database
    }

    /// The address of a path of the server; a whole URL is taken as it is.
    pub(crate) fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("http://{}{path}", self.shared.address)
        }
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.shared.http
    }

    /// A person with an account and a live API key, `NAME@example.com`.
    pub(crate) async fn user(&self, name: &str) -> User {
        let account = self.account(name, false).await;
        self.key(&account, Mode::Live).await
    }

    /// A person whose API key is for trying things out: reviews of its jobs approve themselves.
    pub(crate) async fn tester(&self, name: &str) -> User {
        let account = self.account(name, false).await;
        self.key(&account, Mode::Test).await
    }

    /// Somebody who operates the server.
    pub(crate) async fn admin(&self, name: &str) -> User {
        let account = self.account(name, true).await;
        self.key(&account, Mode::Live).await
    }

    /// Somebody without credentials.
    pub(crate) fn anonymous(&self) -> User {
        User::new(self.clone(), "nobody", None, None)
    }

    /// Somebody who sends this as `Authorization`, whatever it is.
    pub(crate) fn bearer_of(&self, authorization: &str) -> User {
        User::new(self.clone(), "somebody", None, Some(authorization.to_owned()))
    }

    async fn account(&self, name: &str, is_admin: bool) -> account::Model {
        let email = format!("{name}@example.com");
        let new = NewAccount { email, name: name.to_owned(), password: None, is_admin };
        self.accounts.create(new).await.expect("a new account")
    }

    async fn key(&self, account: &account::Model, mode: Mode) -> User {
        let new = NewKey { name: "for tests".into(), mode, expires_at: None };
        let (secret, key) =
            create_key(&self.db, &self.clock, account.id, new, &self.config.limits).await.expect("a new key");
        // The first use of a key is written down; here it is, so that no test counts it.
        self.accounts.authenticate(&secret, None).await.expect("a new key is good");
        let (db, id) = (self.db.read(), key.id);
        let used = async || {
            let key = api_key::Entity::find_by_id(id).one(db).await.expect("keys can be read");
            key.is_some_and(|key| key.last_used_at.is_some())
        };
        self.wait_until("the use of a key is written down", used).await;
        User::new(self.clone(), &account.name, Some(account.id), Some(format!("Bearer {secret}")))
    }

    /// A worker that the test moves by hand.
    pub(crate) fn worker(&self) -> Worker {
        Worker::new(self.jobs.clone(), "worker")
    }

    /// Lets the server do the steps of its jobs, until the end of the test or [`TestApp::stop_engines`].
    pub(crate) fn start_engine(&self) {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_docket"));
        let engine = Engine::with_program(self.jobs.clone(), &self.config, program).expect("an engine");
        let stop = CancellationToken::new();
        let until = stop.clone();
        let running = self.tasks.spawn(async move { engine.run(until).await });
        self.shared.engines.lock().expect("nobody panics here").push((stop, running));
    }

    /// Stops every engine and waits until their steps have ended or were given back.
    pub(crate) async fn stop_engines(&self) {
        let engines = std::mem::take(&mut *self.shared.engines.lock().expect("nobody panics here"));
        for (stop, running) in engines {
            stop.cancel();
            running.await.expect("the engine ends");
        }
    }

    /// Waits until something is so. Fails the test where it does not come to be.
    pub(crate) async fn wait_until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let polling = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(LONGEST_WAIT, polling).await;
        assert!(waited.is_ok(), "waited {LONGEST_WAIT:?} in vain until {what}");
    }

    /// What comes of some work, and how many statements it sent to the database.
    pub(crate) async fn count_statements<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        // What is read for followers meanwhile is nobody's who is counted here.
        let _quiet = self.jobs.news.pause().await;
        let before = self.db.statements();
        let result = work.await;
        (result, self.db.statements() - before)
    }

    /// The keys of all bytes in the store, unfinished ones too.
    pub(crate) fn stored(&self) -> Vec<String> {
        let folder = self.config.data_dir.join("objects");
        let mut keys = Vec::new();
        list(&folder, &folder, &mut keys);
        // What says whose the store is, is no document's.
        keys.retain(|key| key != "docket-database-id");
        keys.sort();
        keys
    }
}

fn list(folder: &Path, root: &Path, keys: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(&path, root, keys);
        } else {
            keys.push(path.strip_prefix(root).expect("a path below").display().to_string());
        }
    }
}
