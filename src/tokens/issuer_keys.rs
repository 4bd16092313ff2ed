//! Keys of others: of identity providers and of clients with `private_key_jwt`. Kept as ready verifiers by `kid`.
//!
//! A request whose key is at hand takes one read lock and waits for nothing. Only a missing key, or a copy long past
//! its time, makes a request wait for a fetch, and then all of them wait for the same one.

pub use super::jwk::VerificationKey;
use super::jwk::{self, Found, KeySet};
use crate::config::is_loopback;
use crate::domain::client::Client;
use crate::domain::identity_provider::{IdentityProvider, VerificationAlgorithm};
use crate::domain::names::{ClientId, IdpId};
use crate::upstream::discovery;
use crate::upstream::fetch::{Document, FetchError, Fetcher};
use arc_swap::ArcSwapOption;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use url::Url;

/// Clients whose keys are remembered.
const CLIENTS: u64 = 10_000;

/// An unknown `kid` leads to a fetch only so often (rule CA-06), so that nobody can make us flood a provider.
const SECONDS_BETWEEN_REFRESHES: i64 = 30;

/// How long a copy counts as fresh if the answer does not say, and the bounds of what it may say.
const DEFAULT_FRESH_SECONDS: i64 = 3600;
const FRESH_SECONDS: (i64, i64) = (60, 24 * 3600);

/// A copy this much past its time still serves while it is refreshed in the background; an older one is refreshed first.
const STALE_WHILE_REFRESHING_SECONDS: i64 = 300;

/// A copy this much past its time serves while the provider cannot be reached; an older one never does: a key that was
/// withdrawn must stop some day (STANDARDS 8.4).
const STALE_WHEN_UNREACHABLE_SECONDS: i64 = 24 * 3600;

/// After a failure the next attempt waits 1, 2, 4 ... seconds, at most this long.
const LONGEST_BACK_OFF_SECONDS: i64 = 60;

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No usable key of this `kid`.
    #[error("{0}")]
    Unknown(String),
    /// There is a key of this `kid`, but it is for another algorithm.
    #[error("{0}")]
    OtherAlgorithm(String),
    /// Nothing can be fetched, and no earlier copy is at hand.
    #[error("{0}")]
    Unavailable(String),
    /// They are where nothing is fetched from (A45), and no earlier copy is at hand.
    #[error("{0}")]
    NotAllowed(String),
}

/// How the keys of one provider stand, for `/readyz`, metrics and `idp show`.
#[derive(Debug, Clone)]
pub struct KeyHealth {
    /// The issuer.
    pub issuer: String,
    /// When its keys were last fetched, Unix seconds; none if never.
    pub fetched_at: Option<i64>,
    /// Why the last attempt failed; none if it did not.
    pub last_error: Option<String>,
    /// Fetches that succeeded, and that failed.
    pub fetches: (u64, u64),
    /// How far its clock is ahead of ours, in seconds, by the `Date` of its last answer.
    pub clock_skew_seconds: Option<i64>,
}

/// The cache of every foreign key: one entry per provider, and per client up to a bound.
#[derive(Debug)]
pub struct IssuerKeys {
    fetcher: Fetcher,
    providers: RwLock<HashMap<IdpId, Arc<Source>>>,
    /// Clients may register themselves, so these are bounded; what is asked for most stays.
    clients: moka::sync::Cache<ClientId, Arc<Source>>,
    allow_loopback_clients: bool,
}

/// Where keys are. When a registration changes, its location is another one and the source starts anew.
#[derive(Debug, Clone, PartialEq)]
enum Location {
    Discovery { issuer: String, allow_private: bool },
    Address { url: Url, allow_private: bool },
    Inline(serde_json::Value),
    Nowhere,
}

/// One party's keys.
#[derive(Debug)]
struct Source {
    /// The issuer, or the client id.
    owner: String,
    location: Location,
    keys: ArcSwapOption<KeySet>,
    state: Mutex<State>,
    /// Held by the one fetch that is under way.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// How many fetches were made.
    attempts: u64,
    failed_attempts: u64,
    clock_skew_seconds: Option<i64>,
    attempted_at: Option<i64>,
    fetched_at: Option<i64>,
    fresh_until: i64,
    failures: u32,
    last_error: Option<String>,
    /// Another attempt would fail as the last one did.
    is_hopeless: bool,
    /// A background refresh is under way.
    is_refreshing: bool,
}

