//! The subject of an exchange: what a verified token says, in words of the domain.
//!
//! These are plain facts. `tokens::verify` is the only place that takes them from a token.

use super::delegation::{ActChain, MayAct};
use super::identity_provider::SubjectTokenType;
use super::names::IdpId;
use super::scope::ScopeSet;
use super::token_status::{is_session_id, session_id};
use super::user::UserAttributes;
use std::collections::BTreeMap;

/// Who signed a subject token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectIssuer {
    /// A trusted identity provider.
    Idp(IdpId),
    /// This server.
    Own(OwnToken),
    /// Nobody: the user signed in here through this provider, and a code or a refresh token stands for it.
    SignIn(IdpId),
}

/// What only our own tokens carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnToken {
    /// The client that got the token.
    pub client_id: String,
    /// The consent it rests on; none for a token whose subject is a client.
    pub grant_id: Option<String>,
    /// The consents of earlier hops, oldest first.
    pub earlier_grants: Vec<String>,
    /// Constant along the chain.
    pub txn: Option<String>,
    /// How the client that got it came to be known.
    pub client_assurance: Option<String>,
    /// The number of its status entry, if it has one.
    pub status: Option<i64>,
}

/// A verified subject token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Who signed it.
    pub issuer: SubjectIssuer,
    /// The type that the client declared and the token's shape agrees with.
    pub token_type: SubjectTokenType,
    /// `sub`, in the words of the issuer.
    pub sub: String,
    /// `aud`, one or several.
    pub audiences: Vec<String>,
    /// `azp`, if there is one.
    pub azp: Option<String>,
    /// `scope`, if there is one.
    pub scope: Option<ScopeSet>,
    /// `exp`, Unix seconds.
    pub expires_at: i64,
    /// `iat`, Unix seconds.
    pub issued_at: Option<i64>,
    /// `jti`, if there is one.
    pub jti: Option<String>,
    /// `sid`, the session at the issuer; of a sign-in here the grant family, of our own tokens that or an id of the session
    /// at a provider.
    pub sid: Option<String>,
    /// `auth_time`, Unix seconds.
    pub auth_time: Option<i64>,
    /// `acr`.
    pub acr: Option<String>,
    /// `amr`.
    pub amr: Vec<String>,
    /// Earlier actors.
    pub act: Option<ActChain>,
    /// Who may act, if the token says so.
    pub may_act: Option<MayAct>,
    /// The user's attributes as the token states them; our own tokens do not.
    pub attributes: UserAttributes,
    /// Text claims that a rule of the provider names in `required_claims`.
    pub named_claims: BTreeMap<String, String>,
}

impl Subject {
    /// The grant family that it is of.
    pub fn family(&self) -> Option<&str> {
        match &self.issuer {
            SubjectIssuer::Own(_) | SubjectIssuer::SignIn(_) => self.sid.as_deref().filter(|sid| !is_session_id(sid)),
            SubjectIssuer::Idp(_) => None,
        }
    }

    /// What only our own tokens carry; none for another's.
    pub fn own(&self) -> Option<&OwnToken> {
        match &self.issuer {
            SubjectIssuer::Own(own) => Some(own),
            SubjectIssuer::Idp(_) | SubjectIssuer::SignIn(_) => None,
        }
    }

    /// What tokens that come of it have in `sid`: its grant family, or an id of its session at the provider.
    pub fn sid_of_next(&self) -> Option<String> {
        let sid = self.sid.as_deref()?;
        Some(match &self.issuer {
            SubjectIssuer::Own(_) | SubjectIssuer::SignIn(_) => sid.to_owned(),
            SubjectIssuer::Idp(idp) => session_id(idp, sid),
        })
    }
}

/// A verified actor token: always one of our own, whose subject is a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorToken {
    /// `sub`: the client that the token stands for.
    pub sub: String,
    /// `aud`.
    pub audiences: Vec<String>,
    /// True if it has an `act` or a `grant_id`, so that its subject is not a client speaking for itself.
    pub is_delegated: bool,
}
