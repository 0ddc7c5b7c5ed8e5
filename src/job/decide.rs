//! What may happen to a job: [`decide`].

use chrono::TimeDelta;

use super::retry;
use super::state::{
    Event, Failure, Lease, Mode, OpenReview, Receipt, Release, ReviewClaim, ReviewOutcome, State, Status,
    Step, StepChange, StepKind, StepStatus, Task,
};
use crate::clock::Timestamp;
use crate::id::{LeaseToken, UserId};

/// What somebody wants to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The first step of a job that was just made gets its turn.
    Start,
    /// A worker takes the queued step.
    Claim {
        /// The worker, for people.
        owner: String,
        /// Its proof.
        token: LeaseToken,
        /// Seconds that the claim holds without being renewed.
        lease_seconds: u32,
        /// In whose name; nobody's where it is the server's own engine.
        by: Option<UserId>,
    },
    /// The worker hands in what it made.
    Complete {
        /// Its proof.
        token: LeaseToken,
        /// Why a person should look at it, where one should.
        review: Option<String>,
    },
    /// The worker could not.
    Fail {
        /// Its proof.
        token: LeaseToken,
        /// For programs.
        code: String,
        /// For people.
        message: String,
        /// Whether trying again can help.
        retryable: bool,
        /// 0 to 1: spreads retries that failed together.
        jitter: f64,
    },
    /// The worker has to go, and nothing is wrong with the step.
    ReleaseStep {
        /// Its proof.
        token: LeaseToken,
    },
    /// A lease was not renewed, or the attempt's time is out.
    Expire {
        /// 0 to 1: spreads retries that failed together.
        jitter: f64,
    },
    /// Somebody ends the job.
    Cancel {
        /// Why, for the history.
        reason: Option<String>,
    },
    /// Somebody opens an ended job again, at the step that stopped it.
    Retry,
    /// Somebody takes the job back to a step that has been reached before, whatever its status.
    Rewind {
        /// Index of the step.
        to: usize,
        /// Why, for the history.
        reason: Option<String>,
    },
    /// Somebody takes the open review, or keeps it longer.
    ClaimReview {
        /// Who.
        by: UserId,
        /// Until when.
        until: Timestamp,
    },
    /// Whoever has the open review is still at it.
    RenewReview {
        /// Who.
        by: UserId,
        /// Until when.
        until: Timestamp,
    },
    /// The open review is free again; nothing happens where nobody has it.
    ReleaseReview {
        /// On whose word.
        word: ReleaseCause,
    },
    /// Whoever has the open review decides it.
    DecideReview {
        /// Who.
        by: UserId,
        /// What.
        verdict: Verdict,
        /// What they have to say.
        comment: Option<String>,
        /// What they had seen.
        receipt: Receipt,
    },
}

/// On whose word a review is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseCause {
    /// Somebody who wants to let go of what is theirs.
    Claimant(UserId),
    /// An admin.
    Admin,
    /// The time of the claim is over.
    Clock,
    /// This person has lost access to the step.
    AccessLost(UserId),
}

/// What a reviewer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The job goes on.
    Approve,
    /// The job fails.
    Reject,
    /// The step of this index, an earlier one, runs again.
    SendBack(usize),
}

/// Why a command changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The job has ended.
    Final(Status),
    /// The job has not ended by failure or cancellation.
    NotStopped(Status),
    /// There is nothing queued to take.
    NothingQueued,
    /// The claim was lost: somebody else has the step, or it is over.
    StaleLease,
    /// The lease still holds.
    LeaseHolds,
    /// It was started before.
    Started,
    /// No review is open.
    NoReview,
    /// Somebody else has the review.
    ClaimedBy(UserId),
    /// Whoever decides a review has claimed it, and still holds the claim.
    NotClaimed,
    /// The job's owner may not decide this step's reviews.
    FourEyes,
    /// A review sends back to an earlier step only.
    NotEarlier,
    /// The job has not been there yet.
    NotReached,
}

