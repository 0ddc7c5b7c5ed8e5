//! The rules of a job: [`decide`] tells which events a command leads to.

use chrono::TimeDelta;

use super::retry;
use super::state::{
    Event, Failure, Lease, Mode, OpenReview, Receipt, Release, ReviewClaim, ReviewOutcome, State, Status,
    Step, StepChange, StepKind, StepStatus, Task,
};
use crate::clock::Timestamp;
use crate::id::{LeaseToken, UserId};

/// A request to change a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Starts the first step of a new job.
    Start,
    /// Claims the queued step for a worker.
    Claim {
        /// The name of the worker, for people.
        owner: String,
        /// The fencing token of the new lease.
        token: LeaseToken,
        /// The duration of the lease, in seconds, unless it is renewed.
        lease_seconds: u32,
        /// The user on whose behalf an external worker runs; `None` for the engine of this server.
        by: Option<UserId>,
    },
    /// Completes the leased step.
    Complete {
        /// The fencing token of the lease.
        token: LeaseToken,
        /// The reason for a review; `None` if the result needs none.
        review: Option<String>,
    },
    /// Ends the attempt of the leased step with a failure.
    Fail {
        /// The fencing token of the lease.
        token: LeaseToken,
        /// Code for programs.
        code: String,
        /// Text for people.
        message: String,
        /// Whether a further attempt can succeed.
        retryable: bool,
        /// Random number from 0 to 1, which spreads the retries of steps that failed together.
        jitter: f64,
    },
    /// Queues the leased step again without counting the attempt: its worker shuts down.
    ReleaseStep {
        /// The fencing token of the lease.
        token: LeaseToken,
    },
    /// Ends a lease that was not renewed, or whose attempt has timed out.
    Expire {
        /// Random number from 0 to 1, which spreads the retries of steps that failed together.
        jitter: f64,
    },
    /// Cancels the job.
    Cancel {
        /// The reason, for the history.
        reason: Option<String>,
    },
    /// Runs a FAILED or CANCELLED job again from the step that stopped it.
    Retry,
    /// Takes the job back to a step that it has already reached, whatever its status.
    Rewind {
        /// Index of the step.
        to: usize,
        /// The reason, for the history.
        reason: Option<String>,
    },
    /// Claims the open review, or renews the claim of the same user.
    ClaimReview {
        /// The reviewer.
        by: UserId,
        /// The time at which the claim expires.
        until: Timestamp,
    },
    /// Renews the claim of the open review.
    RenewReview {
        /// The reviewer.
        by: UserId,
        /// The time at which the claim expires.
        until: Timestamp,
    },
    /// Releases the claim of the open review. Does nothing if the review is not claimed, or if the claim of a user has
    /// expired already.
    ReleaseReview {
        /// The cause of the release.
        cause: ReleaseCause,
    },
    /// Decides the open review. The reviewer must have claimed it.
    DecideReview {
        /// The reviewer.
        by: UserId,
        /// The decision.
        verdict: Verdict,
        /// The comment of the reviewer.
        comment: Option<String>,
        /// The content on which the decision rests.
        receipt: Receipt,
    },
}

/// The cause of the release of a claimed review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseCause {
    /// This user releases their own claim.
    Claimant(UserId),
    /// An admin releases the claim.
    Admin,
    /// The claim has expired.
    Clock,
    /// This user has lost access to the step.
    AccessLost(UserId),
}

/// The decision of a reviewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The job continues.
    Approve,
    /// The job fails.
    Reject,
    /// The step of this index, which is an earlier one, runs again.
    SendBack(usize),
}

/// The reason for which a command changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The job has a final status.
    Final(Status),
    /// The job is neither FAILED nor CANCELLED.
    NotStopped(Status),
    /// No step is queued and due.
    NothingQueued,
    /// The lease is lost: another worker has claimed the step, or the step has ended.
    StaleLease,
    /// The lease has not expired.
    LeaseHolds,
    /// The job has already started.
    Started,
    /// No review is open.
    NoReview,
    /// Another user has claimed the review.
    ClaimedBy(UserId),
    /// The user has not claimed the review, or the claim has expired.
    NotClaimed,
    /// The owner of the job may neither review nor run a four-eyes step.
    FourEyes,
    /// The step to send the job back to is not an earlier one.
    NotEarlier,
    /// The job has not reached the step.
    NotReached,
}

/// The effect of a command on a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The state after the events.
    pub state: State,
    /// The events, in order.
    pub events: Vec<Event>,
}

