//! Revocation that a verifier sees without asking about a token: the issuer's status lists, fetched as often as they say.
//!
//! A list is used until its `ttl`, counted from the `iat` that the issuer signed. For one second more it serves while it
//! is fetched, so that nobody waits under load; after that a request waits for the fetch, a second at most. So a change
//! is seen within `ttl` and two seconds, as long as the issuer can be reached; after an outage within `ttl` and two seconds
//! of its end.

use super::attempts::{Attempts, LONGEST_BACK_OFF_SECONDS};
use super::checks::OUR_ALGORITHMS;
use super::fetch::{Document, Fetch, FetchRequest, Fetched};
use super::jose;
use super::jwk::Found;
use super::keys::{FETCH_SECONDS, KeySource};
use super::status_list::{MAX_LIST_JWT_BYTES, STATUS_LIST_TYP, StatusList, StatusReference, TokenStatus};
use crate::domain::algorithm::VerificationAlgorithm;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// The most lists that are kept. Which there are is said by verified tokens alone.
const MAX_LISTS: usize = 64;

/// So long past its time a list serves while it is fetched again, in seconds.
const SERVES_WHILE_FETCHED_SECONDS: i64 = 1;

/// As long as no list was had that says how soon it is over, it is asked for at least this often, in seconds.
const UNKNOWN_TTL_SECONDS: u64 = 15;

/// So long a request waits for a fetch; the fetch itself may go on.
const WAIT: Duration = Duration::from_secs(1);

/// What a token's status means for its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Serve it.
    Good,
    /// Refuse it, for this reason.
    Refused(&'static str),
    /// A fresh enough list was demanded and cannot be had.
    Unknown(String),
}

/// The status lists of one issuer.
pub(super) struct StatusSource {
    issuer: String,
    fetch: Arc<dyn Fetch>,
    keys: Arc<KeySource>,
    /// A list that is older is as good as none, and none is a reason to refuse.
    required_age: Option<i64>,
    lists: Mutex<HashMap<String, Arc<Entry>>>,
}

/// One list.
struct Entry {
    uri: String,
    held: RwLock<Option<Held>>,
    attempts: Mutex<Attempts>,
    /// Held by the one fetch that is under way.
    flight: Arc<tokio::sync::Mutex<()>>,
    used_at: AtomicI64,
}

/// A list at hand.
#[derive(Clone)]
struct Held {
    list: Arc<StatusList>,
    issued_at: i64,
    due_at: i64,
}

impl Entry {
    fn new(uri: &str) -> Self {
        Self {
            uri: uri.to_owned(),
            held: RwLock::default(),
            attempts: Mutex::default(),
            flight: Arc::default(),
            used_at: AtomicI64::default(),
        }
    }

    /// Held for moments only, never while waiting.
    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True unless it was tried in this second, or failed lately. `required_age`: as in [`StatusSource`].
    fn may_try(&self, required_age: Option<i64>, now: i64) -> bool {
        // An outage must not leave a revocation unseen for longer than the list says.
        let ttl = self.ttl();
        let longest = required_age.map_or(ttl, |age| ttl.min(age.unsigned_abs())).clamp(1, LONGEST_BACK_OFF_SECONDS);
        let attempts = self.attempts();
        attempts.may_retry_within(longest, now) && attempts.waited(1, now)
    }

    /// For how long the list may be gone by, in seconds; a guess if there is none.
    fn ttl(&self) -> u64 {
        self.held().map_or(UNKNOWN_TTL_SECONDS, |held| held.list.ttl.unsigned_abs())
    }

    /// True if the last attempt failed, and was not long ago.
    fn failed_lately(&self, now: i64) -> bool {
        let ttl = self.ttl();
        let attempts = self.attempts();
        attempts.is_failing() && !attempts.waited(ttl.saturating_add(1), now)
    }

