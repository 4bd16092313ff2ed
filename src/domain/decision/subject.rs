//! Gates 3 and 4: the subject token is valid, and belongs to the client that presents it.

use super::consent::carries_on;
use super::target::sources;
use super::{Delegation, Gate, GrantedSubject, Question, ReasonCode, Refusal, Trace};
use crate::domain::client::ClientEntry;
use crate::domain::consent::Consent;
use crate::domain::delegation::{ActChain, Actor};
use crate::domain::dynamic_client::OWN_ID_STARTS;
use crate::domain::identity_provider::{IdentityProvider, SubjectTokenRule};
use crate::domain::names::{IdpId, UserId};
use crate::domain::subject::{OwnToken, Subject, SubjectIssuer};

/// A valid subject: the token, and the party it names here.
#[derive(Debug)]
pub(super) struct ValidSubject<'a> {
    pub(super) token: &'a Subject,
    pub(super) party: GrantedSubject,
}

impl ValidSubject<'_> {
    pub(super) fn own(&self) -> Option<&OwnToken> {
        self.token.own()
    }

    pub(super) fn user(&self) -> Option<&UserId> {
        match &self.party {
            GrantedSubject::User { id, .. } => Some(id),
            GrantedSubject::Client(_) => None,
        }
    }

    /// The client that the subject is, if it is no user.
    pub(super) fn client<'q>(&self, question: &'q Question<'_>) -> Option<&'q ClientEntry> {
        match &self.party {
            GrantedSubject::User { .. } => None,
            GrantedSubject::Client(id) => question.client_by_name(id.as_str()),
        }
    }

    /// What must not be exchanged by this client again, if the rule says so.
    pub(super) fn single_use(&self, rule: Option<&SubjectTokenRule>) -> Option<(IdpId, String)> {
        match (&self.token.issuer, &self.token.jti) {
            (SubjectIssuer::Idp(idp), Some(jti)) if rule.is_some_and(|rule| rule.single_use) => {
                Some((idp.clone(), jti.clone()))
            }
            (SubjectIssuer::Idp(_) | SubjectIssuer::Own(_) | SubjectIssuer::SignIn(_), _) => None,
        }
    }

    pub(super) fn txn(&self) -> Option<String> {
        self.own().and_then(|own| own.txn.clone())
    }

    /// The consent of this hop, and those of the hops before, oldest first.
    pub(super) fn grants(&self, consent: Option<&Consent>) -> (Option<String>, Vec<String>) {
        let mut earlier: Vec<String> = self.own().map(|own| own.earlier_grants.clone()).unwrap_or_default();
        earlier.extend(self.own().and_then(|own| own.grant_id.clone()));
        let grant_id = consent.map(|consent| consent.id.clone());
        earlier.retain(|id| Some(id) != grant_id.as_ref());
        (grant_id, earlier)
    }
}

pub(super) fn valid<'a>(
    question: &Question<'_>,
    asked: Delegation<'a>,
    trace: &mut Trace,
) -> Result<ValidSubject<'a>, Refusal> {
    let token = asked.subject.map_err(Clone::clone)?;
    if let Some(why) = asked.session_ended {
        return Err(Refusal::new(ReasonCode::SubjectSessionEnded, why));
    }
    earlier_actors_are_active(question, token)?;
    let party = match &token.issuer {
        SubjectIssuer::Idp(idp) | SubjectIssuer::SignIn(idp) => user_of_idp(question, idp, token)?,
        SubjectIssuer::Own(own) => match &own.grant_id {
            Some(grant_id) => known_user(question, asked, token, grant_id, own)?,
            None => client_itself(question, token)?,
        },
    };
    if let GrantedSubject::User { id, .. } = &party
        && question.registry.is_suspended(id)
    {
        return Err(Refusal::new(ReasonCode::UserSuspended, format!("user {id} is suspended")));
    }
    // Last, for what ended it has a reason of its own where it is known.
    if asked.is_ended_in_list {
        return Err(Refusal::new(ReasonCode::SubjectRevoked, "its status list says that it has ended"));
    }
    let issuer = match &token.issuer {
        SubjectIssuer::Idp(idp) => format!("identity provider {idp}"),
        SubjectIssuer::Own(_) => "this server".to_owned(),
        SubjectIssuer::SignIn(idp) => format!("a sign-in at identity provider {idp}"),
    };
    let left = token.expires_at.saturating_sub(question.now);
    trace.pass(Gate::SubjectToken, format!("{} of {issuer}, {left} seconds left", party.sub()));
    Ok(ValidSubject { token, party })
}

fn user_of_idp(question: &Question<'_>, id: &IdpId, token: &Subject) -> Result<GrantedSubject, Refusal> {
    let idp = registered(question, id)?;
    let user: UserId = format!("{}{}", idp.prefix(), token.sub)
        .parse()
        .map_err(|problem| Refusal::new(ReasonCode::UserUnknown, format!("sub: {problem}")))?;
    is_no_client(question, &user)?;
    Ok(GrantedSubject::User {
        id: user,
        idp: id.clone(),
        idp_sub: token.sub.clone(),
        attributes: token.attributes.clone(),
    })
}

