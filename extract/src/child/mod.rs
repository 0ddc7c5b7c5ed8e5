//! Reads documents in a sandboxed child process of the same program.
//!
//! Parsers of untrusted files abort, loop and exhaust memory. Here they run in a process of their own. It opens its
//! files and then gives up all other access to the machine. It ends when its step ends, when the step is cancelled, and
//! when the server dies.
//!
//! ```text
//!   server                                    PROGRAM extract-child read
//!   run ── starts a process group ──────────►  main: dies with its parent
//!       ── stdin: request, then stays open ─►  opens its files, enters the sandbox
//!       ◄─ stdout: sandbox, progress … ──────  a thread with a bounded stack runs the task
//!       ◄─ stdout: done or failed ───────────  exit
//!   kills the group on cancellation, on timeout, and when it is dropped
//! ```
//!
//! No parser may run in the server's process, and no child process may outlive its step.

use std::ffi::OsString;
use std::process::ExitCode;

mod contents;
pub(crate) mod context;
mod entry;
mod exit;
mod files;
mod limits;
mod process;
mod progress;
pub(crate) mod protocol;
mod review;
pub mod sandbox;
mod step;
mod syscalls;
mod tasks;

pub use limits::Limits;
pub use protocol::SUBCOMMAND;
pub use step::run;

/// Whether this process was started as a child process. Its `main` must then only return [`main`].
pub fn is_child_process() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == SUBCOMMAND)
}

/// Runs the child process. Call it first in `main` if [`is_child_process`] is true, before there is a runtime or a
/// second thread.
#[expect(clippy::print_stderr, reason = "the parent reads it")]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    let result = match arguments.as_slice() {
        [mode, parent] if mode == "read" => entry::read_document(parent),
        [mode, parent, rest @ ..] if mode == "exec" => entry::exec_program(parent, rest),
        _ => Err(std::io::Error::other("this command is for internal use by the server")),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
