//! How often each consent is used. Counted in memory, so that no request waits for it, and written down once a minute.

use crate::store::{ConsentUse, Store, StoreError};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Uses that are not written down yet, by consent: at most one entry for each consent used in a minute.
#[derive(Debug, Default)]
pub struct ConsentUses {
    counts: Mutex<BTreeMap<String, ConsentUse>>,
}

impl ConsentUses {
    /// Counts one token that rests on this consent; a token without one counts nowhere. `now` in Unix seconds.
    pub fn count(&self, grant_id: Option<&str>, now: i64) {
        let Some(id) = grant_id else {
            return;
        };
        let once = ConsentUse { uses: 1, last_used_at: now };
        let mut counts = self.counts();
        match counts.get_mut(id) {
            Some(known) => add(known, once),
            None => {
                counts.insert(id.to_owned(), once);
            }
        }
    }

    /// What this server counted since it last wrote it down.
    pub fn unwritten(&self, grant_id: &str) -> ConsentUse {
        self.counts().get(grant_id).copied().unwrap_or_default()
    }

    /// Writes the counts down. If that fails they are kept for the next time.
    pub async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let taken = std::mem::take(&mut *self.counts());
        if taken.is_empty() {
            return Ok(());
        }
        let written = store.note_consent_uses(&taken).await;
        if written.is_err() {
            let mut counts = self.counts();
            for (id, uses) in taken {
                add(counts.entry(id).or_default(), uses);
            }
        }
        written
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, ConsentUse>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to a count.
fn add(known: &mut ConsentUse, more: ConsentUse) {
    known.uses = known.uses.saturating_add(more.uses);
    known.last_used_at = known.last_used_at.max(more.last_used_at);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_counts_for_the_consent_it_rests_on() {
        let uses = ConsentUses::default();
        uses.count(Some("a"), 5);
        uses.count(Some("a"), 9);
        uses.count(Some("a"), 7);
        uses.count(Some("b"), 1);
        uses.count(None, 10);
        assert_eq!(uses.unwritten("a"), ConsentUse { uses: 3, last_used_at: 9 });
        assert_eq!(uses.unwritten("b"), ConsentUse { uses: 1, last_used_at: 1 });
        assert_eq!(uses.unwritten("c"), ConsentUse::default());
    }
}
