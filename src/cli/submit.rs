//! `docket submit`: uploads a document, creates a job, and where asked waits for its end and saves the output.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::client::error::printable;
use crate::client::job::{Collaborator, Source};
use crate::client::metadata::{self, read_at_most};
use crate::client::transfer::{folder_of, media_type};
use crate::client::{
    Client, ClientError, Console, DocumentInfo, Job, JobStatus, NewJob, Result, Upload, progress,
};
use crate::config::Secret;

/// Bytes of a password on standard input: far above what any server takes.
const LONGEST_PASSWORD: u64 = 4096;
/// A document on standard input.
const STDIN: &str = "-";

const AFTER_HELP: &str = "\
Examples:
  Submit an invoice and wait, with a bar, for its XML:
    docket submit invoice.pdf --type data-point-extraction --metadata mapping.taxonomy=invoices --output invoice.xml

  Let a team check what was found, and go on without waiting:
    docket submit invoice.pdf --type data-point-extraction --metadata mapping.taxonomy=invoices \\
      --collaborator team:clerks=mapping

  From a script, with no person in the loop, and safe to run twice:
    docket submit order.html --type data-point-extraction --metadata-file order.json --idempotency-key order-7781 \\
      --metadata zoning.high_confidence_threshold=0 --metadata mapping.high_confidence_threshold=0 --watch --json

Exit status:
  0  the job is COMPLETED; or, without --watch, it was accepted (BLOCKED included)
  1  the job is FAILED
  2  the job is CANCELLED
  3  the server refused, or what was asked for cannot be done; the message says what would be right
  4  the server cannot be reached, or was lost for good while watching; the job itself goes on

A job that waits for a person may take days, and a subscription ends when its credential does: for long watches take an
API key rather than an access token or a password.";

/// Submit a document as a job.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Document to submit; - is standard input, which needs --name.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Job type, such as data-point-extraction or indexing.
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    job_type: String,

    /// Name of the document, where it is not to be the file's own.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// MIME type of the document, where its name does not tell.
    #[arg(long, value_name = "MIME")]
    media_type: Option<String>,

    /// Address of the server.
    #[arg(long, env = "DOCKET_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,

    /// Access token or API key; better in the variable, since others see a machine's command lines.
    #[arg(long, env = "DOCKET_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<Secret>,

    /// Sign in as this user, whatever token there is.
    #[arg(long, value_name = "EMAIL", requires = "password_stdin")]
    email: Option<String>,

    /// Read the password for --email from standard input.
    #[arg(long, requires = "email")]
    password_stdin: bool,

    /// Metadata: a key, dots in it being a path, and a value, which is JSON where it parses as JSON and else a string.
    #[arg(long, short = 'm', value_name = "KEY=VALUE", value_parser = metadata::pair)]
    metadata: Vec<(String, Value)>,

    /// File with a JSON object of metadata; --metadata overrides single values of it.
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,

    /// Let somebody in: user:EMAIL or team:NAME, for all steps or for those after the =.
    #[arg(long, short = 'c', value_name = "user:EMAIL|team:NAME[=STEP,STEP]")]
    collaborator: Vec<Collaborator>,

    /// The same key makes the same job, however often it is submitted.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Jobs of a higher priority run first.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,

    /// Wait for the end of the job and show its progress.
    #[arg(long, short = 'w')]
    watch: bool,

    /// Save the output here once the job is completed; waits for it.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print one JSON object at the end and nothing else on standard output; progress goes to standard error.
    #[arg(long)]
    json: bool,
}

/// What the program ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Completed, or accepted where nobody waits for more.
    Done = 0,
    /// The job failed.
    Failed = 1,
    /// The job was cancelled.
    Cancelled = 2,
    /// The server refused, or what was asked for cannot be done.
    Refused = 3,
    /// The server is out of reach.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<JobStatus> for Exit {
    fn from(status: JobStatus) -> Self {
        match status {
            JobStatus::Failed => Self::Failed,
            JobStatus::Cancelled => Self::Cancelled,
            JobStatus::Completed | JobStatus::Queued | JobStatus::Running | JobStatus::Blocked => Self::Done,
        }
    }
}

impl From<&ClientError> for Exit {
    fn from(error: &ClientError) -> Self {
        if error.is_unreachable() { Self::Unreachable } else { Self::Refused }
    }
}

/// What came of it; printed with `--json`.
#[derive(Debug, PartialEq, Serialize)]
pub struct Report {
    /// The job as it was last seen.
    pub job: Job,
    /// The output that was saved.
    pub output: Option<Saved>,
}

/// A file that was written.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// Where.
    pub file: PathBuf,
    /// What is in it.
    pub document: DocumentInfo,
}

