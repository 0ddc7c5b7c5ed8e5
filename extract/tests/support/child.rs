//! The child process of the tests, and a driver. `docket-extract-child drive OPERATION FILE FOLDER` runs a step like a
//! server and prints its result; OPERATION is JSON, FILE the first input. As `docket-extract-child extract-child …` it
//! is the child process.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use docket_extract::child::{self, Limits};
use docket_extract::operation::Operation;
use tokio_util::sync::CancellationToken;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if child::is_child_process() {
        return Ok(child::main());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, operation, file, folder] = arguments.as_slice() else {
        return Err("usage: drive OPERATION FILE FOLDER".into());
    };
    if mode != "drive" {
        return Err("usage: drive OPERATION FILE FOLDER".into());
    }
    let operation: Operation = serde_json::from_str(operation)?;
    let inputs: BTreeMap<String, PathBuf> =
        operation.inputs().iter().take(1).map(|role| ((*role).to_owned(), PathBuf::from(file))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(child::run(
        &std::env::current_exe()?,
        operation,
        &inputs,
        folder.as_ref(),
        &Limits::default(),
        |_, _| {},
        CancellationToken::new(),
    ));
    println!("{ended:?}");
    Ok(ExitCode::SUCCESS)
}
