//! The child's side: the code that runs in the child process.

use std::ffi::OsString;
use std::io::{self, BufRead, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::files::TaskFiles;
use super::limits::Limits;
use super::progress::ProgressReporter;
use super::protocol::{Message, Request};
use super::{exit, sandbox, tasks};

/// Runs `PROGRAM extract-child read PARENT`: reads one request and carries out its task.
pub(super) fn read_document(parent: &OsString) -> io::Result<ExitCode> {
    die_with_parent(parent)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    let files = TaskFiles::open(&request)?;
    let limits = request.limits;
    let input_bytes = files.input_bytes();
    Message::Sandbox(sandbox::enter(&limits, input_bytes)).send()?;

    thread::Builder::new().name("parent".to_owned()).stack_size(64 << 10).spawn(exit_with_parent)?;
    let (stack_bytes, task) = (limits.stack_bytes, request.task);
    let reader =
        thread::Builder::new().name("reader".to_owned()).stack_size(stack_bytes).spawn(move || {
            sandbox::forbid_processes();
            let mut progress = ProgressReporter::new(&limits, input_bytes);
            tasks::run_task(task, files, &limits, &mut progress)
        })?;
    // Standard error has the panic message.
    let result = reader.join().unwrap_or_else(|_| Err(exit::crash_failure()));
    let message = match result {
        Ok(result) => Message::Done(result),
        Err(failure) => Message::Failed(failure),
    };
    message.send()?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `PROGRAM extract-child exec PARENT LIMITS FOLDER COMMAND…`: becomes another program within limits. That program
/// may write to the folder only.
pub(super) fn exec_program(parent: &OsString, arguments: &[OsString]) -> io::Result<ExitCode> {
    die_with_parent(parent)?;
    let [limits, folder, program, arguments @ ..] = arguments else {
        return Err(io::Error::other("usage: exec PARENT LIMITS FOLDER COMMAND…"));
    };
    let limits: Limits = serde_json::from_slice(limits.as_encoded_bytes())?;
    sandbox::enter_for_exec(&limits, folder.as_ref());
    Err(Command::new(program).args(arguments).exec())
}

/// Arranges that the kernel kills this process when the parent dies.
fn die_with_parent(parent: &OsString) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the call above.
    let now = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if parent.to_str().and_then(|parent| parent.parse().ok()) == Some(now) {
        return Ok(());
    }
    Err(io::Error::other("the parent process has ended"))
}

/// Ends this process when standard input ends, which happens when the parent dies.
fn exit_with_parent() {
    let mut byte = [0];
    while matches!(io::stdin().lock().read(&mut byte), Ok(1)) {}
    std::process::exit(1);
}
