//! What parent and child say to each other: lines of JSON.
//!
//! The child reads one [`Request`] from standard input, which stays open: its end says that the parent is gone. It
//! writes [`Message`]s to standard output, the last of which is [`Message::Done`] or [`Message::Failed`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::sandbox::Report;
use crate::failure::Failure;
use crate::operation::{Operation, Review, Scored};

/// Bytes of the longest line: a review of many items fits.
pub(super) const MAX_LINE: u64 = 16 << 20;

/// What a child is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) task: Task,
    pub(super) limits: Limits,
    /// Files to read by role.
    pub(super) inputs: BTreeMap<String, PathBuf>,
    /// Files to create by role.
    pub(super) outputs: BTreeMap<String, PathBuf>,
}

/// One run of a child.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// A step, as far as it goes without another program.
    Operation(Operation),
    /// A page of a PDF as a picture.
    Render(Unread),
    /// Puts what was read from pictures into the text.
    Merge,
}

/// What a child says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// How well it is locked up; said once, before anything is read.
    Sandbox(Report),
    /// How far it is, in parts of the document (pages, chapters).
    Progress { done: u32, total: u32 },
    /// The outputs are written.
    Done(Findings),
    /// The outputs are worthless.
    Failed(Failure),
}

/// What is said about the outputs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// Whether a person should look at them.
    pub(super) review: Option<Review>,
    /// How sure the step is of what they hold.
    #[serde(default)]
    pub(super) scored: Option<Scored>,
    /// Pages without text that may have some in their pictures.
    pub(crate) unread: Vec<Unread>,
}

/// A page of a PDF without text.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Unread {
    /// From 1.
    pub(crate) page: u32,
    /// Pixels that a picture of it should be high.
    pub(crate) height: u32,
}

/// Role of a rendered page.
pub(crate) const PICTURE: &str = "picture";
/// Role of what was read from pictures; see [`ocr`](crate::ocr).
pub(crate) const RECOGNIZED: &str = "recognized";
