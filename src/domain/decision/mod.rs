//! The decision: one pure function, twelve gates in a fixed order. `/token`, `check` and `explain` all rest on it.
//!
//! Each gate passes, narrows or refuses, and leaves one line in the trace. Nothing after a refusal is looked at.

mod actor;
mod bounds;
mod client;
mod consent;
mod policy;
mod reason;
mod scope;
mod strength;
mod subject;
mod target;
#[cfg(test)]
mod tests;
mod trace;

pub use consent::{ConsentNeeded, carries_on};
pub use reason::{ErrorCode, Gate, ReasonCode};
pub use trace::{GateResult, Trace, TraceLine};

use super::client::{Assurance, ClientEntry, GrantType};
use super::consent::Consent;
use super::delegation::ActChain;
use super::limits::LimitState;
use super::names::{ClientId, IdpId, UserId};
use super::policy::PolicySet;
use super::registry::Registry;
use super::scope::{Scope, ScopeSet};
use super::subject::{ActorToken, Subject};
use super::target::{RequestedTargets, Target};
use super::user::{User, UserAttributes};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// All that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What is declared.
    pub registry: &'a Registry,
    /// What policy says.
    pub policies: &'a PolicySet,
    /// Our issuer.
    pub issuer: &'a str,
    /// The most actors in a chain.
    pub max_chain_depth: usize,
    /// The lifetime of a token for this server itself, in seconds.
    pub own_token_lifetime_seconds: u32,
    /// Unix seconds.
    pub now: i64,
    /// The authenticated client.
    pub client: &'a ClientEntry,
    /// Those clients of an earlier chain that are not in the registry but registered themselves.
    pub other_clients: &'a [Arc<ClientEntry>],
    /// The targets it names.
    pub targets: &'a RequestedTargets,
    /// The scopes it asks for; all it may have if absent.
    pub scopes: Option<&'a ScopeSet>,
    /// The grant, and what only that grant has.
    pub asked: Asked<'a>,
}

impl Question<'_> {
    /// The client of this id, wherever it is known from.
    fn client_by_name(&self, name: &str) -> Option<&ClientEntry> {
        let beside = || self.other_clients.iter().find(|entry| entry.client.id.as_str() == name);
        self.registry.client_by_name(name).or_else(beside).map(AsRef::as_ref)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A token for the subject, with an actor (RFC 8693; RFC 6749 §4.1, §6).
    Delegation(Delegation<'a>),
    /// A token for the client itself (RFC 6749 §4.4).
    ClientCredentials,
}

/// What a grant by which a client acts for somebody has.
#[derive(Debug, Clone, Copy)]
pub struct Delegation<'a> {
    /// Token exchange, authorization code or refresh token.
    pub grant: GrantType,
    /// The subject token, verified or refused; for a code or a refresh token the sign-in that it stands for.
    pub subject: Result<&'a Subject, &'a Refusal>,
    /// The actor token, if one was sent, verified or refused.
    pub actor: Option<Result<&'a ActorToken, &'a Refusal>>,
    /// What we remember of the user, if anything; needed for our own subject tokens.
    pub known_user: Option<&'a User>,
    /// Every consent of the user, and those for everyone.
    pub consents: &'a [Consent],
    /// Why the session that the subject token is of has ended, in words; none while it goes on.
    pub session_ended: Option<&'a str>,
    /// True if the subject token has ended by its status list.
    pub is_ended_in_list: bool,
    /// How the user and this pair of user and client stand with the limits.
    pub limits: LimitState,
}

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Gate by gate, why.
    pub trace: Trace,
    /// How it ended.
    pub outcome: Result<Granted, Refusal>,
}

impl Decision {
    /// A refusal before the gates could be walked: an unreadable request, or a client that did not authenticate.
    pub fn refused_early(refusal: Refusal) -> Self {
        let mut trace = Trace::default();
        trace.refuse(&refusal);
        Self { trace, outcome: Err(refusal) }
    }

    /// Turns a grant into a refusal by a fact that only the database could tell. The trace reads as if the gate of the
    /// reason had known it.
    pub fn refuse_after_all(&mut self, refusal: Refusal) {
        self.trace.back_to(refusal.reason.gate());
        self.trace.refuse(&refusal);
        self.outcome = Err(refusal);
    }
}

/// Why it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code; its gate is the gate that refused.
    pub reason: ReasonCode,
    /// What exactly, in words for operators. Never shown to clients, never holds a token.
    pub detail: String,
    /// What the user would have to agree to, if consent is missing.
    pub consent: Option<Box<ConsentNeeded>>,
    /// Seconds to wait, if waiting helps.
    pub retry_after_seconds: Option<u64>,
    /// How the user would have to sign in, if that is what is missing.
    pub sign_in: Option<Box<SignInNeeded>>,
    /// The `error` on the wire, where the grant wants another one than the reason's own.
    pub error: Option<ErrorCode>,
}

