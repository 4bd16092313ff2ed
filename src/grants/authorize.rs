//! What becomes of an authorization request once the user is known: what would be granted, and the code.

use super::authorization_request::AuthorizationRequest;
use super::event::Asked as AskedEvent;
use super::request::OFFLINE_ACCESS;
use super::{Caller, Failure, Received, facts, refused_early};
use crate::app::{App, Snapshot};
use crate::domain::client::{Assurance, ClientAuthentication, GrantType};
use crate::domain::consent::{Consent, ConsentSource, ConsentingUser};
use crate::domain::decision::{Asked, Decision, Delegation, Granted, Question, Refusal, decide};
use crate::domain::event::{EventKind, EventSubject};
use crate::domain::grant_family::{CODE_SECONDS, GrantFamily, Rotations, Terms};
use crate::domain::identity_provider::SubjectTokenType;
use crate::domain::limits::LimitState;
use crate::domain::names::{ClientId, ResourceId};
use crate::domain::redirect_uri;
use crate::domain::sign_in::SignIn;
use crate::domain::subject::{Subject, SubjectIssuer};
use crate::domain::target::Target;
use crate::secrets::random_id;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An authorization request of a signed-in user.
#[derive(Debug)]
pub struct Authorizing<'a> {
    app: &'a App,
    received: &'a Received,
    request: &'a AuthorizationRequest,
    user: &'a SignIn,
    snapshot: Arc<Snapshot>,
}

/// What would come of a request.
#[derive(Debug)]
pub enum Outlook {
    /// The user agreed to all of it before, and need not be asked.
    Agreed(Box<Granted>),
    /// The user is to be asked for what would be granted.
    Ask(Box<Granted>),
    /// Nothing would be granted, whatever the user says.
    Refused(Box<Decision>),
}

impl<'a> Authorizing<'a> {
    /// A request and its user, on what is declared now.
    pub fn new(app: &'a App, received: &'a Received, request: &'a AuthorizationRequest, user: &'a SignIn) -> Self {
        Self { app, received, request, user, snapshot: app.snapshot() }
    }

    /// Whether the user must be asked, and for what.
    pub async fn outlook(&self) -> Result<Outlook, Failure> {
        let as_it_is = self.decide(None).await?;
        let resource = match &as_it_is.outcome {
            Ok(granted) => granted_resource(granted),
            Err(refusal) => refusal.consent.as_ref().map(|needed| needed.resource.clone()),
        };
        let Some(resource) = resource else {
            return Ok(Outlook::Refused(Box::new(as_it_is)));
        };
        // As if the user agreed to everything: what is left is what there is to agree to.
        let with_all = self.decide(Some(&resource)).await?;
        let Ok(all) = with_all.outcome else {
            return Ok(Outlook::Refused(Box::new(with_all)));
        };
        if let Ok(granted) = &as_it_is.outcome
            && all.scopes.is_subset(&granted.scopes)
            && self.may_be_silent(granted, &resource).await?
        {
            return Ok(Outlook::Agreed(Box::new(all)));
        }
        Ok(Outlook::Ask(Box::new(all)))
    }

    /// Only a client that an administrator vetted, at a place that only it can be at, gets a code without the user seeing
    /// it (rules NA-04, RG-08), and only what the user agreed to when the client was what it is now, and for the same
    /// place (A52).
    async fn may_be_silent(&self, granted: &Granted, resource: &ResourceId) -> Result<bool, Failure> {
        let entry = &self.request.client;
        let vetted = entry.assurance == Assurance::Vetted;
        let is_its_own = redirect_uri::leads_to_its_owner_alone(&self.request.redirect_uri);
        if !vetted || !is_its_own || self.request.prompt.consent || !granted.cut.is_empty() {
            return Ok(false);
        }
        let consents = self.app.consents.of(&self.app.store, &self.user.user).await?;
        let consent = consents.iter().find(|consent| Some(&consent.id) == granted.grant_id.as_ref());
        let is_same = consent.is_some_and(|consent| {
            // An administrator agreed to the client as it is declared, with all its addresses.
            let seen = match consent.source {
                ConsentSource::Admin => true,
                ConsentSource::User => consent.redirect_uri.as_ref() == Some(&self.request.redirect_uri),
            };
            seen && consent.is_with(&entry.client, resource)
        });
        Ok(is_same && self.was_told_of_the_user(resource).await?)
    }

