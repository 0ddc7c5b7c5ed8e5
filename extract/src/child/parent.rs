//! The parent's side of one run of a child: start it, listen to it, end it.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Once;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::limits::Limits;
use super::process::Group;
use super::protocol::{Findings, MAX_LINE, Message, Request, Task};
use super::{SUBCOMMAND, verdict};
use crate::failure::{Code, Failure};

/// How much of the end of what a child writes to standard error is kept.
const STDERR_KEPT: usize = 16 << 10;

/// What all children of one step have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'c> {
    /// The program whose `main` calls [`super::main`].
    pub(crate) program: &'c Path,
    pub(crate) limits: &'c Limits,
    pub(crate) cancel: &'c CancellationToken,
}

/// Told which share of its work (0 to 1) a child has done.
pub(crate) type OnShare<'p> = &'p mut (dyn FnMut(f32) + Send);

/// Why a process is ended from here.
enum Stop {
    Cancelled,
    OutOfTime,
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Cancelled => Self::new(Code::Cancelled, "Reading the document was cancelled."),
            Stop::OutOfTime => verdict::time(),
        }
    }
}

impl Context<'_> {
    /// Runs one child to its end.
    pub(crate) async fn run(
        self,
        task: Task,
        inputs: BTreeMap<String, PathBuf>,
        outputs: BTreeMap<String, PathBuf>,
        on_share: OnShare<'_>,
    ) -> Result<Findings, Failure> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled.into());
        }
        let mut input_bytes = 0;
        for path in inputs.values() {
            input_bytes += tokio::fs::metadata(path).await.map_err(|error| internal("read", &error))?.len();
        }
        let request = Request { task, limits: self.limits.clone(), inputs, outputs };
        let mut line = serde_json::to_vec(&request).map_err(|error| internal("prepare", &error.into()))?;
        line.push(b'\n');

        let mut command = self.command("read", Stdio::piped());
        command.env_clear();
        let mut group = Group::spawn(command).await.map_err(|error| internal("start", &error))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (group.0.stdin.take(), group.0.stdout.take(), group.0.stderr.take())
        else {
            return Err(internal("start", &io::Error::other("it has no pipes")));
        };
        let span = span(&group);
        let work = async {
            tokio::join!(self.converse(&mut group, stdin, stdout, &line, input_bytes, on_share), tail(stderr))
        };
        let (ended, stderr) = work.instrument(span).await;
        match ended? {
            Ended::Answered(Ok(findings)) => Ok(findings),
            Ended::Answered(Err(failure)) => {
                // Where a parser panicked, what it panicked with stands here only.
                tracing::info!(code = ?failure.code, %stderr, "a document could not be read");
                Err(failure)
            }
            Ended::Died(status) => {
                tracing::info!(%status, %stderr, "a child process died of a document");
                Err(verdict::of(status, &stderr, self.limits))
            }
        }
    }

    /// A command that starts a child in some mode.
    pub(crate) fn command(self, mode: &str, stdin: Stdio) -> Command {
        let mut command = Command::new(self.program);
        command
            .args([SUBCOMMAND, mode])
            .arg(std::process::id().to_string())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Waits for something until the deadline, unless the step is cancelled meanwhile.
    async fn bounded<T>(self, deadline: Instant, future: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stop::Cancelled),
            result = timeout_at(deadline, future) => result.map_err(|_| Stop::OutOfTime),
        }
    }

    /// Lets a child do its work. It is dead afterwards, whatever comes of it.
    async fn converse(
        self,
        group: &mut Group,
        stdin: ChildStdin,
        stdout: ChildStdout,
        request: &[u8],
        input_bytes: u64,
        on_share: OnShare<'_>,
    ) -> Result<Ended, Failure> {
        let listened = self.listen(group, stdin, stdout, request, input_bytes, on_share).await;
        if listened.is_err() {
            group.kill().await.map_err(|error| internal("end", &error))?;
        }
        listened
    }

    async fn listen(
        self,
        group: &mut Group,
        mut stdin: ChildStdin,
        stdout: ChildStdout,
        request: &[u8],
        input_bytes: u64,
        on_share: OnShare<'_>,
    ) -> Result<Ended, Failure> {
        let start = Instant::now();
        let mut deadline = start + self.limits.wall(self.limits.cpu(input_bytes, 0));
        // A child that dies before it has read everything is judged by its end, not by this.
        let written = self.bounded(deadline, stdin.write_all(request)).await?;
        if let Err(error) = written {
            tracing::debug!(%error, "a child process did not take its request");
        }
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        let answer = loop {
            line.clear();
            let read =
                self.bounded(deadline, (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line)).await?;
            if read.map_err(|error| internal("understand", &error))? == 0 {
                break None;
            }
            let message = match serde_json::from_slice(&line) {
                Ok(message) => message,
                // It died in the middle of a line.
                Err(_) if !line.ends_with(b"\n") && (line.len() as u64) < MAX_LINE => break None,
                Err(error) => return Err(internal("understand", &error.into())),
            };
            match message {
                Message::Sandbox(report) => {
                    static ONCE: Once = Once::new();
                    ONCE.call_once(|| {
                        if report.is_full() {
                            tracing::info!(sandbox = %report, "documents are read in a sandbox");
                        } else {
                            tracing::warn!(sandbox = %report, "documents are read in a sandbox with gaps");
                        }
                    });
                }
                Message::Progress { done, total } => {
                    deadline = start + self.limits.wall(self.limits.cpu(input_bytes, done));
                    on_share((done as f32 / total.max(1) as f32).clamp(0.0, 1.0));
                }
                Message::Done(findings) => break Some(Ok(findings)),
                Message::Failed(failure) => break Some(Err(failure)),
            }
        };
        let status = self.bounded(deadline, group.wait()).await?.map_err(|error| internal("end", &error))?;
        Span::current().record("process.exit.code", status.code());
        // Its end says that the parent is gone, so it must not be dropped before.
        drop(stdin);
        Ok(match answer {
            Some(answer) => Ended::Answered(answer),
            None => Ended::Died(status),
        })
    }

    /// Runs another program with the limits of this program's `exec` mode and returns what it prints.
    ///
    /// # Errors
    /// As [`Context::run`]; [`Code::Internal`] with the end of what it wrote to standard error in the log if it ends with
    /// another status than 0.
    pub(crate) async fn exec(self, mut command: Command, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let mut group = {
            command.stdin(Stdio::null());
            Group::spawn(command).await.map_err(|error| internal("start", &error))?
        };
        let (Some(stdout), Some(stderr)) = (group.0.stdout.take(), group.0.stderr.take()) else {
            return Err(internal("start", &io::Error::other("it has no pipes")));
        };
        let span = span(&group);
        let work = async {
            let mut printed = Vec::new();
            let ended = self
                .bounded(deadline, async {
                    stdout.take(MAX_LINE).read_to_end(&mut printed).await?;
                    group.wait().await
                })
                .await;
            match ended {
                Ok(status) => Ok((status.map_err(|error| internal("end", &error))?, printed)),
                Err(stop) => {
                    group.kill().await.map_err(|error| internal("end", &error))?;
                    Err(Failure::from(stop))
                }
            }
        };
        let (ended, stderr) = async { tokio::join!(work, tail(stderr)) }.instrument(span.clone()).await;
        let (status, printed) = ended?;
        span.record("process.exit.code", status.code());
        if status.success() {
            return Ok(printed);
        }
        tracing::warn!(%status, %stderr, "a program that reads text from pictures failed");
        Err(verdict::of(status, &stderr, self.limits))
    }
}

/// What is logged and traced while a child works; a child that a signal ends has no exit code.
fn span(group: &Group) -> Span {
    let pid = group.0.id().map(i64::from);
    tracing::info_span!("child", process.pid = pid, process.exit.code = tracing::field::Empty)
}

/// How a child ended.
enum Ended {
    /// With an answer.
    Answered(Result<Findings, Failure>),
    /// Without one.
    Died(std::process::ExitStatus),
}

/// Reads to the end and keeps the last [`STDERR_KEPT`] bytes.
async fn tail(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    // An unreadable pipe is the end of it: this is for the log only.
    while let Ok(1..) = stderr.read_buf(&mut kept).await {
        if kept.len() > 2 * STDERR_KEPT {
            kept.drain(..kept.len() - STDERR_KEPT);
        }
    }
    String::from_utf8_lossy(&kept[kept.len().saturating_sub(STDERR_KEPT)..]).into_owned()
}

/// A failure that is no fault of the document; what it is stands in the log.
pub(crate) fn internal(what: &str, error: &io::Error) -> Failure {
    tracing::error!(%error, "cannot {what} the process that reads documents");
    Failure::new(Code::Internal, "The document could not be read because of a fault of this server.")
}