    fn held(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, list: Arc<StatusList>, now: i64) {
        let issued_at = list.issued_at.min(now);
        // Its own time counts from `iat`. What the issuer answered just now although that time is over, by a clock that is
        // behind ours, is asked for again after as long.
        let is_fresh = issued_at.saturating_add(list.ttl) > now;
        let due_at = if is_fresh { issued_at } else { now }.saturating_add(list.ttl);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Held { list, issued_at, due_at });
    }
}

impl StatusSource {
    pub(super) fn new(issuer: &str, fetch: Arc<dyn Fetch>, keys: Arc<KeySource>, required_age: Option<i64>) -> Self {
        Self { issuer: issuer.to_owned(), fetch, keys, required_age, lists: Mutex::default() }
    }

    /// True if a token must have a place in a list.
    pub(super) fn is_required(&self) -> bool {
        self.required_age.is_some()
    }

    /// Lists at hand: their URI, the time they tell of, and why the last attempt failed.
    pub(super) fn health(&self) -> Vec<(String, Option<i64>, Option<String>)> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let mut health: Vec<_> = lists
            .values()
            .map(|entry| (entry.uri.clone(), entry.held().map(|held| held.issued_at), entry.attempts().problem.clone()))
            .collect();
        health.sort();
        health
    }

    /// What the issuer says of a token that was verified.
    pub(super) async fn standing(self: &Arc<Self>, reference: &StatusReference, now: i64) -> Standing {
        let entry = self.entry(&reference.uri, now);
        self.refresh_if_due(&entry, now).await;
        let held = entry.held();
        let age = |held: &Held| now.saturating_sub(held.issued_at);
        if let Some(required) = self.required_age
            && held.as_ref().is_none_or(|held| age(held) > required)
        {
            let problem = entry.attempts().problem.clone().unwrap_or_else(|| "it was not fetched yet".to_owned());
            return Standing::Unknown(format!("the status list of the token is not at hand: {problem}"));
        }
        // Without any list yet, the token is good until it ends, as it would be for any other verifier.
        let Some(held) = held else { return Standing::Good };
        match held.list.status(reference.index) {
            Some(TokenStatus::Valid) => Standing::Good,
            Some(TokenStatus::Revoked) => Standing::Refused("it was revoked"),
            Some(TokenStatus::Suspended) => Standing::Refused("it is suspended"),
            Some(TokenStatus::Other(_)) => Standing::Refused("its status is one that is not known"),
            None => Standing::Refused("its status is beyond the end of the list"),
        }
    }

    fn entry(&self, uri: &str, now: i64) -> Arc<Entry> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if !lists.contains_key(uri) && lists.len() >= MAX_LISTS {
            let unused = lists.values().min_by_key(|entry| entry.used_at.load(Ordering::Relaxed)).cloned();
            if let Some(entry) = unused {
                lists.remove(&entry.uri);
            }
        }
        let entry = lists.entry(uri.to_owned()).or_insert_with(|| Arc::new(Entry::new(uri)));
        entry.used_at.store(now, Ordering::Relaxed);
        Arc::clone(entry)
    }

    /// When the list is to be fetched again; none that is at hand is due at once.
    fn due_at(&self, entry: &Entry) -> Option<i64> {
        let held = entry.held()?;
        let needed_at = self.required_age.map_or(i64::MAX, |age| held.issued_at.saturating_add(age));
        Some(held.due_at.min(needed_at))
    }

    async fn refresh_if_due(self: &Arc<Self>, entry: &Arc<Entry>, now: i64) {
        let due_at = self.due_at(entry);
        if due_at.is_some_and(|due_at| now < due_at) {
            return;
        }
        let serves = |due_at: i64| now < due_at.saturating_add(SERVES_WHILE_FETCHED_SECONDS);
        // While the issuer cannot be reached, nobody waits for it who need not: the last list goes on, or none. Whether that is
        // so, somebody must have seen lately.
        let may_serve = self.required_age.is_none() && (entry.failed_lately(now) || due_at.is_some_and(serves));
        if !may_serve {
            let _ = tokio::time::timeout(WAIT, self.refresh(entry, now)).await;
        } else if entry.may_try(self.required_age, now)
            && let Ok(guard) = Arc::clone(&entry.flight).try_lock_owned()
        {
            drop(self.take_off(entry, guard, now));
        }
    }

    async fn refresh(self: &Arc<Self>, entry: &Arc<Entry>, now: i64) {
        let guard = Arc::clone(&entry.flight).lock_owned().await;
        // Whoever held it before may have brought what is missing.
        if self.due_at(entry).is_none_or(|due_at| now >= due_at) && entry.may_try(self.required_age, now) {
            let _ = self.take_off(entry, guard, now).await;
        }
    }

    fn take_off(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        guard: OwnedMutexGuard<()>,
        now: i64,
    ) -> tokio::task::JoinHandle<()> {
        entry.attempts().begin(now);
        let (source, entry) = (Arc::clone(self), Arc::clone(entry));
        tokio::spawn(async move {
            let fetched =
                tokio::time::timeout(Duration::from_secs(FETCH_SECONDS), source.fetch_list(&entry, now)).await;
            match fetched.unwrap_or_else(|_| Err(format!("no answer within {FETCH_SECONDS} seconds"))) {
                Ok(()) => entry.attempts().succeed(),
                Err(problem) => entry.attempts().fail(problem),
            }
            drop(guard);
        })
    }

    async fn fetch_list(&self, entry: &Entry, now: i64) -> Result<(), String> {
        let etag = entry.attempts().etag.clone();
        let request = FetchRequest {
            url: &entry.uri,
            accept: "application/statuslist+jwt",
            if_none_match: etag.as_deref(),
            max_bytes: MAX_LIST_JWT_BYTES,
        };
        let Document { body, etag, .. } = match self.fetch.get(request).await.map_err(|problem| problem.0)? {
            Fetched::Document(document) => document,
            Fetched::NotModified => {
                let held = entry.held().ok_or("not modified, but there is no earlier list")?;
                entry.hold(held.list, now);
                return Ok(());
            }
        };
        let list = self.read(&body, &entry.uri, now).await?;
        if let Some(held) = entry.held()
            && list.issued_at < held.list.issued_at
        {
            // An old list would bring tokens back to life. Whoever sent it, the newer one is the issuer's word.
            return Err("older than the list at hand".to_owned());
        }
        entry.hold(Arc::new(list), now);
        entry.attempts().etag = etag;
        Ok(())
    }

    async fn read(&self, body: &[u8], uri: &str, now: i64) -> Result<StatusList, String> {
        if body.len() > MAX_LIST_JWT_BYTES {
            return Err(format!("larger than {MAX_LIST_JWT_BYTES} bytes"));
        }
        let text = std::str::from_utf8(body).map_err(|_| "not a JWT".to_owned())?.trim();
        let token = jose::parse_of_any_size(text).map_err(|problem| problem.to_string())?;
        if token.typ().as_deref() != Some(STATUS_LIST_TYP) {
            return Err(format!("its typ is not {STATUS_LIST_TYP}"));
        }
        let algorithm = VerificationAlgorithm::from_header(token.alg()).filter(|alg| OUR_ALGORITHMS.contains(alg));
        let algorithm = algorithm.ok_or("its algorithm is never accepted")?;
        let kid = token.kid().ok_or("its header has no kid")?;
        let Found::Key(key) = self.keys.find(kid, algorithm, now).await.map_err(|problem| problem.0)? else {
            return Err("the issuer has no key of its kid for its algorithm".to_owned());
        };
        if !key.verifies(token.signing_input.as_bytes(), &token.signature) {
            return Err("its signature is not the issuer's".to_owned());
        }
        StatusList::read(&token.claims, uri, &self.issuer, now)
    }
}
