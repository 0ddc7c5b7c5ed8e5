//! The one way in which a job changes: lock its row, decide, write rows and history, commit, hint.

mod save;

use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use serde::Serialize;
use serde_json::{Value, json};

use super::contents;
use super::decide::{Command, Rejection, bars, claimed, decide, leased};
use super::rows::state;
use super::state::{Event, Release, ReviewClaim, ReviewOutcome, State, StepChange, Task};
use crate::clock::{Clock, Timestamp};
use crate::db;
pub use crate::entity::enums::EventKind;
use crate::entity::enums::ReviewStatus;
use crate::entity::{job, review, task};
use crate::error::{Error, Result};
use crate::events::feed::NewEvent;
use crate::id::{ContentId, JobId, LeaseToken, ReviewId, UserId};

/// What a review that a worker asks for is about.
#[derive(Debug, Clone, Default)]
pub struct ReviewSubject {
    /// The content under review.
    pub content: Option<ContentId>,
    /// Its parts that need a decision.
    pub items: Vec<Value>,
}

/// The large parts of a review, which are written where they are new and never read here.
#[derive(Debug, Default)]
struct Matter {
    /// `None` leaves the items as they are.
    items: Option<Vec<Value>>,
    /// `None` leaves the draft as it is; `Some(None)` discards it.
    draft: Option<Option<Value>>,
}

/// A review as it stands in this transaction.
#[derive(Debug)]
struct Tracked {
    row: review::Model,
    /// What is to be written beside the row.
    matter: Matter,
    /// Whether its row was there before.
    stored: bool,
    /// Whether it has to be written.
    touched: bool,
}

/// What a transaction has made of a job, for those who wait for it.
#[derive(Debug)]
pub struct Saved {
    /// The job.
    pub job: job::Model,
    /// Reviews that were opened or changed.
    pub reviews: Vec<ReviewId>,
    /// Sequence of the first event that was written; above the job's last where none was.
    pub first: i64,
    /// What is to be sent to webhooks.
    pub deliveries: usize,
}

/// A job whose row is locked by this transaction, with everything that decides what may happen to it.
#[derive(Debug)]
pub struct Locked {
    row: job::Model,
    state: State,
    /// As it was stored.
    task: Option<Task>,
    /// The open review last, where there is one; before it those that this transaction closed.
    reviews: Vec<Tracked>,
    subject: ReviewSubject,
    events: Vec<NewEvent>,
    now: Timestamp,
}

impl Locked {
    /// Locks a job and loads its state; `None` where it does not exist (any more). The time is taken once the lock is held,
    /// from the clock that all nodes share: what waited long is decided by what is the case now.
    pub async fn lock(tx: &DatabaseTransaction, id: JobId, clock: &Clock) -> Result<Option<Self>> {
        let Some(row) = job::Entity::find_by_id(id).lock_exclusive().one(tx).await? else { return Ok(None) };
        let now = db::now(tx, clock).await?;
        let task = task::Entity::find_by_id(id).one(tx).await?;
        let open = review::Entity::find().filter(review::Column::JobId.eq(id));
        let open = open.filter(review::Column::Status.is_in(ReviewStatus::UNDECIDED)).one(tx).await?;
        let state = state(&row, task.as_ref(), open.as_ref())?;
        let mut locked = Self::fresh(row, state, now);
        locked.task.clone_from(&locked.state.task);
        locked.reviews.extend(open.map(|row| Tracked {
            row,
            matter: Matter::default(),
            stored: true,
            touched: false,
        }));
        Ok(Some(locked))
    }

    /// A job that this transaction has just inserted.
    pub(super) fn fresh(row: job::Model, state: State, now: Timestamp) -> Self {
        let (reviews, events, subject) = (Vec::new(), Vec::new(), ReviewSubject::default());
        Self { row, state, task: None, reviews, subject, events, now }
    }

    /// The job's row.
    pub fn row(&self) -> &job::Model {
        &self.row
    }

    /// The job's row, for what the state machine does not decide: metadata, priority.
    pub fn row_mut(&mut self) -> &mut job::Model {
        &mut self.row
    }

    /// The job as it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The name of the step that is queued, or with a worker.
    pub fn step_in_work(&self) -> Option<&str> {
        self.state.task.as_ref().map(|task| self.state.steps[task.step].name.as_str())
    }

    /// Refuses whoever may not do the step in work, because it needs other eyes than theirs.
    pub fn check_eyes(&self, who: UserId) -> Result<(), Rejection> {
        match &self.state.task {
            Some(task) if bars(&self.state, task.step, who) => Err(Rejection::FourEyes),
            _ => Ok(()),
        }
    }

