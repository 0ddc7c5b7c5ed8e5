//! What should be: who is let in, and the job's state as `job::decide` makes it.

use std::collections::{BTreeMap, BTreeSet};

use docket::access::policy::{self, Action, Standing, Verdict as Allowed};
use docket::clock::Timestamp;
use docket::id::{LeaseToken, UserId};
use docket::job::decide::{Command, Rejection, decide};
use docket::job::state::{State, StepStatus};

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    NotFound,
    Forbidden,
    Conflict,
    Invalid,
}

/// Whom a job was shared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum With {
    Person(usize),
    Team,
}

/// The owner is person 0.
#[derive(Debug)]
pub(super) struct Model {
    pub state: State,
    pub people: Vec<UserId>,
    pub shares: BTreeMap<With, Vec<String>>,
    pub members: BTreeSet<usize>,
    pub taken: BTreeSet<LeaseToken>,
}

impl Model {
    pub(super) fn standing(&self, person: usize) -> Option<Standing> {
        if let Some(standing) = policy::by_itself(person == 0, false) {
            return Some(standing);
        }
        let own = self.shares.get(&With::Person(person));
        let team = self.shares.get(&With::Team).filter(|_| self.members.contains(&person));
        policy::standing(own.into_iter().chain(team).cloned())
    }

    /// What somebody gets who wants to do this to the job, before it is decided whether the job allows it.
    pub(super) fn may(&self, person: usize, action: Action) -> End {
        match self.standing(person) {
            None => End::NotFound,
            Some(standing) if policy::permits(&standing, action) == Allowed::No => End::Forbidden,
            Some(_) => End::Done,
        }
    }

    /// What somebody gets who wants to do something with the review of a step.
    pub(super) fn may_review(&self, person: usize, step: &str) -> End {
        match self.standing(person) {
            Some(standing) if policy::works_on(&standing, step) => End::Done,
            _ => End::NotFound,
        }
    }

    /// Does a command to the model; how it ends.
    pub(super) fn perform(&mut self, command: Command, now: Timestamp) -> End {
        match decide(&self.state, command, now) {
            Ok(events) => {
                for event in events {
                    self.state.apply(&event, now);
                }
                End::Done
            }
            Err(Rejection::FourEyes) => End::Forbidden,
            Err(Rejection::NotEarlier | Rejection::NotReached) => End::Invalid,
            Err(_) => End::Conflict,
        }
    }

    /// Whoever has the review and does not work on its step any more loses it.
    pub(super) fn free_lost_claim(&mut self, now: Timestamp) {
        use docket::job::decide::ReleaseWord;
        let Some(review) = self.state.review else { return };
        let Some(claim) = review.claim else { return };
        let person = self.people.iter().position(|id| *id == claim.by);
        let step = self.state.steps[review.step].name.clone();
        if person.is_none_or(|person| self.may_review(person, &step) != End::Done) {
            self.perform(Command::ReleaseReview { word: ReleaseWord::AccessLost(claim.by) }, now);
        }
    }
}

/// What of a state has to be the same in model and rows: times differ by the moments between them.
pub(super) fn essence(state: &State) -> impl PartialEq + std::fmt::Debug + use<> {
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