/// Returns the events that `command` leads to in this state at `now`, with the state that follows; or the reason for
/// which it changes nothing.
pub fn decide(state: &State, command: Command, now: Timestamp) -> Result<Decided, Rejection> {
    let mut next = Transition { state: state.clone(), events: Vec::new(), now };
    match command {
        Command::Start => {
            if state.status != Status::Queued || state.task.is_some() || state.review.is_some() {
                return Err(Rejection::Started);
            }
            next.start_step(0);
        }
        Command::Claim { owner, token, lease_seconds, by } => {
            next.claim_step(owner, token, lease_seconds, by)?;
        }
        Command::Complete { token, review } => next.complete_step(token, review)?,
        Command::Fail { token, code, message, retryable, jitter } => {
            let step = next.leased_step(token)?;
            next.fail_step(step, code, message, retryable, jitter);
        }
        Command::ReleaseStep { token } => {
            let step = next.leased_step(token)?;
            next.change_step(step, StepChange::Released);
            next.change_status(Status::Queued, None, None);
        }
        Command::Expire { jitter } => next.expire(jitter)?,
        Command::Cancel { reason } => next.cancel(reason)?,
        Command::Retry => next.retry()?,
        Command::Rewind { to, reason } => next.rewind(to, reason)?,
        Command::ClaimReview { by, until } => next.claim_review(by, until)?,
        Command::RenewReview { by, until } => {
            next.claimed_step(by)?;
            next.push(Event::ReviewRenewed { until });
        }
        Command::ReleaseReview { cause } => next.release_review(cause)?,
        Command::DecideReview { by, verdict, comment, receipt } => {
            next.decide_review(by, verdict, comment, receipt)?;
        }
    }
    Ok(Decided { state: next.state, events: next.events })
}

/// Returns whether the four-eyes rule keeps a user from reviewing or running a step.
pub(crate) fn is_barred_by_four_eyes(state: &State, step: usize, user: UserId) -> bool {
    state.steps[step].four_eyes && user == state.owner
}

/// Returns the index of the step that the lease with this token holds at `now`.
pub(crate) fn leased_step(state: &State, token: LeaseToken, now: Timestamp) -> Result<usize, Rejection> {
    match &state.task {
        Some(Task { step, lease: Some(lease), .. }) if lease.token == token && now < lease.until => Ok(*step),
        _ => Err(Rejection::StaleLease),
    }
}

/// Returns the index of the step whose review a user has claimed at `now`.
pub(crate) fn claimed_step(state: &State, by: UserId, now: Timestamp) -> Result<usize, Rejection> {
    let review = state.review.ok_or(Rejection::NoReview)?;
    match review.claim_at(now) {
        Some(claim) if claim.by == by => Ok(review.step),
        Some(claim) => Err(Rejection::ClaimedBy(claim.by)),
        None => Err(Rejection::NotClaimed),
    }
}

/// A decision in progress: the events so far, and the state that they lead to.
struct Transition {
    state: State,
    events: Vec<Event>,
    now: Timestamp,
}

impl Transition {
    fn push(&mut self, event: Event) {
        self.state.apply(&event, self.now);
        self.events.push(event);
    }

    fn change_step(&mut self, step: usize, change: StepChange) {
        let Step { status: from, attempt, .. } = self.state.steps[step];
        let attempt = change.attempt_after(attempt);
        self.push(Event::Step { step, from, attempt, change });
    }

    fn change_status(&mut self, to: Status, reason: Option<String>, failure: Option<Failure>) {
        let from = self.state.status;
        if from != to {
            self.push(Event::Status { from, to, reason, failure });
        }
    }

    /// Queues an AUTOMATIC step, or opens the review of a MANUAL one.
    fn start_step(&mut self, step: usize) {
        match self.state.steps[step].kind {
            StepKind::Automatic => {
                self.change_step(step, StepChange::Queued { run_at: self.now, error: None });
                self.change_status(Status::Queued, None, None);
            }
            StepKind::Manual => {
                let reason = match &self.state.steps[step].comment {
                    Some(comment) => format!("Sent back: {comment}"),
                    None => "A person does this step.".into(),
                };
                self.open_review(step, reason);
            }
        }
    }

    /// Opens a review. Reviews of TEST jobs approve themselves, and the next step starts at once.
    fn open_review(&mut self, step: usize, reason: String) {
        self.change_step(step, StepChange::Blocked);
        self.push(Event::ReviewOpened { step, reason });
        if self.state.mode == Mode::Test {
            self.close_review(step, ReviewOutcome::Approved);
            self.finish_step(step);
        } else {
            self.change_status(Status::Blocked, None, None);
        }
    }

