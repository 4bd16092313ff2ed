//! The issuer's keys: fetched before they are needed, kept while the issuer cannot be reached, and asked for again when
//! a token names a key that is not among them.
//!
//! A token whose key is at hand waits for nothing, unless nobody came for a while and the copy is past its time: then a key
//! could have been withdrawn long ago, and the first token waits for the fetch, a second at most. All who need the same fetch wait for the same one, and it goes on
//! when the request that began it is gone.

use super::attempts::{Attempts, LONGEST_BACK_OFF_SECONDS};
use super::fetch::{Document, Fetch, FetchRequest, Fetched};
use super::jwk::{Found, KeySet};
use super::{json, signature};
use crate::domain::algorithm::VerificationAlgorithm;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// An unknown `kid` leads to a fetch only so often, so that nobody can make us flood the issuer (STANDARDS 8.4, step 3).
pub(super) const SECONDS_BETWEEN_LOOKS: u64 = 30;

/// How long a copy counts as fresh if the answer does not say, and the bounds of what it may say.
const FRESH_SECONDS: i64 = 300;
const FRESH_BOUNDS: (u64, u64) = (60, 24 * 3600);

/// So long past its time a copy serves while it is fetched again, in seconds: nobody waits under load.
const SERVES_WHILE_FETCHED_SECONDS: i64 = 1;

/// So long a token waits for keys that are at hand, but past their time.
const WAIT: Duration = Duration::from_secs(1);

/// So much past its time a copy serves while the issuer cannot be reached. An older one never does: a key that was
/// withdrawn must stop some day.
const KEPT_ON_OUTAGE_SECONDS: i64 = 24 * 3600;

/// The largest JWKS and the largest metadata document, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// A fetch that takes longer has failed.
pub(super) const FETCH_SECONDS: u64 = 5;

/// Where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// At this URL.
    Url(String),
    /// Where the metadata of this issuer says (RFC 8414).
    Metadata(String),
    /// At hand; never fetched.
    Fixed,
}

/// Keys cannot be had, and no earlier copy may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoKeys(pub(super) String);

/// The keys of one issuer.
pub(super) struct KeySource {
    location: Location,
    fetch: Option<Arc<dyn Fetch>>,
    copy: RwLock<Option<Held>>,
    attempts: Mutex<Attempts>,
    /// Held by the one fetch that is under way.
    flight: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<KeySet>,
    fetched_at: i64,
    fresh_until: i64,
}

impl Held {
    /// True if its time is up, or a clock that was set back says nothing of it.
    fn is_due(&self, now: i64) -> bool {
        now >= self.fresh_until || now < self.fetched_at.saturating_sub(60)
    }
}

impl KeySource {
    /// Keys that are fetched, at the first token or by [`KeySource::prefetch`].
    pub(super) fn fetched(location: Location, fetch: Arc<dyn Fetch>) -> Self {
        Self::new(location, Some(fetch), None)
    }

    /// Keys that never change.
    pub(super) fn fixed(keys: KeySet) -> Self {
        let copy = Held { keys: Arc::new(keys), fetched_at: 0, fresh_until: i64::MAX };
        Self::new(Location::Fixed, None, Some(copy))
    }

    fn new(location: Location, fetch: Option<Arc<dyn Fetch>>, copy: Option<Held>) -> Self {
        Self { location, fetch, copy: RwLock::new(copy), attempts: Mutex::default(), flight: Arc::default() }
    }

