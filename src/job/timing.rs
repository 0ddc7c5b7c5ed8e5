//! The time that a job spends with workers, with people, and waiting for either.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The phase of a job that has no final status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A worker runs a step.
    Machine,
    /// A person has claimed the review.
    Person,
    /// The job waits for a worker or a person.
    Waiting,
}

/// The time that a job has spent in each phase, in microseconds, up to the last change of phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    machine: i64,
    person: i64,
    waiting: i64,
    since: Timestamp,
}

/// The time that a job has spent, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spent {
    /// With workers.
    pub machine: f64,
    /// With people who had claimed its reviews.
    pub person: f64,
    /// Waiting for either.
    pub waiting: f64,
}

impl Timing {
    /// Returns the timing of a job that is created at `now`.
    pub fn since(now: Timestamp) -> Self {
        Self { machine: 0, person: 0, waiting: 0, since: now }
    }

    /// Counts the time until `now` for the phase that ends. The time between a final status and a retry or rewind
    /// (`None`) does not count.
    pub(crate) fn spend(&mut self, phase: Option<Phase>, now: Timestamp) {
        let micros = (now - self.since).max(TimeDelta::zero()).num_microseconds().unwrap_or(0);
        self.since = now;
        match phase {
            Some(Phase::Machine) => self.machine += micros,
            Some(Phase::Person) => self.person += micros,
            Some(Phase::Waiting) => self.waiting += micros,
            None => {}
        }
    }

    /// Returns the time spent, including the current phase until `now`.
    pub(crate) fn spent(mut self, phase: Option<Phase>, now: Timestamp) -> Spent {
        self.spend(phase, now);
        #[expect(clippy::cast_precision_loss, reason = "microseconds of 285 years are exact")]
        let seconds = |micros: i64| micros as f64 / 1e6;
        Spent { machine: seconds(self.machine), person: seconds(self.person), waiting: seconds(self.waiting) }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn time_counts_for_its_phase_and_not_after_the_end() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let mut timing = Timing::since(at(0));
        timing.spend(Some(Phase::Waiting), at(2));
        timing.spend(Some(Phase::Machine), at(5));
        timing.spend(None, at(100));
        let spent = timing.spent(Some(Phase::Person), at(107));
        assert_eq!((spent.waiting, spent.machine, spent.person), (2.0, 3.0, 7.0));
        let spent = timing.spent(Some(Phase::Person), at(50));
        assert_eq!(spent.person, 0.0, "a clock that goes back counts as no time");
    }
}
