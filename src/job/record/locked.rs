//! A locked job: the values that a change reads and changes in memory, and what it has collected to be written.

use serde_json::{Value, json};

use super::collaborators::CollaboratorRows;
use super::contents::Contents;
use super::write_set::{ReviewSubject, TrackedReview, WriteSet};
use crate::clock::Timestamp;
use crate::entity::enums::EventKind;
use crate::entity::{job, review};
use crate::error::{Error, Result};
use crate::id::{LeaseToken, UserId};
use crate::job::decide::{Command, Rejection, claimed_step, decide, is_barred_by_four_eyes, leased_step};
use crate::job::state::{State, Step, Task};

/// A job whose row is locked by a transaction of the gate, or that it is about to insert.
#[derive(Debug)]
pub struct LockedJob {
    pub(super) row: job::Model,
    pub(super) state: State,
    pub(super) task_before: Option<Task>,
    pub(super) open_review: Option<TrackedReview>,
    pub(super) contents: Option<Contents>,
    pub(super) writes: WriteSet,
    /// Whether the row of the job is stored already.
    pub(super) is_stored: bool,
    collaborators: Option<CollaboratorRows>,
    subject: ReviewSubject,
    actor: Option<UserId>,
    now: Timestamp,
}

impl LockedJob {
    pub(super) fn stored(
        row: job::Model,
        state: State,
        now: Timestamp,
        open_review: Option<TrackedReview>,
        contents: Option<Contents>,
        collaborators: Option<CollaboratorRows>,
    ) -> Self {
        Self {
            row,
            task_before: state.task.clone(),
            state,
            open_review,
            contents,
            writes: WriteSet::default(),
            is_stored: true,
            collaborators,
            subject: ReviewSubject::default(),
            actor: None,
            now,
        }
    }

    /// A job that is not stored yet, changed on behalf of its owner.
    pub(super) fn unsaved(row: job::Model, steps: Vec<Step>, now: Timestamp) -> Self {
        let state = State::new(row.owner_id, row.mode, steps, now);
        let actor = Some(row.owner_id);
        let unsaved = Self::stored(row, state, now, None, Some(Contents::default()), None);
        Self { is_stored: false, actor, ..unsaved }
    }

    pub(super) fn set_actor(&mut self, actor: Option<UserId>) {
        self.actor = actor;
    }

    /// The user on whose behalf the job is changed; `None` for the server itself.
    pub fn actor(&self) -> Option<UserId> {
        self.actor
    }

    /// The row of the job.
    pub fn row(&self) -> &job::Model {
        &self.row
    }

    /// The state of the job.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The time of this transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Replaces the metadata, and records the event with the patch that leads to them. Does nothing if they are the same.
    pub(crate) fn set_metadata(&mut self, metadata: Value, patch: &Value) {
        if metadata != self.row.metadata {
            let data = json!({"patch": patch, "metadata": metadata});
            self.row.metadata = metadata;
            self.record(EventKind::MetadataChanged, None, data);
        }
    }

    /// Sets the priority, and records the event. Does nothing if it is the same.
    pub(crate) fn set_priority(&mut self, priority: i32) {
        let before = std::mem::replace(&mut self.row.priority, priority);
        if before != priority {
            let data = json!({"priority": {"from": before, "to": priority}});
            self.record(EventKind::MetadataChanged, None, data);
        }
    }

    /// Returns the name of the step that is queued or leased.
    pub(crate) fn task_step(&self) -> Option<&str> {
        self.state.task.as_ref().map(|task| self.state.steps[task.step].name.as_str())
    }

    /// Returns the index of the step that a client calls `toStep`.
    pub(crate) fn step_index(&self, name: &str) -> Result<usize> {
        let steps = &self.state.steps;
        steps.iter().position(|step| step.name == name).ok_or_else(|| {
            let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
            let message = format!("Unknown step {name:?}. Valid steps: {}.", names.join(", "));
            Error::invalid("/toStep", "UNKNOWN_STEP", message)
        })
    }

    /// Decides a command, applies its events and adds them to the history.
    pub(crate) fn perform(&mut self, command: Command) -> Result<(), Rejection> {
        let decided = decide(&self.state, command, self.now)?;
        self.state = decided.state;
        for event in decided.events {
            self.record_event(event);
        }
        Ok(())
    }

    /// [`LockedJob::perform`] on behalf of the server.
    pub(crate) fn perform_as_server(&mut self, command: Command) -> Result<(), Rejection> {
        let actor = self.actor.take();
        let performed = self.perform(command);
        self.actor = actor;
        performed
    }

    /// Fails unless the lease with this token holds now.
    pub(crate) fn check_lease(&self, token: LeaseToken) -> Result<(), Rejection> {
        leased_step(&self.state, token, self.now).map(drop)
    }

    /// Fails unless this user holds the claim of the open review now.
    pub(crate) fn check_claim(&self, by: UserId) -> Result<(), Rejection> {
        claimed_step(&self.state, by, self.now).map(drop)
    }

    /// Fails if this user may not run the queued or leased step, because it is a four-eyes step of their own job.
    pub(crate) fn check_four_eyes(&self, user: UserId) -> Result<(), Rejection> {
        match &self.state.task {
            Some(task) if is_barred_by_four_eyes(&self.state, task.step, user) => Err(Rejection::FourEyes),
            _ => Ok(()),
        }
    }

    /// The open review.
    pub fn open_review(&self) -> Option<&review::Model> {
        self.open_review.as_ref().map(|tracked| &tracked.row)
    }

    /// Whether a review is open that nobody has claimed.
    pub(crate) fn is_review_unclaimed(&self) -> bool {
        self.state.review.is_some_and(|review| review.claim_at(self.now).is_none())
    }

    /// Stores the corrections that a reviewer has not decided on yet.
    pub(crate) fn set_draft(&mut self, draft: Value) {
        if let Some(review) = self.change_open_review() {
            review.draft = Some(Some(draft));
        }
    }

    /// Replaces the content of the open review and its items, and discards the draft, which was about the content before.
    pub(crate) fn replace_review_subject(&mut self, subject: ReviewSubject) {
        if let Some(review) = self.change_open_review() {
            review.row.content_id = subject.content;
            (review.items, review.draft) = (Some(subject.items), Some(None));
        }
    }

    /// Sets what a review is about that the next command opens.
    pub(crate) fn set_review_subject(&mut self, subject: ReviewSubject) {
        self.subject = subject;
    }

    pub(super) fn take_review_subject(&mut self) -> ReviewSubject {
        std::mem::take(&mut self.subject)
    }

    pub(super) fn change_open_review(&mut self) -> Option<&mut TrackedReview> {
        let review = self.open_review.as_mut()?;
        review.is_changed = true;
        review.row.updated_at = Some(self.now);
        Some(review)
    }

    pub(super) fn contents(&self) -> Result<&Contents> {
        self.contents.as_ref().ok_or_else(|| not_read("contents"))
    }

    pub(super) fn contents_mut(&mut self) -> Result<&mut Contents> {
        self.contents.as_mut().ok_or_else(|| not_read("contents"))
    }

    pub(super) fn collaborators(&self) -> Result<&CollaboratorRows> {
        self.collaborators.as_ref().ok_or_else(|| not_read("collaborators"))
    }

    pub(super) fn collaborators_mut(&mut self) -> Result<&mut CollaboratorRows> {
        self.collaborators.as_mut().ok_or_else(|| not_read("collaborators"))
    }
}

fn not_read(rows: &str) -> Error {
    Error::internal(format!("a change uses the {rows} of a job without reading them"))
}
