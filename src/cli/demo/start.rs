//! `docket demo`: starts a server on the embedded defaults, creates a user and a taxonomy, and runs a sample.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;

use super::{put_taxonomy, run};
use crate::account::NewAccount;
use crate::app::Migrations;
use crate::cli::serve::{Parts, Running, listen_for_shutdown, start};
use crate::client::{Client, Console};
use crate::config::{Config, Flags, Secret};
use crate::telemetry;

const EMAIL: &str = "demo@example.com";

/// Options of `docket demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder for all data; by default a temporary one, which is removed at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Database: sqlite:///path or postgres://…; SQLite in the folder by default [env: DOCKET_DATABASE_URL].
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Address to listen on; if its port is in use, a free one is taken.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Stop after the sample instead of keeping the server running.
    #[arg(long)]
    once: bool,
}

/// Starts the server, runs the sample, and serves until it is interrupted.
pub(crate) async fn demo(args: DemoArgs) -> Result<(), String> {
    let (folder, _temporary) = match args.data_dir {
        Some(folder) => (folder, None),
        None => {
            let created = tempfile::Builder::new()
                .prefix("docket-demo-")
                .tempdir()
                .map_err(|error| error.to_string())?;
            (created.path().to_owned(), Some(created))
        }
    };
    let data_dir = Some(folder.join("data"));
    let flags = Flags { listen: Some(args.listen), data_dir, database_url: args.database_url };
    let mut config = Config::load(None, &flags)?;
    if std::net::TcpListener::bind(config.listen).is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
        config.listen.set_port(0);
    }
    if config.log == "info" {
        // Log lines at `info` would interrupt the output of the demo.
        "warn".clone_into(&mut config.log);
    }
    let traces = telemetry::init(&config)?;
    let stop = listen_for_shutdown()?;
    let running = start(config, Parts::All, Migrations::Run).await?;
    let result = tokio::select! {
        result = run_sample(&running, &folder) => result,
        () = stop.cancelled() => Ok(()),
    };
    if result.is_ok() && !args.once {
        stop.cancelled().await;
    }
    let stopped = running.stop().await;
    traces.stop().await;
    stopped.and(result)
}

async fn run_sample(running: &Running, folder: &std::path::Path) -> Result<(), String> {
    let token = Secret::from(sign_in(running).await.map_err(|error| error.to_string())?);
    let url = running.app.config.public_url(running.address);
    let explain = |error: crate::client::ClientError| error.to_string();
    let client = Client::new(&url, Some(token.clone())).map_err(explain)?;
    put_taxonomy(&client).await.map_err(explain)?;
    let mut stdout = std::io::stdout();
    let mut console = Console::with_bar(&mut stdout);
    run(&client, folder, &token, &mut console).await.map(drop).map_err(explain)
}

/// Returns an access token of the demo's user, and creates the user without a password if it does not exist.
async fn sign_in(running: &Running) -> crate::error::Result<String> {
    let accounts = &running.app.accounts;
    let account = match accounts.by_email(EMAIL).await? {
        Some(account) => account,
        None => {
            let new =
                NewAccount { email: EMAIL.into(), name: "Demo".into(), password: None, is_admin: false };
            accounts.create(new).await?
        }
    };
    Ok(accounts.issue_token(&account)?.text)
}