    /// The open review.
    pub fn open_review(&self) -> Option<&review::Model> {
        self.state.review.and(self.reviews.last()).map(|tracked| &tracked.row)
    }

    /// Keeps what a reviewer has corrected so far; part of no decision.
    pub fn set_draft(&mut self, draft: Value) {
        self.on_review(|_| ());
        if let Some(tracked) = self.reviews.last_mut() {
            tracked.matter.draft = Some(Some(draft));
        }
    }

    /// Puts another content under the open review, with its items; the draft, which was about the content before, is
    /// discarded.
    pub fn replace_review_subject(&mut self, subject: ReviewSubject) {
        self.on_review(|review| review.content_id = subject.content);
        if let Some(tracked) = self.reviews.last_mut() {
            tracked.matter = Matter { items: Some(subject.items), draft: Some(None) };
        }
    }

    /// The time of this transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What a review opened by the next command is about.
    pub fn set_review_subject(&mut self, subject: ReviewSubject) {
        self.subject = subject;
    }

    /// The index of the step that a client calls `toStep`.
    pub fn step_index(&self, name: &str) -> Result<usize> {
        let steps = &self.state.steps;
        steps.iter().position(|step| step.name == name).ok_or_else(|| {
            let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
            let message = format!("The job has no step {name:?}; it has: {}.", names.join(", "));
            Error::invalid("/toStep", "UNKNOWN_STEP", message)
        })
    }

    /// Supersedes the contents that a step and all after it have made.
    pub async fn supersede_from(&self, tx: &DatabaseTransaction, step: usize) -> Result<()> {
        let steps: Vec<_> = self.state.steps[step..].iter().map(|step| step.name.as_str()).collect();
        contents::supersede(tx, self.row.id, &steps).await
    }

    /// Decides a command and makes its events true and part of the history.
    pub fn perform(&mut self, command: Command, actor: Option<UserId>) -> Result<(), Rejection> {
        for event in decide(&self.state, command, self.now)? {
            self.state.apply(&event, self.now);
            self.write_down(&event, actor);
        }
        Ok(())
    }

    /// Whether a lease holds now.
    pub fn check_lease(&self, token: LeaseToken) -> Result<(), Rejection> {
        leased(&self.state, token, self.now).map(drop)
    }

    /// Whether somebody has the open review now.
    pub fn check_claim(&self, by: UserId) -> Result<(), Rejection> {
        claimed(&self.state, by, self.now).map(drop)
    }

    /// Whether a review is open that nobody holds now.
    pub fn review_is_free(&self) -> bool {
        self.state.review.is_some_and(|review| review.claim.is_none_or(|claim| claim.until <= self.now))
    }

    /// Adds to the history what the state machine does not decide. `step` says whose people may read `data`.
    pub fn record(&mut self, kind: EventKind, step: Option<&str>, actor: Option<UserId>, data: Value) {
        self.row.seq += 1;
        self.events.push(NewEvent {
            job: self.row.id,
            sequence: self.row.seq,
            kind,
            actor,
            step: step.map(str::to_owned),
            at: self.now,
            data,
        });
    }

