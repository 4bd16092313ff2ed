//! Counts how often backends report uses of tokens. In memory: per server. How many are on record counts the database.

use crate::config::EvidenceSettings;
use crate::domain::names::ClientId;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;

/// The most reports of one token in a minute: those that come at once are not yet counted by the database.
const PER_TOKEN_AND_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");

/// The counters.
#[derive(Debug)]
pub struct UseReports {
    clients: Option<DefaultKeyedRateLimiter<ClientId>>,
    tokens: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
}

impl UseReports {
    pub(super) fn new(settings: &EvidenceSettings) -> Self {
        Self {
            clients: NonZeroU32::new(settings.uses_per_minute)
                .map(|limit| RateLimiter::keyed(Quota::per_minute(limit))),
            tokens: RateLimiter::keyed(Quota::per_minute(PER_TOKEN_AND_MINUTE)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one report of a client; seconds to wait if there were too many.
    pub fn count(&self, client: &ClientId) -> Option<u64> {
        let not_until = self.clients.as_ref()?.check_key(client).err()?;
        Some(not_until.wait_time_from(self.clock.now()).as_secs().saturating_add(1))
    }

    /// Counts one report of a token that is known; seconds to wait if there were too many.
    pub fn count_token(&self, jti: &str) -> Option<u64> {
        let not_until = self.tokens.check_key(&jti.to_owned()).err()?;
        Some(not_until.wait_time_from(self.clock.now()).as_secs().saturating_add(1))
    }

    /// Forgets what has not been seen lately.
    pub(super) fn tidy(&self) {
        if let Some(clients) = &self.clients {
            clients.retain_recent();
        }
        self.tokens.retain_recent();
    }
}
