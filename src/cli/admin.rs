//! Commands that work on the database directly: accounts, keys, taxonomies, job types, and checks.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use chrono::TimeDelta;
use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::common::{CommonArgs, print_line};
use crate::access::{Actor, Credential};
use crate::account::{NewAccount, NewKey, create_key, rotate_secret};
use crate::app::App;
use crate::audit::{self, AuditEvent, AuditOrigin, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::document::MAX_LINK_SECONDS;
use crate::error::Error;
use crate::graphql::job_type_from_json;
use crate::job::state::Mode;
use crate::json::without_byte_order_mark;
use crate::{taxonomy, telemetry};

/// `docket user …`.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Create an account and print its ID.
    Add {
        #[command(flatten)]
        common: CommonArgs,
        /// E-mail address to sign in with.
        #[arg(long)]
        email: String,
        /// Display name.
        #[arg(long)]
        name: String,
        /// Read a password from standard input; without one the account signs in by API key only.
        #[arg(long)]
        password_stdin: bool,
        /// Let the account see and do everything.
        #[arg(long)]
        admin: bool,
    },
}

/// `docket key …`.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Create an API key and print its secret, which is shown only once.
    Create {
        #[command(flatten)]
        common: CommonArgs,
        /// E-mail address of the account.
        #[arg(long)]
        email: String,
        /// Display name of the key.
        #[arg(long)]
        name: String,
        /// Mode of the jobs that the key creates.
        #[arg(long, value_enum, default_value = "live")]
        mode: KeyMode,
        /// When the key stops working, such as 2030-01-31T00:00:00Z; by default it never expires.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<Timestamp>,
    },
    /// Create a new key for signing tokens and links, used from the next start on. Existing tokens and links stay
    /// valid.
    RotateSigning {
        #[command(flatten)]
        common: CommonArgs,
    },
}

/// The mode of an API key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum KeyMode {
    /// Jobs run normally.
    Live,
    /// Reviews of jobs approve themselves.
    Test,
}

/// `docket taxonomy …`.
#[derive(Debug, Subcommand)]
pub(super) enum TaxonomyCommand {
    /// Create a taxonomy, or its next version, from a JSON file; prints name and version.
    Put {
        #[command(flatten)]
        common: CommonArgs,
        /// File with the definition.
        file: PathBuf,
        /// E-mail address of the account that owns the taxonomy.
        #[arg(long)]
        email: String,
        /// Name of the taxonomy, if not the one in the definition.
        #[arg(long)]
        name: Option<String>,
    },
}

/// `docket job-type …`.
#[derive(Debug, Subcommand)]
pub(super) enum JobTypeCommand {
    /// Create a job type, or its next version, from a JSON file; prints ID and version.
    Apply {
        #[command(flatten)]
        common: CommonArgs,
        /// File with the definition.
        file: PathBuf,
    },
}

pub(super) async fn user(command: UserCommand) -> Result<ExitCode, String> {
    let UserCommand::Add { common, email, name, password_stdin, admin } = command;
    let password = password_stdin.then(read_password).transpose()?;
    let app = open_with_logging(&common).await?;
    let new = NewAccount { email, name, password, is_admin: admin };
    let account = app.accounts.create(new).await.map_err(error_text)?;
    let event = if account.is_admin { AuditEvent::AdminCreated } else { AuditEvent::AccountCreated };
    audit::record_with_subject(event, Outcome::Ok, AuditOrigin::default(), account.id);
    app.drain().await;
    print_line(&account.id.to_string())
}

pub(super) async fn key(command: KeyCommand) -> Result<ExitCode, String> {
    let (common, email, name, mode, expires_at) = match command {
        KeyCommand::Create { common, email, name, mode, expires_at } => {
            (common, email, name, mode, expires_at)
        }
        KeyCommand::RotateSigning { common } => return rotate_signing(&common),
    };
    let app = open_with_logging(&common).await?;
    let actor = actor_by_email(&app, &email).await?;
    let mode = match mode {
        KeyMode::Live => Mode::Live,
        KeyMode::Test => Mode::Test,
    };
    let new = NewKey { name, mode, expires_at };
    let created = create_key(&app.db, &app.clock, actor.user.id, new, &app.config.limits).await;
    let (secret, key) = created.map_err(error_text)?;
    audit::record_with_subject(AuditEvent::ApiKeyCreated, Outcome::Ok, AuditOrigin::default(), key.id);
    app.drain().await;
    print_line(&secret)
}

/// Opens the application and starts logging to standard error as configured.
async fn open_with_logging(common: &CommonArgs) -> Result<App, String> {
    telemetry::init_command_logging(&common.load(None)?)?;
    common.open().await
}