/// How the user must have signed in for a backend (RFC 9470 §3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInNeeded {
    /// One of these; empty if any will do.
    pub acr_values: Vec<String>,
    /// The oldest proof that counts, in seconds.
    pub max_age: Option<u32>,
}

impl Refusal {
    /// A refusal with nothing but its reason and detail.
    pub fn new(reason: ReasonCode, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), consent: None, retry_after_seconds: None, sign_in: None, error: None }
    }

    /// The `error` on the wire.
    pub fn error(&self) -> ErrorCode {
        self.error.unwrap_or_else(|| self.reason.error())
    }

    /// The `error_description` on the wire: a fixed sentence, never with input in it.
    pub fn description(&self) -> &'static str {
        match self.error {
            // Of a code or a refresh token: the reason's own sentence speaks of a subject token, and none was sent.
            Some(ErrorCode::InvalidGrant) if self.reason.error() != ErrorCode::InvalidGrant => {
                "The grant does not allow this, or not any more; a new authorization is needed."
            }
            Some(ErrorCode::InvalidScope) => "The scope goes beyond what was granted.",
            Some(_) | None => self.reason.public_description(),
        }
    }

    /// As the answer to a code or a refresh token: what a new authorization could mend is `invalid_grant`, for that is what
    /// makes a client ask for one (RFC 6749 §5.2; rule CL-32). Clients throw their refresh token away at that, so a pause,
    /// which only the user mends, is told as what it is.
    #[must_use]
    pub fn of_stored_grant(self) -> Self {
        let error = match self.error() {
            ErrorCode::AccessDenied if self.reason == ReasonCode::ConsentPaused => ErrorCode::AccessDenied,
            ErrorCode::ConsentRequired
            | ErrorCode::AccessDenied
            | ErrorCode::InsufficientUserAuthentication
            | ErrorCode::LoginRequired
            | ErrorCode::InteractionRequired
            | ErrorCode::UnmetAuthenticationRequirements => ErrorCode::InvalidGrant,
            ErrorCode::InvalidRequest if self.reason.gate() > Gate::Grant => ErrorCode::InvalidGrant,
            other @ (ErrorCode::InvalidRequest
            | ErrorCode::InvalidClient
            | ErrorCode::InvalidGrant
            | ErrorCode::UnauthorizedClient
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::InvalidScope
            | ErrorCode::InvalidTarget
            | ErrorCode::UnsupportedResponseType
            | ErrorCode::SlowDown
            | ErrorCode::TemporarilyUnavailable) => other,
        };
        Self { error: Some(error), consent: None, ..self }
    }
}

/// For whom a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantedSubject {
    /// A user.
    User {
        /// The `sub` of our tokens.
        id: UserId,
        /// The provider that vouches for the user.
        idp: IdpId,
        /// The `sub` there.
        idp_sub: String,
        /// Roles, groups and so on.
        attributes: UserAttributes,
    },
    /// A client that speaks for itself.
    Client(ClientId),
}

impl GrantedSubject {
    /// The `sub` of the token.
    pub fn sub(&self) -> &str {
        match self {
            Self::User { id, .. } => id.as_str(),
            Self::Client(id) => id.as_str(),
        }
    }
}

/// One scope that was asked for and cut, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The scope.
    pub scope: Scope,
    /// The ceiling.
    pub reason: ReasonCode,
}

/// What may be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// For whom.
    pub subject: GrantedSubject,
    /// To which client.
    pub client: ClientId,
    /// How the client came to be known.
    pub assurance: Assurance,
    /// The backend.
    pub target: Target,
    /// To do what.
    pub scopes: ScopeSet,
    /// What was asked for and not granted.
    pub cut: Vec<Cut>,
    /// Who acts, and who acted before; none only when a client speaks for itself.
    pub chain: Option<ActChain>,
    /// `iat`, Unix seconds.
    pub issued_at: i64,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// The consent it rests on; none when no user is involved.
    pub grant_id: Option<String>,
    /// The consents of earlier hops, oldest first.
    pub earlier_grants: Vec<String>,
    /// `sid`: the grant family that the token is of, or an id of the session at the provider.
    pub sid: Option<String>,
    /// The transaction of the subject token; a new one begins if absent.
    pub txn: Option<String>,
    /// The provider and the `jti` of a subject token that this client may exchange only once: record the use, or refuse
    /// with [`ReasonCode::SubjectTokenReplayed`] if it is recorded already.
    pub single_use: Option<(IdpId, String)>,
    /// When and how the user signed in.
    pub auth_time: Option<i64>,
    /// See `auth_time`.
    pub acr: Option<String>,
    /// See `auth_time`.
    pub amr: Vec<String>,
    /// The policies that permitted.
    pub policies: Vec<String>,
    /// Hash of the policy set.
    pub policy_hash: String,
}

