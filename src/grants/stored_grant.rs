//! What the grants of a code and of a refresh token share: both stand for a sign-in whose terms are remembered, and both
//! ask the decision again.

use super::event::Asked as AskedEvent;
use super::{Caller, Failure, Issued, Received, facts, footing};
use crate::app::{App, GivenEntry, Snapshot};
use crate::domain::client::GrantType;
use crate::domain::decision::{Asked, Decision, Delegation, Granted, Question, Refusal, decide};
use crate::domain::event::{EventKind, EventSubject};
use crate::domain::grant_family::GrantFamily;
use crate::domain::identity_provider::SubjectTokenType;
use crate::domain::limits::LimitState;
use crate::domain::scope::ScopeSet;
use crate::domain::subject::{Subject, SubjectIssuer};
use crate::domain::target::RequestedTargets;
use crate::domain::user::{User, UserAttributes};
use crate::tokens::id_token::{self, IdTokenClaims};
use crate::tokens::mint::{Minted, mint};
use crate::tokens::signing_keys::SigningKeys;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The parts of a request that both grants have.
pub(super) struct StoredGrant<'a> {
    pub(super) app: &'a App,
    pub(super) received: &'a Received,
    pub(super) caller: &'a Caller,
    pub(super) grant: GrantType,
    pub(super) targets: &'a RequestedTargets,
    pub(super) scopes: Option<&'a ScopeSet>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) keys: Arc<SigningKeys>,
}

/// What was decided, and about whom.
pub(super) struct Decided {
    pub(super) decision: Decision,
    /// The token and the ID token, where it is granted: signed before anything is used up by it.
    signed: Option<Signed>,
}

struct Signed {
    minted: Minted,
    id_token: Option<String>,
    entry: Option<GivenEntry>,
}

impl<'a> StoredGrant<'a> {
    pub(super) fn new(
        app: &'a App,
        received: &'a Received,
        caller: &'a Caller,
        grant: GrantType,
        targets: &'a RequestedTargets,
        scopes: Option<&'a ScopeSet>,
    ) -> Self {
        let (snapshot, keys) = (app.snapshot(), app.signing_keys());
        Self { app, received, caller, grant, targets, scopes, snapshot, keys }
    }

    /// Asks the decision about the family that the code or the refresh token is of, or about why there is none.
    pub(super) async fn decide(&self, found: Result<&GrantFamily, &Refusal>) -> Result<Decided, Failure> {
        let mut subject = found.map(|family| subject_of(family, self.longest_end(family)));
        let facts = match &subject {
            Ok(subject) => facts::about(self.app, &self.snapshot, subject, self.received.now()).await?,
            Err(_) => facts::Facts::default(),
        };
        if let (Ok(subject), Some(user)) = (&mut subject, &facts.known_user) {
            subject.attributes = user.attributes.clone();
        }
        if let (Ok(subject), Ok(family)) = (&mut subject, found) {
            let audience = self.snapshot.registry.resource(&family.resource);
            subject.audiences = audience.map(|resource| resource.audience.as_str().to_owned()).into_iter().collect();
        }
        // Without a target the grant's own backend is meant (rule RI-04).
        let own_target = found.map_or_else(
            |_| RequestedTargets::default(),
            |family| RequestedTargets { resources: Vec::new(), audiences: vec![family.resource.as_str().to_owned()] },
        );
        let targets = if self.targets.is_empty() { &own_target } else { self.targets };
        let question = |limits| Question {
            registry: &self.snapshot.registry,
            policies: &self.snapshot.policies,
            issuer: &self.app.config.issuer,
            max_chain_depth: self.app.config.tokens.max_chain_depth,
            own_token_lifetime_seconds: self.app.config.tokens.own_token_lifetime_seconds,
            now: self.received.now(),
            client: &self.caller.client,
            other_clients: &facts.other_clients,
            targets,
            scopes: self.scopes,
            asked: Asked::Delegation(Delegation {
                grant: self.grant,
                subject: subject.as_ref().map_err(|refusal| *refusal),
                actor: None,
                known_user: facts.known_user.as_deref(),
                consents: &facts.consents,
                session_ended: facts.session_ended.as_deref(),
                is_ended_in_list: facts.is_ended_in_list,
                limits,
            }),
        };
        let mut decision = decide(&question(LimitState::Within));
        if let Ok(granted) = &decision.outcome {
            let limits = self.app.limits.count(granted);
            if limits != LimitState::Within {
                decision = decide(&question(limits));
            }
        }
        let signed = match (&decision.outcome, found) {
            (Ok(granted), Ok(family)) => {
                let entry = footing::entry(self.app, granted, subject.as_ref().ok(), self.received.now()).await?;
                let index = entry.as_ref().map(|entry| entry.index);
                let minted = mint(granted, &self.app.config.issuer, &self.keys, index)?;
                let id_token = self.id_token(family, granted, facts.known_user.as_deref(), &minted.token)?;
                Some(Signed { minted, id_token, entry })
            }
            (Ok(_) | Err(_), _) => None,
        };
        Ok(Decided { decision, signed })
    }