    fn finish_step(&mut self, step: usize) {
        self.change_step(step, StepChange::Completed);
        if step + 1 < self.state.steps.len() {
            self.start_step(step + 1);
        } else {
            self.change_status(Status::Completed, None, None);
        }
    }

    fn claim_step(
        &mut self,
        owner: String,
        token: LeaseToken,
        lease_seconds: u32,
        by: Option<UserId>,
    ) -> Result<(), Rejection> {
        let step = match &self.state.task {
            Some(Task { step, run_at, lease: None, .. }) if *run_at <= self.now => *step,
            _ => return Err(Rejection::NothingQueued),
        };
        if by.is_some_and(|by| is_barred_by_four_eyes(&self.state, step, by)) {
            return Err(Rejection::FourEyes);
        }
        let deadline = self.now + TimeDelta::seconds(self.state.steps[step].timeout_seconds.into());
        let until = deadline.min(self.now + TimeDelta::seconds(lease_seconds.into()));
        let lease = Lease { fence: self.state.fence + 1, token, owner, until, deadline };
        self.change_step(step, StepChange::Running { lease });
        self.change_status(Status::Running, None, None);
        Ok(())
    }

    fn leased_step(&self, token: LeaseToken) -> Result<usize, Rejection> {
        leased_step(&self.state, token, self.now)
    }

    fn complete_step(&mut self, token: LeaseToken, review: Option<String>) -> Result<(), Rejection> {
        let step = self.leased_step(token)?;
        match review {
            Some(reason) => self.open_review(step, reason),
            None => self.finish_step(step),
        }
        Ok(())
    }

    fn fail_step(&mut self, step: usize, code: String, message: String, retryable: bool, jitter: f64) {
        let Step { attempt, max_attempts, name, .. } = &self.state.steps[step];
        let error = Failure { code, message, step: Some(name.clone()) };
        if retryable && attempt < max_attempts {
            let run_at = self.now + retry::backoff(*attempt, jitter);
            self.change_step(step, StepChange::Queued { run_at, error: Some(error) });
            self.change_status(Status::Queued, None, None);
        } else {
            self.change_step(step, StepChange::Failed { error: error.clone() });
            self.change_status(Status::Failed, None, Some(error));
        }
    }

    fn expire(&mut self, jitter: f64) -> Result<(), Rejection> {
        let Some(Task { step, lease: Some(lease), .. }) = &self.state.task else {
            return Err(Rejection::StaleLease);
        };
        if self.now < lease.until {
            return Err(Rejection::LeaseHolds);
        }
        let (step, timed_out) = (*step, lease.until >= lease.deadline);
        let (code, message) = if timed_out {
            (
                "STEP_TIMEOUT",
                format!("The step exceeded its timeout of {} s.", self.state.steps[step].timeout_seconds),
            )
        } else {
            ("LEASE_EXPIRED", "The worker of the step stopped reporting.".to_owned())
        };
        self.fail_step(step, code.into(), message, true, jitter);
        Ok(())
    }

    fn cancel(&mut self, reason: Option<String>) -> Result<(), Rejection> {
        if self.state.status.is_final() {
            return Err(Rejection::Final(self.state.status));
        }
        let current = self.state.current_step();
        if let Some(OpenReview { step, .. }) = self.state.review {
            self.close_review(step, ReviewOutcome::Cancelled);
        }
        if let Some(step) = current {
            self.change_step(step, StepChange::Cancelled);
        }
        self.change_status(Status::Cancelled, reason, None);
        Ok(())
    }

    fn retry(&mut self) -> Result<(), Rejection> {
        let stopped = |step: &Step| matches!(step.status, StepStatus::Failed | StepStatus::Cancelled);
        let (Status::Failed | Status::Cancelled, Some(step)) =
            (self.state.status, self.state.steps.iter().position(stopped))
        else {
            return Err(Rejection::NotStopped(self.state.status));
        };
        self.push(Event::Retried { step });
        self.change_step(step, StepChange::Reset { comment: None });
        self.start_step(step);
        Ok(())
    }

