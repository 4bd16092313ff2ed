//! Which tokens that were issued still live, by the audit trail: nothing else knows of each.

use super::explain::earlier_hops;
use crate::domain::change::RevocationTarget;
use crate::domain::consent::Consent;
use crate::domain::decision::carries_on;
use crate::domain::event::AuditEvent;
use crate::domain::names::{ClientId, IdpId, ResourceId, UserId};
use crate::domain::registry::Registry;
use crate::domain::token_status::{Revocations, Support, branches, sign_in_supports};
use crate::store::{EventFilter, Store, StoreError};
use std::collections::{HashMap, HashSet};

/// No token lives longer, in milliseconds.
const LONGEST_LIFE_MS: i64 = 3_600_000;
/// The most events that are looked at.
const MOST: i64 = 100_000;

/// Tokens that live, as the events that issued them.
#[derive(Debug)]
pub struct LiveTokens {
    events: Vec<AuditEvent>,
    registry: Registry,
    /// Consents that were replaced and on which tokens rest that go on, each with all that there are of its user.
    replaced: Vec<Replaced>,
    now: i64,
    /// False if there were too many to look at all of them: counts are then at least so high.
    pub is_complete: bool,
}

impl LiveTokens {
    /// Those that live at `now_ms`, Unix milliseconds.
    pub async fn at(store: &Store, registry: Registry, now_ms: i64) -> Result<Self, StoreError> {
        let since_ms = now_ms.saturating_sub(LONGEST_LIFE_MS);
        let filter = EventFilter {
            since_ms: Some(since_ms),
            outcome: Some("granted".to_owned()),
            limit: MOST,
            ..EventFilter::default()
        };
        let mut events = store.list_events(&filter).await?;
        let is_complete = i64::try_from(events.len()).is_ok_and(|count| count < MOST);
        let now = now_ms.div_euclid(1000);
        events.retain(|event| event.jti.is_some() && event.expires_at.is_some_and(|ends| ends > now));

        let endings = Endings::since(store, since_ms.div_euclid(1000), now).await?;
        let revoked = store.consents_revoked_since(since_ms.div_euclid(1000)).await?;
        let mut judged: HashMap<(UserId, String), bool> = HashMap::new();
        let mut replaced = Vec::new();
        for event in &events {
            let Some(key) = event.user().zip(event.grant_id.clone()).filter(|(_, id)| revoked.contains(id)) else {
                continue;
            };
            if judged.contains_key(&key) {
                continue;
            }
            let (user, id) = key.clone();
            let consents = store.consents_of(&user).await?;
            let goes_on = carries_on(&registry, &consents, &user, &id, now);
            judged.insert(key, goes_on);
            replaced.extend(goes_on.then_some(Replaced { user, id, consents }));
        }
        let has_ended = |event: &AuditEvent| {
            let is_taken_back = || {
                let key = event.user().zip(event.grant_id.clone());
                key.is_some_and(|key| judged.get(&key).is_some_and(|goes_on| !goes_on))
            };
            endings.of(event).is_some() || is_taken_back()
        };
        let (ended, live): (Vec<&AuditEvent>, Vec<&AuditEvent>) = events.iter().partition(|event| has_ended(event));
        // What a token with a status entry came of is told by that; of others by transaction and actors.
        let by_actors = Roots::of(ended.iter().copied());
        let without_entry = live.iter().filter(|event| event.status.is_none() && by_actors.have_later(event));
        let first = ended.iter().chain(without_entry).filter_map(|event| event.jti.clone()).collect();
        let ended = with_later_hops(&events, first, |event| event.status.is_some());
        events.retain(|event| event.jti.as_ref().is_some_and(|jti| !ended.contains(jti)));
        Ok(Self { events, registry, replaced, now, is_complete })
    }

