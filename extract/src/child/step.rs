//! Runs one step of a job in as many child processes as it needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::context::ChildContext;
use super::limits::Limits;
use super::protocol::Task;
use crate::failure::Failure;
use crate::ocr;
use crate::operation::{Content, Operation, Outcome};

/// Runs a step in child processes.
///
/// - `program` is an executable whose `main` begins as [`super::is_child_process`] requires, usually
///   `std::env::current_exe()`.
/// - `inputs` are paths by role. Roles that the operation does not read are ignored.
/// - `workdir` receives the outputs as new files. It must exist and belong to this call alone.
/// - `progress` receives a share, 0 to 1, that never falls, and the present activity.
///
/// When this returns or is dropped, all of its processes have ended or are being killed.
///
/// # Errors
/// The failure of the document, [`Code::Cancelled`](crate::failure::Code::Cancelled) after `cancel`, or
/// [`Code::Internal`](crate::failure::Code::Internal). The outputs are then invalid.
pub async fn run(
    program: &Path,
    operation: Operation,
    inputs: &BTreeMap<String, PathBuf>,
    workdir: &Path,
    limits: &Limits,
    mut progress: impl FnMut(f32, &str) + Send,
    cancel: CancellationToken,
) -> Result<Outcome, Failure> {
    let context = ChildContext { program, limits, cancel: &cancel };
    let needed = operation.inputs();
    let inputs: BTreeMap<String, PathBuf> = inputs
        .iter()
        .filter(|(role, _)| needed.contains(&role.as_str()))
        .map(|(role, path)| (role.clone(), path.clone()))
        .collect();
    let outputs: BTreeMap<String, PathBuf> =
        operation.outputs().iter().map(|role| ((*role).to_owned(), workdir.join(role))).collect();

    let message = progress_message(&operation);
    // OCR takes far longer than finding the pages that need it.
    let (share, ocr_options) = match &operation {
        Operation::Text(text) if text.ocr => (ocr::SHARE_BEFORE_OCR, Some(text.clone())),
        _ => (1.0, None),
    };
    let mut result = context
        .run_task(Task::Operation(operation.clone()), inputs.clone(), outputs.clone(), &mut |done| {
            progress(done * share, message);
        })
        .await?;
    if let (Some(text), [_, ..]) = (ocr_options, result.pages_to_recognize.as_slice()) {
        result =
            ocr::recognize_pages(context, &text, &result.pages_to_recognize, &inputs, workdir, &mut progress)
                .await?;
    }
    progress(1.0, message);
    let outputs = operation
        .outputs()
        .iter()
        .map(|role| {
            let (mime, name) = Content::type_and_file_name(role);
            Content { role, path: workdir.join(role), mime, name }
        })
        .collect();
    Ok(Outcome { outputs, review: result.review, scored: result.scored })
}

/// Returns the activity of an operation, for users.
fn progress_message(operation: &Operation) -> &'static str {
    match operation {
        Operation::Text(_) => "Reading the text",
        Operation::Zoning { .. } => "Finding headings, paragraphs and tables",
        Operation::Mapping { .. } => "Finding values",
        Operation::Indexing { .. } => "Finding keywords",
        Operation::Output(_) => "Writing the output",
    }
}