/// Runs the command on the program's own standard streams.
pub async fn run(args: Args) -> Exit {
    // Not locked: the bar draws on standard error from a thread of its own.
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let lines: &mut dyn Write = if args.json { &mut stderr } else { &mut stdout };
    let drawn = args.json || io::stdout().is_terminal();
    let mut console = if drawn { Console::with_bar(lines) } else { Console::lines(lines) };
    let result = submit(&args, &mut console).await;
    console.clear();
    let exit = match &result {
        Ok(report) => Exit::from(report.job.status),
        Err(error) => Exit::from(error),
    };
    match print(&args, &result, &mut stdout, &mut stderr) {
        // There is nobody to tell that the streams are closed; the exit status at least does not speak of success.
        Err(_) if exit == Exit::Done => Exit::Refused,
        _ => exit,
    }
}

fn print(args: &Args, result: &Result<Report>, out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
    if let Err(error) = result {
        writeln!(err, "error: {error}")?;
    }
    if args.json {
        let object = result.as_ref().map_or_else(failure, |report| json!(report));
        writeln!(out, "{object}")?;
    }
    out.flush()
}

/// Does what the arguments ask for, and tells of it on the console.
pub async fn submit(args: &Args, console: &mut Console<'_>) -> Result<Report> {
    let metadata = metadata::assemble(args.metadata_file.as_deref(), &args.metadata)?;
    if let Some(output) = &args.output {
        check_output(output)?;
    }
    let client = connect(args).await?;
    let document = upload(args, &client, console).await?;
    let new = NewJob {
        job_type: args.job_type.clone(),
        input: Source { document_id: document.id.clone() },
        metadata,
        collaboration: args.collaborator.clone(),
        idempotency_key: args.idempotency_key.clone(),
        priority: args.priority,
    };
    let mut job = create(&client, &new, &document, console).await?;
    if (args.watch || args.output.is_some()) && !job.status.is_final() {
        job = client.watch(&job.id, |job| console.job(job)).await?;
        console.clear();
    }
    console.say(&outcome(&job))?;
    let mut output = None;
    if let (Some(path), JobStatus::Completed) = (&args.output, job.status) {
        output = Some(save_output(&client, &job, path, console).await?);
    }
    Ok(Report { job, output })
}

async fn connect(args: &Args) -> Result<Client> {
    let Some(email) = &args.email else {
        let Some(token) = &args.token else {
            let needed = "No credential is given: set DOCKET_TOKEN to an access token or API key, or use --email and \
                          --password-stdin.";
            return Err(ClientError::Input(needed.into()));
        };
        return Client::new(&args.server, Some(token.clone()));
    };
    let password = password(io::stdin())?;
    Client::new(&args.server, None)?.sign_in(email, &password).await
}

async fn upload(args: &Args, client: &Client, console: &mut Console<'_>) -> Result<DocumentInfo> {
    let document = if args.file == Path::new(STDIN) {
        if args.password_stdin {
            let both = "Standard input is the document or the password, not both.";
            return Err(ClientError::Input(both.into()));
        }
        let Some(name) = &args.name else {
            return Err(ClientError::Input("A document from standard input needs a --name.".into()));
        };
        let media_type = args.media_type.clone().or_else(|| media_type(name));
        let upload = Upload { content: tokio::io::stdin(), size: None, name: name.clone(), media_type };
        let progress = console.upload(name, None);
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
        let progress = console.upload(&upload.name, upload.size);
        client.upload(upload, progress).await?
    };
    console.clear();
    let (name, size) = (printable(&document.name), progress::size(document.size));
    console.say(&format!(
        "Uploaded {name} ({}, {size}) as document {}.",
        printable(&document.media_type),
        document.id
    ))?;
    Ok(document)
}

/// Creates the job. A document that no job took is removed again: it was uploaded for this one only.
async fn create(
    client: &Client,
    new: &NewJob,
    document: &DocumentInfo,
    console: &mut Console<'_>,
) -> Result<Job> {
    let created = client.create_job(new).await;
    let (unused, text) = match &created {
        Ok(job) if job.input_content.document.id != document.id => {
            (true, format!("Job {} was made with this idempotency key before; it is {}.", job.id, job.status))
        }
        Ok(job) => (false, format!("Job {} ({}) is {}.", job.id, printable(&job.job_type.id), job.status)),
        Err(ClientError::Api(_)) => (true, String::new()),
        // It may be there after all.
        Err(_) => (false, String::new()),
    };
    if unused && let Err(error) = client.delete_document(&document.id).await {
        console.say(&format!("Document {} is not used and could not be removed: {error}", document.id))?;
    }
    if !text.is_empty() {
        console.say(&text)?;
    }
    created
}