    fn write_down(&mut self, event: &Event, actor: Option<UserId>) {
        let step_name = |index: &usize| self.state.steps[*index].name.clone();
        match event {
            Event::Status { from, to, reason, failure } => {
                let mut data = json!({"from": from, "to": to});
                insert_some(&mut data, "reason", reason.as_ref());
                insert_some(&mut data, "failure", failure.as_ref());
                self.record(EventKind::StatusChanged, None, actor, data);
            }
            Event::Step { step, from, change } => {
                let (name, attempt) = (step_name(step), self.state.steps[*step].attempt);
                let mut data =
                    json!({"step": &name, "from": from, "to": change.status(), "attempt": attempt});
                match change {
                    StepChange::Queued { run_at, error } => {
                        insert_some(&mut data, "error", error.as_ref());
                        insert_some(&mut data, "runAt", (*run_at > self.now).then_some(run_at));
                    }
                    StepChange::Running { lease } => insert_some(&mut data, "worker", Some(&lease.owner)),
                    StepChange::Failed { error } => insert_some(&mut data, "error", Some(error)),
                    StepChange::Reset { comment } => insert_some(&mut data, "comment", comment.as_ref()),
                    StepChange::GivenBack
                    | StepChange::Blocked
                    | StepChange::Completed
                    | StepChange::Cancelled => {}
                }
                self.record(EventKind::StepChanged, Some(&name), actor, data);
            }
            Event::ReviewOpened { step, reason } => {
                let name = step_name(step);
                let id = self.add_review(*step, reason);
                let data = json!({"reviewId": id, "step": name, "reason": reason});
                self.record(EventKind::ReviewOpened, Some(&name), None, data);
            }
            Event::ReviewClaimed { step, claim } => {
                let (name, ReviewClaim { by, until }) = (step_name(step), *claim);
                let id = self.on_review(|review| {
                    review.status = ReviewStatus::Claimed;
                    (review.claimed_by, review.claim_expires_at) = (Some(by), Some(until));
                });
                let data = json!({"reviewId": id, "step": name, "expiresAt": until});
                self.record(EventKind::ReviewClaimed, Some(&name), actor, data);
            }
            Event::ReviewRenewed { until } => {
                self.on_review(|review| review.claim_expires_at = Some(*until));
            }
            Event::ReviewReleased { step, claimed_by, why } => {
                let name = step_name(step);
                let id = self.on_review(|review| {
                    review.status = ReviewStatus::Open;
                    (review.claimed_by, review.claim_expires_at) = (None, None);
                });
                let data = json!({"reviewId": id, "step": name, "claimedBy": claimed_by, "reason": why});
                // Time did it, whoever noticed.
                let actor = actor.filter(|_| *why != Release::Expired);
                self.record(EventKind::ReviewReleased, Some(&name), actor, data);
            }
            Event::ReviewClosed { step, outcome, by, comment, receipt, to_step } => {
                let (step, to_step, now) = (step_name(step), to_step.as_ref().map(step_name), self.now);
                let id = self.on_review(|review| {
                    review.status = (*outcome).into();
                    (review.claimed_by, review.claim_expires_at) = (None, None);
                    (review.decided_by, review.decided_at) = (*by, Some(now));
                    review.comment.clone_from(comment);
                    review.receipt.clone_from(&receipt.content_sha256);
                });
                let mut data = json!({"reviewId": id, "step": step, "decision": outcome});
                insert_some(&mut data, "automatic", by.is_none().then_some(true));
                insert_some(&mut data, "comment", comment.as_ref());
                insert_some(&mut data, "contentSha256", receipt.content_sha256.as_ref());
                insert_some(&mut data, "patch", receipt.patch.as_ref());
                insert_some(&mut data, "toStep", to_step);
                // Nobody but a reviewer decides, whoever cancelled the job.
                let decider = if *outcome == ReviewOutcome::Cancelled { actor } else { *by };
                self.record(EventKind::ReviewDecided, Some(&step), decider, data);
            }
            Event::Retried { step } => {
                let data = json!({"step": step_name(step)});
                self.record(EventKind::Retried, None, actor, data);
            }
            Event::Rewound { step, reason } => {
                let mut data = json!({"step": step_name(step)});
                insert_some(&mut data, "reason", reason.as_ref());
                self.record(EventKind::Rewound, None, actor, data);
            }
        }
    }

    fn add_review(&mut self, step: usize, reason: &str) -> ReviewId {
        let (id, subject) = (ReviewId::new(), std::mem::take(&mut self.subject));
        let step = &self.state.steps[step];
        let row = review::Model {
            id,
            job_id: self.row.id,
            type_id: self.row.type_id.clone(),
            step: step.name.clone(),
            status: ReviewStatus::Open,
            reason: reason.to_owned(),
            content_id: subject.content,
            claimed_by: None,
            claim_expires_at: None,
            decided_by: None,
            decided_at: None,
            comment: None,
            receipt: None,
            barred_id: step.four_eyes.then_some(self.row.owner_id),
            created_at: self.now,
            updated_at: Some(self.now),
        };
        let matter = Matter { items: Some(subject.items), draft: None };
        self.reviews.push(Tracked { row, matter, stored: false, touched: true });
        id
    }

    /// Changes the row of the review that is, or was until just now, open.
    fn on_review(&mut self, change: impl FnOnce(&mut review::Model)) -> Option<ReviewId> {
        let tracked = self.reviews.last_mut()?;
        change(&mut tracked.row);
        tracked.touched = true;
        tracked.row.updated_at = Some(self.now);
        Some(tracked.row.id)
    }
}

fn insert_some(data: &mut Value, key: &str, value: Option<impl Serialize>) {
    if let (Some(value), Some(object)) =
        (value.and_then(|value| serde_json::to_value(value).ok()), data.as_object_mut())
    {
        object.insert(key.to_owned(), value);
    }
}
