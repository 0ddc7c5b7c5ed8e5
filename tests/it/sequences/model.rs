//! The expected access to a job, and its expected state as `job::decide` computes it.

use std::collections::{BTreeMap, BTreeSet};

use docket::access::policy::{self, AccessDecision, Action, Standing};
use docket::clock::Timestamp;
use docket::id::{LeaseToken, UserId};
use docket::job::decide::{Command, Rejection, decide};
use docket::job::state::{State, StepStatus};

/// The outcome of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    NotFound,
    Forbidden,
    Conflict,
    Invalid,
}

/// A collaborator of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Collaborator {
    User(usize),
    Team,
}

/// The expected access and state; the owner is user 0.
#[derive(Debug)]
pub(super) struct Model {
    pub state: State,
    pub users: Vec<UserId>,
    pub collaborators: BTreeMap<Collaborator, Vec<String>>,
    pub team_members: BTreeSet<usize>,
    pub completed: BTreeSet<LeaseToken>,
}

impl Model {
    pub(super) fn standing(&self, user: usize) -> Option<Standing> {
        if let Some(standing) = policy::inherent_standing(user == 0, false) {
            return Some(standing);
        }
        let own = self.collaborators.get(&Collaborator::User(user));
        let team = self.collaborators.get(&Collaborator::Team).filter(|_| self.team_members.contains(&user));
        policy::standing(own.into_iter().chain(team).cloned())
    }

    /// Returns the outcome of access control for an action, before the state of the job is considered.
    pub(super) fn check_access(&self, user: usize, action: Action) -> Outcome {
        match self.standing(user) {
            None => Outcome::NotFound,
            Some(standing) if policy::permits(&standing, action) == AccessDecision::Denied => {
                Outcome::Forbidden
            }
            Some(_) => Outcome::Done,
        }
    }

    /// Returns the outcome of access control for the review of a step.
    pub(super) fn check_review_access(&self, user: usize, step: &str) -> Outcome {
        match self.standing(user) {
            Some(standing) if policy::works_on(&standing, step) => Outcome::Done,
            _ => Outcome::NotFound,
        }
    }

    /// Applies a command to the model, and returns its outcome.
    pub(super) fn apply(&mut self, command: Command, now: Timestamp) -> Outcome {
        match decide(&self.state, command, now) {
            Ok(decided) => {
                self.state = decided.state;
                Outcome::Done
            }
            Err(Rejection::FourEyes) => Outcome::Forbidden,
            Err(Rejection::NotEarlier | Rejection::NotReached) => Outcome::Invalid,
            Err(_) => Outcome::Conflict,
        }
    }

    /// Releases the claim of a reviewer who has lost access to the step.
    pub(super) fn release_lost_claim(&mut self, now: Timestamp) {
        use docket::job::decide::ReleaseCause;
        let Some(review) = self.state.review else { return };
        let Some(claim) = review.claim else { return };
        let user = self.users.iter().position(|id| *id == claim.by);
        let step = self.state.steps[review.step].name.clone();
        if user.is_none_or(|user| self.check_review_access(user, &step) != Outcome::Done) {
            self.apply(Command::ReleaseReview { cause: ReleaseCause::AccessLost(claim.by) }, now);
        }
    }
}

/// Returns the parts of a state that must be equal in model and rows. Times are left out, because they differ slightly.
pub(super) fn comparable_parts(state: &State) -> impl PartialEq + std::fmt::Debug + use<> {
    let steps: Vec<(String, StepStatus, u32, Option<String>)> = state
        .steps
        .iter()
        .map(|step| (step.name.clone(), step.status, step.attempt, step.comment.clone()))
        .collect();
    let task = state.task.as_ref().map(|task| (task.step, task.lease.as_ref().map(|lease| lease.fence)));
    let review = state.review.map(|review| (review.step, review.claim.map(|claim| claim.by)));
    let failure = state.failure.as_ref().map(|failure| failure.code.clone());
    (state.status, steps, task, review, state.fence, failure)
}