fn registered<'a>(question: &Question<'a>, id: &IdpId) -> Result<&'a IdentityProvider, Refusal> {
    question.registry.idp(id).map(AsRef::as_ref).ok_or_else(|| {
        Refusal::new(ReasonCode::SubjectTokenIssuerUnknown, format!("identity provider {id} is not registered"))
    })
}

/// A user must never be taken for a client nor the other way round (RFC 9700 §4.15).
fn is_no_client(question: &Question<'_>, user: &UserId) -> Result<(), Refusal> {
    let refused = |why: &str| Err(Refusal::new(ReasonCode::UserUnknown, format!("{user} {why}")));
    if question.client_by_name(user.as_str()).is_some() {
        return refused("is the id of a client");
    }
    // A sole provider may have users without a prefix; a client could register itself later.
    if OWN_ID_STARTS.iter().any(|start| user.as_str().starts_with(start)) {
        return refused("begins as the ids of clients do that nobody registered");
    }
    Ok(())
}

/// The user of our own token, by what we remember: still vouched for, and every consent on the way still holds.
fn known_user(
    question: &Question<'_>,
    asked: Delegation<'_>,
    token: &Subject,
    grant_id: &str,
    own: &OwnToken,
) -> Result<GrantedSubject, Refusal> {
    let user = asked.known_user.filter(|user| user.id.as_str() == token.sub).ok_or_else(|| {
        Refusal::new(ReasonCode::UserUnknown, "nothing is known of the user of this token".to_owned())
    })?;
    registered(question, &user.idp)?;
    is_no_client(question, &user.id)?;
    for id in own.earlier_grants.iter().map(String::as_str).chain([grant_id]) {
        if !carries_on(question.registry, asked.consents, &user.id, id, question.now) {
            let detail = format!("consent {id} was taken back, has ended, or is unknown");
            return Err(Refusal::new(ReasonCode::SubjectRevoked, detail));
        }
    }
    Ok(GrantedSubject::User {
        id: user.id.clone(),
        idp: user.idp.clone(),
        idp_sub: user.idp_sub.clone(),
        attributes: user.attributes.clone(),
    })
}

fn client_itself(question: &Question<'_>, token: &Subject) -> Result<GrantedSubject, Refusal> {
    let active = question.client_by_name(&token.sub).filter(|entry| entry.suspended_at.is_none());
    let entry = active.ok_or_else(|| {
        Refusal::new(ReasonCode::SubjectActorStopped, "the subject is not a registered, active client".to_owned())
    })?;
    Ok(GrantedSubject::Client(entry.client.id.clone()))
}

/// Whoever signed the chain: an actor in our own words is a client here, and must still be one.
fn earlier_actors_are_active(question: &Question<'_>, token: &Subject) -> Result<(), Refusal> {
    let in_chain = token.act.iter().flat_map(ActChain::actors);
    let ours = in_chain.filter(|actor| actor.iss.as_deref() == Some(question.issuer)).map(|actor| actor.sub.as_str());
    let holder = match &token.issuer {
        SubjectIssuer::Own(own) => Some(own.client_id.as_str()),
        SubjectIssuer::Idp(_) | SubjectIssuer::SignIn(_) => None,
    };
    for id in ours.chain(holder) {
        if question.client_by_name(id).is_none_or(|entry| entry.suspended_at.is_some()) {
            let detail = format!("client {id} of the chain is suspended or removed");
            return Err(Refusal::new(ReasonCode::SubjectActorStopped, detail));
        }
    }
    Ok(())
}

/// The rule by which the client may present the token; none for our own tokens, which need no rule.
pub(super) fn belongs_to_client<'a>(
    question: &Question<'a>,
    subject: &ValidSubject<'_>,
    trace: &mut Trace,
) -> Result<Option<&'a SubjectTokenRule>, Refusal> {
    match &subject.token.issuer {
        SubjectIssuer::Idp(id) => {
            let rule = matching_rule(question, registered(question, id)?, subject.token)?;
            let note =
                format!("aud {} is accepted from {}", subject.token.audiences.join(" "), question.client.client.id);
            trace.pass(Gate::SubjectOwner, note);
            Ok(Some(rule))
        }
        SubjectIssuer::Own(own) => {
            let note = own_token_belongs(question, subject, own)?;
            trace.pass(Gate::SubjectOwner, note);
            Ok(None)
        }
        // Whose the code or the refresh token is was looked at when it was read: another client's is a refusal.
        SubjectIssuer::SignIn(_) => {
            trace.pass(Gate::SubjectOwner, format!("the user signed in for {}", question.client.client.id));
            Ok(None)
        }
    }
}

