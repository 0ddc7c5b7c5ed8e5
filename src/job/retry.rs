//! The backoff before a retry.

use chrono::TimeDelta;

/// Wait before the second attempt, in seconds.
const MIN_BACKOFF_SECONDS: f64 = 1.0;
/// Maximum wait before an attempt, in seconds.
const MAX_BACKOFF_SECONDS: f64 = 300.0;

/// Returns the wait after the given attempt (from 1) has failed. It doubles from one second to five minutes. `jitter`
/// (0 to 1) chooses its second half, so that steps that failed together do not retry together.
pub fn backoff(attempt: u32, jitter: f64) -> TimeDelta {
    backoff_within(MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, attempt, jitter)
}

/// [`backoff`] with another minimum and maximum, in seconds.
pub(crate) fn backoff_within(min: f64, max: f64, attempt: u32, jitter: f64) -> TimeDelta {
    let doublings = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX).min(30);
    let full = (min * 2f64.powi(doublings)).min(max);
    let seconds = full * (0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a configuration fit")]
    TimeDelta::milliseconds((seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_with_jitter_up_to_five_minutes() {
        assert_eq!(backoff(1, 1.0), TimeDelta::seconds(1));
        assert_eq!(backoff(1, 0.0), TimeDelta::milliseconds(500));
        assert_eq!(backoff(4, 1.0), TimeDelta::seconds(8));
        assert_eq!(backoff(u32::MAX, 1.0), TimeDelta::seconds(300));
        assert_eq!(backoff(2, 7.0), TimeDelta::seconds(2), "jitter outside of 0 to 1 is clamped");
    }
}