impl State {
    fn may_retry(&self, now: i64) -> bool {
        if self.failures == 0 {
            return true;
        }
        let exponent = self.failures.saturating_sub(1).min(6);
        let wait = (1_i64 << exponent).min(LONGEST_BACK_OFF_SECONDS);
        self.attempted_at.is_none_or(|at| now >= at.saturating_add(wait))
    }

    fn may_look_for_new_kid(&self, now: i64) -> bool {
        self.may_retry(now) && self.attempted_at.is_none_or(|at| now >= at.saturating_add(SECONDS_BETWEEN_REFRESHES))
    }
}

impl IssuerKeys {
    /// An empty cache.
    pub fn new(fetcher: Fetcher) -> Self {
        let clients = moka::sync::Cache::new(CLIENTS);
        Self { fetcher, providers: RwLock::default(), clients, allow_loopback_clients: false }
    }

    /// Clients may have their keys on this machine: for a server that is on it itself.
    #[must_use]
    pub fn with_loopback_clients(self, allow: bool) -> Self {
        Self { allow_loopback_clients: allow, ..self }
    }

    /// The provider's key of this `kid` for this algorithm. Without `kid`: its only key for the algorithm.
    pub async fn of_provider(
        &self,
        idp: &IdentityProvider,
        kid: Option<&str>,
        algorithm: VerificationAlgorithm,
        now: i64,
    ) -> Result<Arc<VerificationKey>, KeyError> {
        let allow_private = idp.allow_private_addresses;
        let location = match &idp.jwks_uri {
            Some(url) => Location::Address { url: url.clone(), allow_private },
            None => Location::Discovery { issuer: idp.issuer.clone(), allow_private },
        };
        source(&self.providers, &idp.id, &idp.issuer, location).key(&self.fetcher, kid, algorithm, now).await
    }

    /// The client's key of this `kid`, from `jwks` or `jwks_uri`.
    pub async fn of_client(
        &self,
        client: &Client,
        kid: Option<&str>,
        algorithm: VerificationAlgorithm,
        now: i64,
    ) -> Result<Arc<VerificationKey>, KeyError> {
        let location = match (&client.jwks, &client.jwks_uri) {
            (Some(jwks), _) => Location::Inline(jwks.clone()),
            (None, Some(url)) => {
                Location::Address { url: url.clone(), allow_private: self.allow_loopback_clients && is_loopback(url) }
            }
            (None, None) => Location::Nowhere,
        };
        let source = match self.clients.get(&client.id) {
            Some(source) if source.location == location => source,
            // Whoever asks at the same time gets the same one, and waits for its fetch.
            Some(_) | None => {
                let new = || Arc::new(Source::new(client.id.as_str(), location.clone()));
                let is_another = |source: &Arc<Source>| source.location != location;
                self.clients.entry_by_ref(&client.id).or_insert_with_if(new, is_another).into_value()
            }
        };
        source.key(&self.fetcher, kid, algorithm, now).await
    }

    /// How every provider that was asked for stands.
    pub fn health(&self) -> Vec<KeyHealth> {
        let providers = self.providers.read().unwrap_or_else(PoisonError::into_inner);
        let mut health: Vec<KeyHealth> = providers
            .values()
            .map(|source| {
                let state = source.state();
                KeyHealth {
                    issuer: source.owner.clone(),
                    fetched_at: state.fetched_at,
                    last_error: state.last_error.clone(),
                    fetches: (state.attempts.saturating_sub(state.failed_attempts), state.failed_attempts),
                    clock_skew_seconds: state.clock_skew_seconds,
                }
            })
            .collect();
        health.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        health
    }
}

/// The source of this party, a new one if there is none for this location.
fn source<K: Clone + Eq + Hash>(
    sources: &RwLock<HashMap<K, Arc<Source>>>,
    id: &K,
    owner: &str,
    location: Location,
) -> Arc<Source> {
    if let Some(source) = sources.read().unwrap_or_else(PoisonError::into_inner).get(id)
        && source.location == location
    {
        return Arc::clone(source);
    }
    let mut sources = sources.write().unwrap_or_else(PoisonError::into_inner);
    match sources.get(id) {
        Some(source) if source.location == location => Arc::clone(source),
        Some(_) | None => {
            let source = Arc::new(Source::new(owner, location));
            sources.insert(id.clone(), Arc::clone(&source));
            source
        }
    }
}

