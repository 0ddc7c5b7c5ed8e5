//! Commands that work on the database directly: accounts, keys, taxonomies, job types; and checks.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use chrono::TimeDelta;
use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::{Common, say};
use crate::access::{Actor, Credential};
use crate::account::{NewAccount, NewKey, create_key, rotate_secret};
use crate::app::App;
use crate::audit::{self, By, Event, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::document::LONGEST_LINK_SECONDS;
use crate::error::Error;
use crate::graphql::job_type_from_json;
use crate::job::state::Mode;
use crate::json::without_byte_order_mark;
use crate::{taxonomy, telemetry};

/// `docket user …`.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make an account; prints its ID.
    Add {
        #[command(flatten)]
        common: Common,
        /// Address to sign in with.
        #[arg(long)]
        email: String,
        /// Name for people.
        #[arg(long)]
        name: String,
        /// Read a password from standard input; without one the account works by API key only.
        #[arg(long)]
        password_stdin: bool,
        /// Let it see and do everything.
        #[arg(long)]
        admin: bool,
    },
}

/// `docket key …`.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make an API key; prints its secret, which is shown only now.
    Create {
        #[command(flatten)]
        common: Common,
        /// Address of the account.
        #[arg(long)]
        email: String,
        /// Name for people.
        #[arg(long)]
        name: String,
        /// Whether its jobs are for real.
        #[arg(long, value_enum, default_value = "live")]
        mode: KeyMode,
        /// When it stops working, e.g. 2030-01-31T00:00:00Z; it works for ever where nothing is said.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<Timestamp>,
    },
    /// Sign tokens and links with a new key from the next start on. Those that were given out hold until they run out.
    RotateSigning {
        #[command(flatten)]
        common: Common,
    },
}

/// Modes of a key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum KeyMode {
    /// For real.
    Live,
    /// For trying things out.
    Test,
}

/// `docket taxonomy …`.
#[derive(Debug, Subcommand)]
pub(super) enum TaxonomyCommand {
    /// Make a taxonomy or its next version from a JSON file; prints name and version.
    Put {
        #[command(flatten)]
        common: Common,
        /// The definition.
        file: PathBuf,
        /// Address of the account that owns it.
        #[arg(long)]
        email: String,
        /// Name, where it is not the definition's own.
        #[arg(long)]
        name: Option<String>,
    },
}

/// `docket job-type …`.
#[derive(Debug, Subcommand)]
pub(super) enum JobTypeCommand {
    /// Make a job type or its next version from a JSON file; prints ID and version.
    Apply {
        #[command(flatten)]
        common: Common,
        /// The definition.
        file: PathBuf,
    },
}

pub(super) async fn user(command: UserCommand) -> Result<ExitCode, String> {
    let UserCommand::Add { common, email, name, password_stdin, admin } = command;
    let password = password_stdin.then(read_password).transpose()?;
    let app = logged(&common).await?;
    let new = NewAccount { email, name, password, is_admin: admin };
    let account = app.accounts.create(new).await.map_err(explain)?;
    let made = if account.is_admin { Event::AdminCreated } else { Event::AccountCreated };
    audit::about(made, Outcome::Ok, By::default(), account.id);
    app.drain().await;
    say(&account.id.to_string())
}

pub(super) async fn key(command: KeyCommand) -> Result<ExitCode, String> {
    let (common, email, name, mode, expires_at) = match command {
        KeyCommand::Create { common, email, name, mode, expires_at } => {
            (common, email, name, mode, expires_at)
        }
        KeyCommand::RotateSigning { common } => return rotate_signing(&common),
    };
    let app = logged(&common).await?;
    let actor = actor(&app, &email).await?;
    let mode = match mode {
        KeyMode::Live => Mode::Live,
        KeyMode::Test => Mode::Test,
    };
    let new = NewKey { name, mode, expires_at };
    let made = create_key(&app.db, &app.clock, actor.user.id, new, &app.config.limits).await;
    let (secret, key) = made.map_err(explain)?;
    audit::about(Event::ApiKeyCreated, Outcome::Ok, By::default(), key.id);
    app.drain().await;
    say(&secret)
}

/// Opens the application, with the log that the operator asked for.
async fn logged(common: &Common) -> Result<App, String> {
    telemetry::command_logs(&common.load(None)?)?;
    common.open().await
}

