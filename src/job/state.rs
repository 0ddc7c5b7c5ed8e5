//! The state machine of a job: [`decide`](super::decide::decide) turns a command into events, and [`State::apply`]
//! applies an event to the state.
//!
//! It is pure: no I/O, no clock, no randomness. The gate ([`super::record`]) locks the row of a job, loads its
//! [`State`], decides, and writes the new state together with the events, in one transaction.
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

/// The state of one step of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The name, unique within the job.
    pub name: String,
    /// The title, for people.
    pub title: String,
    /// Whether a worker runs the step or a person does it.
    pub kind: StepKind,
    /// The status.
    pub status: StepStatus,
    /// The number of the current or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// The maximum number of attempts.
    pub max_attempts: u32,
    /// The timeout of one attempt, in seconds.
    pub timeout_seconds: u32,
    /// Progress at the end of the last attempt, 0 to 1. While a worker runs the step, the task has the progress.
    #[serde(default)]
    pub fraction: f64,
    /// Whether the owner of the job may neither review the step nor run it as a worker.
    #[serde(default)]
    pub(crate) four_eyes: bool,
    /// The comment of the reviewer who sent the job back to this step, for the next attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The time at which the last attempt started.
    pub started_at: Option<Timestamp>,
    /// The time at which the last attempt ended.
    pub finished_at: Option<Timestamp>,
}

/// The reason for which a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Code for programs.
    pub code: String,
    /// Text for people.
    pub message: String,
    /// The name of the step that failed.
    pub step: Option<String>,
}

/// A worker's exclusive right to run a step until a time of the database clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The number of this claim among all claims of the job, from 1. A result under an older claim is stale.
    pub fence: i64,
    /// The fencing token, a secret of the worker.
    pub token: LeaseToken,
    /// The name of the worker, for people.
    pub owner: String,
    /// The time at which the lease expires unless it is renewed.
    pub until: Timestamp,
    /// The time at which the attempt times out, whether the lease is renewed or not.
    pub deadline: Timestamp,
}

/// A step that is queued or leased.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Index of the step.
    pub step: usize,
    /// The earliest time at which a worker may claim the step.
    pub run_at: Timestamp,
    /// Progress of the attempt, 0 to 1.
    pub fraction: f64,
    /// Set while a worker has claimed the step.
    pub lease: Option<Lease>,
}

/// A reviewer's exclusive right to decide a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReviewClaim {
    /// The reviewer.
    pub by: UserId,
    /// The time at which the claim expires unless it is renewed.
    pub until: Timestamp,
}

/// A review that is not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenReview {
    /// Index of the step.
    pub step: usize,
    /// Set while a reviewer has claimed the review.
    pub claim: Option<ReviewClaim>,
}

impl OpenReview {
    /// Returns the claim that holds at `now`; an expired claim may not be released yet.
    pub(crate) fn claim_at(&self, now: Timestamp) -> Option<ReviewClaim> {
        self.claim.filter(|claim| now < claim.until)
    }
}

/// The part of a job that decides which commands are allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The owner.
    pub owner: UserId,
    /// The status.
    pub status: Status,
    /// The mode. Reviews of TEST jobs approve themselves.
    pub mode: Mode,
    /// The steps, in order; never empty.
    pub steps: Vec<Step>,
    /// The step that is queued or leased.
    pub task: Option<Task>,
    /// The open review. A job has at most one.
    pub review: Option<OpenReview>,
    /// Fence of the last claim.
    pub fence: i64,
    /// Set if, and only if, the job has failed.
    pub failure: Option<Failure>,
    /// The time of the first claim of a step.
    pub started_at: Option<Timestamp>,
    /// The time at which the job got its final status.
    pub finished_at: Option<Timestamp>,
    /// The time that the job has spent in each phase.
    pub timing: Timing,
}

/// The end of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReviewOutcome {
    /// The job continues.
    Approved,
    /// The job fails.
    Rejected,
    /// An earlier step runs again.
    SentBack,
    /// The job ended or was rewound before a decision.
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

/// The content on which a decision rests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// SHA-256 of the reviewed content; `None` if the review has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_sha256: Option<String>,
    /// JSON Patch (RFC 6902) that was applied to the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<serde_json::Value>,
}

/// The reason for which a claim of a review ended without a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Release {
    /// The reviewer released it.
    Released,
    /// An admin released it.
    ByAdmin,
    /// The reviewer did not renew it in time.
    Expired,
    /// The reviewer lost access to the step.
    AccessLost,
}

