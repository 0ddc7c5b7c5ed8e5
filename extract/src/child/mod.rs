//! Reading documents in a child process of the same program, locked up and limited.
//!
//! Parsers of untrusted files abort, loop and exhaust memory. Here they do so in a process of their own, which has
//! opened its files before it gives up every other access to the machine, and of which nothing is left when its step
//! ends, is cancelled, or its server dies.
//!
//! ```text
//!   server                                    PROGRAM extract-child read
//!   run ── spawns, in a group of its own ───►  main: dies with its parent
//!       ── stdin: request, then stays open ─►  opens its files, enters the sandbox
//!       ◄─ stdout: sandbox, progress … ──────  a thread with a bounded stack does the step
//!       ◄─ stdout: done or failed ───────────  exit
//!   kills the group on cancellation, on time-out, and when it is dropped
//! ```
//!
//! Must never happen here: a parser that runs on the server's side of this; a child that outlives its step.

use std::ffi::OsString;
use std::process::ExitCode;

mod contents;
mod inside;
mod limits;
mod pace;
mod parent;
mod process;
pub(crate) mod protocol;
mod review;
pub mod sandbox;
mod step;
mod steps;
mod syscalls;
mod verdict;

pub use limits::Limits;
pub(crate) use parent::{Context, internal};
pub use step::run;

/// First argument of a program that is to be a child.
pub const SUBCOMMAND: &str = "extract-child";

/// Whether this program was started as a child, so that its `main` must do nothing but return [`main`].
pub fn is_asked_for() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == SUBCOMMAND)
}

/// Does what a child does. To be called first thing in `main`, before there is a runtime or a second thread, where
/// [`is_asked_for`] says so.
#[expect(clippy::print_stderr, reason = "the parent reads it")]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    let done = match arguments.as_slice() {
        [mode, parent] if mode == "read" => inside::read(parent),
        [mode, parent, rest @ ..] if mode == "exec" => inside::exec(parent, rest),
        _ => Err(std::io::Error::other("this command is for the server's own use")),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
