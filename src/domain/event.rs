//! The audit event: one decision, granted or refused, with all that an auditor asks about it.
//!
//! It never holds a token, a secret or a code; `jti` is the reference to a token.

use super::decision::TraceLine;
use super::hex::{self, Hash};
use super::names::{ClientId, IdpId, ResourceId, UserId};
use super::scope::ScopeSet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A request at `/token` for the token-exchange grant.
    TokenExchange,
    /// A request at `/token` for the client-credentials grant.
    ClientCredentials,
    /// A request at `/token` for the authorization-code grant.
    AuthorizationCode,
    /// A request at `/token` for the refresh-token grant.
    RefreshToken,
    /// A request at `/token` that was refused before its grant was known.
    TokenRequest,
    /// A request at `/authorize` or `/par`, or what became of it at the consent page.
    Authorization,
    /// A user signed in at their provider, or failed to.
    SignIn,
    /// A user, or their provider, ended a sign-in.
    SignOut,
    /// A user agreed, said no, or changed what they had agreed to.
    Consent,
    /// A client registered itself, or changed or removed its registration.
    Registration,
    /// A backend reported what a token was used for.
    Use,
    /// An administrator changed something.
    Administration,
    /// A server began a chain of events.
    WriterStarted,
}

impl EventKind {
    /// True if gates were walked for it, so that its trace says why it ended as it did.
    pub fn is_decision(self) -> bool {
        match self {
            Self::TokenExchange
            | Self::ClientCredentials
            | Self::AuthorizationCode
            | Self::RefreshToken
            | Self::TokenRequest
            | Self::Authorization => true,
            Self::SignIn
            | Self::SignOut
            | Self::Consent
            | Self::Registration
            | Self::Use
            | Self::Administration
            | Self::WriterStarted => false,
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOutcome {
    /// A token was issued.
    Granted,
    /// No token was issued.
    Refused,
    /// Something was changed or started.
    Done,
}

/// For whom: the user, or for a client's own token the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSubject {
    /// The `sub` of our tokens.
    pub sub: String,
    /// The provider that vouched for the user; none if the subject is a client, or if an administrator named the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idp: Option<IdpId>,
    /// The `sub` at that provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idp_sub: Option<String>,
    /// The `sid` of their session at that provider, which `procura revoke --session` takes; none if the provider named
    /// none, or if the session was named at an earlier hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idp_session: Option<String>,
}

impl EventSubject {
    /// A user, by the `sub` of our tokens and as their provider knows them.
    pub fn user(user: &UserId, idp: &IdpId, idp_sub: &str) -> Self {
        let (idp, idp_sub) = (Some(idp.clone()), Some(idp_sub.to_owned()));
        Self { sub: user.as_str().to_owned(), idp, idp_sub, idp_session: None }
    }

    /// Known by the `sub` of our tokens alone: a client, or a user whose provider is not told.
    pub fn named(sub: impl Into<String>) -> Self {
        Self { sub: sub.into(), idp: None, idp_sub: None, idp_session: None }
    }

    /// The same, in this session at the provider.
    #[must_use]
    pub fn in_session(self, session: Option<String>) -> Self {
        Self { idp_session: session, ..self }
    }
}

/// One scope that was asked for and not granted, and the ceiling that cut it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutScope {
    /// The scope.
    pub scope: String,
    /// The reason code.
    pub reason: String,
}

/// One audit event. Members that do not apply are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The `X-Request-Id` of the answer; for a change by an administrator its own id.
    pub request_id: String,
    /// What it is about.
    pub kind: EventKind,
    /// How it ended.
    pub outcome: EventOutcome,
    /// The reason code; `granted` for a grant.
    pub reason: String,
    /// The OAuth `error` on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What exactly happened, in words for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<EventSubject>,
    /// The client, as authenticated or, in a refusal at gate 1, as claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// How the client proved who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<String>,
    /// The act chain, the current actor first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
    /// The backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceId>,
    /// The backend's identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Scopes asked for; absent if the request left it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<ScopeSet>,
    /// Scopes granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<ScopeSet>,
    /// Scopes cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<CutScope>,
    /// The consent it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<String>,
    /// `sid` of the issued token: the sign-in here that it came of, or the session at a provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The number of the issued token's status entry; none if its backend reads no status list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// Constant along a chain of exchanges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn: Option<String>,
    /// The issued token; for a use, the token that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// When the issued token ends, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// The `kid` that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Who issued the subject token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_issuer: Option<String>,
    /// The `jti` of the subject token, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_jti: Option<String>,
    /// Hash of the policy set that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_hash: Option<String>,
    /// The policies that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// When the token was used, as the backend says, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<i64>,
    /// What the token was used for, as the backend says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_for: Option<String>,
    /// The backend's own id of the request that it served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request_id: Option<String>,
    /// Where the request came from: an IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The W3C trace id of the request, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Gate by gate, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<TraceLine>,
}

