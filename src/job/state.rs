//! A job's life as a function: [`decide`](super::decide::decide) says what may happen, [`State::apply`] what it makes of the job.
//!
//! Pure: no I/O, no clock, no randomness. Whoever changes a job (resolver, executor, worker, sweeper) locks its row, loads
//! its [`State`], decides, and writes the state that follows together with the events, in one transaction.
//!
//! ```text
//!  create ──► QUEUED ──► RUNNING ──► COMPLETED
//!               ▲  ▲        │  │
//!      retry    │  └────────┘  ├──► FAILED
//!               │  next step   └──► BLOCKED ── approved ──► QUEUED, COMPLETED
//!               └── FAILED, CANCELLED          any non-final ── cancel ──► CANCELLED
//! ```

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::LeaseToken;

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Waits for a person.
    Blocked,
    /// Done.
    Completed,
    /// Ended by somebody.
    Cancelled,
    /// Cannot go on.
    Failed,
}

impl Status {
    /// Whether only a retry or a rewind opens the job again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

/// What a step is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepStatus {
    /// Its turn has not come.
    Pending,
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Waits for a person.
    Blocked,
    /// Done.
    Completed,
    /// Not needed.
    Skipped,
    /// Its attempts are used up, or trying again cannot help.
    Failed,
    /// The job was cancelled while it was this step's turn.
    Cancelled,
}

/// Who does a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepKind {
    /// A built-in executor or an external worker.
    Automatic,
    /// A person.
    Manual,
}

/// Whether people are needed: reviews of test jobs approve themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// For real.
    Live,
    /// For integrators.
    Test,
}

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Index of the step.
    pub step: usize,
    /// Not to be claimed before.
    pub run_at: Timestamp,
    /// Set while somebody has it.
    pub lease: Option<Lease>,
}

/// Everything that decides what may happen to a job.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What the job is doing.
    pub status: Status,
    /// Whether people are needed.
    pub mode: Mode,
    /// In order; never empty.
    pub steps: Vec<Step>,
    /// What waits for, or is with, a worker.
    pub task: Option<Task>,
    /// The step whose review is open: it waits for, or is with, a person. A job has one open review at most.
    pub review: Option<usize>,
    /// Fence of the last claim.
    pub fence: i64,
    /// Set when, and only when, the job has failed.
    pub failure: Option<Failure>,
    /// When the first worker took it.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
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
    /// A review ended without a person: by test mode, or with its job.
    ReviewClosed {
        /// Index of the step.
        step: usize,
        /// Whether it counts as an approval.
        approved: bool,
    },
    /// The job was opened again at a step.
    Retried {
        /// Index of the step.
        step: usize,
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
    /// Given its attempts back.
    Reset,
}

impl StepChange {
    /// The status that follows.
    pub fn status(&self) -> StepStatus {
        match self {
            Self::Queued { .. } => StepStatus::Queued,
            Self::Running { .. } => StepStatus::Running,
            Self::Blocked => StepStatus::Blocked,
            Self::Completed => StepStatus::Completed,
            Self::Failed { .. } => StepStatus::Failed,
            Self::Cancelled => StepStatus::Cancelled,
            Self::Reset => StepStatus::Pending,
        }
    }
}

impl State {
    /// A job before its first step: queued, nothing begun.
    pub fn new(mode: Mode, steps: Vec<Step>) -> Self {
        Self {
            status: Status::Queued,
            mode,
            steps,
            task: None,
            review: None,
            fence: 0,
            failure: None,
            started_at: None,
            finished_at: None,
        }
    }

    /// The step whose turn it is; `None` after a final status.
    pub fn current_step(&self) -> Option<usize> {
        let of_task = self.task.as_ref().map(|task| task.step);
        of_task.or(self.review)
    }

    /// How many steps are finished.
    pub fn finished_steps(&self) -> usize {
        let done = |step: &&Step| matches!(step.status, StepStatus::Completed | StepStatus::Skipped);
        self.steps.iter().filter(done).count()
    }

    /// Makes an event true.
    pub fn apply(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::Status { to, failure, .. } => {
                self.status = *to;
                self.failure.clone_from(failure);
                if *to == Status::Running && self.started_at.is_none() {
                    self.started_at = Some(now);
                }
                self.finished_at = to.is_final().then_some(now);
            }
            Event::Step { step, change, .. } => self.apply_to_step(*step, change, now),
            Event::ReviewOpened { step, .. } => self.review = Some(*step),
            Event::ReviewClosed { .. } => self.review = None,
            Event::Retried { .. } => {}
        }
    }

    fn apply_to_step(&mut self, index: usize, change: &StepChange, now: Timestamp) {
        let step = &mut self.steps[index];
        step.status = change.status();
        match change {
            StepChange::Queued { run_at, .. } => {
                self.task = Some(Task { step: index, run_at: *run_at, lease: None });
            }
            StepChange::Running { lease } => {
                step.attempt += 1;
                step.started_at = Some(now);
                step.finished_at = None;
                self.fence = lease.fence;
                self.task = Some(Task { step: index, run_at: now, lease: Some(lease.clone()) });
            }
            StepChange::Blocked => self.task = None,
            StepChange::Completed | StepChange::Failed { .. } | StepChange::Cancelled => {
                step.finished_at = Some(now);
                self.task = None;
            }
            StepChange::Reset => {
                step.attempt = 0;
                step.started_at = None;
                step.finished_at = None;
            }
        }
    }
}