async fn save_output(client: &Client, job: &Job, path: &Path, console: &mut Console<'_>) -> Result<Saved> {
    let Some(content) = &job.output_content else {
        let none = format!("Job {} is completed, but its type makes no output; nothing was saved.", job.id);
        return Err(ClientError::Input(none));
    };
    client.save(&content.document, path).await?;
    console.say(&format!(
        "Saved its output ({}) as {}.",
        progress::size(content.document.size),
        path.display()
    ))?;
    Ok(Saved { file: path.to_owned(), document: content.document.clone() })
}

/// How a job stands, in a sentence.
pub(super) fn outcome(job: &Job) -> String {
    let id = &job.id;
    match (job.status, &job.failure) {
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
        (JobStatus::Blocked, _) => format!("Job {id} waits for a person; --watch waits with it."),
        (JobStatus::Queued | JobStatus::Running, _) => {
            format!("Job {id} goes on by itself; --watch waits for its end.")
        }
    }
}

fn failure(error: &ClientError) -> Value {
    match error.api_errors() {
        [] => json!({"errors": [{"message": error.to_string()}]}),
        errors => json!({"errors": errors}),
    }
}

fn password(input: impl Read) -> Result<Secret> {
    let failed = |error: io::Error| ClientError::Input(format!("The password cannot be read: {error}"));
    let text = read_at_most(input, LONGEST_PASSWORD).map_err(failed)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(ClientError::Input("Standard input holds no password.".into()));
    }
    Ok(Secret::from(password.to_owned()))
}

fn check_output(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    let problem = if path == Path::new("-") {
        "give a file; /dev/stdout stands for standard output".to_owned()
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
    fn arguments_are_read() {
        let args =
            parse("a.pdf -t noop -m a.b=1 -m c=x --collaborator team:t=s --priority -5 --output o.xml")
                .unwrap();
        assert_eq!(args.metadata, [("a.b".to_owned(), json!(1)), ("c".to_owned(), json!("x"))]);
        assert_eq!((args.priority, args.watch), (Some(-5), false));
        assert_eq!(args.collaborator.len(), 1);
        assert!(parse("a.pdf").is_err(), "a type is needed");
        assert!(parse("a.pdf -t noop --email a@example.org").is_err(), "a password is needed");
        assert!(
            parse("a.pdf -t noop -m nothing").unwrap_err().to_string().contains("mapping.taxonomy=invoices")
        );
        let args = parse("a.pdf -t noop --token t0ps3cret").unwrap();
        assert!(!format!("{args:?}").contains("t0ps3cret"));
    }

    #[test]
    fn the_status_decides_what_the_program_ends_with() {
        for (status, expected) in [
            (JobStatus::Completed, 0),
            (JobStatus::Queued, 0),
            (JobStatus::Running, 0),
            (JobStatus::Blocked, 0),
            (JobStatus::Failed, 1),
            (JobStatus::Cancelled, 2),
        ] {
            assert_eq!(Exit::from(status) as u8, expected, "{status}");
        }
        let unreachable = ClientError::Unreachable { server: "s".into(), cause: "c".into() };
        assert_eq!(Exit::from(&unreachable) as u8, 4);
        assert_eq!(Exit::from(&ClientError::Lost { attempts: 1, cause: Box::new(unreachable) }) as u8, 4);
        assert_eq!(Exit::from(&ClientError::Input("i".into())) as u8, 3);
        assert_eq!(Exit::from(&ClientError::Closed { code: 4403, reason: String::new() }) as u8, 3);
    }

    #[test]
    fn passwords_lose_their_line_end_only() {
        assert_eq!(password("correct horse \r\n".as_bytes()).unwrap().expose(), "correct horse ");
        assert_eq!(password("no end".as_bytes()).unwrap().expose(), "no end");
        assert!(password("\n".as_bytes()).is_err());
        let error = password("x".repeat(5000).as_bytes()).unwrap_err().to_string();
        assert!(error.ends_with("it has more than 4096 bytes"), "{error}");
    }

    #[test]
    fn outputs_are_checked_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_output(&folder.path().join("o.xml")).is_ok());
        assert!(check_output(Path::new("o.xml")).is_ok());
        assert!(check_output(folder.path()).unwrap_err().to_string().contains("it is a folder"));
        let error = check_output(&folder.path().join("no/o.xml")).unwrap_err().to_string();
        assert!(error.contains("there is no folder"), "{error}");
    }

    #[tokio::test]
    async fn without_a_credential_nothing_is_sent() {
        let args = Args { token: None, ..parse("a.pdf -t noop --server http://127.0.0.1:9").unwrap() };
        let error = connect(&args).await.unwrap_err().to_string();
        assert!(error.contains("DOCKET_TOKEN"), "{error}");
    }
}
