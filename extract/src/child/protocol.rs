//! The messages between parent and child process: lines of JSON.
//!
//! The child reads one [`Request`] from standard input, which stays open: its end means that the parent has ended. It
//! writes [`Message`]s to standard output; the last is [`Message::Done`] or [`Message::Failed`].

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::sandbox::Report;
use crate::failure::Failure;
use crate::operation::{ContentScores, Operation, Review};

/// The first argument of a child process.
pub const SUBCOMMAND: &str = "extract-child";

/// Bytes of the longest line. A review with many items fits.
pub(super) const MAX_LINE_BYTES: u64 = 16 << 20;

/// The task of a child process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) task: Task,
    pub(super) limits: Limits,
    /// Paths of the inputs by role.
    pub(super) inputs: BTreeMap<String, PathBuf>,
    /// Paths of the outputs by role, which the child creates.
    pub(super) outputs: BTreeMap<String, PathBuf>,
}

/// The work of one child process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Runs a step, except for the parts that need another program.
    Operation(Operation),
    /// Renders a page of a PDF as an image.
    Render(PageToRender),
    /// Merges the text that OCR recognized into `text-json`.
    Merge,
}

/// A message from the child process to the parent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// The state of the sandbox; sent once, before any document is read.
    Sandbox(Report),
    /// Finished and total parts of the document (pages, chapters).
    Progress { done: u32, total: u32 },
    /// All outputs are written.
    Done(TaskResult),
    /// The task failed, and its outputs are invalid.
    Failed(Failure),
}

impl Message {
    /// Writes the message to standard output, where the parent reads it.
    pub(super) fn send(&self) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&line)?;
        stdout.flush()
    }
}

/// The result of a task, besides its outputs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TaskResult {
    /// The review that the outputs need.
    pub(super) review: Option<Review>,
    /// Confidences of everything that the step found.
    #[serde(default)]
    pub(super) scored: Option<ContentScores>,
    /// Pages without text that OCR should read.
    pub(crate) pages_to_recognize: Vec<PageToRender>,
}

/// A page of a PDF that is to be rendered for OCR.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct PageToRender {
    /// From 1.
    pub(crate) page: u32,
    /// Height of its image in pixels.
    pub(crate) height: u32,
}

/// Role of a rendered page.
pub(crate) const PAGE_IMAGE: &str = "picture";
/// Role of the text that OCR recognized; see [`ocr`](crate::ocr).
pub(crate) const RECOGNIZED_TEXT: &str = "recognized";
