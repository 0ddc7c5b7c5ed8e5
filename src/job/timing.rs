//! What a job's time went into: machines, people, waiting for either.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Who has a job that is not final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A worker.
    Machine,
    /// A person who has claimed its review.
    Person,
    /// Nobody yet.
    Waiting,
}

/// Time spent so far, in microseconds, up to the last change of phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    machine: i64,
    person: i64,
    waiting: i64,
    since: Timestamp,
}

/// Seconds that a job has spent up to some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent {
    /// With workers.
    pub machine: f64,
    /// With people who had claimed its reviews.
    pub person: f64,
    /// Waiting for either.
    pub waiting: f64,
}

impl Timing {
    /// Of a job whose time begins now.
    pub fn since(now: Timestamp) -> Self {
        Self { machine: 0, person: 0, waiting: 0, since: now }
    }

    /// The phase that lasted until `now` has ended. What happens after a final status, until the job is opened again,
    /// counts for nobody.
    pub fn spend(&mut self, phase: Option<Phase>, now: Timestamp) {
        let micros = (now - self.since).max(TimeDelta::zero()).num_microseconds().unwrap_or(0);
        self.since = now;
        match phase {
            Some(Phase::Machine) => self.machine += micros,
            Some(Phase::Person) => self.person += micros,
            Some(Phase::Waiting) => self.waiting += micros,
            None => {}
        }
    }

    /// The sums, with what the phase that is not over has taken until `now`.
    pub fn spent(mut self, phase: Option<Phase>, now: Timestamp) -> Spent {
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
    fn each_phase_gets_its_time_and_the_time_after_the_end_counts_for_nobody() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let mut timing = Timing::since(at(0));
        timing.spend(Some(Phase::Waiting), at(2));
        timing.spend(Some(Phase::Machine), at(5));
        timing.spend(None, at(100));
        let spent = timing.spent(Some(Phase::Person), at(107));
        assert_eq!((spent.waiting, spent.machine, spent.person), (2.0, 3.0, 7.0));
        assert_eq!(
            timing.spent(Some(Phase::Person), at(50)).person,
            0.0,
            "clocks that go back take nothing away"
        );
    }
}
