//! The application: its parts, wired once.

pub mod lock;
pub mod schema;

use std::sync::Arc;

use lock::SettingUp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account::{Accounts, Secrets};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::document::{Documents, Links};
use crate::events::{Hub, feed};
use crate::job::Jobs;
use crate::job::estimate::Pasts;
use crate::job::news::Newsstand;
use crate::job_type::JobTypes;
use crate::storage::Storage;
use crate::webhook::Webhooks;

/// Everything that requests and the engine share; clones share it.
#[derive(Debug, Clone)]
pub struct App {
    /// As it was read at the start.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// The database.
    pub db: Db,
    /// The bytes.
    pub storage: Storage,
    /// Who is who.
    pub accounts: Arc<Accounts>,
    /// What is done.
    pub jobs: Jobs,
    /// Who is told of it.
    pub webhooks: Webhooks,
    /// Every task that outlives a request; joined at the end.
    pub tasks: TaskTracker,
    /// Cancelled when the server is asked to stop.
    pub stopping: CancellationToken,
}

/// Whether opening the application changes the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrations {
    /// Brings it up to date.
    Run,
    /// Takes it as it is; an error where it is behind.
    Check,
}

impl App {
    /// Opens database and storage. `public_url` is how clients reach this server.
    pub async fn open(config: Config, public_url: &str, migrations: Migrations) -> Result<Self, String> {
        // It is large, and whoever starts anything would be as large.
        Box::pin(Self::wired(config, public_url, migrations)).await
    }

    async fn wired(config: Config, public_url: &str, migrations: Migrations) -> Result<Self, String> {
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|error| format!("the data directory {}: {error}", config.data_dir.display()))?;
        let clock = Clock::default();
        let db =
            Db::connect(&config.database(), config.database_connections, config.database_patience()).await;
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
        let documents = documents.map_err(|error| format!("the database: {error}"))?;
        // A store that cannot be written to is said to be unready later; it keeps nobody from reading.
        if let Err(error) = documents.mark_store().await {
            tracing::warn!(%error, "the store could not be looked at");
        }
        let jobs = Jobs {
            db: db.clone(),
            clock: clock.clone(),
            storage: storage.clone(),
            types,
            documents,
            hub: Hub::default(),
            news: Newsstand::default(),
            limits: config.limits.clone(),
            pasts: Pasts::default(),
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
            webhooks,
            tasks,
            stopping: CancellationToken::new(),
        })
    }

    /// Runs a task that is joined when the server stops.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for every task and transaction that is under way.
    pub async fn drain(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.db.drain().await;
    }
}

/// Brings a database to where this program can work on it, one node at a time.
async fn set_up(
    db: &Db,
    url: &str,
    clock: &Clock,
    types: &JobTypes,
    migrations: Migrations,
) -> Result<(), String> {
    let alone = SettingUp::begin(db).await.map_err(|error| format!("the lock for setting up: {error}"))?;
    schema::bring_up_to_date(db, url, migrations).await?;
    feed::align(db).await.map_err(|error| format!("the feed: {error}"))?;
    types.install(clock).await.map_err(|error| format!("the built-in job types: {error}"))?;
    alone.end().await;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::access::{Actor, Credential};
    use crate::account::NewAccount;
    use crate::config::Flags;
    use crate::document::Described;
    use crate::entity::document;
    use crate::job::request::{NewJob, Source};
    use crate::job::state::Mode;

    /// An application on a SQLite database and a store of its own, which go with the folder.
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
        App::open(config, "http://localhost:1", Migrations::Run).await
    }

    /// Somebody with an account, who acts in a mode.
    pub(crate) async fn actor(app: &App, name: &str, mode: Mode) -> Actor {
        let email = format!("{name}@example.com");
        let new = NewAccount { email, name: name.into(), password: None, is_admin: false };
        let account = app.accounts.create(new).await.unwrap();
        let credential = Credential { api_key: None, expires_at: None };
        Actor { user: Arc::new(account), mode, credential, address: None }
    }

    /// A plain text document of theirs.
    pub(crate) async fn upload(app: &App, actor: &Actor, text: &str) -> document::Model {
        let described = Described { name: Some("a.txt".into()), media_type: Some("text/plain".into()) };
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes)]);
        app.jobs.documents.upload(actor, described, stream).await.unwrap()
    }

    /// A wish for a job of a type, without anything else.
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