    /// How many end with a target.
    pub fn of(&self, target: &RevocationTarget) -> usize {
        match target {
            RevocationTarget::User(id) => self.count(|event| event.subject_sub() == Some(id.as_str())),
            RevocationTarget::Client(id) => self.count(|event| {
                event.client.as_ref() == Some(id) || event.actors.iter().any(|actor| actor == id.as_str())
            }),
            RevocationTarget::Resource(id) => self.of_resource(id),
            RevocationTarget::Session { idp, session } => self.of_session(idp, session),
        }
    }

    /// Those for the backend, and those that came of one for it, as servers tell it: for backends with a status list by the
    /// token that was exchanged; for others by the actors, of whom a client of the backend was one, and not the first.
    fn of_resource(&self, id: &ResourceId) -> usize {
        let resource = self.registry.resource(id);
        let by_actors = |event: &AuditEvent| {
            let later = event.actors.split_last().map_or(&[][..], |(_, later)| later);
            let acted = |client: &ClientId| later.iter().any(|actor| actor == client.as_str());
            resource.is_some_and(|it| it.clients.iter().any(acted))
        };
        let first =
            |event: &&AuditEvent| event.resource.as_ref() == Some(id) || (event.status.is_none() && by_actors(event));
        let first = self.events.iter().filter(first).filter_map(|event| event.jti.clone()).collect();
        with_later_hops(&self.events, first, |event| event.status.is_some()).len()
    }

    /// Those of the session, of sign-ins here that came of it, and those of later hops.
    fn of_session(&self, idp: &IdpId, session: &str) -> usize {
        let of_it = |event: &&AuditEvent| session_of(event) == Some((idp, session));
        let sids: HashSet<&str> = self.events.iter().filter(of_it).filter_map(|event| event.sid.as_deref()).collect();
        self.count(|event| event.sid.as_deref().is_some_and(|sid| sids.contains(sid)))
    }

    /// How many rest on a consent, or on one that it replaced, and how many came of those at later hops.
    pub fn of_consent(&self, consent: &Consent) -> (usize, usize) {
        let ends: HashSet<(&UserId, &str)> = self
            .replaced
            .iter()
            .filter(|replaced| !replaced.goes_on_without(consent, &self.registry, self.now))
            .map(|replaced| (&replaced.user, replaced.id.as_str()))
            .collect();
        let rests = |event: &&AuditEvent| {
            let Some(id) = &event.grant_id else { return false };
            *id == consent.id || event.user().is_some_and(|user| ends.contains(&(&user, id.as_str())))
        };
        let first: HashSet<String> = self.events.iter().filter(rests).filter_map(|event| event.jti.clone()).collect();
        // A token names the consents of earlier hops itself.
        let count = first.len();
        (count, with_later_hops(&self.events, first, |_| true).len().saturating_sub(count))
    }

    fn count(&self, is_one: impl Fn(&AuditEvent) -> bool) -> usize {
        self.events.iter().filter(|event| is_one(event)).count()
    }
}

/// The tokens of these ids, and those that were exchanged for one of them, at whatever hop, as far as `follows` goes.
fn with_later_hops(
    events: &[AuditEvent],
    mut ids: HashSet<String>,
    follows: impl Fn(&AuditEvent) -> bool,
) -> HashSet<String> {
    loop {
        let came_of =
            |event: &&AuditEvent| follows(event) && event.subject_jti.as_ref().is_some_and(|jti| ids.contains(jti));
        let next: Vec<String> = events.iter().filter(came_of).filter_map(|event| event.jti.clone()).collect();
        let before = ids.len();
        ids.extend(next);
        if ids.len() == before {
            return ids;
        }
    }
}

/// A consent that another replaced, with every consent of its user.
#[derive(Debug)]
struct Replaced {
    user: UserId,
    id: String,
    consents: Vec<Consent>,
}

impl Replaced {
    /// True if what rests on it would go on, were this consent taken back.
    fn goes_on_without(&self, taken_back: &Consent, registry: &Registry, now: i64) -> bool {
        let mut consents = self.consents.clone();
        for consent in consents.iter_mut().filter(|consent| consent.id == taken_back.id) {
            consent.revoked_at = Some(now);
        }
        carries_on(registry, &consents, &self.user, &self.id, now)
    }
}