impl Source {
    fn new(owner: &str, location: Location) -> Self {
        let mut state = State::default();
        let mut keys = None;
        // Keys in the registration itself never change and need no fetch.
        if let Location::Inline(jwks) = &location {
            match jwk::read(jwks) {
                Ok(set) => keys = Some(Arc::new(set)),
                Err(problem) => state.last_error = Some(problem),
            }
        }
        Self {
            owner: owner.to_owned(),
            location,
            keys: ArcSwapOption::new(keys),
            state: Mutex::new(state),
            flight: tokio::sync::Mutex::default(),
        }
    }

    /// Held for moments only, never while waiting.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn can_be_fetched(&self) -> bool {
        matches!(self.location, Location::Discovery { .. } | Location::Address { .. })
    }

    async fn key(
        self: Arc<Self>,
        fetcher: &Fetcher,
        kid: Option<&str>,
        algorithm: VerificationAlgorithm,
        now: i64,
    ) -> Result<Arc<VerificationKey>, KeyError> {
        self.keep_fresh(fetcher, now).await;
        match self.find(kid, algorithm) {
            Some(Found::Key(key)) => return Ok(key),
            Some(Found::OtherAlgorithm) => {
                let detail = format!("the key of this kid of {} is not for {}", self.owner, algorithm.as_str());
                return Err(KeyError::OtherAlgorithm(detail));
            }
            Some(Found::Nothing) => {
                let seen = self.state().attempts;
                if self.can_be_fetched() && self.state().may_look_for_new_kid(now) {
                    self.refresh(fetcher, seen, now).await;
                }
            }
            None => {}
        }
        match self.find(kid, algorithm) {
            Some(Found::Key(key)) => Ok(key),
            Some(Found::OtherAlgorithm) => {
                let detail = format!("the key of this kid of {} is not for {}", self.owner, algorithm.as_str());
                Err(KeyError::OtherAlgorithm(detail))
            }
            Some(Found::Nothing) => Err(KeyError::Unknown(self.nothing_found(kid, algorithm))),
            None if self.can_be_fetched() => {
                let (problem, is_hopeless) = {
                    let state = self.state();
                    (state.last_error.clone(), state.is_hopeless)
                };
                let problem = problem.unwrap_or_else(|| "they were not fetched yet".to_owned());
                let told = format!("the keys of {} cannot be had: {problem}", self.owner);
                Err(if is_hopeless { KeyError::NotAllowed(told) } else { KeyError::Unavailable(told) })
            }
            None => {
                let problem = self.state().last_error.clone().unwrap_or_else(|| "it has registered none".to_owned());
                Err(KeyError::Unknown(format!("there is no key of {}: {problem}", self.owner)))
            }
        }
    }

    fn find(&self, kid: Option<&str>, algorithm: VerificationAlgorithm) -> Option<Found> {
        self.keys.load().as_ref().map(|keys| keys.find(kid, algorithm))
    }

    fn nothing_found(&self, kid: Option<&str>, algorithm: VerificationAlgorithm) -> String {
        let algorithm = algorithm.as_str();
        let mut detail = match kid {
            Some(kid) => format!("{} has no usable {algorithm} key of kid {kid:?}", self.owner),
            None => format!("the token has no kid, and {} has not exactly one {algorithm} key", self.owner),
        };
        let skipped = self.keys.load().as_ref().map(|keys| keys.skipped.join("; ")).unwrap_or_default();
        if !skipped.is_empty() {
            detail = format!("{detail}; left out: {skipped}");
        }
        if let Some(problem) = &self.state().last_error {
            detail = format!("{detail}; the last fetch failed: {problem}");
        }
        detail
    }

    /// Sees to it that what is in `keys` may be used at `now`; waits only if there is nothing usable at hand.
    async fn keep_fresh(self: &Arc<Self>, fetcher: &Fetcher, now: i64) {
        if !self.can_be_fetched() {
            return;
        }
        let has_keys = self.keys.load().is_some();
        let (seen, past, may_retry) = {
            let state = self.state();
            (state.attempts, now.saturating_sub(state.fresh_until), state.may_retry(now))
        };
        if has_keys && past < 0 {
            return;
        }
        if has_keys && past < STALE_WHILE_REFRESHING_SECONDS {
            if may_retry {
                self.refresh_in_background(fetcher, seen, now);
            }
            return;
        }
        if may_retry {
            self.refresh(fetcher, seen, now).await;
        }
        // Under the lock, as a fetch stores its keys: what is dropped here is never a new copy.
        let state = self.state();
        if now.saturating_sub(state.fresh_until) >= STALE_WHEN_UNREACHABLE_SECONDS {
            self.keys.store(None);
        }
    }

    fn refresh_in_background(self: &Arc<Self>, fetcher: &Fetcher, seen: u64, now: i64) {
        if std::mem::replace(&mut self.state().is_refreshing, true) {
            return;
        }
        let (source, fetcher) = (Arc::clone(self), fetcher.clone());
        tokio::spawn(async move {
            source.fetch_once(&fetcher, seen, now).await;
            source.state().is_refreshing = false;
        });
    }

    /// Fetches, unless somebody else has since `seen`. The fetch is a task of its own: a request that is given up does
    /// not take it along, and the next one finds its result.
    async fn refresh(self: &Arc<Self>, fetcher: &Fetcher, seen: u64, now: i64) {
        let (source, fetcher) = (Arc::clone(self), fetcher.clone());
        let task = tokio::spawn(async move { source.fetch_once(&fetcher, seen, now).await });
        if task.await.is_err() {
            tracing::error!(issuer = self.owner, "the task that fetches keys did not finish");
        }
    }

    async fn fetch_once(&self, fetcher: &Fetcher, seen: u64, now: i64) {
        let _flight = self.flight.lock().await;
        if self.state().attempts != seen {
            return;
        }
        let result = self.fetch(fetcher).await;
        let mut state = self.state();
        state.attempts += 1;
        state.attempted_at = Some(now);
        match result {
            Ok((keys, document)) => {
                let fresh = document
                    .max_age
                    .map_or(DEFAULT_FRESH_SECONDS, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
                state.fresh_until = now.saturating_add(fresh.clamp(FRESH_SECONDS.0, FRESH_SECONDS.1));
                state.fetched_at = Some(now);
                state.clock_skew_seconds = document.answered_at.map(|at| at.saturating_sub(now));
                state.failures = 0;
                state.last_error = None;
                state.is_hopeless = false;
                self.keys.store(Some(Arc::new(keys)));
            }
            Err(problem) => {
                tracing::warn!(issuer = self.owner, %problem, "keys cannot be fetched");
                state.failures = state.failures.saturating_add(1);
                state.failed_attempts += 1;
                state.last_error = Some(problem.to_string());
                state.is_hopeless = matches!(problem, FetchError::NotAllowed(_));
            }
        }
    }

    async fn fetch(&self, fetcher: &Fetcher) -> Result<(KeySet, Document), FetchError> {
        let (url, allow_private) = match &self.location {
            Location::Discovery { issuer, allow_private } => {
                (discovery::jwks_uri(fetcher, issuer, *allow_private).await?, *allow_private)
            }
            Location::Address { url, allow_private } => (url.clone(), *allow_private),
            Location::Inline(_) | Location::Nowhere => {
                return Err(FetchError::Failed("there is no address to fetch keys from".to_owned()));
            }
        };
        let document = fetcher.get_json(&url, allow_private).await?;
        let jwks = serde_json::from_slice(&document.body)
            .map_err(|problem| FetchError::Failed(format!("{url} is not JSON: {problem}")))?;
        let keys = jwk::read(&jwks).map_err(|problem| FetchError::Failed(format!("{url}: {problem}")))?;
        Ok((keys, document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_back_off_to_a_minute_after_failures() {
        let waits = |failures: u32| {
            let state = State { failures, attempted_at: Some(1000), ..State::default() };
            (0..100).find(|wait| state.may_retry(1000 + wait)).unwrap()
        };
        assert_eq!([0, 1, 2, 3, 6, 7, 8, 1000].map(waits), [0, 1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn an_unknown_kid_may_lead_to_a_fetch_every_thirty_seconds() {
        let state = State { attempted_at: Some(1000), ..State::default() };
        assert!(!state.may_look_for_new_kid(1029));
        assert!(state.may_look_for_new_kid(1030));
    }
}