    /// Whether a grant that goes on told the client as much of the user as it asks for now (`openid`, `profile`, `email`).
    async fn was_told_of_the_user(&self, resource: &ResourceId) -> Result<bool, Failure> {
        let (request, now) = (self.request, self.received.now());
        if request.identity.is_empty() {
            return Ok(true);
        }
        let families = self.app.store.families_of(&self.user.user, now).await?;
        Ok(families.iter().any(|family| {
            let same = family.client == request.client.client.id && family.resource == *resource;
            same && request.identity.is_subset(&family.terms.identity)
        }))
    }

    /// Decides; with `agreed` as if the user had agreed to everything at this backend.
    async fn decide(&self, agreed: Option<&ResourceId>) -> Result<Decision, Failure> {
        let subject = self.subject();
        let mut facts = facts::about(self.app, &self.snapshot, &subject, self.received.now()).await?;
        if let Some(resource) = agreed {
            let all = self.everything(resource);
            facts.consents = facts.consents.iter().cloned().chain([all]).collect();
        }
        let mut subject = subject;
        if let Some(user) = &facts.known_user {
            subject.attributes = user.attributes.clone();
        }
        Ok(decide(&Question {
            registry: &self.snapshot.registry,
            policies: &self.snapshot.policies,
            issuer: &self.app.config.issuer,
            max_chain_depth: self.app.config.tokens.max_chain_depth,
            own_token_lifetime_seconds: self.app.config.tokens.own_token_lifetime_seconds,
            now: self.received.now(),
            client: &self.request.client,
            other_clients: &facts.other_clients,
            targets: &self.request.targets,
            scopes: self.request.scopes.as_ref(),
            asked: Asked::Delegation(Delegation {
                grant: GrantType::AuthorizationCode,
                subject: Ok(&subject),
                actor: None,
                known_user: facts.known_user.as_deref(),
                consents: &facts.consents,
                session_ended: facts.session_ended.as_deref(),
                is_ended_in_list: facts.is_ended_in_list,
                limits: LimitState::Within,
            }),
        }))
    }

    /// A consent of the user to all that the backend has. It is never stored.
    fn everything(&self, resource: &ResourceId) -> Consent {
        let declared = self.snapshot.registry.resource(resource);
        let scopes = declared.iter().flat_map(|resource| &resource.scopes).map(|scope| scope.name.clone()).collect();
        Consent {
            id: "everything".to_owned(),
            user: ConsentingUser::One(self.user.user.clone()),
            client: self.request.client.client.id.clone(),
            resource: resource.clone(),
            scopes,
            source: ConsentSource::User,
            granted_at: self.received.now(),
            expires_at: None,
            revoked_at: None,
            paused_at: None,
            fingerprint: None,
            redirect_uri: None,
        }
    }

    fn subject(&self) -> Subject {
        let user = self.user;
        Subject {
            issuer: SubjectIssuer::SignIn(user.idp.clone()),
            token_type: SubjectTokenType::IdToken,
            sub: user.idp_sub.clone(),
            audiences: Vec::new(),
            azp: None,
            scope: None,
            expires_at: i64::MAX,
            issued_at: Some(user.signed_in_at),
            jti: None,
            sid: None,
            auth_time: user.auth_time,
            acr: user.acr.clone(),
            amr: user.amr.clone(),
            act: None,
            may_act: None,
            attributes: crate::domain::user::UserAttributes::default(),
            named_claims: BTreeMap::new(),
        }
    }

