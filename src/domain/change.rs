//! A change to what is declared or agreed, as one value: `apply` and the commands make these, the store carries
//! them out together or not at all.

use super::client::{Assurance, Client};
use super::consent::{Consent, ConsentAnswer};
use super::identity_provider::IdentityProvider;
use super::names::{ClientId, IdpId, PolicyId, ResourceId, UserId};
use super::policy::PolicyText;
use super::resource::Resource;
use super::scope::ScopeSet;

/// The stored hash of a client secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its id; says nothing about the secret.
    pub id: String,
    /// Whose it is.
    pub client: ClientId,
    /// argon2id in PHC form.
    pub hash: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, to the minute; none if never used.
    pub last_used_at: Option<i64>,
}

/// Whose tokens, sign-ins and agreements are ended at one stroke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationTarget {
    /// All that clients hold of a user.
    User(UserId),
    /// All that a client holds, of whomever, and at every hop that it took part in.
    Client(ClientId),
    /// All that is for a backend.
    Resource(ResourceId),
    /// All that came of one session at a provider.
    Session {
        /// The provider.
        idp: IdpId,
        /// Its `sid` there.
        session: String,
    },
}

impl std::fmt::Display for RevocationTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => write!(f, "user {id}"),
            Self::Client(id) => write!(f, "client {id}"),
            Self::Resource(id) => write!(f, "resource {id}"),
            Self::Session { idp, session } => write!(f, "session {session} at {idp}"),
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Adds a provider, or replaces the one of this id.
    PutIdentityProvider(IdentityProvider),
    /// Removes a provider.
    RemoveIdentityProvider(IdpId),
    /// Adds a backend, or replaces the one of this id.
    PutResource(Resource),
    /// Removes a backend, and ends every consent for it.
    RemoveResource(ResourceId),
    /// Adds a client, or replaces the declaration of the one of this id; its secrets and its suspension stay.
    PutClient(Client, Assurance),
    /// Removes a client and its secrets, and ends every consent given to it.
    RemoveClient(ClientId),
    /// Suspends a client.
    SuspendClient(ClientId),
    /// Lets a suspended client act again.
    ResumeClient(ClientId),
    /// Adds a policy, or replaces the one of this id.
    PutPolicy(PolicyText),
    /// Removes a policy.
    RemovePolicy(PolicyId),
    /// Adds a secret; of more than two the oldest go.
    AddSecret(StoredSecret),
    /// Suspends a user, known or not.
    SuspendUser(UserId),
    /// Lets a suspended user be acted for again.
    ResumeUser(UserId),
    /// Adds a consent; an earlier live one of the same user, client and resource is ended.
    GrantConsent(Consent),
    /// Ends a consent.
    RevokeConsent(String),
    /// Leaves a consent with fewer scopes. Only from what it had when that was decided: of two at once, the second must
    /// not give back what the first took away.
    NarrowConsent {
        /// Which.
        id: String,
        /// What it has.
        before: ScopeSet,
        /// What it keeps.
        scopes: ScopeSet,
    },
    /// Ends a consent sooner than it would have ended.
    ShortenConsent {
        /// Which.
        id: String,
        /// Unix seconds.
        expires_at: i64,
    },
    /// Keeps the client of a consent waiting.
    PauseConsent(String),
    /// Lets it go on.
    ResumeConsent(String),
    /// Ends every token and sign-in of a target that there is now, and with `consents` the users' agreements too.
    RevokeAll {
        /// Whose.
        target: RevocationTarget,
        /// Whether users have to agree anew.
        consents: bool,
    },
    /// Notes what a user said on a consent page, for the client that waits.
    AnswerConsentRequest {
        /// The digest of the page's handle.
        handle_digest: String,
        /// What they said.
        answer: ConsentAnswer,
    },
}
