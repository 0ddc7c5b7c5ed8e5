//! Options and output that the commands share.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app::{App, Migrations};
use crate::config::{Config, Flags};

/// Options that every command with a database shares.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommonArgs {
    /// Configuration file; config.default.toml documents every key.
    #[arg(long, env = "DOCKET_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Data directory: database, objects and keys by default [env: DOCKET_DATA_DIR].
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Database: sqlite:///path or postgres://… [env: DOCKET_DATABASE_URL].
    #[arg(long, value_name = "URL")]
    pub(super) database_url: Option<String>,
}

impl CommonArgs {
    pub(super) fn load(&self, listen: Option<String>) -> Result<Config, String> {
        let (data_dir, database_url) = (self.data_dir.clone(), self.database_url.clone());
        Config::load(self.config.as_deref(), &Flags { listen, data_dir, database_url })
    }

    /// Opens the application for a command that ends by itself.
    pub(super) async fn open(&self) -> Result<App, String> {
        let config = self.load(None)?;
        let url = config.public_url(config.listen);
        App::open(config, &url, Migrations::Run).await
    }
}

/// Prints a line to standard output.
pub(super) fn print_line(line: &str) -> Result<ExitCode, String> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        // The reader has closed the pipe, as in `docket schema | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.to_string()),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}