/// The first rule that accepts the token; otherwise the refusal of the rule that came furthest.
fn matching_rule<'a>(
    question: &Question<'a>,
    idp: &'a IdentityProvider,
    token: &Subject,
) -> Result<&'a SubjectTokenRule, Refusal> {
    let mut furthest: Option<(u8, Refusal)> = None;
    for rule in idp.subject_tokens.iter().filter(|rule| rule.token_type == token.token_type) {
        match accepts(question, rule, token) {
            Ok(()) => return Ok(rule),
            Err((step, refusal)) => {
                if furthest.as_ref().is_none_or(|(best, _)| step > *best) {
                    furthest = Some((step, refusal));
                }
            }
        }
    }
    Err(furthest.map_or_else(
        || {
            let detail = format!("identity provider {} has no rule for {}", idp.id, token.token_type.uri());
            Refusal::new(ReasonCode::SubjectTokenTypeNotAccepted, detail)
        },
        |(_, refusal)| refusal,
    ))
}

fn accepts(question: &Question<'_>, rule: &SubjectTokenRule, token: &Subject) -> Result<(), (u8, Refusal)> {
    let client = &question.client.client.id;
    // Every audience must be known: a token that is also good elsewhere is not ours to trade.
    if token.audiences.is_empty() || !token.audiences.iter().all(|aud| rule.audiences.contains(aud)) {
        let detail = format!("aud {:?} is not within the accepted {:?}", token.audiences, rule.audiences);
        return Err((1, Refusal::new(ReasonCode::SubjectTokenAudienceForeign, detail)));
    }
    if !rule.clients.contains(client) {
        let detail = format!("aud {:?} is accepted, but not from client {client}", token.audiences);
        return Err((2, Refusal::new(ReasonCode::SubjectTokenAudienceForeign, detail)));
    }
    if let Some(azp) = &token.azp
        && !rule.audiences.contains(azp)
    {
        let detail = format!("azp {azp:?} is not within the accepted {:?}", rule.audiences);
        return Err((3, Refusal::new(ReasonCode::SubjectTokenAzpForeign, detail)));
    }
    if let Some((name, wanted)) =
        rule.required_claims.iter().find(|(name, value)| token.named_claims.get(*name) != Some(*value))
    {
        let detail = format!("claim {name} must be {wanted:?}");
        return Err((4, Refusal::new(ReasonCode::SubjectTokenClaimForeign, detail)));
    }
    if rule.single_use && token.jti.is_none() {
        let detail = "claim jti is missing, and the rule says single_use".to_owned();
        return Err((4, Refusal::new(ReasonCode::SubjectTokenClaimForeign, detail)));
    }
    if let Some(max_age) = rule.max_age_seconds {
        let age = token.issued_at.map(|at| question.now.saturating_sub(at));
        if age.is_none_or(|age| age > i64::from(max_age)) {
            let age = age.map_or("without iat".to_owned(), |age| format!("{age} seconds old"));
            let detail = format!("the token is {age}; at most {max_age} seconds are accepted");
            return Err((5, Refusal::new(ReasonCode::SubjectTokenTooOld, detail)));
        }
    }
    Ok(())
}

/// Our own token may be exchanged by the backend it is for, or by the client that it names (rule TX-35).
fn own_token_belongs(question: &Question<'_>, subject: &ValidSubject<'_>, own: &OwnToken) -> Result<String, Refusal> {
    let client = &question.client.client;
    if let GrantedSubject::Client(id) = &subject.party {
        if !client.may_act_for.contains(id) {
            let detail = format!("{id} is not in may_act_for of client {}", client.id);
            return Err(Refusal::new(ReasonCode::WorkloadNotPermitted, detail));
        }
        // A token for this server was given away to be exchanged; one for a backend is only for that backend.
        if subject.token.audiences == [question.issuer] {
            return Ok(format!("{} may act for client {id}", client.id));
        }
    }
    if is_holder(question, subject.token, own) {
        return Ok(format!("{} is the client that the token was issued to", client.id));
    }
    let addressed = sources(question, subject).find(|resource| resource.clients.contains(&client.id));
    if let Some(resource) = addressed {
        Ok(format!("{} is a client of its audience {}", client.id, resource.id))
    } else {
        let detail = format!("{} is neither a client of the token's audience nor its actor", client.id);
        Err(Refusal::new(ReasonCode::SubjectTokenNotAddressed, detail))
    }
}

/// True if the requesting client is the token's current actor, or got it.
pub(super) fn is_holder(question: &Question<'_>, token: &Subject, own: &OwnToken) -> bool {
    let client = &question.client.client.id;
    let current = token.act.as_ref().map(ActChain::current);
    own.client_id == client.as_str()
        || current.is_some_and(|actor| actor.is_same_party(&Actor::client(question.issuer, client)))
}