    /// The code for what the user agreed to. Its event is durable before this returns.
    ///
    /// # Errors
    /// The decision is asked once more, on what is stored now, and may refuse.
    pub async fn code(&self) -> Result<String, Failure> {
        let decision = self.decide(None).await?;
        let trace = decision.trace.into_lines();
        let caller = self.caller();
        let event = self.event(&caller);
        let granted = match decision.outcome {
            Ok(granted) => granted,
            Err(refusal) => {
                self.app.audit.record(event.refused(&refusal, trace), None).await?;
                return Err(Failure::Refused { refusal, consent: None });
            }
        };
        let Some(family) = self.family(&granted) else {
            return Err(Failure::Unavailable("an authorization for no backend".to_owned()));
        };
        self.app.store.insert_family(&family).await?;
        self.app.audit.record(event.authorized(&granted, &family.id, trace), None).await?;
        Ok(self.app.grant_tokens.code(&family.id))
    }

    fn family(&self, granted: &Granted) -> Option<GrantFamily> {
        let (now, user, request) = (self.received.now(), self.user, self.request);
        Some(GrantFamily {
            id: random_id("fam"),
            user: user.user.clone(),
            client: request.client.client.id.clone(),
            resource: granted_resource(granted)?,
            idp: user.idp.clone(),
            idp_sub: user.idp_sub.clone(),
            idp_session: user.idp_session.clone(),
            terms: Terms {
                scopes: granted.scopes.clone(),
                identity: request.identity.clone(),
                renewable: request.client.client.may_use(GrantType::RefreshToken)
                    || request.identity.iter().any(|scope| scope.as_str() == OFFLINE_ACCESS),
                redirect_uri: request.redirect_uri.clone(),
                code_challenge: request.code_challenge.clone(),
                nonce: request.nonce.clone(),
                auth_time: user.auth_time,
                acr: user.acr.clone(),
                amr: user.amr.clone(),
            },
            created_at: now,
            code_ends_at: now.saturating_add(CODE_SECONDS),
            redeemed_at: None,
            generation: 0,
            rotations: Rotations::default(),
            used_at: now,
            ends_at: now.saturating_add(CODE_SECONDS),
            revoked_at: None,
            revoked_because: None,
        })
    }

    /// Records that the request was refused.
    pub async fn refuse(&self, decision: Decision, refusal: &Refusal) -> Result<(), Failure> {
        let caller = self.caller();
        let event = self.event(&caller).refused(refusal, decision.trace.into_lines());
        Ok(self.app.audit.record(event, None).await?)
    }

    fn caller(&self) -> Caller {
        Caller { client: Arc::clone(&self.request.client), authentication: ClientAuthentication::None }
    }

    fn event<'e>(&'e self, caller: &'e Caller) -> AskedEvent<'e> {
        let registry = &self.snapshot.registry;
        AskedEvent {
            received: self.received,
            caller,
            kind: EventKind::Authorization,
            scopes: self.request.scopes.as_ref(),
            subject: None,
            subject_party: Some(
                EventSubject::user(&self.user.user, &self.user.idp, &self.user.idp_sub)
                    .in_session(self.user.idp_session.clone()),
            ),
            subject_issuer: registry.idp(&self.user.idp).map(|idp| idp.issuer.clone()),
            target: self.request.targets.resolve(registry, &self.app.config.issuer).ok().flatten(),
            policy_hash: self.snapshot.policies.hash(),
        }
    }
}

fn granted_resource(granted: &Granted) -> Option<ResourceId> {
    match &granted.target {
        Target::Resource(resource) => Some(resource.id.clone()),
        Target::Issuer => None,
    }
}

/// Records a request that was refused before it was known for whom it is.
pub async fn refused_before_sign_in(
    app: &App,
    received: &Received,
    client: Option<&ClientId>,
    refusal: &Refusal,
) -> Result<(), Failure> {
    let event = refused_early(received, EventKind::Authorization, client, None, refusal);
    Ok(app.audit.record(event, None).await?)
}
