//! The only `now()`.
//!
//! Everything that asks for the time asks a [`Clock`], so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Datelike, SubsecRound, TimeDelta, Utc};

/// An instant in UTC with the microseconds that both databases keep.
pub type Timestamp = DateTime<Utc>;

/// A clock that tests can move forward. Clones share their offset.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_micros: Arc<AtomicI64>,
}

/// Whether a time has a year of four digits, as RFC 3339 has them and both databases can keep.
pub fn is_usual(at: Timestamp) -> bool {
    (1..=9_999).contains(&at.year())
}

impl Clock {
    /// The time now, cut to microseconds: what is stored compares equal to what is read back.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system's clock")]
    pub fn now(&self) -> Timestamp {
        (Utc::now() + self.offset()).trunc_subsecs(6)
    }

    /// How far tests have moved it.
    pub fn offset(&self) -> TimeDelta {
        TimeDelta::microseconds(self.offset_micros.load(Ordering::Relaxed))
    }

    /// Moves this clock and its clones forward.
    pub fn advance(&self, by: TimeDelta) {
        self.offset_micros.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }
}
