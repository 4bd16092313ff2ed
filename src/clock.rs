//! The only source of time. `now` is read once per request and passed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A clock: the system's, or one that a test sets.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// Stands still until it is set; Unix milliseconds.
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at `seconds` (Unix time).
    pub fn set_to(seconds: i64) -> Self {
        Self::Set(Arc::new(AtomicI64::new(seconds.saturating_mul(1000))))
    }

    /// Moves a set clock forward. The system's clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Self::Set(millis) = self {
            millis.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
            Self::System => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Self::Set(millis) => millis.load(Ordering::SeqCst),
        }
    }

    /// Unix seconds.
    pub fn now(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }
}