/// Decides.
pub fn decide(question: &Question<'_>) -> Decision {
    let mut trace = Trace::default();
    let outcome = match question.asked {
        Asked::Delegation(asked) => decide_delegation(question, asked, &mut trace),
        Asked::ClientCredentials => decide_client_credentials(question, &mut trace),
    };
    if let Err(refusal) = &outcome {
        trace.refuse(refusal);
    }
    Decision { trace, outcome }
}

/// Token exchange (RFC 8693), a code or a refresh token (RFC 6749 §4.1, §6): the user is the subject, the client acts.
fn decide_delegation(question: &Question<'_>, asked: Delegation<'_>, trace: &mut Trace) -> Result<Granted, Refusal> {
    client::is_active(question, trace)?;
    client::may_use(question, asked.grant, trace)?;
    let subject = subject::valid(question, asked, trace)?;
    let rule = subject::belongs_to_client(question, &subject, trace)?;
    let actor = actor::permitted(question, asked, subject.token, trace)?;
    let chain = actor::extended_chain(question, subject.token, actor, trace)?;
    let resource = target::reachable(question, &subject, actor, trace)?;
    let (scopes, mut cut) = scope::within_ceilings(question, &subject, rule, actor, &resource, trace)?;
    let agreed = consent::agreed(question, asked, &subject, &resource, scopes, &mut cut, trace)?;
    strength::strong_enough(question, subject.token, &resource)?;
    let permitted = policy::permitted(question, &subject, Some(&chain), &resource, agreed.scopes, &mut cut, trace)?;
    bounds::limits(asked, &subject, trace)?;
    let expires_at = bounds::lifetime(question, asked.grant, subject.token, agreed.consent, &resource, trace)?;
    let (grant_id, earlier_grants) = subject.grants(agreed.consent);
    Ok(Granted {
        client: question.client.client.id.clone(),
        assurance: question.client.assurance,
        target: Target::Resource(resource),
        scopes: permitted.scopes,
        cut: bounds::only_asked(question, cut),
        chain: Some(chain),
        issued_at: question.now,
        expires_at,
        grant_id,
        earlier_grants,
        sid: subject.token.sid_of_next(),
        txn: subject.txn(),
        single_use: subject.single_use(rule),
        auth_time: subject.token.auth_time,
        acr: subject.token.acr.clone(),
        amr: subject.token.amr.clone(),
        policies: permitted.policies,
        policy_hash: question.policies.hash().to_owned(),
        subject: subject.party,
    })
}

/// Client credentials (RFC 6749 §4.4): the client is the subject and nobody acts for anybody.
fn decide_client_credentials(question: &Question<'_>, trace: &mut Trace) -> Result<Granted, Refusal> {
    client::is_active(question, trace)?;
    client::may_use(question, GrantType::ClientCredentials, trace)?;
    trace.skip(&[Gate::SubjectToken, Gate::SubjectOwner, Gate::Actor, Gate::Chain], "the client speaks for itself");
    let target = target::of_client(question, trace)?;
    let id = question.client.client.id.clone();
    let mut cut = Vec::new();
    let mut granted = Granted {
        subject: GrantedSubject::Client(id.clone()),
        client: id,
        assurance: question.client.assurance,
        scopes: ScopeSet::default(),
        cut: Vec::new(),
        chain: None,
        issued_at: question.now,
        expires_at: question.now.saturating_add(i64::from(question.own_token_lifetime_seconds)),
        grant_id: None,
        earlier_grants: Vec::new(),
        sid: None,
        txn: None,
        single_use: None,
        auth_time: None,
        acr: None,
        amr: Vec::new(),
        policies: Vec::new(),
        policy_hash: question.policies.hash().to_owned(),
        target: target.clone(),
    };
    match &target {
        Target::Resource(resource) => {
            let scopes = scope::of_client(question, resource, &mut cut, trace)?;
            trace.skip(&[Gate::Consent], "no user is involved");
            let permitted = policy::permitted_to_client(question, resource, scopes, &mut cut, trace)?;
            trace.skip(&[Gate::Limits], "no user is involved");
            granted.scopes = permitted.scopes;
            granted.policies = permitted.policies;
            granted.cut = bounds::only_asked(question, cut);
            granted.expires_at = question.now.saturating_add(i64::from(resource.token_lifetime_seconds));
        }
        Target::Issuer => {
            scope::none_at_issuer(question, trace)?;
            trace.skip(&[Gate::Consent, Gate::Policy, Gate::Limits], "a token for this server itself gives no access");
        }
    }
    trace.pass(Gate::Lifetime, format!("{} seconds", granted.expires_at.saturating_sub(question.now)));
    Ok(granted)
}