/// `docket key rotate-signing`.
fn rotate_signing(common: &CommonArgs) -> Result<ExitCode, String> {
    let config = common.load(None)?;
    telemetry::init_command_logging(&config)?;
    if !config.jwt_secret.expose().is_empty() {
        let advice = "move it to jwt_previous_secrets and set a new one";
        return Err(format!("jwt_secret is configured, so there is no key file to rotate; {advice}"));
    }
    let links = i64::from(MAX_LINK_SECONDS);
    let max_lifetime = TimeDelta::seconds(links.max(i64::from(config.auth.token_seconds)));
    rotate_secret(&config.data_dir, max_lifetime, Clock::default().now())?;
    audit::record(AuditEvent::SigningKeyRotated, Outcome::Ok, AuditOrigin::default());
    print_line("A new signing key is in place. Restart the server to sign with it.")
}

pub(super) async fn taxonomy(command: TaxonomyCommand) -> Result<ExitCode, String> {
    let TaxonomyCommand::Put { common, file, email, name } = command;
    let definition: Value = read_json(&file)?;
    let named = name.or_else(|| definition.get("name").and_then(Value::as_str).map(str::to_owned));
    let name = named.ok_or("the definition has no name; set one with --name")?;
    let app = common.open().await?;
    let actor = actor_by_email(&app, &email).await?;
    let limits = &app.config.limits;
    let row =
        taxonomy::put(&app.db, &app.clock, &actor, &name, definition, limits).await.map_err(error_text)?;
    app.drain().await;
    print_line(&format!("{} version {}", row.name, row.version))
}

pub(super) async fn job_type(command: JobTypeCommand) -> Result<ExitCode, String> {
    let JobTypeCommand::Apply { common, file } = command;
    let definition = job_type_from_json(read_json(&file)?)
        .map_err(|problems| format!("{}:\n{}", file.display(), error_text(Error::Invalid(problems))))?;
    let app = common.open().await?;
    let stored = app.jobs.types.apply(&app.clock, definition).await.map_err(error_text)?;
    app.drain().await;
    print_line(&format!("{} version {}", stored.id, stored.version))
}

/// `docket doctor`.
pub(super) async fn doctor(common: &CommonArgs) -> Result<ExitCode, String> {
    let config = common.load(None)?;
    telemetry::init_command_logging(&config)?;
    let database = config.database().split(':').next().unwrap_or_default().to_owned();
    let app = common.open().await?;
    let storage = match app.storage.check().await {
        Ok(()) => "works".to_owned(),
        Err(error) => error.to_string(),
    };
    let ocr = match tokio::process::Command::new("tesseract").arg("--version").output().await {
        Ok(output) => String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned(),
        Err(_) => "not installed; jobs with text-extraction.ocr fail with OCR_UNAVAILABLE".to_owned(),
    };
    app.drain().await;
    print_line(&format!("database: {database}, works"))?;
    print_line(&format!("storage: {storage}"))?;
    print_line(&format!("sandbox: {}", docket_extract::child::sandbox::probe()))?;
    print_line(&format!("ocr: {ocr}"))
}

/// `docket healthcheck`.
pub(super) async fn healthcheck(server: &str) -> Result<ExitCode, String> {
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(5)).no_proxy();
    // A container may have no certificates, and plain HTTP needs none.
    let client = if server.starts_with("https:") { client } else { client.tls_certs_only([]) }.build();
    let client = client.map_err(|error| error.to_string())?;
    let url = format!("{}/readyz", server.trim_end_matches('/'));
    let response = client.get(&url).send().await.map_err(|error| format!("{url}: {error}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| error.to_string())?;
    if status.is_success() { print_line(&text) } else { Err(format!("{url}: {status}: {text}")) }
}

async fn actor_by_email(app: &App, email: &str) -> Result<Actor, String> {
    let found = app.accounts.by_email(email).await.map_err(error_text)?;
    let account =
        found.ok_or_else(|| format!("there is no account {email}; create one with docket user add"))?;
    let credential = Credential { api_key: None, expires_at: None };
    Ok(Actor { user: Arc::new(account), mode: Mode::Live, credential, address: None })
}

fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_slice(without_byte_order_mark(&bytes))
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// Reads the first line of standard input.
fn read_password() -> Result<String, String> {
    let mut text = String::new();
    std::io::stdin()
        .take(4_096)
        .read_to_string(&mut text)
        .map_err(|error| format!("standard input: {error}"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn error_text(error: Error) -> String {
    match &error {
        Error::Invalid(problems) => {
            let lines: Vec<_> = problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
            lines.join("\n")
        }
        other => other.to_string(),
    }
}