    /// Held for moments only, never while waiting.
    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy(&self) -> Option<Held> {
        self.copy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the keys were last fetched, and why the last attempt failed.
    pub(super) fn health(&self) -> (Option<i64>, Option<String>) {
        let copy = self.copy().filter(|_| self.location != Location::Fixed);
        (copy.map(|copy| copy.fetched_at), self.attempts().problem.clone())
    }

    /// Fetches the keys if there are none that may be used.
    pub(super) async fn prefetch(self: &Arc<Self>, now: i64) -> Result<(), NoKeys> {
        let guard = Arc::clone(&self.flight).lock_owned().await;
        if self.usable(now).is_none() && self.attempts().may_retry(now) {
            self.fly(guard, now).await;
        }
        self.usable(now).map(|_| ()).ok_or_else(|| self.no_keys())
    }

    /// Fetches them again if their time is up. While others go on using them, nobody waits; after a silence, one does.
    async fn keep_fresh(self: &Arc<Self>, now: i64) {
        let Some(copy) = self.copy().filter(|copy| copy.is_due(now)) else { return };
        // While the issuer cannot be reached, nobody waits for it; whether that is so, somebody must have seen lately.
        let serves = now < copy.fresh_until.saturating_add(SERVES_WHILE_FETCHED_SECONDS);
        let failed_lately = || {
            let attempts = self.attempts();
            attempts.is_failing() && !attempts.waited(LONGEST_BACK_OFF_SECONDS + 1, now)
        };
        if serves || failed_lately() {
            if self.may_refresh(now)
                && let Ok(guard) = Arc::clone(&self.flight).try_lock_owned()
            {
                drop(self.take_off(guard, now));
            }
            return;
        }
        let refreshed = async {
            let guard = Arc::clone(&self.flight).lock_owned().await;
            // Whoever held it before may have brought them.
            if self.copy().is_some_and(|copy| copy.is_due(now)) && self.may_refresh(now) {
                self.fly(guard, now).await;
            }
        };
        // What takes longer goes on without those who wait.
        let _ = tokio::time::timeout(WAIT, refreshed).await;
    }

    /// True unless it was tried in this second, or failed lately.
    fn may_refresh(&self, now: i64) -> bool {
        let attempts = self.attempts();
        attempts.may_retry(now) && attempts.waited(1, now)
    }

    /// The key of this `kid` for this algorithm; asks the issuer if it is new.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: &str,
        algorithm: VerificationAlgorithm,
        now: i64,
    ) -> Result<Found, NoKeys> {
        self.keep_fresh(now).await;
        if let Some(found @ (Found::Key(_) | Found::OtherAlgorithm)) = self.look(kid, algorithm, now) {
            return Ok(found);
        }
        // Whoever fetches right now may bring what is missing: wait for them, then look again.
        let guard = Arc::clone(&self.flight).lock_owned().await;
        match self.look(kid, algorithm, now) {
            Some(found @ (Found::Key(_) | Found::OtherAlgorithm)) => return Ok(found),
            Some(Found::Nothing) if !self.may_look_for_new_key(now) => return Ok(Found::Nothing),
            None if !self.may_fetch(now) => return Err(self.no_keys()),
            Some(Found::Nothing) | None => {}
        }
        self.fly(guard, now).await;
        self.look(kid, algorithm, now).ok_or_else(|| self.no_keys())
    }

    fn may_fetch(&self, now: i64) -> bool {
        self.fetch.is_some() && self.attempts().may_retry(now)
    }

    fn may_look_for_new_key(&self, now: i64) -> bool {
        self.may_fetch(now) && self.attempts().waited(SECONDS_BETWEEN_LOOKS, now)
    }

    fn usable(&self, now: i64) -> Option<Arc<KeySet>> {
        let copy = self.copy()?;
        (now < copy.fresh_until.saturating_add(KEPT_ON_OUTAGE_SECONDS)).then_some(copy.keys)
    }

    fn look(&self, kid: &str, algorithm: VerificationAlgorithm, now: i64) -> Option<Found> {
        self.usable(now).map(|keys| keys.find(Some(kid), algorithm))
    }

    fn no_keys(&self) -> NoKeys {
        let problem = self.attempts().problem.clone();
        NoKeys(problem.unwrap_or_else(|| "the keys of the issuer were not fetched yet".to_owned()))
    }

    async fn fly(self: &Arc<Self>, guard: OwnedMutexGuard<()>, now: i64) {
        // A task that panicked fetched nothing, which is what the caller sees next.
        let _ = self.take_off(guard, now).await;
    }

