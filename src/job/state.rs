//! A job's life as a function: [`decide`](super::decide::decide) says what may happen, [`State::apply`] what it makes of the job.
//!
//! Pure: no I/O, no clock, no randomness. Whoever changes a job (resolver, executor, worker, sweeper) locks its row, loads
//! its [`State`], decides, and writes the state that follows together with the events, in one transaction.
//!
//! ```text
//!  create ──► QUEUED ──► RUNNING ──► COMPLETED
//!               ▲  ▲        │  │
//!   retry,      │  └────────┘  ├──► FAILED
//!   rewind,     │  next step   └──► BLOCKED ── approved ──► QUEUED, COMPLETED
//!   send back   │                      └────── rejected ──► FAILED
//!               └── FAILED, CANCELLED, …       any non-final ── cancel ──► CANCELLED
//! ```

use serde::{Deserialize, Serialize};

use super::timing::{Phase, Timing};
use crate::clock::Timestamp;
use crate::entity::enums::ReviewStatus;
pub use crate::entity::enums::{Mode, Status, StepKind, StepStatus};
use crate::id::{LeaseToken, UserId};

/// One step of a job as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique within the job.
    pub name: String,
    /// For people.
    pub title: String,
    /// Who does it.
    pub kind: StepKind,
    /// What it is doing.
    pub status: StepStatus,
    /// From 1; 0 before the first.
    pub attempt: u32,
    /// How often it may be tried.
    pub max_attempts: u32,
    /// How long one attempt may take.
    pub timeout_seconds: u32,
    /// How far it was when its last attempt ended, 0 to 1; while a worker has it, the task knows.
    #[serde(default)]
    pub fraction: f64,
    /// The job's owner may neither decide its reviews nor do it as a worker.
    #[serde(default)]
    pub four_eyes: bool,
    /// What a reviewer said who sent the job back to it; it is handed to whoever does the step again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When its newest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// Where.
    pub step: Option<String>,
}

/// A worker's hold on a step: until a time of the database, under a fence that only grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which claim of the job this is, from 1. A result under an older one is stale.
    pub fence: i64,
    /// Secret of the worker that holds it.
    pub token: LeaseToken,
    /// The worker, for people.
    pub owner: String,
    /// Lost when not renewed until then.
    pub until: Timestamp,
    /// The attempt's time is out then, renewed or not.
    pub deadline: Timestamp,
}

/// The step whose turn it is, while machines have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Index of the step.
    pub step: usize,
    /// Not to be claimed before.
    pub run_at: Timestamp,
    /// How far the attempt is, 0 to 1.
    pub fraction: f64,
    /// Set while somebody has it.
    pub lease: Option<Lease>,
}

/// A person's hold on a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReviewClaim {
    /// Whose it is.
    pub by: UserId,
    /// Lost when not renewed until then.
    pub until: Timestamp,
}

/// A step that waits for, or is with, a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenReview {
    /// Index of the step.
    pub step: usize,
    /// Set while somebody has it.
    pub claim: Option<ReviewClaim>,
}

/// Everything that decides what may happen to a job.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Whose job it is.
    pub owner: UserId,
    /// What the job is doing.
    pub status: Status,
    /// Whether people are needed.
    pub mode: Mode,
    /// In order; never empty.
    pub steps: Vec<Step>,
    /// What waits for, or is with, a worker.
    pub task: Option<Task>,
    /// The step whose review is open. A job has one open review at most.
    pub review: Option<OpenReview>,
    /// Fence of the last claim.
    pub fence: i64,
    /// Set when, and only when, the job has failed.
    pub failure: Option<Failure>,
    /// When the first worker took it.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// Who it spent its time with.
    pub timing: Timing,
}

/// How a review ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReviewOutcome {
    /// The job goes on.
    Approved,
    /// The job fails.
    Rejected,
    /// An earlier step runs again.
    SentBack,
    /// The job ended, or was rewound, without it.
    Cancelled,
}

impl From<ReviewOutcome> for ReviewStatus {
    fn from(outcome: ReviewOutcome) -> Self {
        match outcome {
            ReviewOutcome::Approved => Self::Approved,
            ReviewOutcome::Rejected => Self::Rejected,
            ReviewOutcome::SentBack => Self::SentBack,
            ReviewOutcome::Cancelled => Self::Cancelled,
        }
    }
}

