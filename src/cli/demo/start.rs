//! `docket demo`: a server of its own on the embedded default, a user, a taxonomy, and the tour.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;

use super::{put_taxonomy, run};
use crate::account::NewAccount;
use crate::app::Migrations;
use crate::cli::serve::{Parts, Running, asked_to_stop, start};
use crate::client::{Client, Console};
use crate::config::{Config, Flags, Secret};
use crate::telemetry;

const EMAIL: &str = "demo@example.com";

/// Options of `docket demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder to keep everything in; a temporary one, removed at the end, where it is not given.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// sqlite:///path or postgres://…; SQLite in the folder where it is not given [env: DOCKET_DATABASE_URL].
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Address to listen on; a free port is taken where it is in use.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Stop when the tour is over instead of staying up.
    #[arg(long)]
    once: bool,
}

/// Starts the server, gives the tour, and stays up until it is interrupted.
pub async fn demo(args: DemoArgs) -> Result<(), String> {
    let (folder, _temporary) = match args.data_dir {
        Some(folder) => (folder, None),
        None => {
            let made = tempfile::Builder::new()
                .prefix("docket-demo-")
                .tempdir()
                .map_err(|error| error.to_string())?;
            (made.path().to_owned(), Some(made))
        }
    };
    let data_dir = Some(folder.join("data"));
    let flags = Flags { listen: Some(args.listen), data_dir, database_url: args.database_url };
    let mut config = Config::load(None, &flags)?;
    if std::net::TcpListener::bind(config.listen).is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
        config.listen.set_port(0);
    }
    if config.log == "info" {
        // The tour is for people; what they did not ask for would stand between its lines.
        "warn".clone_into(&mut config.log);
    }
    let traces = telemetry::start(&config)?;
    let stop = asked_to_stop()?;
    let running = start(config, Parts::All, Migrations::Run).await?;
    let toured = tokio::select! {
        toured = tour(&running, &folder) => toured,
        () = stop.cancelled() => Ok(()),
    };
    if toured.is_ok() && !args.once {
        stop.cancelled().await;
    }
    let stopped = running.stop().await;
    traces.stop().await;
    stopped.and(toured)
}

async fn tour(running: &Running, folder: &std::path::Path) -> Result<(), String> {
    let token = Secret::from(sign_in(running).await.map_err(|error| error.to_string())?);
    let url = running.app.config.public_url(running.address);
    let explain = |error: crate::client::ClientError| error.to_string();
    let client = Client::new(&url, Some(token.clone())).map_err(explain)?;
    put_taxonomy(&client).await.map_err(explain)?;
    let mut stdout = std::io::stdout();
    let mut console = Console::with_bar(&mut stdout);
    run(&client, folder, &token, &mut console).await.map(drop).map_err(explain)
}

/// The demo's user, made where a folder that is used again does not have it yet, with a password that nobody keeps.
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
    Ok(accounts.token_for(&account)?.text)
}