    /// When the family ends at the latest, Unix seconds.
    pub(super) fn longest_end(&self, family: &GrantFamily) -> i64 {
        let days = i64::from(self.app.config.tokens.refresh_lifetime_days);
        family.created_at.saturating_add(days.saturating_mul(86_400))
    }

    /// When the family ends unless it is used again, Unix seconds.
    pub(super) fn idle_end(&self, family: &GrantFamily) -> i64 {
        let days = i64::from(self.app.config.tokens.refresh_idle_days);
        let idle = self.received.now().saturating_add(days.saturating_mul(86_400));
        // A grant without refresh tokens lives as long as its access token may.
        if family.terms.renewable {
            idle.min(self.longest_end(family))
        } else {
            self.received.now().saturating_add(3600)
        }
    }

    /// Signs, records and answers; the event is durable before this returns.
    pub(super) async fn finish(
        &self,
        family: Option<&GrantFamily>,
        decided: Decided,
        refresh_token: Option<String>,
    ) -> Result<Issued, Failure> {
        let Decided { decision, signed } = decided;
        let asked = self.event(family);
        let trace = decision.trace.into_lines();
        match (decision.outcome, family.zip(signed)) {
            (Ok(granted), Some((family, Signed { minted, id_token, entry }))) => {
                footing::record(self.app, asked.granted(&granted, &minted, trace), None, entry.as_ref()).await?;
                self.app.uses.count(granted.grant_id.as_deref(), self.received.now());
                Ok(Issued {
                    access_token: minted.token,
                    grant: self.grant,
                    issued_type: None,
                    expires_in: granted.expires_at.saturating_sub(granted.issued_at),
                    // What is told of the user is granted too (RFC 6749 §5.1).
                    scope: granted.scopes.iter().chain(&family.terms.identity).cloned().collect(),
                    refresh_token,
                    id_token,
                })
            }
            (Ok(_), None) => Err(Failure::Unavailable("a grant without a family".to_owned())),
            (Err(refusal), _) => {
                let refusal = refusal.of_stored_grant();
                self.app.audit.record(asked.refused(&refusal, trace), None).await?;
                Err(Failure::Refused { refusal, consent: None })
            }
        }
    }

    /// OpenID Connect Core §3.1.3.3, §12.2: only where the user let the client have `openid`.
    fn id_token(
        &self,
        family: &GrantFamily,
        granted: &Granted,
        user: Option<&User>,
        access_token: &str,
    ) -> Result<Option<String>, Failure> {
        if !family.terms.identity.iter().any(|scope| scope.as_str() == "openid") {
            return Ok(None);
        }
        let claims = IdTokenClaims {
            issuer: &self.app.config.issuer,
            sub: granted.subject.sub(),
            client: granted.client.as_str(),
            now: granted.issued_at,
            // A later ID token repeats no nonce (OpenID Connect Core §12.2).
            nonce: family.terms.nonce.as_deref().filter(|_| self.grant == GrantType::AuthorizationCode),
            auth_time: family.terms.auth_time,
            acr: family.terms.acr.as_deref(),
            amr: &family.terms.amr,
            sid: &family.id,
            identity: &family.terms.identity,
            attributes: user.map(|user| &user.attributes),
            access_token,
        };
        Ok(Some(id_token::mint(&claims, &self.keys)?))
    }

    fn event(&self, family: Option<&GrantFamily>) -> AskedEvent<'_> {
        let kind = match self.grant {
            GrantType::AuthorizationCode => EventKind::AuthorizationCode,
            GrantType::RefreshToken => EventKind::RefreshToken,
            GrantType::TokenExchange => EventKind::TokenExchange,
            GrantType::ClientCredentials => EventKind::ClientCredentials,
        };
        let registry = &self.snapshot.registry;
        let target = match family {
            Some(family) if self.targets.is_empty() => {
                registry.resource(&family.resource).cloned().map(crate::domain::target::Target::Resource)
            }
            Some(_) | None => self.targets.resolve(registry, &self.app.config.issuer).ok().flatten(),
        };
        AskedEvent {
            received: self.received,
            caller: self.caller,
            kind,
            scopes: self.scopes,
            subject: None,
            subject_party: family.map(|family| {
                EventSubject::user(&family.user, &family.idp, &family.idp_sub).in_session(family.idp_session.clone())
            }),
            subject_issuer: None,
            target,
            policy_hash: self.snapshot.policies.hash(),
        }
    }
}

/// The sign-in that a family stands for, as the subject of a decision.
fn subject_of(family: &GrantFamily, ends_at: i64) -> Subject {
    let terms = &family.terms;
    Subject {
        issuer: SubjectIssuer::SignIn(family.idp.clone()),
        token_type: SubjectTokenType::IdToken,
        sub: family.idp_sub.clone(),
        audiences: Vec::new(),
        azp: None,
        scope: Some(terms.scopes.clone()),
        expires_at: ends_at,
        issued_at: Some(family.created_at),
        jti: None,
        sid: Some(family.id.clone()),
        auth_time: terms.auth_time,
        acr: terms.acr.clone(),
        amr: terms.amr.clone(),
        act: None,
        may_act: None,
        attributes: UserAttributes::default(),
        named_claims: BTreeMap::new(),
    }
}
