//! The application: creates its parts and connects them.

pub mod lock;
pub mod schema;

use std::sync::Arc;

use lock::SetupLock;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account::{Accounts, Secrets};
use crate::changes::ChangeBroadcast;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::document::{Documents, Links};
use crate::events::{Hub, feed};
use crate::job::estimate::DurationHistory;
use crate::job::{Jobs, UnreadableJobs};
use crate::job_type::JobTypes;
use crate::storage::Storage;
use crate::webhook::Webhooks;
pub use schema::Migrations;

/// The state that requests and the engine share. Clones share it too.
#[derive(Debug, Clone)]
pub struct App {
    /// The configuration, read at startup.
    pub config: Arc<Config>,
    /// The clock of this process.
    pub clock: Clock,
    /// The database.
    pub db: Db,
    /// The object store.
    pub storage: Storage,
    /// Accounts, credentials and sign-in.
    pub accounts: Arc<Accounts>,
    /// Jobs with their documents and history.
    pub jobs: Jobs,
    /// The changes of this node, for subscribers of many jobs.
    pub changes: ChangeBroadcast,
    /// Webhooks and their deliveries.
    pub webhooks: Webhooks,
    /// Every task that outlives a request. Shutdown waits for them.
    pub tasks: TaskTracker,
    /// Canceled at the start of the shutdown.
    pub stopping: CancellationToken,
}

impl App {
    /// Opens the database and the object store. `public_url` is the URL of this server for clients.
    pub async fn open(config: Config, public_url: &str, migrations: Migrations) -> Result<Self, String> {
        // Boxed, because the future is large and would enlarge those of all callers.
        Box::pin(Self::build(config, public_url, migrations)).await
    }

    async fn build(config: Config, public_url: &str, migrations: Migrations) -> Result<Self, String> {
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|error| format!("failed to create {}: {error}", config.data_dir.display()))?;
        let clock = Clock::default();
        let db =
            Db::connect(&config.database(), config.database_connections, config.database_acquire_timeout())
                .await;
        let db = db.map_err(|error| format!("the database cannot be reached: {error}"))?;
        let types = JobTypes::new(db.clone(), config.noop_type);
        set_up(&db, &config.database(), &clock, &types, migrations).await?;
        let secrets = Secrets::load(&config, clock.now())?;
        let storage = Storage::open(&config)?;
        let tasks = TaskTracker::new();
        let accounts = Accounts::new(db.clone(), clock.clone(), &config, &secrets, tasks.clone())?;
        let links = Links::new(public_url, &secrets);
        let upload = config.limits.upload_bytes;
        let documents = Documents::open(db.clone(), clock.clone(), storage.clone(), links, upload).await;
        let documents = documents.map_err(|error| format!("failed to read the database: {error}"))?;
        // A failure is no startup error: documents may still be readable, and the readiness check reports the store.
        if let Err(error) = documents.mark_store().await {
            tracing::warn!(%error, "failed to check the database marker in the object store");
        }
        let jobs = Jobs {
            db: db.clone(),
            clock: clock.clone(),
            storage: storage.clone(),
            types,
            documents,
            hub: Hub::default(),
            limits: config.limits.clone(),
            durations: DurationHistory::default(),
            unreadable: UnreadableJobs::default(),
            review: config.review.clone(),
            correcting: Arc::new(Semaphore::new(
                (config.review.content_bytes / 1024).clamp(1, Semaphore::MAX_PERMITS),
            )),
            workers: config.workers.clone(),
        };
        let webhooks = Webhooks::new(jobs.clone(), &config.webhooks);
        Ok(Self {
            config: Arc::new(config),
            clock,
            db,
            storage,
            accounts: Arc::new(accounts),
            jobs,
            changes: ChangeBroadcast::default(),
            webhooks,
            tasks,
            stopping: CancellationToken::new(),
        })
    }

    /// Spawns a task that the shutdown waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Starts the shutdown and waits for every task and transaction in progress.
    pub async fn drain(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.db.drain().await;
    }
}