/// `docket key rotate-signing`.
fn rotate_signing(common: &Common) -> Result<ExitCode, String> {
    let config = common.load(None)?;
    telemetry::command_logs(&config)?;
    if !config.jwt_secret.expose().is_empty() {
        let instead = "move it to jwt_previous_secrets and set another";
        return Err(format!("jwt_secret is configured, so there is no key file to change; {instead}"));
    }
    let links = i64::from(LONGEST_LINK_SECONDS);
    let longest = TimeDelta::seconds(links.max(i64::from(config.auth.token_seconds)));
    rotate_secret(&config.data_dir, longest, Clock::default().now())?;
    audit::record(Event::SigningKeyRotated, Outcome::Ok, By::default());
    say("There is a new signing key. Start the server again: it signs with it from then on.")
}

pub(super) async fn taxonomy(command: TaxonomyCommand) -> Result<ExitCode, String> {
    let TaxonomyCommand::Put { common, file, email, name } = command;
    let definition: Value = read_json(&file)?;
    let named = name.or_else(|| definition.get("name").and_then(Value::as_str).map(str::to_owned));
    let name = named.ok_or("the definition has no name; give one with --name")?;
    let app = common.open().await?;
    let actor = actor(&app, &email).await?;
    let limits = &app.config.limits;
    let row = taxonomy::put(&app.db, &app.clock, &actor, &name, definition, limits).await.map_err(explain)?;
    app.drain().await;
    say(&format!("{} version {}", row.name, row.version))
}

pub(super) async fn job_type(command: JobTypeCommand) -> Result<ExitCode, String> {
    let JobTypeCommand::Apply { common, file } = command;
    let definition = job_type_from_json(read_json(&file)?)
        .map_err(|problems| format!("{}:\n{}", file.display(), explain(Error::Invalid(problems))))?;
    let app = common.open().await?;
    let stored = app.jobs.types.apply(&app.clock, definition).await.map_err(explain)?;
    app.drain().await;
    say(&format!("{} version {}", stored.id, stored.version))
}

/// `docket doctor`.
pub(super) async fn doctor(common: &Common) -> Result<ExitCode, String> {
    let config = common.load(None)?;
    telemetry::command_logs(&config)?;
    let database = config.database().split(':').next().unwrap_or_default().to_owned();
    let app = common.open().await?;
    let storage = match app.storage.check().await {
        Ok(()) => "works".to_owned(),
        Err(error) => error.to_string(),
    };
    let ocr = match tokio::process::Command::new("tesseract").arg("--version").output().await {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned(),
        Err(_) => "not installed: jobs with text-extraction.ocr fail with OCR_UNAVAILABLE".to_owned(),
    };
    app.drain().await;
    say(&format!("database: {database}, works"))?;
    say(&format!("storage: {storage}"))?;
    say(&format!("sandbox: {}", docket_extract::child::sandbox::probe()))?;
    say(&format!("ocr: {ocr}"))
}

/// `docket healthcheck`.
pub(super) async fn healthcheck(server: &str) -> Result<ExitCode, String> {
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(5)).no_proxy();
    // A container may have no certificates at all, and needs none to ask itself over http.
    let client = if server.starts_with("https:") { client } else { client.tls_certs_only([]) }.build();
    let client = client.map_err(|error| error.to_string())?;
    let url = format!("{}/readyz", server.trim_end_matches('/'));
    let response = client.get(&url).send().await.map_err(|error| format!("{url}: {error}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| error.to_string())?;
    if status.is_success() { say(&text) } else { Err(format!("{url}: {status}: {text}")) }
}

async fn actor(app: &App, email: &str) -> Result<Actor, String> {
    let found = app.accounts.by_email(email).await.map_err(explain)?;
    let account =
        found.ok_or_else(|| format!("there is no account {email}; make one with docket user add"))?;
    let credential = Credential { api_key: None, expires_at: None };
    Ok(Actor { user: Arc::new(account), mode: Mode::Live, credential, address: None })
}

fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_slice(without_byte_order_mark(&bytes))
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// The first line of standard input.
fn read_password() -> Result<String, String> {
    let mut text = String::new();
    std::io::stdin()
        .take(4_096)
        .read_to_string(&mut text)
        .map_err(|error| format!("standard input: {error}"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over errors")]
fn explain(error: Error) -> String {
    match &error {
        Error::Invalid(problems) => {
            let lines: Vec<_> = problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
            lines.join("\n")
        }
        other => other.to_string(),
    }
}
