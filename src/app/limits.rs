//! Counts how often users are acted for, and how often an address fails to authenticate. In memory: per server.

use crate::config::LimitSettings;
use crate::domain::decision::{Granted, GrantedSubject};
use crate::domain::limits::LimitState;
use crate::domain::names::{ClientId, UserId};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;

/// The counters. A limit of 0 is no limit.
#[derive(Debug)]
pub struct Limits {
    users: Option<DefaultKeyedRateLimiter<UserId>>,
    grants: Option<DefaultKeyedRateLimiter<(ClientId, UserId)>>,
    failures: Option<DefaultKeyedRateLimiter<IpAddr>>,
    registrations: Option<DefaultKeyedRateLimiter<IpAddr>>,
    sessions: Option<DefaultKeyedRateLimiter<IpAddr>>,
    revocations: Option<DefaultKeyedRateLimiter<ClientId>>,
    clock: DefaultClock,
}

fn limiter<K: Hash + Eq + Clone>(per_minute: u32) -> Option<DefaultKeyedRateLimiter<K>> {
    NonZeroU32::new(per_minute).map(|limit| RateLimiter::keyed(Quota::per_minute(limit)))
}

impl Limits {
    pub(super) fn new(settings: &LimitSettings, registrations_per_minute: u32) -> Self {
        Self {
            users: limiter(settings.user_exchanges_per_minute),
            grants: limiter(settings.grant_exchanges_per_minute),
            failures: limiter(settings.failed_authentications_per_minute),
            registrations: limiter(registrations_per_minute),
            sessions: limiter(settings.new_sessions_per_minute),
            revocations: limiter(settings.revocations_per_minute),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one exchange that would be granted.
    pub fn count(&self, granted: &Granted) -> LimitState {
        let GrantedSubject::User { id, .. } = &granted.subject else {
            return LimitState::Within;
        };
        // The narrower limit first: what one client asks for too much is not counted against the user's other clients.
        if let Some(retry_after_seconds) = self.over(self.grants.as_ref(), &(granted.client.clone(), id.clone())) {
            return LimitState::GrantOver { retry_after_seconds };
        }
        match self.over(self.users.as_ref(), id) {
            Some(retry_after_seconds) => LimitState::UserOver { retry_after_seconds },
            None => LimitState::Within,
        }
    }

    /// Counts one failed authentication; seconds to wait if there were too many from this address.
    pub fn count_failure(&self, source: Option<IpAddr>) -> Option<u64> {
        self.over(self.failures.as_ref(), &network(source?))
    }

    /// Counts one registration, or one new client metadata document; seconds to wait if there were too many from this
    /// address.
    pub fn count_registration(&self, source: Option<IpAddr>) -> Option<u64> {
        self.over(self.registrations.as_ref(), &network(source?))
    }

    /// Counts one thing that a stranger leaves in the database: a browser session, or a request pushed without a secret.
    /// Seconds to wait if there were too many from this address.
    pub fn count_session(&self, source: Option<IpAddr>) -> Option<u64> {
        self.over(self.sessions.as_ref(), &network(source?))
    }

    /// Counts one token that a client gives back, which every server must take in; seconds to wait if there were too many.
    pub fn count_revocation(&self, client: &ClientId) -> Option<u64> {
        self.over(self.revocations.as_ref(), client)
    }

    /// Forgets who has not been seen lately.
    pub(super) fn tidy(&self) {
        if let Some(limiter) = &self.users {
            limiter.retain_recent();
        }
        if let Some(limiter) = &self.grants {
            limiter.retain_recent();
        }
        if let Some(limiter) = &self.revocations {
            limiter.retain_recent();
        }
        for limiter in [&self.failures, &self.registrations, &self.sessions].into_iter().flatten() {
            limiter.retain_recent();
        }
    }

    fn over<K: Hash + Eq + Clone>(&self, limiter: Option<&DefaultKeyedRateLimiter<K>>, key: &K) -> Option<u64> {
        let not_until = limiter?.check_key(key).err()?;
        Some(not_until.wait_time_from(self.clock.now()).as_secs().saturating_add(1))
    }
}

/// Whoever has one address of an IPv6 /64 has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(prefix.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_are_counted_together() {
        let settings = LimitSettings {
            body_bytes: 1,
            request_seconds: 1,
            requests_in_flight: 1,
            failed_authentications_per_minute: 2,
            new_sessions_per_minute: 1,
            user_exchanges_per_minute: 0,
            grant_exchanges_per_minute: 0,
            revocations_per_minute: 0,
        };
        let limits = Limits::new(&settings, 1);
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(limits.count_failure(at("2001:db8::1")), None);
        assert_eq!(limits.count_failure(at("2001:db8::2")), None);
        assert!(limits.count_failure(at("2001:db8::3")).is_some());
        assert_eq!(limits.count_failure(at("2001:db8:0:1::3")), None);
        assert_eq!(limits.count_failure(at("192.0.2.1")), None);
        assert_eq!(limits.count_session(at("2001:db8::4")), None);
        assert!(limits.count_session(at("2001:db8::5")).is_some());
        assert_eq!(limits.count_registration(at("2001:db8::4")), None);
        assert!(limits.count_registration(at("2001:db8::5")).is_some());
    }
}