/// What a command does to a job.
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
    let mut next = Decision { state: state.clone(), events: Vec::new(), now };
    match command {
        Command::Start => {
            if state.status != Status::Queued || state.task.is_some() || state.review.is_some() {
                return Err(Rejection::Started);
            }
            next.give_turn(0);
        }
        Command::Claim { owner, token, lease_seconds, by } => next.claim(owner, token, lease_seconds, by)?,
        Command::Complete { token, review } => next.complete(token, review)?,
        Command::Fail { token, code, message, retryable, jitter } => {
            let step = next.leased_step(token)?;
            next.fail(step, code, message, retryable, jitter);
        }
        Command::ReleaseStep { token } => {
            let step = next.leased_step(token)?;
            next.step(step, StepChange::Released);
            next.status(Status::Queued, None, None);
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
        Command::ReleaseReview { cause } => next.release_review(word)?,
        Command::DecideReview { by, verdict, comment, receipt } => {
            next.decide_review(by, verdict, comment, receipt)?;
        }
    }
    Ok(Decided { state: next.state, events: next.events })
}

/// Whether a step needs four eyes, two of which cannot be this person's.
pub fn is_barred_by_four_eyes(state: &State, step: usize, who: UserId) -> bool {
    state.steps[step].four_eyes && who == state.owner
}

/// The step that a lease holds at `now`.
pub fn leased_step(state: &State, token: LeaseToken, now: Timestamp) -> Result<usize, Rejection> {
    match &state.task {
        Some(Task { step, lease: Some(lease), .. }) if lease.token == token && now < lease.until => Ok(*step),
        _ => Err(Rejection::StaleLease),
    }
}

/// The step whose review somebody has at `now`.
pub fn claimed_step(state: &State, by: UserId, now: Timestamp) -> Result<usize, Rejection> {
    let OpenReview { step, claim } = state.review.ok_or(Rejection::NoReview)?;
    match claim {
        Some(claim) if now < claim.until && claim.by == by => Ok(step),
        Some(claim) if now < claim.until => Err(Rejection::ClaimedBy(claim.by)),
        _ => Err(Rejection::NotClaimed),
    }
}

/// A decision being made: events so far, and the state that they lead to.
struct Decision {
    state: State,
    events: Vec<Event>,
    now: Timestamp,
}

impl Decision {
    fn push(&mut self, event: Event) {
        self.state.apply(&event, self.now);
        self.events.push(event);
    }

    fn step(&mut self, step: usize, change: StepChange) {
        let Step { status: from, attempt, .. } = self.state.steps[step];
        let attempt = change.attempt_after(attempt);
        self.push(Event::Step { step, from, attempt, change });
    }

    fn status(&mut self, to: Status, reason: Option<String>, failure: Option<Failure>) {
        let from = self.state.status;
        if from != to {
            self.push(Event::Status { from, to, reason, failure });
        }
    }

    /// It is a step's turn: machines find it in the queue, people among the reviews.
    fn give_turn(&mut self, step: usize) {
        match self.state.steps[step].kind {
            StepKind::Automatic => {
                self.step(step, StepChange::Queued { run_at: self.now, error: None });
                self.status(Status::Queued, None, None);
            }
            StepKind::Manual => {
                let reason = match &self.state.steps[step].comment {
                    Some(comment) => format!("Sent back: {comment}"),
                    None => "This step is done by a person.".into(),
                };
                self.ask(step, reason);
            }
        }
    }

    /// A person is asked; in test mode the answer is yes, and the next step has its turn at once.
    fn ask(&mut self, step: usize, reason: String) {
        self.step(step, StepChange::Blocked);
        self.push(Event::ReviewOpened { step, reason });
        if self.state.mode == Mode::Test {
            self.close_review(step, ReviewOutcome::Approved);
            self.finish_step(step);
        } else {
            self.status(Status::Blocked, None, None);
        }
    }

    fn finish_step(&mut self, step: usize) {
        self.step(step, StepChange::Completed);
        if step + 1 < self.state.steps.len() {
            self.give_turn(step + 1);
        } else {
            self.status(Status::Completed, None, None);
        }
    }

