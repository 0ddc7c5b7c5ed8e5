//! The parent's side of a child process: starts it, exchanges messages with it, and ends it.

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

use super::exit;
use super::limits::Limits;
use super::process::ProcessGroup;
use super::protocol::{MAX_LINE_BYTES, Message, Request, SUBCOMMAND, Task, TaskResult};
use crate::failure::{Code, Failure};

/// Bytes of standard error that are kept, counted from its end.
const MAX_STDERR_BYTES: usize = 16 << 10;

/// The settings that all child processes of one step share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildContext<'c> {
    /// The program whose `main` calls [`child::main`](crate::child::main).
    pub(crate) program: &'c Path,
    pub(crate) limits: &'c Limits,
    pub(crate) cancel: &'c CancellationToken,
}

/// Receives the share of its work, 0 to 1, that a child process has done.
pub(crate) type ProgressCallback<'p> = &'p mut (dyn FnMut(f32) + Send);

/// The reason why the parent ends a child process.
enum StopReason {
    Cancelled,
    TimedOut,
}

impl From<StopReason> for Failure {
    fn from(stop: StopReason) -> Self {
        match stop {
            StopReason::Cancelled => Self::new(Code::Cancelled, "Reading the document was cancelled."),
            StopReason::TimedOut => exit::timeout_failure(),
        }
    }
}

