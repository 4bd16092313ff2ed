//! Who is calling, and for whom: what a verified token says, and the only thing that a backend should decide by.

use super::claims::Claims;
use super::refusal::{Challenges, Reason, Refused};
use super::status_list::StatusReference;
use crate::domain::delegation::{ActChain, Actor};
use crate::domain::scope::ScopeSet;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A party, known by the pair of `iss` and `sub`: the same `sub` of another issuer is somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    /// In whose words `sub` is meant.
    pub iss: String,
    /// The party.
    pub sub: String,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sub)
    }
}

/// Who is calling, and for whom.
///
/// It comes from a verified token and from nowhere else. Whoever needs it in a test gets a token for it from
/// [`super::testing`].
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Caller {
    /// For whom: filter data by this. If [`Caller::is_delegated`] is false, it is the client itself, which only a verifier
    /// with [`super::VerifierBuilder::accept_clients_own_tokens`] lets in.
    pub user: Principal,
    /// Who acts: the outermost `act`. None for a client's own token.
    pub agent: Option<Principal>,
    /// Who acted before, newest first: whoever asked the agent, and whoever asked them. For the record only. RFC 8693
    /// section 4.1: nested `act` claims are not to be considered in access control decisions.
    pub earlier_actors_for_audit_only: Vec<Principal>,
    /// The client that got the token.
    pub client_id: String,
    /// What the token allows here. Ask with [`Caller::can`] or [`Caller::require`].
    pub scopes: ScopeSet,
    /// `jti`: log it with every access. `procura who` tells the rest.
    pub token_id: String,
    /// `iat`, Unix seconds.
    pub issued_at: i64,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// When the user signed in at their provider, Unix seconds; none if the provider did not say.
    pub auth_time: Option<i64>,
    /// How strongly (`acr`), in words that the provider and this backend agreed on.
    pub acr: Option<String>,
    /// The consent that it rests on.
    pub grant_id: Option<String>,
    /// The transaction: the same along a chain of exchanges.
    pub txn: Option<String>,
    /// The user's roles, if this backend gets them.
    pub roles: Vec<String>,
    /// The user's groups, if this backend gets them.
    pub groups: Vec<String>,
    /// The user's e-mail address, if this backend gets it. For display; never a key.
    pub email: Option<String>,
    /// Every claim of the token.
    pub claims: Map<String, Value>,
    challenges: Answers,
    /// When the token was verified, Unix seconds.
    verified_at: i64,
}

/// How a refusal by scope is answered; no part of who the caller is.
#[derive(Clone)]
struct Answers(Arc<Challenges>);

impl PartialEq for Answers {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("user", &self.user)
            .field("agent", &self.agent)
            .field("client_id", &self.client_id)
            .field("scopes", &self.scopes.to_string())
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

impl Caller {
    /// True if the token has the scope.
    pub fn can(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| held.as_str() == scope)
    }

    /// Demands scopes; all that the call needs at once, so that the client asks for them at once.
    ///
    /// # Errors
    /// 403 `insufficient_scope` with every scope, if one is missing.
    pub fn require(&self, scopes: &[&str]) -> Result<(), Refused> {
        if scopes.iter().all(|scope| self.can(scope)) {
            return Ok(());
        }
        Err(Refused::new(Reason::InsufficientScope { needed: scopes.join(" ") }, &self.challenges.0))
    }

    /// Demands that the user signed in within `max_age`, and with one of these `acr` values, as strong as the call needs;
    /// none of either does not matter (RFC 9470). What the provider did not say is not enough.
    ///
    /// # Errors
    /// 401 `insufficient_user_authentication` with `max_age` and `acr_values`: the client lets the user sign in again.
    pub fn require_login(&self, max_age: Option<Duration>, acr_values: &[&str]) -> Result<(), Refused> {
        let max_age = max_age.map(|age| age.as_secs());
        let age = self.auth_time.and_then(|at| u64::try_from(self.verified_at.saturating_sub(at).max(0)).ok());
        let is_recent = max_age.is_none_or(|max| age.is_some_and(|age| age <= max));
        let is_strong = acr_values.is_empty() || self.acr.as_deref().is_some_and(|acr| acr_values.contains(&acr));
        if is_recent && is_strong {
            return Ok(());
        }
        Err(Refused::new(Reason::WeakLogin { max_age, acr_values: acr_values.join(" ") }, &self.challenges.0))
    }

    /// True if somebody acts for the user; false for a client's own token.
    pub fn is_delegated(&self) -> bool {
        self.agent.is_some()
    }

    /// Reads the claims of a token that passed every check.
    pub(super) fn read(
        claims: Map<String, Value>,
        challenges: &Arc<Challenges>,
        verified_at: i64,
    ) -> Result<(Self, Option<StatusReference>), String> {
        let of = Claims(&claims);
        let iss = of.required_text("iss")?.to_owned();
        let chain = of.value("act").map(|act| ActChain::parse(act, ActChain::MAX_DEPTH)).transpose();
        let chain = chain.map_err(|problem| problem.to_string())?;
        let principal =
            |actor: &Actor| Principal { iss: actor.iss.clone().unwrap_or_else(|| iss.clone()), sub: actor.sub.clone() };
        let mut actors = chain.iter().flat_map(ActChain::actors).map(principal);
        let text = |name: &str| of.text(name).ok().flatten().map(str::to_owned);
        let status = StatusReference::read(of, Some(&iss))?;
        let caller = Self {
            agent: actors.next(),
            earlier_actors_for_audit_only: actors.collect(),
            user: Principal { iss: iss.clone(), sub: of.required_text("sub")?.to_owned() },
            client_id: of.required_text("client_id")?.to_owned(),
            scopes: of.scopes()?.unwrap_or_default(),
            token_id: of.required_text("jti")?.to_owned(),
            issued_at: of.time("iat")?.ok_or("iat is missing")?,
            expires_at: of.time("exp")?.ok_or("exp is missing")?,
            auth_time: of.time("auth_time").ok().flatten(),
            acr: text("acr"),
            grant_id: text("grant_id"),
            txn: text("txn"),
            // A claim of another form than ours says nothing; fewer roles never allow more.
            roles: of.texts("roles", false).unwrap_or_default(),
            groups: of.texts("groups", false).unwrap_or_default(),
            email: text("email"),
            challenges: Answers(Arc::clone(challenges)),
            claims: Map::new(),
            verified_at,
        };
        Ok((Self { claims, ..caller }, status))
    }
}

/// Finds the caller in a request that a [`super::VerifyLayer`] let through.
pub trait CallerExt {
    /// The verified caller; none if no layer looked at the request.
    fn caller(&self) -> Option<&Caller>;
}

impl CallerExt for http::Extensions {
    fn caller(&self) -> Option<&Caller> {
        self.get()
    }
}

impl<B> CallerExt for http::Request<B> {
    fn caller(&self) -> Option<&Caller> {
        self.extensions().caller()
    }
}

impl CallerExt for http::request::Parts {
    fn caller(&self) -> Option<&Caller> {
        self.extensions.caller()
    }
}
