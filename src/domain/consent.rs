//! Consent: a user's agreement that a client may act for them at a backend, with an end.

use super::client::Client;
use super::names::{ClientId, ResourceId, UserId};
use super::scope::ScopeSet;
use serde::{Deserialize, Serialize};

/// For whom a consent speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentingUser {
    /// One user, who agreed themselves or for whom an administrator recorded it.
    One(UserId),
    /// All users: an administrator agreed for everyone (`consent = "admin"`).
    Everyone,
}

/// Who recorded a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentSource {
    /// The user, at the consent screen.
    User,
    /// An administrator, by the registry file or the command line.
    Admin,
}

/// What a user said on a consent page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentAnswer {
    /// Yes, to all of it or a part.
    Allowed,
    /// No.
    Denied,
}

impl ConsentAnswer {
    /// The word for it, in the database and for the client that waits.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

/// One consent record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Its id, the `grant_id` of tokens.
    pub id: String,
    /// Who agreed.
    pub user: ConsentingUser,
    /// To whom.
    pub client: ClientId,
    /// For which backend.
    pub resource: ResourceId,
    /// To what.
    pub scopes: ScopeSet,
    /// Who recorded it.
    pub source: ConsentSource,
    /// Unix seconds.
    pub granted_at: i64,
    /// Unix seconds; no end if absent.
    pub expires_at: Option<i64>,
    /// Unix seconds; set once it was taken back.
    pub revoked_at: Option<i64>,
    /// Unix seconds; set while the user keeps the client waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<i64>,
    /// What the client was when the user agreed ([`Client::fingerprint`](super::client::Client::fingerprint)); absent
    /// where nobody looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Where the code was sent when the user agreed; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
}

impl Consent {
    /// True if it speaks for `user`.
    pub fn speaks_for(&self, user: &UserId) -> bool {
        match &self.user {
            ConsentingUser::One(id) => id == user,
            ConsentingUser::Everyone => true,
        }
    }

    /// True if it was neither taken back nor has ended, and does not pause.
    pub fn is_live(&self, now: i64) -> bool {
        self.paused_at.is_none() && self.is_kept(now)
    }

    /// True if it is an agreement with this client at this backend, and the client still is what it was then (rule CM-15).
    pub fn is_with(&self, client: &Client, resource: &ResourceId) -> bool {
        let is_it = self.client == client.id && self.resource == *resource;
        is_it && self.fingerprint.as_ref().is_none_or(|agreed| *agreed == client.fingerprint())
    }

    /// True while the user keeps the client waiting: it would count if they let it go on.
    pub fn is_paused(&self, now: i64) -> bool {
        self.paused_at.is_some() && self.is_kept(now)
    }

    /// True if it was neither taken back nor has ended; it may pause.
    pub fn is_kept(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}