impl AuditEvent {
    /// An event with only what every event has.
    pub fn new(
        at_ms: i64,
        request_id: String,
        kind: EventKind,
        outcome: EventOutcome,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            at_ms,
            request_id,
            kind,
            outcome,
            reason: reason.into(),
            error: None,
            detail: None,
            subject: None,
            client: None,
            client_authentication: None,
            actors: Vec::new(),
            resource: None,
            audience: None,
            asked: None,
            granted: None,
            cut: Vec::new(),
            grant_id: None,
            sid: None,
            status: None,
            txn: None,
            jti: None,
            expires_at: None,
            kid: None,
            subject_issuer: None,
            subject_jti: None,
            policy_hash: None,
            policies: Vec::new(),
            used_at: None,
            used_for: None,
            backend_request_id: None,
            source: None,
            trace_id: None,
            trace: Vec::new(),
        }
    }

    /// The `sub` of the subject, if known.
    pub fn subject_sub(&self) -> Option<&str> {
        self.subject.as_ref().map(|subject| subject.sub.as_str())
    }

    /// The user, if the subject is one.
    pub fn user(&self) -> Option<UserId> {
        self.subject.as_ref().filter(|subject| subject.idp.is_some()).and_then(|subject| subject.sub.parse().ok())
    }
}

/// Where a writer's chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHead {
    /// Whose chain.
    pub writer_id: String,
    /// Number of the last event; 0 if there is none yet.
    pub seq: i64,
    /// Its hash, in hex; 64 zeros if there is none yet.
    pub hash: String,
}

impl ChainHead {
    /// The head of a chain without events.
    pub fn empty(writer_id: impl Into<String>) -> Self {
        Self { writer_id: writer_id.into(), seq: 0, hash: "0".repeat(64) }
    }
}

/// An event in its place in a writer's chain: what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainedEvent {
    /// Whose chain.
    pub writer_id: String,
    /// Its place, from 1.
    pub seq: i64,
    /// The hash of the event before, in hex.
    pub prev_hash: String,
    /// SHA-256 over writer, place, previous hash and body, in hex.
    pub hash: String,
    /// The event as JSON; the hash is over these bytes.
    pub body: String,
    /// The event.
    pub event: AuditEvent,
}

impl ChainedEvent {
    /// Puts an event behind the head, and moves the head on.
    pub fn append(head: &mut ChainHead, event: AuditEvent) -> Self {
        let body = serde_json::to_string(&event).expect("an event has only texts, numbers and lists");
        let seq = head.seq.saturating_add(1);
        let hash = Self::hash(&head.writer_id, seq, &head.hash, &body);
        let prev_hash = std::mem::replace(&mut head.hash, hash.clone());
        head.seq = seq;
        Self { writer_id: head.writer_id.clone(), seq, prev_hash, hash, body, event }
    }

    /// The hash that an event must have: SHA-256, in hex, over these lines: `procura audit 1`, the writer, the place,
    /// the previous hash, and the body.
    pub fn hash(writer_id: &str, seq: i64, prev_hash: &str, body: &str) -> String {
        hex::encode(&Self::digest(writer_id, seq, prev_hash, body))
    }

    /// The same, not in hex.
    pub fn digest(writer_id: &str, seq: i64, prev_hash: &str, body: &str) -> Hash {
        let mut digest = Sha256::new();
        digest.update(format!("procura audit 1\n{writer_id}\n{seq}\n{prev_hash}\n"));
        digest.update(body);
        digest.finalize().into()
    }
}
