//! Decisions as audit events.

use super::{Caller, Received};
use crate::domain::client::ClientAuthentication;
use crate::domain::decision::{Decision, Granted, GrantedSubject, Refusal, TraceLine};
use crate::domain::event::{AuditEvent, CutScope, EventKind, EventOutcome, EventSubject};
use crate::domain::names::ClientId;
use crate::domain::scope::ScopeSet;
use crate::domain::subject::{Subject, SubjectIssuer};
use crate::domain::target::Target;
use crate::domain::user::User;
use crate::tokens::mint::Minted;

/// What is known of the request when it is decided.
pub(super) struct Asked<'a> {
    pub(super) received: &'a Received,
    pub(super) caller: &'a Caller,
    pub(super) kind: EventKind,
    pub(super) scopes: Option<&'a ScopeSet>,
    /// The verified subject token; none if there is none, or it did not verify.
    pub(super) subject: Option<&'a Subject>,
    /// The `sub` of our tokens for it.
    pub(super) subject_party: Option<EventSubject>,
    /// Our issuer, as the issuer of our own subject tokens.
    pub(super) subject_issuer: Option<String>,
    /// The backend that was named, if it is one; what else was named is in the detail of the refusal.
    pub(super) target: Option<Target>,
    pub(super) policy_hash: &'a str,
}

impl Asked<'_> {
    fn base(&self, outcome: EventOutcome, reason: &str, trace: Vec<TraceLine>) -> AuditEvent {
        let mut event = self.received.event(self.kind, outcome, reason);
        event.client = Some(self.caller.client.client.id.clone());
        event.client_authentication = Some(self.caller.authentication.as_str().to_owned());
        event.asked = self.scopes.cloned();
        event.subject.clone_from(&self.subject_party);
        event.subject_issuer.clone_from(&self.subject_issuer);
        event.policy_hash = Some(self.policy_hash.to_owned());
        if let Some(subject) = self.subject {
            event.subject_jti.clone_from(&subject.jti);
            event.actors = subject
                .act
                .iter()
                .flat_map(super::super::domain::delegation::ActChain::actors)
                .map(|actor| actor.sub.clone())
                .collect();
            if let SubjectIssuer::Own(own) = &subject.issuer {
                event.txn.clone_from(&own.txn);
            }
        }
        event.trace = trace;
        event
    }

    pub(super) fn refused(&self, refusal: &Refusal, trace: Vec<TraceLine>) -> AuditEvent {
        let mut event = self.base(EventOutcome::Refused, refusal.reason.as_str(), trace);
        event.error = Some(refusal.error().as_str().to_owned());
        event.detail = Some(refusal.detail.clone()).filter(|detail| !detail.is_empty());
        if let Some(target) = &self.target {
            set_target(&mut event, target);
        } else if let Some(needed) = &refusal.consent {
            event.resource = Some(needed.resource.clone());
        }
        event
    }

    pub(super) fn granted(&self, granted: &Granted, minted: &Minted, trace: Vec<TraceLine>) -> AuditEvent {
        let mut event = Self::permitted(granted, self.base(EventOutcome::Granted, "granted", trace));
        event.txn = Some(minted.txn.clone());
        event.jti = Some(minted.jti.clone());
        event.status = minted.status;
        event.kid = Some(minted.kid.clone());
        event.expires_at = Some(granted.expires_at);
        event
    }

    /// The event of a code: nothing was issued yet, but all is decided.
    pub(super) fn authorized(&self, granted: &Granted, family: &str, trace: Vec<TraceLine>) -> AuditEvent {
        let mut event = Self::permitted(granted, self.base(EventOutcome::Done, "code_issued", trace));
        event.detail = Some(format!("grant family {family}"));
        event
    }

    fn permitted(granted: &Granted, mut event: AuditEvent) -> AuditEvent {
        let session = event.subject.take().and_then(|party| party.idp_session);
        event.subject = Some(party(&granted.subject).in_session(session));
        event.actors = granted
            .chain
            .iter()
            .flat_map(super::super::domain::delegation::ActChain::actors)
            .map(|actor| actor.sub.clone())
            .collect();
        set_target(&mut event, &granted.target);
        event.granted = Some(granted.scopes.clone());
        event.cut = granted
            .cut
            .iter()
            .map(|cut| CutScope { scope: cut.scope.as_str().to_owned(), reason: cut.reason.as_str().to_owned() })
            .collect();
        event.grant_id.clone_from(&granted.grant_id);
        event.sid.clone_from(&granted.sid);
        event.policies.clone_from(&granted.policies);
        event
    }
}

fn set_target(event: &mut AuditEvent, target: &Target) {
    match target {
        Target::Resource(resource) => {
            event.resource = Some(resource.id.clone());
            event.audience = Some(resource.audience.as_str().to_owned());
        }
        Target::Issuer => event.audience = Some("this server".to_owned()),
    }
}

impl Received {
    /// An event of this request, with what every one of its events has.
    pub fn event(&self, kind: EventKind, outcome: EventOutcome, reason: &str) -> AuditEvent {
        let mut event = AuditEvent::new(self.at_ms, self.request_id.clone(), kind, outcome, reason);
        event.source = self.source.map(|address| address.to_string());
        event.trace_id.clone_from(&self.trace_id);
        event
    }
}

/// The subject of a grant, as an auditor knows it.
pub(super) fn party(subject: &GrantedSubject) -> EventSubject {
    match subject {
        GrantedSubject::User { id, idp, idp_sub, .. } => EventSubject::user(id, idp, idp_sub),
        GrantedSubject::Client(id) => EventSubject::named(id.as_str()),
    }
}

/// What a grant taught us of a user; nothing for a client, or for a user known from an earlier hop.
pub(super) fn learned(granted: &Granted, subject: &Subject) -> Option<User> {
    match (&granted.subject, &subject.issuer) {
        (GrantedSubject::User { id, idp, idp_sub, attributes }, SubjectIssuer::Idp(_)) => Some(User {
            id: id.clone(),
            idp: idp.clone(),
            idp_sub: idp_sub.clone(),
            attributes: attributes.clone(),
            attributes_at: subject.issued_at.unwrap_or(granted.issued_at),
            suspended_at: None,
        }),
        (GrantedSubject::User { .. } | GrantedSubject::Client(_), _) => None,
    }
}

/// The event of a request that was refused before its grant could be decided.
pub fn refused_early(
    request: &Received,
    kind: EventKind,
    client: Option<&ClientId>,
    authentication: Option<ClientAuthentication>,
    refusal: &Refusal,
) -> AuditEvent {
    let decision = Decision::refused_early(refusal.clone());
    let mut event = request.event(kind, EventOutcome::Refused, refusal.reason.as_str());
    event.client = client.cloned();
    event.client_authentication = authentication.map(|method| method.as_str().to_owned());
    event.error = Some(refusal.error().as_str().to_owned());
    event.detail = Some(refusal.detail.clone()).filter(|detail| !detail.is_empty());
    event.trace = decision.trace.into_lines();
    event
}
