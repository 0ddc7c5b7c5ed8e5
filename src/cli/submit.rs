//! `docket submit`: uploads a document, creates a job, and optionally waits for its end and saves the output.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::client::error::printable;
use crate::client::metadata::{self, read_at_most};
use crate::client::operations::{CollaboratorInput, ContentSource, CreateJobInput};
use crate::client::transfer::{folder_of, media_type};
use crate::client::{Client, ClientError, Console, DocumentInfo, Job, JobStatus, Result, Upload, progress};
use crate::config::Secret;

/// Maximum length of a password on standard input in bytes; far above the limit of any server.
const MAX_PASSWORD_BYTES: u64 = 4096;
/// The file argument that stands for standard input.
const STDIN: &str = "-";

const AFTER_HELP: &str = "\
Examples:
  Submit an invoice, show a progress bar, and save its XML:
    docket submit invoice.pdf --type data-point-extraction --metadata mapping.taxonomy=invoices --output invoice.xml

  Let a team review the values, without waiting for the result:
    docket submit invoice.pdf --type data-point-extraction --metadata mapping.taxonomy=invoices \\
      --collaborator team:clerks=mapping

  From a script, without reviews, and safe to run twice:
    docket submit order.html --type data-point-extraction --metadata-file order.json --idempotency-key order-7781 \\
      --metadata zoning.high_confidence_threshold=0 --metadata mapping.high_confidence_threshold=0 --watch --json

Exit status:
  0  the job is COMPLETED; or, without --watch, it was accepted (BLOCKED included)
  1  the job is FAILED
  2  the job is CANCELLED
  3  the server refused the request, or the arguments are not valid; the message says what would be right
  4  the server cannot be reached, or the connection was lost while watching; the job itself continues

A job that waits for a person may take days, and a subscription ends when its credential expires. For long watches, use
an API key instead of an access token or a password.";

/// Submit a document as a job.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Document to submit; - reads standard input, which needs --name.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Job type, such as data-point-extraction or indexing.
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    job_type: String,

    /// Name of the document, if not the name of the file.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// MIME type of the document, if its name does not tell.
    #[arg(long, value_name = "MIME")]
    media_type: Option<String>,

    /// URL of the server.
    #[arg(long, env = "DOCKET_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,

    /// Access token or API key; prefer the variable, because other users can see command lines.
    #[arg(long, env = "DOCKET_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<Secret>,

    /// Sign in as this user instead of using a token.
    #[arg(long, value_name = "EMAIL", requires = "password_stdin")]
    email: Option<String>,

    /// Read the password for --email from standard input.
    #[arg(long, requires = "email")]
    password_stdin: bool,

    /// Metadata: a key, in which dots separate path segments, and a value, which is JSON if it parses and a string
    /// otherwise.
    #[arg(long, short = 'm', value_name = "KEY=VALUE", value_parser = metadata::pair)]
    metadata: Vec<(String, Value)>,

    /// File with a JSON object of metadata; --metadata overrides single values.
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,

    /// Add a collaborator: user:EMAIL or team:NAME, for all steps or for those after the =.
    #[arg(long, short = 'c', value_name = "user:EMAIL|team:NAME[=STEP,STEP]")]
    collaborator: Vec<CollaboratorInput>,

    /// Key that makes it safe to submit again: the same key returns the same job.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Priority; jobs with a higher one run first.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,

    /// Wait for the job to end and show its progress.
    #[arg(long, short = 'w')]
    watch: bool,

    /// Wait for the job to complete and save its output to this file.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print only one JSON object, at the end, to standard output; progress goes to standard error.
    #[arg(long)]
    json: bool,
}

/// The exit status of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The job was completed, or accepted without --watch.
    Done = 0,
    /// The job failed.
    Failed = 1,
    /// The job was cancelled.
    Cancelled = 2,
    /// The server refused the request, or the arguments are not valid.
    Refused = 3,
    /// The server cannot be reached.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&JobStatus> for Exit {
    fn from(status: &JobStatus) -> Self {
        match status {
            JobStatus::Failed => Self::Failed,
            JobStatus::Cancelled => Self::Cancelled,
            JobStatus::Completed | JobStatus::Queued | JobStatus::Running | JobStatus::Blocked => Self::Done,
            // A status of a newer server: the job was accepted.
            JobStatus::Other(_) => Self::Done,
        }
    }
}