    fn claim(
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
        self.step(step, StepChange::Running { lease });
        self.status(Status::Running, None, None);
        Ok(())
    }

    fn leased_step(&self, token: LeaseToken) -> Result<usize, Rejection> {
        leased_step(&self.state, token, self.now)
    }

    fn complete(&mut self, token: LeaseToken, review: Option<String>) -> Result<(), Rejection> {
        let step = self.leased_step(token)?;
        match review {
            Some(reason) => self.ask(step, reason),
            None => self.finish_step(step),
        }
        Ok(())
    }

    fn fail(&mut self, step: usize, code: String, message: String, retryable: bool, jitter: f64) {
        let Step { attempt, max_attempts, name, .. } = &self.state.steps[step];
        let error = Failure { code, message, step: Some(name.clone()) };
        if retryable && attempt < max_attempts {
            let run_at = self.now + retry::backoff(*attempt, jitter);
            self.step(step, StepChange::Queued { run_at, error: Some(error) });
            self.status(Status::Queued, None, None);
        } else {
            self.step(step, StepChange::Failed { error: error.clone() });
            self.status(Status::Failed, None, Some(error));
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
                format!("The step took longer than its {} s.", self.state.steps[step].timeout_seconds),
            )
        } else {
            ("LEASE_EXPIRED", "The worker that had the step stopped reporting.".to_owned())
        };
        self.fail(step, code.into(), message, true, jitter);
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
            self.step(step, StepChange::Cancelled);
        }
        self.status(Status::Cancelled, reason, None);
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
        self.step(step, StepChange::Reset { comment: None });
        self.give_turn(step);
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

    /// Everything from a step on is undone, and it has its turn again.
    fn go_back(&mut self, to: usize, comment: Option<&str>) {
        for step in (to..self.state.steps.len()).rev() {
            let for_it = comment.filter(|_| step == to).map(str::to_owned);
            if self.state.steps[step].status != StepStatus::Pending {
                self.step(step, StepChange::Reset { comment: for_it });
            }
        }
        self.give_turn(to);
    }

    /// A review that ends without a person's decision.
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
            Some(late) => self.release(step, late, Release::Expired),
            None => {}
        }
        self.push(Event::ReviewClaimed { step, claim: ReviewClaim { by, until } });
        Ok(())
    }

    fn release(&mut self, step: usize, claim: ReviewClaim, why: Release) {
        self.push(Event::ReviewReleased { step, claimed_by: claim.by, why });
    }

    fn release_review(&mut self, word: ReleaseCause) -> Result<(), Rejection> {
        let OpenReview { step, claim } = self.state.review.ok_or(Rejection::NoReview)?;
        let Some(claim) = claim else { return Ok(()) };
        let why = match word {
            ReleaseCause::Claimant(by) if by == claim.by => Release::Released,
            ReleaseCause::Claimant(_) => return Err(Rejection::ClaimedBy(claim.by)),
            ReleaseCause::Admin => Release::ByAdmin,
            ReleaseCause::Clock if claim.until <= self.now => Release::Expired,
            ReleaseCause::AccessLost(who) if who == claim.by => Release::AccessLost,
            ReleaseCause::Clock | ReleaseCause::AccessLost(_) => return Ok(()),
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
        let said = comment.clone();
        self.push(Event::ReviewClosed { step, outcome, by: Some(by), comment: said, receipt, to_step });
        match to_step {
            Some(to) => self.go_back(to, comment.as_deref()),
            None if outcome == ReviewOutcome::Approved => self.finish_step(step),
            None => {
                let message = comment.unwrap_or_else(|| "A reviewer rejected it.".into());
                let name = Some(self.state.steps[step].name.clone());
                let error = Failure { code: "REVIEW_REJECTED".into(), message, step: name };
                self.step(step, StepChange::Failed { error: error.clone() });
                self.status(Status::Failed, None, Some(error));
            }
        }
        Ok(())
    }
}
