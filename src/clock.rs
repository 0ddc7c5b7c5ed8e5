//! The only `now()`.
//!
//! All code asks a [`Clock`] for the time, so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Datelike, SubsecRound, TimeDelta, Utc};

/// An instant in UTC with microsecond precision, which both databases store.
pub type Timestamp = DateTime<Utc>;

/// A clock that tests can move forward. Clones share their offset.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_micros: Arc<AtomicI64>,
}

/// Returns whether a time has a year of four digits, as in RFC 3339; both databases can store such times.
pub(crate) fn has_four_digit_year(at: Timestamp) -> bool {
    (1..=9_999).contains(&at.year())
}

impl Clock {
    /// Returns the current time, truncated to microseconds so that it equals the value read back from a database.
    #[expect(clippy::disallowed_methods, reason = "the only use of the system clock")]
    pub fn now(&self) -> Timestamp {
        (Utc::now() + self.offset()).trunc_subsecs(6)
    }

    /// Returns how far tests have moved the clock.
    pub(crate) fn offset(&self) -> TimeDelta {
        TimeDelta::microseconds(self.offset_micros.load(Ordering::Relaxed))
    }

    /// Moves the clock and its clones forward.
    pub fn advance(&self, by: TimeDelta) {
        self.offset_micros.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }
}
