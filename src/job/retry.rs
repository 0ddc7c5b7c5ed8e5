//! When a step that failed is tried again.

use chrono::TimeDelta;

/// The wait before the second attempt.
const FIRST: f64 = 1.0;
/// No wait is longer.
const LONGEST: f64 = 300.0;

/// How long to wait after the given attempt (from 1) has failed: doubling from one second to five minutes, with half of
/// it drawn by `jitter` (0 to 1), so that what failed together is not tried again together.
pub fn backoff(attempt: u32, jitter: f64) -> TimeDelta {
    backoff_within(FIRST, LONGEST, attempt, jitter)
}

/// The same from one number of seconds to another.
pub fn backoff_within(first: f64, longest: f64, attempt: u32, jitter: f64) -> TimeDelta {
    let doublings = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX).min(30);
    let full = (first * 2f64.powi(doublings)).min(longest);
    let seconds = full * (0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a configuration fit")]
    TimeDelta::milliseconds((seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_with_jitter_up_to_five_minutes() {
        assert_eq!(backoff(1, 1.0), TimeDelta::seconds(1));
        assert_eq!(backoff(1, 0.0), TimeDelta::milliseconds(500));
        assert_eq!(backoff(4, 1.0), TimeDelta::seconds(8));
        assert_eq!(backoff(u32::MAX, 1.0), TimeDelta::seconds(300));
        assert_eq!(backoff(2, 7.0), TimeDelta::seconds(2), "jitter outside of 0 to 1 is clamped");
    }
}
