//! Gate 9: the user agreed that this client may have these scopes at this backend.

use super::subject::ValidSubject;
use super::{Cut, Delegation, Gate, Question, ReasonCode, Refusal, Trace};
use crate::domain::client::ConsentMode;
use crate::domain::consent::{Consent, ConsentSource, ConsentingUser};
use crate::domain::delegation::ActChain;
use crate::domain::names::{ClientId, ResourceId, UserId};
use crate::domain::registry::Registry;
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;

/// What the user would have to agree to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentNeeded {
    /// Who.
    pub user: UserId,
    /// To whom.
    pub client: ClientId,
    /// For which backend.
    pub resource: ResourceId,
    /// To what.
    pub scopes: ScopeSet,
    /// The clients that act already in the token that was shown, the current one first: for them it is asked.
    pub behind: Vec<ClientId>,
}

/// What the user agreed to.
#[derive(Debug)]
pub(super) struct Agreed<'a> {
    pub(super) scopes: ScopeSet,
    pub(super) consent: Option<&'a Consent>,
}

/// A token rests on one consent record: of the live ones, the one that covers most, the user's own first.
pub(super) fn agreed<'a>(
    question: &Question<'_>,
    asked: Delegation<'a>,
    subject: &ValidSubject<'_>,
    resource: &Resource,
    scopes: ScopeSet,
    cut: &mut Vec<Cut>,
    trace: &mut Trace,
) -> Result<Agreed<'a>, Refusal> {
    let Some(user) = subject.user() else {
        trace.skip(&[Gate::Consent], "the subject is a client, no user is involved");
        return Ok(Agreed { scopes, consent: None });
    };
    let client = &question.client.client.id;
    let concerns =
        |consent: &&Consent| consent.client == *client && consent.resource == resource.id && consent.speaks_for(user);
    let all: Vec<&Consent> = asked.consents.iter().filter(concerns).collect();
    let covered = |consent: &Consent| scopes.iter().filter(|scope| consent.scopes.contains(scope)).count();
    let best = all
        .iter()
        .filter(|consent| holds(question.registry, consent, question.now) && covered(consent) > 0)
        .max_by_key(|consent| (covered(consent), matches!(consent.user, ConsentingUser::One(_)), consent.granted_at));
    let Some(consent) = best else {
        let reason = why_none(&all, &scopes, question.now);
        let detail = format!("user {user} has not agreed to {scopes} at {} for {client}", resource.id);
        let acting = subject.token.act.iter().flat_map(ActChain::actors);
        let behind = acting.filter_map(|actor| actor.sub.parse().ok()).filter(|id| id != client).collect();
        let (user, client, resource) = (user.clone(), client.clone(), resource.id.clone());
        let consent = ConsentNeeded { user, client, resource, scopes, behind };
        // A user who pauses a client is not asked again until they let it go on.
        let consent = (reason != ReasonCode::ConsentPaused).then(|| Box::new(consent));
        return Err(Refusal { consent, ..Refusal::new(reason, detail) });
    };
    let (scopes, missing) = scopes.partition(|scope| consent.scopes.contains(scope));
    let dropped: Vec<Cut> =
        missing.iter().map(|scope| Cut { scope: scope.clone(), reason: ReasonCode::ConsentMissing }).collect();
    let by = match (&consent.user, consent.source) {
        (ConsentingUser::Everyone, _) => "by an administrator for everyone",
        (ConsentingUser::One(_), ConsentSource::Admin) => "recorded by an administrator",
        (ConsentingUser::One(_), ConsentSource::User) => "by the user",
    };
    trace.pass_or_narrow(Gate::Consent, &dropped, format!("{} {by}", consent.id));
    cut.extend(dropped);
    Ok(Agreed { scopes, consent: Some(consent) })
}

/// True while the consent of this id holds for the user, or the one that replaced it does: a user who agrees to more takes
/// nothing back.
///
/// What replaces a consent is recorded in the second in which the earlier one ends. After a consent was taken back, a
/// later one does not revive the tokens that rested on it.
pub fn carries_on(registry: &Registry, consents: &[Consent], user: &UserId, id: &str, now: i64) -> bool {
    // More replacements than anybody makes while a token lives; those of one second could otherwise lead in a circle.
    const REPLACEMENTS: usize = 8;
    let mut candidates: Vec<&Consent> =
        consents.iter().filter(|consent| consent.id == id && consent.speaks_for(user)).collect();
    for _ in 0..=REPLACEMENTS {
        if candidates.iter().any(|consent| holds(registry, consent, now)) {
            return true;
        }
        let replaced_by = |later: &&Consent| {
            candidates.iter().any(|earlier| {
                later.id != earlier.id
                    && later.user == earlier.user
                    && later.client == earlier.client
                    && later.resource == earlier.resource
                    && Some(later.granted_at) == earlier.revoked_at
                    && earlier.scopes.is_subset(&later.scopes)
            })
        };
        candidates = consents.iter().filter(replaced_by).collect();
    }
    false
}

/// True while a consent counts. One for everyone counts only while the client is declared with `consent = "admin"`:
/// a client that went back to asking each user must ask.
fn holds(registry: &Registry, consent: &Consent, now: i64) -> bool {
    let declared = match consent.user {
        ConsentingUser::One(_) => true,
        ConsentingUser::Everyone => {
            registry.client(&consent.client).is_some_and(|entry| entry.client.consent == ConsentMode::Admin)
        }
    };
    declared && consent.is_live(now)
}

fn why_none(all: &[&Consent], scopes: &ScopeSet, now: i64) -> ReasonCode {
    // The client waits, whatever it asks for: an answer to a new question would replace what the user only paused.
    if all.iter().any(|consent| consent.is_paused(now)) {
        return ReasonCode::ConsentPaused;
    }
    let newest = all
        .iter()
        .filter(|consent| !consent.is_live(now) && scopes.iter().any(|scope| consent.scopes.contains(scope)))
        .max_by_key(|consent| consent.granted_at);
    match newest {
        Some(consent) if consent.revoked_at.is_some() => ReasonCode::ConsentRevoked,
        Some(_) => ReasonCode::ConsentExpired,
        None => ReasonCode::ConsentMissing,
    }
}
