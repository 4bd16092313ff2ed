//! Which tokens that were issued still live, by the audit trail: nothing else knows of each.

use crate::domain::change::RevocationTarget;
use crate::domain::consent::Consent;
use crate::domain::event::AuditEvent;
use crate::domain::names::IdpId;
use crate::store::{EventFilter, Store, StoreError};
use std::collections::BTreeSet;

/// No token lives longer, in milliseconds.
const LONGEST_LIFE_MS: i64 = 3_600_000;
/// The most events that are looked at.
const MOST: i64 = 100_000;

/// Tokens that live, as the events that issued them.
#[derive(Debug)]
pub struct LiveTokens {
    events: Vec<AuditEvent>,
    /// False if there were too many to look at all of them: counts are then at least so high.
    pub is_complete: bool,
}

impl LiveTokens {
    /// Those that live at `now_ms`, Unix milliseconds.
    pub async fn at(store: &Store, now_ms: i64) -> Result<Self, StoreError> {
        let filter = EventFilter {
            since_ms: Some(now_ms.saturating_sub(LONGEST_LIFE_MS)),
            outcome: Some("granted".to_owned()),
            limit: MOST,
            ..EventFilter::default()
        };
        let mut events = store.list_events(&filter).await?;
        let is_complete = i64::try_from(events.len()).is_ok_and(|count| count < MOST);
        let now = now_ms.div_euclid(1000);
        events.retain(|event| event.jti.is_some() && event.expires_at.is_some_and(|ends| ends > now));
        Ok(Self { events, is_complete })
    }

    /// How many end with a target.
    pub fn of(&self, target: &RevocationTarget) -> usize {
        match target {
            RevocationTarget::User(id) => self.count(|event| event.subject_sub() == Some(id.as_str())),
            RevocationTarget::Client(id) => self.count(|event| {
                event.client.as_ref() == Some(id) || event.actors.iter().any(|actor| actor == id.as_str())
            }),
            RevocationTarget::Resource(id) => self.count(|event| event.resource.as_ref() == Some(id)),
            RevocationTarget::Session { idp, session } => self.of_session(idp, session),
        }
    }

    /// Those of the session, and those of later hops, which no token outlives that it came of.
    fn of_session(&self, idp: &IdpId, session: &str) -> usize {
        let is_of_it = |event: &&AuditEvent| {
            event.subject.as_ref().is_some_and(|subject| {
                subject.idp.as_ref() == Some(idp) && subject.idp_session.as_deref() == Some(session)
            })
        };
        let transactions: BTreeSet<&str> =
            self.events.iter().filter(is_of_it).filter_map(|event| event.txn.as_deref()).collect();
        self.count(|event| event.txn.as_deref().is_some_and(|txn| transactions.contains(txn)))
    }

    /// How many rest on a consent, and how many came of those at later hops.
    pub fn of_consent(&self, consent: &Consent) -> (usize, usize) {
        let rests = |event: &&AuditEvent| event.grant_id.as_ref() == Some(&consent.id);
        // A token of a later hop has one more actor in the same transaction, and a consent of its own.
        let roots: BTreeSet<(&str, &[String])> = self
            .events
            .iter()
            .filter(rests)
            .filter_map(|event| Some((event.txn.as_deref()?, event.actors.as_slice())))
            .collect();
        let came_of = |event: &AuditEvent| {
            let actors = &event.actors;
            event.grant_id.as_ref() != Some(&consent.id)
                && event.txn.as_deref().is_some_and(|txn| {
                    (1..actors.len()).any(|from| roots.contains(&(txn, actors.get(from..).unwrap_or_default())))
                })
        };
        (self.events.iter().filter(rests).count(), self.count(came_of))
    }

    fn count(&self, is_one: impl Fn(&AuditEvent) -> bool) -> usize {
        self.events.iter().filter(|event| is_one(event)).count()
    }
}