/// Prepares a database for this program, on one node at a time.
async fn set_up(
    db: &Db,
    url: &str,
    clock: &Clock,
    types: &JobTypes,
    migrations: Migrations,
) -> Result<(), String> {
    let lock =
        SetupLock::acquire(db).await.map_err(|error| format!("failed to acquire the setup lock: {error}"))?;
    schema::migrate(db, url, migrations).await?;
    feed::align(db).await.map_err(|error| format!("failed to set up the feed: {error}"))?;
    types
        .install(clock)
        .await
        .map_err(|error| format!("failed to install the built-in job types: {error}"))?;
    lock.release().await;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use migration::{Migrator, MigratorTrait};
    use sea_orm::ConnectionTrait;
    use tokio::sync::OnceCell;

    use super::*;
    use crate::access::{Actor, Credential};
    use crate::account::NewAccount;
    use crate::config::Flags;
    use crate::document::UploadInfo;
    use crate::entity::document;
    use crate::job::request::{NewJob, Source};
    use crate::job::state::Mode;

    /// Opens an application with its own SQLite database and object store in the returned folder.
    pub(crate) async fn open(configure: impl FnOnce(&mut Config)) -> (App, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (open_in(dir.path(), configure).await.unwrap(), dir)
    }

    pub(crate) async fn open_in(
        dir: &std::path::Path,
        configure: impl FnOnce(&mut Config),
    ) -> Result<App, String> {
        let flags = Flags { data_dir: Some(dir.into()), ..Flags::default() };
        let mut config = Config::load(None, &flags)?;
        configure(&mut config);
        let database = dir.join("docket.db");
        if config.database_url.expose().is_empty() && !database.exists() {
            std::fs::write(&database, migrated_database().await).unwrap();
            // A store belongs to one database, so each copy needs an identity of its own.
            let connection =
                Db::connect_for_migrations(&format!("sqlite://{}", database.display())).await.unwrap();
            let statement = "UPDATE identity SET database_id = randomblob(16)";
            connection.execute_unprepared(statement).await.unwrap();
            connection.close().await.unwrap();
        }
        App::open(config, "http://localhost:1", Migrations::Run).await
    }

    /// Returns the content of a migrated SQLite file. All tests copy it, because a copy takes a small part of the time of
    /// the migrations.
    async fn migrated_database() -> &'static [u8] {
        static MIGRATED: OnceCell<Vec<u8>> = OnceCell::const_new();
        let make = async || {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("docket.db");
            let connection =
                Db::connect_for_migrations(&format!("sqlite://{}", file.display())).await.unwrap();
            Migrator::up(&connection, None).await.unwrap();
            // The last connection moves the write-ahead log into the file.
            connection.close().await.unwrap();
            std::fs::read(file).unwrap()
        };
        MIGRATED.get_or_init(make).await
    }

    /// Creates an account and returns an actor with it in the given mode.
    pub(crate) async fn actor(app: &App, name: &str, mode: Mode) -> Actor {
        let email = format!("{name}@example.com");
        let new = NewAccount { email, name: name.into(), password: None, is_admin: false };
        let account = app.accounts.create(new).await.unwrap();
        let credential = Credential { api_key: None, expires_at: None };
        Actor { user: Arc::new(account), mode, credential, address: None }
    }

    /// Uploads a plain text document of the actor.
    pub(crate) async fn upload(app: &App, actor: &Actor, text: &str) -> document::Model {
        let described = UploadInfo { name: Some("a.txt".into()), media_type: Some("text/plain".into()) };
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes)]);
        app.jobs.documents.upload(actor, described, stream).await.unwrap()
    }

    /// Returns the input for a job with only a type and an input document.
    pub(crate) fn new_job(type_id: &str, input: &document::Model) -> NewJob {
        NewJob {
            type_id: type_id.into(),
            input: Source::Document(input.id.to_string()),
            contents: Vec::new(),
            metadata: serde_json::Map::new(),
            collaboration: Vec::new(),
            idempotency_key: None,
            priority: 0,
        }
    }
}