impl ChildContext<'_> {
    /// Runs one task in a child process.
    pub(crate) async fn run_task(
        self,
        task: Task,
        inputs: BTreeMap<String, PathBuf>,
        outputs: BTreeMap<String, PathBuf>,
        on_progress: ProgressCallback<'_>,
    ) -> Result<TaskResult, Failure> {
        if self.cancel.is_cancelled() {
            return Err(StopReason::Cancelled.into());
        }
        let mut input_bytes = 0;
        for path in inputs.values() {
            input_bytes += tokio::fs::metadata(path)
                .await
                .map_err(|error| internal_failure("read inputs", &error))?
                .len();
        }
        let request = Request { task, limits: self.limits.clone(), inputs, outputs };
        let mut line = serde_json::to_vec(&request)
            .map_err(|error| internal_failure("encode request", &error.into()))?;
        line.push(b'\n');

        let mut command = self.command("read", Stdio::piped());
        command.env_clear();
        let mut group =
            ProcessGroup::spawn(command).await.map_err(|error| internal_failure("start", &error))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (group.0.stdin.take(), group.0.stdout.take(), group.0.stderr.take())
        else {
            return Err(internal_failure("start", &io::Error::other("the process has no pipes")));
        };
        let span = child_span(&group);
        let work = async {
            tokio::join!(
                self.run_to_end(&mut group, stdin, stdout, &line, input_bytes, on_progress),
                read_tail(stderr)
            )
        };
        let (ended, stderr) = work.instrument(span).await;
        match ended? {
            ChildEnd::Answered(Ok(result)) => Ok(result),
            ChildEnd::Answered(Err(failure)) => {
                // The log is the only place that keeps the message of a panic.
                tracing::info!(code = ?failure.code, %stderr, "document could not be read");
                Err(failure)
            }
            ChildEnd::Died(status) => {
                tracing::info!(%status, %stderr, "child process died while reading a document");
                Err(exit::failure_of_exit(status, &stderr, self.limits))
            }
        }
    }

    /// Returns a command that starts a child process in the given mode.
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

    /// Awaits a future until the deadline or the cancellation of the step.
    async fn until_deadline<T>(
        self,
        deadline: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, StopReason> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(StopReason::Cancelled),
            result = timeout_at(deadline, future) => result.map_err(|_| StopReason::TimedOut),
        }
    }

    /// Exchanges messages with a child process. The process has ended when this returns.
    async fn run_to_end(
        self,
        group: &mut ProcessGroup,
        stdin: ChildStdin,
        stdout: ChildStdout,
        request: &[u8],
        input_bytes: u64,
        on_progress: ProgressCallback<'_>,
    ) -> Result<ChildEnd, Failure> {
        let result = self.exchange_messages(group, stdin, stdout, request, input_bytes, on_progress).await;
        if result.is_err() {
            group.kill().await.map_err(|error| internal_failure("wait", &error))?;
        }
        result
    }

    async fn exchange_messages(
        self,
        group: &mut ProcessGroup,
        mut stdin: ChildStdin,
        stdout: ChildStdout,
        request: &[u8],
        input_bytes: u64,
        on_progress: ProgressCallback<'_>,
    ) -> Result<ChildEnd, Failure> {
        let start = Instant::now();
        let mut deadline = start + self.limits.wall(self.limits.cpu(input_bytes, 0));
        // If the child process dies before it has read its request, its exit status tells the cause.
        let written = self.until_deadline(deadline, stdin.write_all(request)).await?;
        if let Err(error) = written {
            tracing::debug!(%error, "child process did not read its request");
        }
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        let answer = loop {
            line.clear();
            let read = self
                .until_deadline(deadline, (&mut lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut line))
                .await?;
            if read.map_err(|error| internal_failure("read messages", &error))? == 0 {
                break None;
            }
            let message = match serde_json::from_slice(&line) {
                Ok(message) => message,
                // The child process died in the middle of a line.
                Err(_) if !line.ends_with(b"\n") && (line.len() as u64) < MAX_LINE_BYTES => break None,
                Err(error) => return Err(internal_failure("read messages", &error.into())),
            };
            match message {
                Message::Sandbox(report) => {
                    static ONCE: Once = Once::new();
                    ONCE.call_once(|| {
                        if report.is_full() {
                            tracing::info!(sandbox = %report, "sandbox of child processes is complete");
                        } else {
                            tracing::warn!(sandbox = %report, "sandbox of child processes is incomplete");
                        }
                    });
                }
                Message::Progress { done, total } => {
                    deadline = start + self.limits.wall(self.limits.cpu(input_bytes, done));
                    on_progress((done as f32 / total.max(1) as f32).clamp(0.0, 1.0));
                }
                Message::Done(result) => break Some(Ok(result)),
                Message::Failed(failure) => break Some(Err(failure)),
            }
        };
        let status = self
            .until_deadline(deadline, group.wait())
            .await?
            .map_err(|error| internal_failure("wait", &error))?;
        Span::current().record("process.exit.code", status.code());
        // The end of standard input tells the child process that the parent has ended, so it stays open until here.
        drop(stdin);
        Ok(match answer {
            Some(answer) => ChildEnd::Answered(answer),
            None => ChildEnd::Died(status),
        })
    }

    /// Runs another program in the `exec` mode of this program, with its limits, and returns its standard output.
    ///
    /// # Errors
    /// The errors of [`ChildContext::run_task`], and [`Code::Internal`] if the program fails. The log then has the end
    /// of its standard error.
    pub(crate) async fn exec_program(
        self,
        mut command: Command,
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let mut group = {
            command.stdin(Stdio::null());
            ProcessGroup::spawn(command).await.map_err(|error| internal_failure("start", &error))?
        };
        let (Some(stdout), Some(stderr)) = (group.0.stdout.take(), group.0.stderr.take()) else {
            return Err(internal_failure("start", &io::Error::other("the process has no pipes")));
        };
        let span = child_span(&group);
        let work = async {
            let mut printed = Vec::new();
            let ended = self
                .until_deadline(deadline, async {
                    stdout.take(MAX_LINE_BYTES).read_to_end(&mut printed).await?;
                    group.wait().await
                })
                .await;
            match ended {
                Ok(status) => Ok((status.map_err(|error| internal_failure("wait", &error))?, printed)),
                Err(stop) => {
                    group.kill().await.map_err(|error| internal_failure("wait", &error))?;
                    Err(Failure::from(stop))
                }
            }
        };
        let (ended, stderr) = async { tokio::join!(work, read_tail(stderr)) }.instrument(span.clone()).await;
        let (status, printed) = ended?;
        span.record("process.exit.code", status.code());
        if status.success() {
            return Ok(printed);
        }
        tracing::warn!(%status, %stderr, "ocr program failed");
        let limits = Limits { memory_bytes: self.limits.ocr_memory_bytes, ..self.limits.clone() };
        Err(exit::failure_of_exit(status, &stderr, &limits))
    }
}

/// Returns the span of a child process. A process that a signal ended has no exit code.
fn child_span(group: &ProcessGroup) -> Span {
    let pid = group.0.id().map(i64::from);
    tracing::info_span!("child", process.pid = pid, process.exit.code = tracing::field::Empty)
}

/// How a child process ended.
enum ChildEnd {
    /// It sent a result or a failure.
    Answered(Result<TaskResult, Failure>),
    /// It ended without either.
    Died(std::process::ExitStatus),
}

/// Reads to the end and keeps the last [`MAX_STDERR_BYTES`] bytes.
async fn read_tail(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    // A read error counts as the end, because the text is for the log only.
    while let Ok(1..) = stderr.read_buf(&mut kept).await {
        if kept.len() > 2 * MAX_STDERR_BYTES {
            kept.drain(..kept.len() - MAX_STDERR_BYTES);
        }
    }
    String::from_utf8_lossy(&kept[kept.len().saturating_sub(MAX_STDERR_BYTES)..]).into_owned()
}

/// Logs a fault of the server and returns its failure, which names no cause.
pub(crate) fn internal_failure(action: &str, error: &io::Error) -> Failure {
    tracing::error!(%error, action, "child process operation failed");
    Failure::new(Code::Internal, "The document could not be read because of a server error.")
}
