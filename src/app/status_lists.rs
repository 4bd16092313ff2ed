//! Status lists, made when somebody asks for one, and the same for all who ask within a few seconds.

use super::{App, StartError};
use crate::domain::client::ConsentMode;
use crate::domain::decision::carries_on;
use crate::domain::token_status::{ENTRIES_PER_LIST, TokenStatus, place_of};
use crate::secrets::digest;
use crate::store::{DoubtfulConsent, StoreError};
use crate::tokens::status_list::Statuses;
use moka::future::Cache;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Lists that are kept: each for a few seconds.
const KEPT: u64 = 256;

/// One list as of one moment.
#[derive(Debug)]
pub struct MadeList {
    /// The signed list.
    pub token: String,
    /// Its validator (RFC 9110 §8.8.3), in quotes.
    pub etag: String,
    /// When it was made, Unix seconds.
    pub made_at: i64,
    statuses: Statuses,
}

/// Keeps the lists of the moment. A list that nobody has a token of is none.
#[derive(Debug)]
pub struct StatusLists(Cache<(i64, i64), Option<Arc<MadeList>>>);

impl StatusLists {
    pub(super) fn new() -> Self {
        Self(Cache::new(KEPT))
    }

    /// The list of this number; none if no live token can have an entry in it.
    ///
    /// # Errors
    /// The database does not answer, or no key signs; in words.
    pub async fn list(&self, app: &App, list: i64) -> Result<Option<Arc<MadeList>>, Arc<StartError>> {
        // A quarter of the time that it may be gone by: so many lists are made at most, and so old is one at most.
        let (now, step) = (app.clock.now(), i64::from(app.config.tokens.status_list_ttl_seconds / 4).max(1));
        self.0.try_get_with((list, now.div_euclid(step)), make(app, list, now)).await
    }

    /// How a token stands by its list, which may be a few seconds old.
    pub async fn status(&self, app: &App, index: i64) -> Result<TokenStatus, Arc<StartError>> {
        let (list, place) = place_of(index);
        Ok(self.list(app, list).await?.map_or(TokenStatus::Invalid, |list| list.statuses.get(place)))
    }
}

async fn make(app: &App, list: i64, now: i64) -> Result<Option<Arc<MadeList>>, StartError> {
    let first = list.checked_mul(ENTRIES_PER_LIST).filter(|first| *first >= 0);
    let Some(range) = first.and_then(|first| Some(first..first.checked_add(ENTRIES_PER_LIST)?)) else {
        return Ok(None);
    };
    if !app.store.has_status_entries(&range, now).await? {
        return Ok(None);
    }
    let statuses = statuses(app, &range, now).await?;
    let ttl = app.config.tokens.status_list_ttl_seconds;
    let token = statuses
        .sign(&app.config.issuer, list, now, ttl, &app.signing_keys())
        .map_err(|problem| StartError::Keys(problem.to_string()))?;
    let etag = format!("\"{}\"", digest(&token).get(..32).unwrap_or_default());
    Ok(Some(Arc::new(MadeList { token, etag, made_at: now, statuses })))
}

/// By the same rules by which a token would be taken as a subject token.
async fn statuses(app: &App, range: &Range<i64>, now: i64) -> Result<Statuses, StoreError> {
    let snapshot = app.snapshot();
    let state = app.store.entry_state(range).await?;
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
            let consents = app.consents.of(&app.store, &user).await?;
            let carries_on = carries_on(&snapshot.registry, &consents, &user, &key.1, now);
            goes_on.insert(key, carries_on);
            carries_on
        };
        if !carries_on {
            set(index, TokenStatus::Invalid);
        }
    }
    // A client that went back to asking each user must ask: what the administrator agreed to for all counts no more.
    for (consent, client) in app.store.consents_for_everyone().await? {
        let entry = snapshot.registry.client(&client);
        if entry.is_none_or(|entry| entry.client.consent != ConsentMode::Admin) {
            for index in app.store.entries_resting_on(range, &consent).await? {
                set(index, TokenStatus::Invalid);
            }
        }
    }
    Ok(statuses)
}
