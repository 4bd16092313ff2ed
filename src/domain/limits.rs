//! Limits: how often a user may be acted for. Counting is done elsewhere; here is what the count says.

/// Whether a request is within the limits at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitState {
    /// It is.
    Within,
    /// Too many for this user, by all clients together.
    UserOver {
        /// Seconds until the next one is allowed.
        retry_after_seconds: u64,
    },
    /// Too many by this client for this user.
    GrantOver {
        /// Seconds until the next one is allowed.
        retry_after_seconds: u64,
    },
}