/// What was ended before its time, but for consents: the tokens of the last two hours can be looked up.
#[derive(Debug)]
pub struct Endings {
    revocations: Revocations,
    families: HashSet<String>,
}

impl Endings {
    /// What was ended at `since` or later, and is known at `now`; Unix seconds.
    pub async fn since(store: &Store, since: i64, now: i64) -> Result<Self, StoreError> {
        let (revocations, families) = (store.revocations(now).await?, store.families_revoked_since(since).await?);
        Ok(Self { revocations, families })
    }

    /// How the token of an event was ended, in words; none if it was not, or by what it came of.
    fn of(&self, event: &AuditEvent) -> Option<String> {
        let supports = supports(event);
        let ended = self.revocations.ended(&supports, event.at_ms.div_euclid(1000)).map(Support::end_in_words);
        let family = || event.sid.as_ref().filter(|sid| self.families.contains(*sid));
        ended.or_else(|| family().map(|sid| format!("the sign-in that it came of, {sid}, has ended")))
    }

    /// How the token of an event was ended, itself or one that it came of in its transaction.
    pub fn of_chain(&self, event: &AuditEvent, transaction: &[AuditEvent]) -> Option<String> {
        let by_actors =
            |earlier: &&AuditEvent| event.status.is_none() && Roots::of(std::iter::once(*earlier)).have_later(event);
        let hops = earlier_hops(event, transaction);
        let earlier = || hops.into_iter().chain(transaction.iter().filter(by_actors)).find_map(|hop| self.of(hop));
        self.of(event).or_else(earlier)
    }
}

/// What a token rests on, as far as its event tells.
fn supports(event: &AuditEvent) -> Vec<Support> {
    let mut supports: Vec<Support> = event.user().map(Support::User).into_iter().collect();
    supports.extend(event.client.clone().map(Support::Client));
    supports.extend(event.actors.iter().filter_map(|actor| actor.parse().ok()).map(Support::Client));
    supports.extend(event.resource.clone().map(Support::Resource));
    supports.extend(event.grant_id.clone().map(Support::Consent));
    if let Some(user) = of_provider(event) {
        supports.extend(sign_in_supports(event.sid.as_deref(), Some(user)));
    }
    supports.extend(event.status.map(Support::Entry));
    if event.status.is_none() {
        supports.extend(event.txn.iter().flat_map(|txn| branches(txn, &event.actors)));
    }
    supports
}

fn of_provider(event: &AuditEvent) -> Option<(&IdpId, &str)> {
    let subject = event.subject.as_ref()?;
    Some((subject.idp.as_ref()?, subject.idp_sub.as_deref()?))
}

fn session_of(event: &AuditEvent) -> Option<(&IdpId, &str)> {
    let subject = event.subject.as_ref()?;
    Some((subject.idp.as_ref()?, subject.idp_session.as_deref()?))
}

/// Tokens by transaction and actors. One of a later hop has one more actor in the same transaction, and a consent of its
/// own.
struct Roots<'a>(HashMap<&'a str, HashSet<&'a [String]>>);

impl<'a> Roots<'a> {
    fn of(events: impl Iterator<Item = &'a AuditEvent>) -> Self {
        let mut roots: HashMap<&str, HashSet<&[String]>> = HashMap::new();
        for event in events {
            if let Some(txn) = &event.txn {
                roots.entry(txn).or_default().insert(&event.actors);
            }
        }
        Self(roots)
    }

    fn have_later(&self, event: &AuditEvent) -> bool {
        let roots = event.txn.as_deref().and_then(|txn| self.0.get(txn));
        let actors = &event.actors;
        let is_root =
            |from: usize| roots.is_some_and(|roots| actors.get(from..).is_some_and(|earlier| roots.contains(earlier)));
        (1..actors.len()).any(is_root)
    }
}
