//! Which tokens that were issued still live, by the audit trail: nothing else knows of each.

use crate::domain::change::RevocationTarget;
use crate::domain::consent::Consent;
use crate::domain::event::AuditEvent;
use crate::domain::names::IdpId;
use crate::domain::token_status::{Support, branches};
use crate::store::{EventFilter, Store, StoreError};
use std::collections::{HashMap, HashSet};

/// No token lives longer, in milliseconds.
const LONGEST_LIFE_MS: i64 = 3_600_000;
/// The most events that are looked at.
const MOST: i64 = 100_000;

/// Tokens that live, as the events that issued them. What ended with a sign-in whose consent goes on is among them.
#[derive(Debug)]
pub struct LiveTokens {
    events: Vec<AuditEvent>,
    /// False if there were too many to look at all of them: counts are then at least so high.
    pub is_complete: bool,
}

impl LiveTokens {
    /// Those that live at `now_ms`, Unix milliseconds.
    pub async fn at(store: &Store, now_ms: i64) -> Result<Self, StoreError> {
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

        let revocations = store.revocations(now).await?;
        let taken_back = store.consents_revoked_since(since_ms.div_euclid(1000)).await?;
        let has_ended = |event: &AuditEvent| {
            revocations.ended(&supports(event), event.at_ms.div_euclid(1000)).is_some()
                || event.grant_id.as_ref().is_some_and(|consent| taken_back.contains(consent))
        };
        let came_of_ended = Roots::of(events.iter().filter(|event| has_ended(event)));
        let lives: Vec<bool> =
            events.iter().map(|event| !has_ended(event) && !came_of_ended.have_later(event)).collect();
        let mut lives = lives.into_iter();
        events.retain(|_| lives.next().unwrap_or(true));
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
        let of_it = |event: &&AuditEvent| session_of(event) == Some((idp, session));
        let transactions: HashSet<&str> =
            self.events.iter().filter(of_it).filter_map(|event| event.txn.as_deref()).collect();
        self.count(|event| event.txn.as_deref().is_some_and(|txn| transactions.contains(txn)))
    }

    /// How many rest on a consent, and how many came of those at later hops.
    pub fn of_consent(&self, consent: &Consent) -> (usize, usize) {
        let rests = |event: &&AuditEvent| event.grant_id.as_ref() == Some(&consent.id);
        let roots = Roots::of(self.events.iter().filter(rests));
        let came_of = |event: &AuditEvent| event.grant_id.as_ref() != Some(&consent.id) && roots.have_later(event);
        (self.events.iter().filter(rests).count(), self.count(came_of))
    }

    fn count(&self, is_one: impl Fn(&AuditEvent) -> bool) -> usize {
        self.events.iter().filter(|event| is_one(event)).count()
    }
}

/// What a token rests on, as far as its event tells.
fn supports(event: &AuditEvent) -> Vec<Support> {
    let mut supports: Vec<Support> = event.user().map(Support::User).into_iter().collect();
    supports.extend(event.client.clone().map(Support::Client));
    supports.extend(event.actors.iter().filter_map(|actor| actor.parse().ok()).map(Support::Client));
    supports.extend(event.resource.clone().map(Support::Resource));
    supports.extend(event.grant_id.clone().map(Support::Consent));
    supports.extend(session_of(event).map(|(idp, session)| Support::Session(idp.clone(), session.to_owned())));
    supports.extend(event.txn.iter().flat_map(|txn| branches(txn, &event.actors)));
    supports
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