/// A change of a job, for the history.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The job's status changed.
    Status {
        /// The status before.
        from: Status,
        /// The status after.
        to: Status,
        /// The reason that the user gave.
        reason: Option<String>,
        /// Set if the job failed.
        failure: Option<Failure>,
    },
    /// A step's status changed.
    Step {
        /// Index of the step.
        step: usize,
        /// The status before.
        from: StepStatus,
        /// The attempt of the step after the change.
        attempt: u32,
        /// The new status, with its details.
        change: StepChange,
    },
    /// A review of a step was opened.
    ReviewOpened {
        /// Index of the step.
        step: usize,
        /// The reason, for the reviewer.
        reason: String,
    },
    /// A reviewer claimed the review.
    ReviewClaimed {
        /// Index of the step.
        step: usize,
        /// The claim.
        claim: ReviewClaim,
    },
    /// A reviewer renewed the claim. The history does not contain this event.
    ReviewRenewed {
        /// The time at which the claim expires.
        until: Timestamp,
    },
    /// The claim of the review ended without a decision.
    ReviewReleased {
        /// Index of the step.
        step: usize,
        /// The reviewer who had claimed it.
        claimed_by: UserId,
        /// The reason.
        why: Release,
    },
    /// The review ended.
    ReviewClosed {
        /// Index of the step.
        step: usize,
        /// The outcome.
        outcome: ReviewOutcome,
        /// The reviewer who decided; `None` if the review approved itself or the job ended or was rewound.
        by: Option<UserId>,
        /// The comment of the reviewer.
        comment: Option<String>,
        /// The content on which the decision rests.
        receipt: Receipt,
        /// Index of the step to which the job was sent back.
        to_step: Option<usize>,
    },
    /// The job runs again from a step.
    Retried {
        /// Index of the step.
        step: usize,
    },
    /// The job was rewound to a step. The outputs of that step and of later steps are superseded.
    Rewound {
        /// Index of the step.
        step: usize,
        /// The reason, for the history.
        reason: Option<String>,
    },
}

/// A change of the status of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum StepChange {
    /// The step waits for a worker.
    Queued {
        /// The earliest time at which a worker may claim the step.
        run_at: Timestamp,
        /// The error of the attempt before, if it failed.
        error: Option<Failure>,
    },
    /// The step waits for a worker again: its worker shut down. This attempt does not count.
    Released,
    /// A worker has claimed the step.
    Running {
        /// The lease of the worker.
        lease: Lease,
    },
    /// The step waits for a review.
    Blocked,
    /// The step is finished.
    Completed,
    /// The step failed, and is not retried.
    Failed {
        /// The error of the last attempt.
        error: Failure,
    },
    /// The job was canceled.
    Cancelled,
    /// The step starts over with all of its attempts.
    Reset {
        /// The comment of the reviewer who sent the job back.
        comment: Option<String>,
    },
}

impl StepChange {
    /// Returns the status after the change.
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

    /// Returns the attempt of the step after the change.
    pub(crate) fn attempt_after(&self, before: u32) -> u32 {
        match self {
            Self::Running { .. } => before + 1,
            Self::Released => before.saturating_sub(1),
            Self::Reset { .. } => 0,
            _ => before,
        }
    }
}

impl State {
    /// Returns the state of a job whose first step has not started.
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

    /// Returns the index of the current step; `None` after a final status.
    pub fn current_step(&self) -> Option<usize> {
        let of_task = self.task.as_ref().map(|task| task.step);
        of_task.or(self.review.map(|review| review.step))
    }

    /// Returns the step to which a rewind without a step leads: the one before the current step, or the last step that
    /// a job with a final status has reached.
    pub(crate) fn step_back(&self) -> usize {
        match self.current_step() {
            Some(current) => current.saturating_sub(1),
            None => self.steps.iter().rposition(|step| step.status != StepStatus::Pending).unwrap_or(0),
        }
    }

    /// Returns the current phase; `None` after a final status.
    pub(crate) fn phase(&self) -> Option<Phase> {
        match self.status {
            Status::Running => Some(Phase::Machine),
            Status::Blocked if self.review.is_some_and(|review| review.claim.is_some()) => {
                Some(Phase::Person)
            }
            Status::Queued | Status::Blocked => Some(Phase::Waiting),
            Status::Completed | Status::Cancelled | Status::Failed => None,
        }
    }

    /// Applies an event.
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
        let has_task = self.task.as_ref().is_some_and(|task| task.step == index);
        let fraction = self.task.as_ref().filter(|_| has_task).map_or(0.0, |task| task.fraction);
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
                // The result of an AUTOMATIC step is complete and waits for review; the work on a MANUAL step has not
                // begun.
                step.fraction = if step.kind == StepKind::Automatic { 1.0 } else { 0.0 };
                self.task = None;
            }
            StepChange::Completed | StepChange::Failed { .. } | StepChange::Cancelled => {
                step.finished_at = Some(now);
                self.task = None;
                if *change == StepChange::Completed {
                    (step.fraction, step.comment) = (1.0, None);
                } else if has_task {
                    step.fraction = fraction;
                }
            }
            StepChange::Reset { comment } => {
                step.fraction = 0.0;
                step.started_at = None;
                step.finished_at = None;
                step.comment.clone_from(comment);
                if has_task {
                    self.task = None;
                }
            }
        }
    }
}
