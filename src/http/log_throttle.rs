//! Log lines that may be due many times a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest interval between two log lines of a [`LogThrottle`].
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Limits a log line to one a minute.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<Option<Instant>>);

impl LogThrottle {
    pub(super) fn log(&self, log: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            *last = Some(Instant::now());
            log();
        }
    }
}
