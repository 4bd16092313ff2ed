//! Which status entry a token is given: the same for all that rest on the same things, so that the hot path writes none.

use crate::domain::token_status::{ENTRY_ISSUES_SECONDS, Revocations, StatusEntry, Support};
use crate::store::{LONGEST_LIFE_SECONDS, Store, StoreError};
use moka::sync::Cache;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

/// Entries that are remembered; one that is forgotten is only made again.
const REMEMBERED: u64 = 100_000;
/// What is over is forgotten so often, in seconds.
const TIDIED_EACH_SECONDS: u64 = 300;
/// Indices are taken in blocks: those that are left when a server ends are never used.
const BLOCK: i64 = 256;

/// An entry that tokens are given.
#[derive(Debug, Clone, Copy)]
struct Known {
    index: i64,
    made_at: i64,
}

/// What a token rests on: its own supports, and the entry of the token that it came of.
type Footing = (Vec<Support>, Option<i64>);

/// Gives tokens their entries, and knows what was revoked.
#[derive(Debug)]
pub struct StatusEntries {
    known: Cache<Arc<Footing>, Known>,
    reserved: Mutex<Range<i64>>,
    revocations: RwLock<Revocations>,
    /// The version of all consents that the revocations were read at.
    version: AtomicI64,
    /// When what is over was forgotten last, Unix seconds.
    tidied_at: AtomicI64,
}

/// The entry of a token.
#[derive(Debug)]
pub struct GivenEntry {
    /// Its number.
    pub index: i64,
    /// The entry itself, if it is a new one: it must be durable before its token is answered.
    pub new: Option<StatusEntry>,
    footing: Arc<Footing>,
}

impl StatusEntries {
    pub(super) fn new(revocations: Revocations, version: i64) -> Self {
        Self {
            known: Cache::new(REMEMBERED),
            reserved: Mutex::new(0..0),
            revocations: RwLock::new(revocations),
            version: AtomicI64::new(version),
            tidied_at: AtomicI64::new(0),
        }
    }

    /// The first of these supports that ended, as of the last refresh, when a token that was asked for at `made_at` was
    /// there already.
    pub fn ended<'a>(&self, supports: &'a [Support], made_at: i64) -> Option<&'a Support> {
        self.revocations.read().unwrap_or_else(PoisonError::into_inner).ended(supports, made_at)
    }

    /// True if nothing ended lately.
    pub fn knows_of_no_end(&self) -> bool {
        self.revocations.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Reads what was revoked since it was read last, if anything can have been.
    pub(super) async fn is_at(&self, version: i64, store: &Store, now: i64) -> Result<(), StoreError> {
        let known = self.version.load(Ordering::SeqCst);
        if known == version {
            return Ok(());
        }
        // A version that went back is that of another database, or of an older copy.
        let since = if known < version { known } else { -1 };
        let new = store.revocations_since(since, now).await?;
        let mut revocations = self.revocations.write().unwrap_or_else(PoisonError::into_inner);
        if since < 0 {
            *revocations = Revocations::default();
        }
        revocations.add(new);
        if now.abs_diff(self.tidied_at.load(Ordering::SeqCst)) >= TIDIED_EACH_SECONDS {
            revocations.forget(now);
            self.tidied_at.store(now, Ordering::SeqCst);
        }
        self.version.store(version, Ordering::SeqCst);
        Ok(())
    }

    /// The entry for a token that was asked for at `now` and rests on these things.
    pub async fn give(
        &self,
        store: &Store,
        mut supports: Vec<Support>,
        parent: Option<i64>,
        now: i64,
    ) -> Result<GivenEntry, StoreError> {
        supports.sort_unstable();
        supports.dedup();
        let footing: Arc<Footing> = Arc::new((supports, parent));
        if let Some(known) = self.known.get(&footing)
            && (known.made_at..known.made_at.saturating_add(ENTRY_ISSUES_SECONDS)).contains(&now)
            && self.ended(&footing.0, known.made_at).is_none()
            && self.ended(&[Support::Entry(known.index)], known.made_at).is_none()
        {
            return Ok(GivenEntry { index: known.index, new: None, footing });
        }
        let index = self.next_index(store).await?;
        let mut supports = footing.0.clone();
        supports.push(Support::Entry(index));
        let ends_at = now.saturating_add(ENTRY_ISSUES_SECONDS).saturating_add(LONGEST_LIFE_SECONDS);
        let new = StatusEntry { index, supports, parent, made_at: now, ends_at };
        Ok(GivenEntry { index, new: Some(new), footing })
    }

    /// The entry is durable: later tokens may have it too.
    pub fn is_durable(&self, given: &GivenEntry) {
        if let Some(new) = &given.new {
            self.known.insert(Arc::clone(&given.footing), Known { index: new.index, made_at: new.made_at });
        }
    }

    async fn next_index(&self, store: &Store) -> Result<i64, StoreError> {
        let mut reserved = self.reserved.lock().await;
        if reserved.is_empty() {
            *reserved = store.reserve_status_indices(BLOCK).await?;
        }
        let index = reserved.start;
        reserved.start = index.saturating_add(1);
        Ok(index)
    }
}