/// What a decision rests on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// SHA-256 of the content that was seen; `None` where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_sha256: Option<String>,
    /// JSON Patch (RFC 6902) that was applied to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<serde_json::Value>,
}

/// Why somebody's hold on a review ended without a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Release {
    /// They let go of it.
    Released,
    /// An admin took it from them.
    ByAdmin,
    /// It was not renewed in time.
    Expired,
    /// They lost access to the step.
    AccessLost,
}

/// What happened. These are what the history shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The job's status changed.
    Status {
        /// Before.
        from: Status,
        /// After.
        to: Status,
        /// Why, where somebody gave a reason.
        reason: Option<String>,
        /// Why, where it failed.
        failure: Option<Failure>,
    },
    /// A step's status changed.
    Step {
        /// Index of the step.
        step: usize,
        /// Before.
        from: StepStatus,
        /// The attempt of the step after the change.
        attempt: u32,
        /// What it became, with what belongs to it.
        change: StepChange,
    },
    /// A review was opened on a step.
    ReviewOpened {
        /// Index of the step.
        step: usize,
        /// Why.
        reason: String,
    },
    /// Somebody took a review.
    ReviewClaimed {
        /// Index of the step.
        step: usize,
        /// By whom and until when.
        claim: ReviewClaim,
    },
    /// Whoever has a review keeps it longer. Not in the history.
    ReviewRenewed {
        /// Until when.
        until: Timestamp,
    },
    /// A review is free again.
    ReviewReleased {
        /// Index of the step.
        step: usize,
        /// Who had it.
        claimed_by: UserId,
        /// Why.
        why: Release,
    },
    /// A review ended.
    ReviewClosed {
        /// Index of the step.
        step: usize,
        /// How.
        outcome: ReviewOutcome,
        /// Who decided; `None` where test mode or the end of the job did.
        by: Option<UserId>,
        /// What they said.
        comment: Option<String>,
        /// What they had seen.
        receipt: Receipt,
        /// Where the job was sent back to.
        to_step: Option<usize>,
    },
    /// The job was opened again at a step.
    Retried {
        /// Index of the step.
        step: usize,
    },
    /// The job was taken back to a step; what that step and later ones had made is superseded.
    Rewound {
        /// Index of the step.
        step: usize,
        /// Why, for the history.
        reason: Option<String>,
    },
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum StepChange {
    /// Waits for a worker from a time on, after an error where there was one.
    Queued {
        /// Not before.
        run_at: Timestamp,
        /// What went wrong before.
        error: Option<Failure>,
    },
    /// Waits again for a worker: the one that had it had to go, which is no attempt.
    Released,
    /// A worker took it.
    Running {
        /// Under this lease.
        lease: Lease,
    },
    /// Waits for a person.
    Blocked,
    /// Done.
    Completed,
    /// Given up.
    Failed {
        /// Why.
        error: Failure,
    },
    /// Ended with its job.
    Cancelled,
    /// Given its attempts back, with what a reviewer had to say.
    Reset {
        /// For whoever does it again.
        comment: Option<String>,
    },
}

impl StepChange {
    /// The status that follows.
    pub fn status(&self) -> StepStatus {
        match self {
            Self::Queued { .. } | Self::Released => StepStatus::Queued,
            Self::Running { .. } => StepStatus::Running,
            Self::Blocked => StepStatus::Blocked,
            Self::Completed => StepStatus::Completed,
            Self::Failed { .. } => StepStatus::Failed,
            Self::Cancelled => StepStatus::Cancelled,
            Self::Reset { .. } => StepStatus::Pending,
        }
    }

    /// The attempt of the step after the change, given the one before it.
    pub fn attempt_after(&self, before: u32) -> u32 {
        match self {
            Self::Running { .. } => before + 1,
            // A released claim does not count as an attempt.
            Self::Released => before.saturating_sub(1),
            Self::Reset { .. } => 0,
            _ => before,
        }
    }
}

impl State {
    /// A job before its first step: queued, nothing begun.
    pub fn new(owner: UserId, mode: Mode, steps: Vec<Step>, now: Timestamp) -> Self {
        Self {
            owner,
            status: Status::Queued,
            mode,
            steps,
            task: None,
            review: None,
            fence: 0,
            failure: None,
            started_at: None,
            finished_at: None,
            timing: Timing::since(now),
        }
    }