    fn take_off(self: &Arc<Self>, guard: OwnedMutexGuard<()>, now: i64) -> tokio::task::JoinHandle<()> {
        self.attempts().begin(now);
        let source = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = tokio::time::timeout(Duration::from_secs(FETCH_SECONDS), source.fetch_keys(now)).await;
            let outcome = fetched.unwrap_or_else(|_| Err(format!("no answer within {FETCH_SECONDS} seconds")));
            match outcome {
                Ok(()) => source.attempts().succeed(),
                Err(problem) => source.attempts().fail(format!("the keys of the issuer cannot be had: {problem}")),
            }
            drop(guard);
        })
    }

    async fn fetch_keys(&self, now: i64) -> Result<(), String> {
        let fetch = self.fetch.as_deref().ok_or("they are fixed")?;
        let url = match &self.location {
            Location::Url(url) => url.clone(),
            Location::Metadata(issuer) => jwks_url(fetch, issuer).await?,
            Location::Fixed => return Err("they are fixed".to_owned()),
        };
        let etag = self.attempts().etag.clone();
        let request = FetchRequest {
            url: &url,
            accept: "application/jwk-set+json, application/json",
            if_none_match: etag.as_deref(),
            max_bytes: MAX_BYTES,
        };
        match fetch.get(request).await.map_err(|problem| problem.0)? {
            Fetched::NotModified => self.confirm(now),
            Fetched::Document(document) => self.take(&document, now),
        }
    }

    fn confirm(&self, now: i64) -> Result<(), String> {
        let mut copy = self.copy.write().unwrap_or_else(PoisonError::into_inner);
        let copy = copy.as_mut().ok_or("not modified, but there is no earlier copy")?;
        let fresh = copy.fresh_until.saturating_sub(copy.fetched_at);
        (copy.fetched_at, copy.fresh_until) = (now, now.saturating_add(fresh));
        Ok(())
    }

    fn take(&self, document: &Document, now: i64) -> Result<(), String> {
        if document.body.len() > MAX_BYTES {
            return Err(format!("larger than {MAX_BYTES} bytes"));
        }
        let jwks = json::plain_object(&document.body).map_err(|problem| format!("the JWKS {problem}"))?;
        let keys = KeySet::read_with(&Value::Object(jwks), &signature::by_ring)?;
        if keys.is_empty() {
            // Keeping the earlier ones is right if this is a mistake there, and harmless if it is not: they age.
            return Err(format!("no usable key in it; left out: {}", keys.skipped.join("; ")));
        }
        let fresh = document.max_age.map_or(FRESH_SECONDS, |seconds| {
            i64::try_from(seconds.clamp(FRESH_BOUNDS.0, FRESH_BOUNDS.1)).unwrap_or(FRESH_SECONDS)
        });
        let copy = Held { keys: Arc::new(keys), fetched_at: now, fresh_until: now.saturating_add(fresh) };
        *self.copy.write().unwrap_or_else(PoisonError::into_inner) = Some(copy);
        self.attempts().etag.clone_from(&document.etag);
        Ok(())
    }
}

/// What the metadata of the issuer names as its keys. The document must be the issuer's own (RFC 8414 section 3.3).
async fn jwks_url(fetch: &dyn Fetch, issuer: &str) -> Result<String, String> {
    let url = format!("{issuer}/.well-known/openid-configuration");
    let request = FetchRequest { url: &url, accept: "application/json", if_none_match: None, max_bytes: MAX_BYTES };
    let Fetched::Document(document) = fetch.get(request).await.map_err(|problem| problem.0)? else {
        return Err(format!("{url} answered 304 to a request without a condition"));
    };
    if document.body.len() > MAX_BYTES {
        return Err(format!("{url} is larger than {MAX_BYTES} bytes"));
    }
    let metadata = json::plain_object(&document.body).map_err(|problem| format!("{url} {problem}"))?;
    if metadata.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(format!("{url} is not of the issuer {issuer}"));
    }
    let jwks_url = metadata.get("jwks_uri").and_then(Value::as_str).ok_or_else(|| format!("{url} has no jwks_uri"))?;
    super::setup::check_url(jwks_url).map_err(|problem| format!("{url}: jwks_uri {problem}"))?;
    Ok(jwks_url.to_owned())
}
