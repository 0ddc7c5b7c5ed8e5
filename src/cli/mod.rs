//! The command line.

mod admin;
mod common;
pub(crate) mod demo;
mod serve;
pub mod submit;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::common::{CommonArgs, print_line};

/// A GraphQL API server for long-running document jobs with human review.
#[derive(Debug, Parser)]
#[command(name = "docket", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and run steps.
    Serve(serve::ServeArgs),
    /// Start a server, run a sample document through it, and show the result.
    Demo(demo::DemoArgs),
    /// Submit a document to a server, and optionally wait for the result.
    Submit(Box<submit::Args>),
    /// Run steps without serving the API (needs PostgreSQL).
    Worker(CommonArgs),
    /// Migrate the database to the current schema.
    Migrate(CommonArgs),
    /// Print the GraphQL schema, or compare it with a file.
    Schema {
        /// Exit with 0 only if FILE contains exactly this schema.
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
    /// Check this machine: database, storage, sandbox, OCR.
    Doctor(CommonArgs),
    /// Exit with 0 if a server is ready; for containers.
    Healthcheck {
        /// URL of the server.
        #[arg(long, env = "DOCKET_SERVER", default_value = "http://127.0.0.1:8080")]
        server: String,
    },
    /// Print completions for a shell.
    Completions {
        /// Shell to complete for.
        shell: clap_complete::Shell,
    },
}

/// Exit code for an invalid command line (EX_USAGE of sysexits.h), distinct from the codes for the result of a job.
const USAGE_EXIT_CODE: u8 = 64;

/// Runs the command line.
#[expect(clippy::print_stderr, reason = "commands print their errors here")]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed output is no reason to fail.
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(USAGE_EXIT_CODE) } else { ExitCode::SUCCESS };
        }
    };
    // Several cryptography libraries are linked, so one must be chosen; a second call fails without harm.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("docket: could not start the runtime: {error}");
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
            print_line("The database schema is up to date.")
        }
        Command::Schema { check } => print_or_check_schema(check.as_deref()),
        Command::User(command) => admin::user(command).await,
        Command::Key(command) => admin::key(command).await,
        Command::Taxonomy(command) => admin::taxonomy(command).await,
        Command::JobType(command) => admin::job_type(command).await,
        Command::Doctor(common) => admin::doctor(&common).await,
        Command::Healthcheck { server } => admin::healthcheck(&server).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "docket", &mut script);
            Write::write_all(&mut std::io::stdout().lock(), &script).map_err(|error| error.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print_or_check_schema(check: Option<&std::path::Path>) -> Result<ExitCode, String> {
    let printed = crate::graphql::sdl();
    let Some(path) = check else { return print_line(printed.trim_end()) };
    let existing = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if existing.trim() == printed.trim() {
        return print_line(&format!("{} matches the schema of this program.", path.display()));
    }
    let first = existing.lines().zip(printed.lines()).position(|(a, b)| a != b);
    let line = first.unwrap_or_else(|| existing.lines().count().min(printed.lines().count())) + 1;
    Err(format!(
        "{} differs from the schema of this program at line {line}; update it with docket schema",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_database_command_accepts_data_dir_and_database_url() {
        Cli::command().debug_assert();
        for command in ["serve", "demo", "worker", "migrate", "doctor"] {
            let line = ["docket", command, "--data-dir", "d", "--database-url", "sqlite:///x"];
            assert!(Cli::try_parse_from(line).is_ok(), "{command}");
        }
    }
}