    /// The step whose turn it is; `None` after a final status.
    pub fn current_step(&self) -> Option<usize> {
        let of_task = self.task.as_ref().map(|task| task.step);
        of_task.or(self.review.map(|review| review.step))
    }

    /// Returns the step that a job goes back to unless a step is named: the one before the current one, where there is one,
    /// or the last one that a job that has ended has reached.
    pub fn step_back(&self) -> usize {
        match self.current_step() {
            Some(current) => current.saturating_sub(1),
            None => self.steps.iter().rposition(|step| step.status != StepStatus::Pending).unwrap_or(0),
        }
    }

    /// Who has the job now; `None` after a final status.
    pub fn phase(&self) -> Option<Phase> {
        match self.status {
            Status::Running => Some(Phase::Machine),
            Status::Blocked if self.review.is_some_and(|review| review.claim.is_some()) => {
                Some(Phase::Person)
            }
            Status::Queued | Status::Blocked => Some(Phase::Waiting),
            Status::Completed | Status::Cancelled | Status::Failed => None,
        }
    }

    /// How many steps are finished.
    pub fn finished_steps(&self) -> usize {
        let done = |step: &&Step| matches!(step.status, StepStatus::Completed | StepStatus::Skipped);
        self.steps.iter().filter(done).count()
    }

    /// Makes an event true.
    pub fn apply(&mut self, event: &Event, now: Timestamp) {
        let phase = self.phase();
        match event {
            Event::Status { to, failure, .. } => {
                self.status = *to;
                self.failure.clone_from(failure);
                if *to == Status::Running && self.started_at.is_none() {
                    self.started_at = Some(now);
                }
                self.finished_at = to.is_final().then_some(now);
            }
            Event::Step { step, attempt, change, .. } => {
                self.apply_to_step(*step, *attempt, change, now);
            }
            Event::ReviewOpened { step, .. } => self.review = Some(OpenReview { step: *step, claim: None }),
            Event::ReviewClaimed { claim, .. } => self.set_claim(Some(*claim)),
            Event::ReviewRenewed { until } => {
                if let Some(claim) = self.review.as_mut().and_then(|review| review.claim.as_mut()) {
                    claim.until = *until;
                }
            }
            Event::ReviewReleased { .. } => self.set_claim(None),
            Event::ReviewClosed { .. } => self.review = None,
            Event::Retried { .. } | Event::Rewound { .. } => {}
        }
        if self.phase() != phase {
            self.timing.spend(phase, now);
        }
    }

    fn set_claim(&mut self, claim: Option<ReviewClaim>) {
        if let Some(review) = &mut self.review {
            review.claim = claim;
        }
    }

    fn apply_to_step(&mut self, index: usize, attempt: u32, change: &StepChange, now: Timestamp) {
        let was_turn = self.task.as_ref().is_some_and(|task| task.step == index);
        let reached = self.task.as_ref().filter(|_| was_turn).map_or(0.0, |task| task.fraction);
        let step = &mut self.steps[index];
        (step.status, step.attempt) = (change.status(), attempt);
        match change {
            StepChange::Queued { run_at, .. } => {
                step.fraction = 0.0;
                self.task = Some(Task { step: index, run_at: *run_at, fraction: 0.0, lease: None });
            }
            StepChange::Released => {
                self.task = Some(Task { step: index, run_at: now, fraction: 0.0, lease: None });
            }
            StepChange::Running { lease } => {
                step.started_at = Some(now);
                step.finished_at = None;
                self.fence = lease.fence;
                self.task =
                    Some(Task { step: index, run_at: now, fraction: 0.0, lease: Some(lease.clone()) });
            }
            StepChange::Blocked => {
                step.started_at.get_or_insert(now);
                // What a machine made is there to be looked at; what a person makes is not begun.
                step.fraction = if step.kind == StepKind::Automatic { 1.0 } else { 0.0 };
                self.task = None;
            }
            StepChange::Completed | StepChange::Failed { .. } | StepChange::Cancelled => {
                step.finished_at = Some(now);
                self.task = None;
                if *change == StepChange::Completed {
                    (step.fraction, step.comment) = (1.0, None);
                } else if was_turn {
                    step.fraction = reached;
                }
            }
            StepChange::Reset { comment } => {
                step.fraction = 0.0;
                step.started_at = None;
                step.finished_at = None;
                step.comment.clone_from(comment);
                if was_turn {
                    self.task = None;
                }
            }
        }
    }
}