impl From<&ClientError> for Exit {
    fn from(error: &ClientError) -> Self {
        if error.is_unreachable() { Self::Unreachable } else { Self::Refused }
    }
}

/// The result of the command; printed with `--json`.
#[derive(Debug, PartialEq, Serialize)]
pub struct Report {
    /// The latest known state of the job.
    pub job: Job,
    /// The saved output, if any.
    pub output: Option<Saved>,
}

/// An output that was saved to a file.
#[derive(Debug, PartialEq, Serialize)]
pub struct Saved {
    /// The path of the file.
    pub file: PathBuf,
    /// The document in the file.
    pub document: DocumentInfo,
}

/// Runs the command on the standard streams of the process.
pub async fn run(args: Args) -> Exit {
    // Not locked: the bar draws on standard error from its own thread.
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let lines: &mut dyn Write = if args.json { &mut stderr } else { &mut stdout };
    let with_bar = args.json || io::stdout().is_terminal();
    let mut console = if with_bar { Console::with_bar(lines) } else { Console::lines(lines) };
    let result = submit(&args, &mut console).await;
    console.clear();
    let exit = match &result {
        Ok(report) => Exit::from(&report.job.status),
        Err(error) => Exit::from(error),
    };
    match print_result(&args, &result, &mut stdout, &mut stderr) {
        // The streams are closed, so only the exit status can report the failure.
        Err(_) if exit == Exit::Done => Exit::Refused,
        _ => exit,
    }
}

