//! The child's side: what happens in the process that reads a document.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::limits::Limits;
use super::pace::Pace;
use super::protocol::{Message, Request};
use super::{contents::disk, sandbox, steps, verdict};
use crate::failure::{Code, Failure};

/// Files that the child opened before it locked itself up.
#[derive(Debug)]
pub(super) struct Files {
    inputs: BTreeMap<String, (File, u64)>,
    outputs: BTreeMap<String, File>,
}

impl Files {
    fn open(request: &Request) -> io::Result<Self> {
        let mut inputs = BTreeMap::new();
        for (role, path) in &request.inputs {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            inputs.insert(role.clone(), (file, size));
        }
        let mut outputs = BTreeMap::new();
        for (role, path) in &request.outputs {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
            outputs.insert(role.clone(), file);
        }
        Ok(Self { inputs, outputs })
    }

    fn input_bytes(&self) -> u64 {
        self.inputs.values().map(|(_, size)| size).sum()
    }

    /// Whether there is an input of a role.
    pub(super) fn has(&self, role: &str) -> bool {
        self.inputs.contains_key(role)
    }

    /// Everything in the input of a role.
    pub(super) fn read(&mut self, role: &str) -> Result<Vec<u8>, Failure> {
        let (mut file, size) = self.inputs.remove(role).ok_or_else(|| {
            Failure::new(Code::Internal, format!("The step has no content in the role {role}."))
        })?;
        let mut bytes = Vec::with_capacity(size as usize);
        file.read_to_end(&mut bytes).map_err(|error| disk(&error))?;
        Ok(bytes)
    }

    /// The file to write the content of a role to.
    pub(super) fn output(&mut self, role: &str) -> Result<File, Failure> {
        let missing = || Failure::new(Code::Internal, format!("The step has no place for the role {role}."));
        self.outputs.remove(role).ok_or_else(missing)
    }
}

/// Reads a document: `PROGRAM extract-child read PARENT`.
pub(super) fn read(parent: &OsString) -> io::Result<ExitCode> {
    stay_with(parent)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    let files = Files::open(&request)?;
    let limits = request.limits;
    let input_bytes = files.input_bytes();
    say(&Message::Sandbox(sandbox::enter(&limits, input_bytes)))?;

    thread::Builder::new().name("parent".to_owned()).stack_size(64 << 10).spawn(end_with_parent)?;
    let (stack_bytes, task) = (limits.stack_bytes, request.task);
    let reader =
        thread::Builder::new().name("reader".to_owned()).stack_size(stack_bytes).spawn(move || {
            sandbox::forbid_processes();
            let mut pace = Pace::new(&limits, input_bytes);
            steps::perform(task, files, &limits, &mut pace)
        })?;
    // What it panicked with stands on standard error.
    let result = reader.join().unwrap_or_else(|_| Err(verdict::crashed()));
    say(&match result {
        Ok(findings) => Message::Done(findings),
        Err(failure) => Message::Failed(failure),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes another program within limits: `PROGRAM extract-child exec PARENT LIMITS FOLDER COMMAND…`, where the program may
/// write to that folder only.
pub(super) fn exec(parent: &OsString, arguments: &[OsString]) -> io::Result<ExitCode> {
    stay_with(parent)?;
    let [limits, folder, program, arguments @ ..] = arguments else {
        return Err(io::Error::other("usage: exec PARENT LIMITS FOLDER COMMAND…"));
    };
    let limits: Limits = serde_json::from_slice(limits.as_encoded_bytes())?;
    sandbox::enter_for_program(&limits, folder.as_ref());
    Err(Command::new(program).args(arguments).exec())
}

/// Arranges to be killed when the parent dies.
fn stay_with(parent: &OsString) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before the kernel was told.
    let now = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if parent.to_str().and_then(|parent| parent.parse().ok()) == Some(now) {
        return Ok(());
    }
    Err(io::Error::other("the process that started this one is gone"))
}

/// Waits for the parent to close its end of standard input, which it does by dying, and ends this process.
fn end_with_parent() {
    let mut byte = [0];
    while matches!(io::stdin().lock().read(&mut byte), Ok(1)) {}
    std::process::exit(1);
}

/// Says something to the parent.
pub(super) fn say(message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}
