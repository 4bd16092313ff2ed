//! When something was fetched, and when it may be tried again.

/// After a failure the next attempt waits 1, 2, 4 ... seconds, at most this long.
pub(super) const LONGEST_BACK_OFF_SECONDS: u64 = 60;

/// The attempts to get one document.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    last_at: Option<i64>,
    failures: u32,
    /// Why the last attempt failed; none if it did not.
    pub(super) problem: Option<String>,
    /// The `ETag` of what is at hand.
    pub(super) etag: Option<String>,
}

impl Attempts {
    /// True if the last attempt lies so far back, or a clock that was set back says nothing of it.
    pub(super) fn waited(&self, seconds: u64, now: i64) -> bool {
        self.last_at.is_none_or(|at| now.abs_diff(at) >= seconds)
    }

    /// True unless it failed just now.
    pub(super) fn may_retry(&self, now: i64) -> bool {
        self.may_retry_within(LONGEST_BACK_OFF_SECONDS, now)
    }

    /// True unless it failed just now; `longest`: never wait longer, in seconds.
    pub(super) fn may_retry_within(&self, longest: u64, now: i64) -> bool {
        let Some(exponent) = self.failures.checked_sub(1) else { return true };
        self.waited(1_u64.checked_shl(exponent.min(6)).unwrap_or(u64::MAX).min(longest), now)
    }

    /// True if the last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn begin(&mut self, now: i64) {
        self.last_at = Some(now);
    }

    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.problem = None;
    }

    pub(super) fn fail(&mut self, problem: String) {
        self.failures = self.failures.saturating_add(1);
        self.problem = Some(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_twice_as_long_as_the_one_before_up_to_a_minute() {
        let mut attempts = Attempts::default();
        let mut now = 1000;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert!(attempts.may_retry(now));
            attempts.begin(now);
            attempts.fail("down".to_owned());
            assert!(!attempts.may_retry(now + wait - 1), "{wait}");
            now += wait;
        }
        assert!(!attempts.may_retry_within(15, now - 46) && attempts.may_retry_within(15, now - 45));
        attempts.succeed();
        assert!(attempts.may_retry(now));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_attempts_for_long() {
        let mut attempts = Attempts::default();
        attempts.begin(10_000);
        assert!(!attempts.waited(30, 10_029));
        assert!(attempts.waited(30, 5_000));
    }
}