fn print_result(
    args: &Args,
    result: &Result<Report>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<()> {
    if let Err(error) = result {
        writeln!(err, "error: {error}")?;
    }
    if args.json {
        let object = result.as_ref().map_or_else(errors_json, |report| json!(report));
        writeln!(out, "{object}")?;
    }
    out.flush()
}

/// Submits the document as the arguments say, and reports progress on the console.
pub async fn submit(args: &Args, console: &mut Console<'_>) -> Result<Report> {
    let metadata = metadata::assemble(args.metadata_file.as_deref(), &args.metadata)?;
    if let Some(output) = &args.output {
        check_output(output)?;
    }
    let client = connect(args).await?;
    let document = upload(args, &client, console).await?;
    let input = CreateJobInput {
        type_: args.job_type.clone(),
        input: ContentSource::DocumentId(document.id.clone()),
        contents: None,
        metadata: Some(metadata),
        collaboration: Some(args.collaborator.clone()),
        idempotency_key: args.idempotency_key.clone(),
        priority: args.priority.map(Into::into),
    };
    let mut job = create(&client, input, &document, console).await?;
    if (args.watch || args.output.is_some()) && !job.status.is_final() {
        job = client.watch(&job.id, |job| console.show_job(job)).await?;
        console.clear();
    }
    console.print_line(&describe_outcome(&job))?;
    let mut output = None;
    if let (Some(path), JobStatus::Completed) = (&args.output, &job.status) {
        output = Some(save_output(&client, &job, path, console).await?);
    }
    Ok(Report { job, output })
}

async fn connect(args: &Args) -> Result<Client> {
    let Some(email) = &args.email else {
        let Some(token) = &args.token else {
            let message = "A credential is required. Set DOCKET_TOKEN to an access token or API key, or use --email \
                           and --password-stdin.";
            return Err(ClientError::Input(message.into()));
        };
        return Client::new(&args.server, Some(token.clone()));
    };
    let password = read_password(io::stdin())?;
    Client::new(&args.server, None)?.sign_in(email, &password).await
}

async fn upload(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<DocumentInfo> {
    let document = if args.file == Path::new(STDIN) {
        if args.password_stdin {
            let message =
                "Standard input cannot be both the document and the password. Give the document as a file.";
            return Err(ClientError::Input(message.into()));
        }
        let Some(name) = &args.name else {
            return Err(ClientError::Input(
                "A document from standard input needs a name. Set it with --name.".into(),
            ));
        };
        let media_type = args.media_type.clone().or_else(|| media_type(name));
        let upload = Upload { content: tokio::io::stdin(), size: None, name: name.clone(), media_type };
        let progress = console.show_upload(name, None);
        client.upload(upload, progress).await?
    } else {
        let mut upload = Upload::open(&args.file).await?;
        if let Some(name) = &args.name {
            upload.media_type = upload.media_type.or_else(|| media_type(name));
            upload.name.clone_from(name);
        }
        if args.media_type.is_some() {
            upload.media_type.clone_from(&args.media_type);
        }
        let progress = console.show_upload(&upload.name, upload.size);
        client.upload(upload, progress).await?
    };
    console.clear();
    let (name, size) = (printable(&document.name), progress::size(document.size));
    console.print_line(&format!(
        "Uploaded {name} ({}, {size}) as document {}.",
        printable(&document.type_),
        document.id
    ))?;
    Ok(document)
}

/// Creates the job. If no job uses the uploaded document, deletes it again.
async fn create(
    client: &Client,
    input: CreateJobInput,
    document: &DocumentInfo,
    console: &mut Console<'_>,
) -> Result<Job> {
    let created = client.create_job(input).await;
    let (unused, text) = match &created {
        Ok(job) if job.input_content.document.id != document.id => {
            (true, format!("Job {} already exists with this idempotency key; it is {}.", job.id, job.status))
        }
        Ok(job) => (false, format!("Job {} ({}) is {}.", job.id, printable(&job.type_.id), job.status)),
        Err(ClientError::Api(_)) => (true, String::new()),
        // The server may have created the job all the same.
        Err(_) => (false, String::new()),
    };
    if unused && let Err(error) = client.delete_document(&document.id).await {
        console
            .print_line(&format!("Document {} is not used but could not be deleted: {error}", document.id))?;
    }
    if !text.is_empty() {
        console.print_line(&text)?;
    }
    created
}

async fn save_output(client: &Client, job: &Job, path: &Path, console: &mut Console<'_>) -> Result<Saved> {
    let Some(content) = &job.output_content else {
        let message = format!("Job {} is completed, but its type has no output; nothing was saved.", job.id);
        return Err(ClientError::Input(message));
    };
    client.save(&content.document, path).await?;
    console.print_line(&format!(
        "Saved the output ({}) as {}.",
        progress::size(content.document.size),
        path.display()
    ))?;
    Ok(Saved { file: path.to_owned(), document: content.document.clone() })
}

/// Describes the status of a job in a sentence.
pub(super) fn describe_outcome(job: &Job) -> String {
    let id = &job.id;
    match (&job.status, &job.failure) {
        (JobStatus::Failed, Some(failure)) => {
            let step = failure
                .step
                .as_deref()
                .map(|step| format!(" at step {}", printable(step)))
                .unwrap_or_default();
            format!("Job {id} failed{step}: {} ({})", printable(&failure.message), printable(&failure.code))
        }
        (JobStatus::Failed, None) => format!("Job {id} failed."),
        (JobStatus::Completed, _) => format!("Job {id} is completed."),
        (JobStatus::Cancelled, _) => format!("Job {id} was cancelled."),
        (JobStatus::Blocked, _) => format!("Job {id} waits for a person. Use --watch to wait for its end."),
        (JobStatus::Queued | JobStatus::Running | JobStatus::Other(_), _) => {
            format!("Job {id} is in progress. Use --watch to wait for its end.")
        }
    }
}

fn errors_json(error: &ClientError) -> Value {
    match error.api_errors() {
        [] => json!({"errors": [{"message": error.to_string()}]}),
        errors => json!({"errors": errors}),
    }
}

fn read_password(input: impl Read) -> Result<Secret> {
    let failed = |error: io::Error| ClientError::Input(format!("The password cannot be read: {error}"));
    let text = read_at_most(input, MAX_PASSWORD_BYTES).map_err(failed)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(ClientError::Input("Standard input contains no password.".into()));
    }
    Ok(Secret::from(password.to_owned()))
}

fn check_output(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    let problem = if path == Path::new("-") {
        "give a file, such as /dev/stdout for standard output".to_owned()
    } else if path.is_dir() {
        "it is a folder; give a file in it".to_owned()
    } else if !folder.is_dir() {
        format!("there is no folder {}", folder.display())
    } else {
        return Ok(());
    };
    Err(ClientError::Input(format!("The output cannot be saved as {}: {problem}.", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Cli::try_parse_from(std::iter::once("submit").chain(line.split(' '))).map(|cli| cli.args)
    }

    #[test]
    fn arguments_are_parsed() {
        let args =
            parse("a.pdf -t noop -m a.b=1 -m c=x --collaborator team:t=s --priority -5 --output o.xml")
                .unwrap();
        assert_eq!(args.metadata, [("a.b".to_owned(), json!(1)), ("c".to_owned(), json!("x"))]);
        assert_eq!((args.priority, args.watch), (Some(-5), false));
        assert_eq!(args.collaborator.len(), 1);
        assert!(parse("a.pdf").is_err(), "a type is required");
        assert!(parse("a.pdf -t noop --email a@example.org").is_err(), "a password is required");
        assert!(
            parse("a.pdf -t noop -m nothing").unwrap_err().to_string().contains("mapping.taxonomy=invoices")
        );
        let args = parse("a.pdf -t noop --token t0ps3cret").unwrap();
        assert!(!format!("{args:?}").contains("t0ps3cret"));
    }

    #[test]
    fn exit_status_follows_the_job_status_or_error() {
        for (status, expected) in [
            (JobStatus::Completed, 0),
            (JobStatus::Queued, 0),
            (JobStatus::Running, 0),
            (JobStatus::Blocked, 0),
            (JobStatus::Failed, 1),
            (JobStatus::Cancelled, 2),
        ] {
            assert_eq!(Exit::from(&status) as u8, expected, "{status}");
        }
        let unreachable = ClientError::Unreachable { server: "s".into(), cause: "c".into() };
        assert_eq!(Exit::from(&unreachable) as u8, 4);
        assert_eq!(Exit::from(&ClientError::Lost { attempts: 1, cause: Box::new(unreachable) }) as u8, 4);
        assert_eq!(Exit::from(&ClientError::Input("i".into())) as u8, 3);
        assert_eq!(Exit::from(&ClientError::Closed { code: 4403, reason: String::new() }) as u8, 3);
    }

    #[test]
    fn only_the_line_end_of_a_password_is_removed() {
        assert_eq!(read_password("correct horse \r\n".as_bytes()).unwrap().expose(), "correct horse ");
        assert_eq!(read_password("no end".as_bytes()).unwrap().expose(), "no end");
        assert!(read_password("\n".as_bytes()).is_err());
        let error = read_password("x".repeat(5000).as_bytes()).unwrap_err().to_string();
        assert!(error.ends_with("it has more than 4096 bytes"), "{error}");
    }

    #[test]
    fn output_path_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_output(&folder.path().join("o.xml")).is_ok());
        assert!(check_output(Path::new("o.xml")).is_ok());
        assert!(check_output(folder.path()).unwrap_err().to_string().contains("it is a folder"));
        let error = check_output(&folder.path().join("no/o.xml")).unwrap_err().to_string();
        assert!(error.contains("there is no folder"), "{error}");
    }

    #[tokio::test]
    async fn missing_credential_is_refused_before_connecting() {
        let args = Args { token: None, ..parse("a.pdf -t noop --server http://127.0.0.1:9").unwrap() };
        let error = connect(&args).await.unwrap_err().to_string();
        assert!(error.contains("DOCKET_TOKEN"), "{error}");
    }
}
