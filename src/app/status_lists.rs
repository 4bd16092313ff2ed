//! Status lists, made when somebody asks for one, and the same for all who ask within a few seconds.

use super::Remembered;
use crate::domain::client::ConsentMode;
use crate::domain::decision::carries_on;
use crate::domain::token_status::{ENTRIES_PER_LIST, TokenStatus, place_of};
use crate::secrets::digest;
use crate::store::{DoubtfulConsent, StoreError};
use crate::tokens::signing_keys::{KeyProblem, SigningKeys};
use crate::tokens::status_list::Statuses;
use moka::future::Cache;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Lists that are kept: each for a few seconds.
const KEPT: u64 = 256;

/// One list as of one moment.
#[derive(Debug)]
pub struct MadeList {
    number: i64,
    /// When it was made, Unix seconds.
    pub made_at: i64,
    ttl: u32,
    statuses: Statuses,
    signed: OnceCell<SignedList>,
}

/// A list as it is sent.
#[derive(Debug)]
pub struct SignedList {
    /// The token.
    pub token: String,
    /// Its validator (RFC 9110 §8.8.3), in quotes.
    pub etag: String,
}

impl MadeList {
    /// The list as a token; signed once.
    ///
    /// # Errors
    /// No key signs.
    pub async fn signed(&self, issuer: &str, keys: &SigningKeys) -> Result<&SignedList, KeyProblem> {
        let sign = async {
            let token = self.statuses.sign(issuer, self.number, self.made_at, self.ttl, keys)?;
            let etag = format!("\"{}\"", digest(&token).get(..32).unwrap_or_default());
            Ok(SignedList { token, etag })
        };
        self.signed.get_or_try_init(|| sign).await
    }
}

/// Keeps the lists of the moment. A list that nobody has a token of is none.
#[derive(Debug)]
pub struct StatusLists {
    ttl: u32,
    lists: Cache<(i64, i64), Arc<MadeList>>,
}

/// Why there is no list.
#[derive(Debug)]
enum NotMade {
    /// No live token can have an entry in it. That may change with the next token, and is not remembered.
    None,
    /// The database does not answer.
    Problem(StoreError),
}

impl From<StoreError> for NotMade {
    fn from(problem: StoreError) -> Self {
        Self::Problem(problem)
    }
}

impl StatusLists {
    pub(super) fn new(ttl: u32) -> Self {
        Self { ttl, lists: Cache::new(KEPT) }
    }

    /// The list of this number; none if no live token can have an entry in it.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn list(
        &self,
        known: Remembered<'_>,
        number: i64,
        now: i64,
    ) -> Result<Option<Arc<MadeList>>, StoreError> {
        // A quarter of the time that it may be gone by: so many lists are made at most, and so old is one at most.
        let step = i64::from(self.ttl / 4).max(1);
        let list = self.lists.try_get_with((number, now.div_euclid(step)), self.make(known, number, now)).await;
        match list {
            Ok(list) => Ok(Some(list)),
            Err(why) => match why.as_ref() {
                NotMade::None => Ok(None),
                NotMade::Problem(problem) => Err(StoreError::Unavailable(problem.to_string())),
            },
        }
    }

    /// How a token stands by its list, which may be a few seconds old.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn status(&self, known: Remembered<'_>, index: i64, now: i64) -> Result<TokenStatus, StoreError> {
        let (number, place) = place_of(index);
        let list = self.list(known, number, now).await?;
        Ok(list.map_or(TokenStatus::Invalid, |list| list.statuses.get(place)))
    }

    async fn make(&self, known: Remembered<'_>, number: i64, now: i64) -> Result<Arc<MadeList>, NotMade> {
        let first = number.checked_mul(ENTRIES_PER_LIST).filter(|first| *first >= 0);
        let Some(range) = first.and_then(|first| Some(first..first.checked_add(ENTRIES_PER_LIST)?)) else {
            return Err(NotMade::None);
        };
        if !known.store.has_status_entries(&range, now).await? {
            return Err(NotMade::None);
        }
        let statuses = statuses(known, &range, now).await?;
        Ok(Arc::new(MadeList { number, made_at: now, ttl: self.ttl, statuses, signed: OnceCell::new() }))
    }
}

/// By the same rules by which a token would be taken as a subject token.
async fn statuses(known: Remembered<'_>, range: &Range<i64>, now: i64) -> Result<Statuses, StoreError> {
    let registry = &known.snapshot.registry;
    let state = known.store.entry_state(range).await?;
    let mut statuses = Statuses::default();
    let mut set = |index: i64, status| statuses.set(place_of(index).1, status);
    for (index, status) in state.known {
        set(index, status);
    }
    let mut goes_on: HashMap<(String, String), bool> = HashMap::new();
    for DoubtfulConsent { index, consent, is_revoked, user } in state.doubtful {
        let Some(user) = user else {
            set(index, TokenStatus::Invalid);
            continue;
        };
        if !is_revoked {
            set(index, TokenStatus::Suspended);
            continue;
        }
        let key = (user.as_str().to_owned(), consent);
        let carries_on = if let Some(known) = goes_on.get(&key) {
            *known
        } else {
            let consents = known.consents.of(known.store, &user).await?;
            let carries_on = carries_on(registry, &consents, &user, &key.1, now);
            goes_on.insert(key, carries_on);
            carries_on
        };
        if !carries_on {
            set(index, TokenStatus::Invalid);
        }
    }
    // A client that went back to asking each user must ask: what the administrator agreed to for all counts no more.
    for (consent, client) in known.store.consents_for_everyone().await? {
        let entry = registry.client(&client);
        if entry.is_none_or(|entry| entry.client.consent != ConsentMode::Admin) {
            for index in known.store.entries_resting_on(range, &consent).await? {
                set(index, TokenStatus::Invalid);
            }
        }
    }
    Ok(statuses)
}