    fn rewind(&mut self, to: usize, reason: Option<String>) -> Result<(), Rejection> {
        if self.state.steps[to].status == StepStatus::Pending {
            return Err(Rejection::NotReached);
        }
        self.push(Event::Rewound { step: to, reason });
        if let Some(OpenReview { step, .. }) = self.state.review {
            self.close_review(step, ReviewOutcome::Cancelled);
        }
        self.go_back(to, None);
        Ok(())
    }

    /// Resets a step and all later ones, and starts the step again.
    fn go_back(&mut self, to: usize, comment: Option<&str>) {
        for step in (to..self.state.steps.len()).rev() {
            let comment = comment.filter(|_| step == to).map(str::to_owned);
            if self.state.steps[step].status != StepStatus::Pending {
                self.change_step(step, StepChange::Reset { comment });
            }
        }
        self.start_step(to);
    }

    /// Closes a review without the decision of a person.
    fn close_review(&mut self, step: usize, outcome: ReviewOutcome) {
        let receipt = Receipt::default();
        self.push(Event::ReviewClosed { step, outcome, by: None, comment: None, receipt, to_step: None });
    }

    fn claim_review(&mut self, by: UserId, until: Timestamp) -> Result<(), Rejection> {
        let OpenReview { step, claim } = self.state.review.ok_or(Rejection::NoReview)?;
        if is_barred_by_four_eyes(&self.state, step, by) {
            return Err(Rejection::FourEyes);
        }
        match claim {
            Some(held) if self.now < held.until && held.by == by => {
                self.push(Event::ReviewRenewed { until });
                return Ok(());
            }
            Some(held) if self.now < held.until => return Err(Rejection::ClaimedBy(held.by)),
            Some(expired) => self.release(step, expired, Release::Expired),
            None => {}
        }
        self.push(Event::ReviewClaimed { step, claim: ReviewClaim { by, until } });
        Ok(())
    }

    fn release(&mut self, step: usize, claim: ReviewClaim, why: Release) {
        self.push(Event::ReviewReleased { step, claimed_by: claim.by, why });
    }

    fn release_review(&mut self, cause: ReleaseCause) -> Result<(), Rejection> {
        let OpenReview { step, claim } = self.state.review.ok_or(Rejection::NoReview)?;
        let Some(claim) = claim else { return Ok(()) };
        let is_expired = claim.until <= self.now;
        let why = match cause {
            ReleaseCause::Clock if is_expired => Release::Expired,
            ReleaseCause::AccessLost(user) if user == claim.by => Release::AccessLost,
            ReleaseCause::Clock | ReleaseCause::AccessLost(_) => return Ok(()),
            // The review is not claimed any more.
            ReleaseCause::Claimant(_) | ReleaseCause::Admin if is_expired => return Ok(()),
            ReleaseCause::Claimant(by) if by == claim.by => Release::Released,
            ReleaseCause::Claimant(_) => return Err(Rejection::ClaimedBy(claim.by)),
            ReleaseCause::Admin => Release::ByAdmin,
        };
        self.release(step, claim, why);
        Ok(())
    }

    fn claimed_step(&self, by: UserId) -> Result<usize, Rejection> {
        claimed_step(&self.state, by, self.now)
    }

    fn decide_review(
        &mut self,
        by: UserId,
        verdict: Verdict,
        comment: Option<String>,
        receipt: Receipt,
    ) -> Result<(), Rejection> {
        let step = self.claimed_step(by)?;
        if is_barred_by_four_eyes(&self.state, step, by) {
            return Err(Rejection::FourEyes);
        }
        let (outcome, to_step) = match verdict {
            Verdict::Approve => (ReviewOutcome::Approved, None),
            Verdict::Reject => (ReviewOutcome::Rejected, None),
            Verdict::SendBack(to) if to < step => (ReviewOutcome::SentBack, Some(to)),
            Verdict::SendBack(_) => return Err(Rejection::NotEarlier),
        };
        self.push(Event::ReviewClosed {
            step,
            outcome,
            by: Some(by),
            comment: comment.clone(),
            receipt,
            to_step,
        });
        match to_step {
            Some(to) => self.go_back(to, comment.as_deref()),
            None if outcome == ReviewOutcome::Approved => self.finish_step(step),
            None => {
                let message = comment.unwrap_or_else(|| "A reviewer rejected the result of the step.".into());
                let name = Some(self.state.steps[step].name.clone());
                let error = Failure { code: "REVIEW_REJECTED".into(), message, step: name };
                self.change_step(step, StepChange::Failed { error: error.clone() });
                self.change_status(Status::Failed, None, Some(error));
            }
        }
        Ok(())
    }
}
