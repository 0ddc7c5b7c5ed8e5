//! The command line: what operators and scripts type.

mod admin;
pub mod demo;
mod serve;
pub mod submit;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::app::{App, Migrations};
use crate::config::{Config, Flags};

/// A GraphQL API server for long-running document jobs with people in the loop.
#[derive(Debug, Parser)]
#[command(name = "docket", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and do the steps of jobs.
    Serve(serve::ServeArgs),
    /// Start a server of its own, give it a document, and show what comes of it.
    Demo(demo::DemoArgs),
    /// Give a document to a server, and wait for what comes of it.
    Submit(Box<submit::Args>),
    /// Do the steps of jobs without serving the API (needs PostgreSQL).
    Worker(Common),
    /// Bring the database's schema up to date.
    Migrate(Common),
    /// Print the GraphQL schema, or compare it with a file.
    Schema {
        /// Succeed only if FILE holds this very schema.
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "schema.graphql")]
        check: Option<PathBuf>,
    },
    /// Manage accounts.
    #[command(subcommand)]
    User(admin::UserCommand),
    /// Manage API keys, and the key that signs tokens.
    #[command(subcommand)]
    Key(admin::KeyCommand),
    /// Manage taxonomies.
    #[command(subcommand)]
    Taxonomy(admin::TaxonomyCommand),
    /// Manage job types.
    #[command(subcommand)]
    JobType(admin::JobTypeCommand),
    /// Say what this machine offers: sandbox, OCR, database, storage.
    Doctor(Common),
    /// Succeed if a server is ready; for containers.
    Healthcheck {
        /// Address of the server.
        #[arg(long, env = "DOCKET_SERVER", default_value = "http://127.0.0.1:8080")]
        server: String,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Exit code of a command line that makes no sense (sysexits.h), apart from those that tell how a job ended.
const WRONG_USAGE: u8 = 64;

/// Where the server's things are; the same for every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Configuration file; config.default.toml documents every key.
    #[arg(long, env = "DOCKET_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the embedded default: database, objects, keys [env: DOCKET_DATA_DIR].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// sqlite:///path or postgres://… [env: DOCKET_DATABASE_URL].
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

impl Common {
    fn load(&self, listen: Option<String>) -> Result<Config, String> {
        let (data_dir, database_url) = (self.data_dir.clone(), self.database_url.clone());
        Config::load(self.config.as_deref(), &Flags { listen, data_dir, database_url })
    }

    /// Opens the application for a command that ends by itself.
    async fn open(&self) -> Result<App, String> {
        let config = self.load(None)?;
        let url = config.public_url(config.listen);
        App::open(config, &url, Migrations::Run).await
    }
}

/// Runs the command line.
#[expect(clippy::print_stderr, reason = "this is where a command says why it failed")]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // What is not printed, because nobody reads, is nobody's loss.
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // Of all cryptography libraries that are linked, one has to be chosen; a second choice is refused and harmless.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("docket: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("docket: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, String> {
    match command {
        Command::Serve(args) => Box::pin(serve::serve(args)).await.map(|()| ExitCode::SUCCESS),
        Command::Demo(args) => Box::pin(demo::demo(args)).await.map(|()| ExitCode::SUCCESS),
        Command::Submit(args) => Ok(submit::run(*args).await.into()),
        Command::Worker(common) => serve::worker(&common).await.map(|()| ExitCode::SUCCESS),
        Command::Migrate(common) => {
            common.open().await?.drain().await;
            say("The schema is up to date.")
        }
        Command::Schema { check } => schema(check.as_deref()),
        Command::User(command) => admin::user(command).await,
        Command::Key(command) => admin::key(command).await,
        Command::Taxonomy(command) => admin::taxonomy(command).await,
        Command::JobType(command) => admin::job_type(command).await,
        Command::Doctor(common) => admin::doctor(&common).await,
        Command::Healthcheck { server } => admin::healthcheck(&server).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "docket", &mut std::io::stdout().lock());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn schema(check: Option<&std::path::Path>) -> Result<ExitCode, String> {
    let printed = crate::graphql::sdl();
    let Some(path) = check else { return say(printed.trim_end()) };
    let there = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if there.trim() == printed.trim() {
        return say(&format!("{} is this program's schema.", path.display()));
    }
    let first = there.lines().zip(printed.lines()).position(|(a, b)| a != b);
    let line = first.unwrap_or_else(|| there.lines().count().min(printed.lines().count())) + 1;
    Err(format!(
        "{} differs from this program's schema from line {line}; print it anew with docket schema",
        path.display()
    ))
}

/// Prints a line that scripts may read.
fn say(line: &str) -> Result<ExitCode, String> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        // Whoever reads had enough, as in `docket schema | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.to_string()),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_opens_the_database_is_told_which() {
        Cli::command().debug_assert();
        for command in ["serve", "demo", "worker", "migrate", "doctor"] {
            let line = ["docket", command, "--data-dir", "d", "--database-url", "sqlite:///x"];
            assert!(Cli::try_parse_from(line).is_ok(), "{command}");
        }
    }
}
