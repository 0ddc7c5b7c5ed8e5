//! One step of a job, with as many children as it takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::limits::Limits;
use super::parent::Context;
use super::protocol::Task;
use crate::failure::Failure;
use crate::ocr;
use crate::operation::{Content, Operation, Outcome};

/// Does a step in child processes.
///
/// `program` is an executable whose `main` begins as [`super::is_asked_for`] says, usually `std::env::current_exe()`.
/// `inputs` are files by role; what the operation does not read is left out. Outputs are written to new files in
/// `workdir`, which must exist and belong to this call alone. `progress` is told a share, 0 to 1, that never
/// falls, and what is being done. When this returns, or is dropped, no process of it is left.
///
/// # Errors
/// What is wrong with the document, [`Code::Cancelled`](crate::failure::Code::Cancelled) after `cancel`, or
/// [`Code::Internal`](crate::failure::Code::Internal). The outputs are then worthless.
pub async fn run(
    program: &Path,
    operation: Operation,
    inputs: &BTreeMap<String, PathBuf>,
    workdir: &Path,
    limits: &Limits,
    mut progress: impl FnMut(f32, &str) + Send,
    cancel: CancellationToken,
) -> Result<Outcome, Failure> {
    let context = Context { program, limits, cancel: &cancel };
    let needed = operation.inputs();
    let inputs: BTreeMap<String, PathBuf> = inputs
        .iter()
        .filter(|(role, _)| needed.contains(&role.as_str()))
        .map(|(role, path)| (role.clone(), path.clone()))
        .collect();
    let outputs: BTreeMap<String, PathBuf> =
        operation.outputs().iter().map(|role| ((*role).to_owned(), workdir.join(role))).collect();

    let message = doing(&operation);
    // Reading text from pictures takes far longer than finding out that there is none.
    let (share, pictures) = match &operation {
        Operation::Text(text) if text.ocr => (ocr::BEFORE, Some(text.clone())),
        _ => (1.0, None),
    };
    let mut findings = context
        .run(Task::Operation(operation.clone()), inputs.clone(), outputs.clone(), &mut |done| {
            progress(done * share, message);
        })
        .await?;
    if let (Some(text), [_, ..]) = (pictures, findings.unread.as_slice()) {
        findings = ocr::read(context, &text, &findings.unread, &inputs, workdir, &mut progress).await?;
    }
    progress(1.0, message);
    let outputs = operation
        .outputs()
        .iter()
        .map(|role| {
            let (mime, name) = Content::kind_of(role);
            Content { role, path: workdir.join(role), mime, name }
        })
        .collect();
    Ok(Outcome { outputs, review: findings.review, scored: findings.scored })
}

/// What an operation does, for people who watch.
fn doing(operation: &Operation) -> &'static str {
    match operation {
        Operation::Text(_) => "Reading the text",
        Operation::Zoning { .. } => "Finding headings, paragraphs and tables",
        Operation::Mapping { .. } => "Finding values",
        Operation::Indexing { .. } => "Finding keywords",
        Operation::Output(_) => "Writing the output",
    }
}
