//! WHAT WE REMEMBER: the only user of sqlx. One SQL text for SQLite and PostgreSQL.

use crate::domain::change::{Change, StoredSecret};
use crate::domain::client::ClientEntry;
use crate::domain::consent::Consent;
use crate::domain::event::{AuditEvent, ChainHead, ChainedEvent};
use crate::domain::identity_provider::IdentityProvider;
use crate::domain::names::{ClientId, UserId};
use crate::domain::policy::PolicyText;
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;
use crate::domain::signing_key::SigningKeyRecord;
use crate::domain::user::User;
use std::collections::HashSet;

/// What went wrong in the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or server cannot be reached or used; in words.
    #[error("{0}")]
    Unavailable(String),
    /// Another server holds the SQLite file.
    #[error("{0}")]
    Locked(String),
    /// The schema is not the one this program needs.
    #[error("{0}")]
    Migration(String),
    /// A stored document cannot be read.
    #[error("stored {what} cannot be read: {problem}")]
    Corrupt {
        /// What it is.
        what: &'static str,
        /// Why.
        problem: String,
    },
}

/// Versions of what is cached: each change bumps the ones it touches, in its own transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versions {
    /// Providers, resources, clients, policies, secrets, suspended users.
    pub registry: i64,
    /// Consents.
    pub consents: i64,
    /// Signing keys.
    pub keys: i64,
}

/// All that is declared, as stored.
#[derive(Debug, Default)]
pub struct StoredRegistry {
    /// By id.
    pub identity_providers: Vec<IdentityProvider>,
    /// By id.
    pub resources: Vec<Resource>,
    /// By id.
    pub clients: Vec<ClientEntry>,
    /// By id.
    pub policies: Vec<PolicyText>,
    /// Who may not be acted for.
    pub suspended_users: HashSet<UserId>,
    /// Client secrets, oldest first.
    pub secrets: Vec<StoredSecret>,
}

/// A request for consent that waits for a user: what `consent_uri` leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRequest {
    /// Who.
    pub user: UserId,
    /// To whom.
    pub client: ClientId,
    /// For which backend.
    pub resource: crate::domain::names::ResourceId,
    /// To what.
    pub scopes: ScopeSet,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
}

/// Which events to list, newest first. Absent members do not restrict.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// `sub` of the subject.
    pub user: Option<String>,
    /// Client.
    pub client: Option<String>,
    /// Resource id.
    pub resource: Option<String>,
    /// `granted`, `refused` or `done`.
    pub outcome: Option<String>,
    /// Reason code.
    pub reason: Option<String>,
    /// Unix milliseconds, inclusive.
    pub since_ms: Option<i64>,
    /// Unix milliseconds, exclusive.
    pub until_ms: Option<i64>,
    /// How many at most.
    pub limit: i64,
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store;

/// Held by a server as long as it runs on a SQLite file.
#[derive(Debug)]
pub struct ServerLock;

impl Store {
    /// Connects. A SQLite file is made if absent.
    pub async fn connect(_url: &str) -> Result<Self, StoreError> {
        todo!()
    }
    /// Makes sure no other server runs on the same SQLite file; nothing to do with PostgreSQL.
    pub fn lock_for_server(&self) -> Result<ServerLock, StoreError> {
        todo!()
    }
    /// Brings the schema up to date; returns the names of the migrations that were applied.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        todo!()
    }
    /// The names of migrations not yet applied.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        todo!()
    }
    /// Closes every connection.
    pub async fn close(&self) {
        todo!()
    }
    /// The least the database must do for `/readyz`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// See [`Versions`].
    pub async fn versions(&self) -> Result<Versions, StoreError> {
        todo!()
    }
    /// Everything declared, in one read transaction, with the versions it has.
    pub async fn load_registry(&self) -> Result<(StoredRegistry, Versions), StoreError> {
        todo!()
    }
    /// Carries out the changes, bumps versions and appends `event` to the chain of administrators, in one transaction.
    pub async fn change(&self, _changes: &[Change], _event: AuditEvent, _now: i64) -> Result<(), StoreError> {
        todo!()
    }
    /// Notes that secrets were used, by id.
    pub async fn touch_secrets(&self, _ids: &[String], _now: i64) -> Result<(), StoreError> {
        todo!()
    }

    /// Every consent of the user, ended ones of the last 90 days too, and every one for everyone.
    pub async fn consents_of(&self, _user: &UserId) -> Result<Vec<Consent>, StoreError> {
        todo!()
    }
    /// Consents, newest first; absent arguments do not restrict.
    pub async fn list_consents(
        &self,
        _user: Option<&str>,
        _client: Option<&str>,
        _live_only: bool,
        _now: i64,
    ) -> Result<Vec<Consent>, StoreError> {
        todo!()
    }
    /// One consent.
    pub async fn find_consent(&self, _id: &str) -> Result<Option<Consent>, StoreError> {
        todo!()
    }
    /// Stores a consent request under the digest of its handle; an existing one of this digest stays as it is.
    pub async fn insert_consent_request(
        &self,
        _handle_digest: &str,
        _request: &ConsentRequest,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// The consent request under this digest.
    pub async fn find_consent_request(&self, _handle_digest: &str) -> Result<Option<ConsentRequest>, StoreError> {
        todo!()
    }

    /// The user, if ever seen or suspended.
    pub async fn find_user(&self, _id: &UserId) -> Result<Option<User>, StoreError> {
        todo!()
    }
    /// Users, by id; `suspended_only` restricts.
    pub async fn list_users(&self, _suspended_only: bool, _limit: i64) -> Result<Vec<User>, StoreError> {
        todo!()
    }

    /// Signing keys, oldest first, removed ones too.
    pub async fn list_signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError> {
        todo!()
    }
    /// Adds a key and sets `removed_at` of others (kid, time), with an event of administration; false, and nothing
    /// changed, if another server added this generation first.
    pub async fn add_signing_key(
        &self,
        _key: &SigningKeyRecord,
        _removals: &[(String, i64)],
        _event: AuditEvent,
    ) -> Result<bool, StoreError> {
        todo!()
    }

    /// Remembers the `jti` of a client assertion; false if it was used before. Decided by the database.
    pub async fn use_assertion(&self, _client: &ClientId, _jti: &str, _expires_at: i64) -> Result<bool, StoreError> {
        todo!()
    }
    /// Deletes what has ended: assertions, consent requests. Returns how many rows went, by table.
    pub async fn purge(&self, _now: i64) -> Result<Vec<(&'static str, u64)>, StoreError> {
        todo!()
    }

    /// Appends events of one writer, and remembers users, in one transaction. A user's attributes are replaced only by newer ones.
    pub async fn append_events(&self, _events: &[ChainedEvent], _users: &[User]) -> Result<(), StoreError> {
        todo!()
    }
    /// Where a writer's chain stands.
    pub async fn chain_head(&self, _writer_id: &str) -> Result<Option<ChainHead>, StoreError> {
        todo!()
    }
    /// Every chain's head.
    pub async fn chain_heads(&self) -> Result<Vec<ChainHead>, StoreError> {
        todo!()
    }
    /// Events of a writer in order, after `seq`. Read from the stored columns, so that the caller can compare them with the body.
    pub async fn read_chain(
        &self,
        _writer_id: &str,
        _after_seq: i64,
        _limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        todo!()
    }
    /// Events of a request.
    pub async fn events_of_request(&self, _request_id: &str) -> Result<Vec<AuditEvent>, StoreError> {
        todo!()
    }
    /// The event that issued a token.
    pub async fn event_of_token(&self, _jti: &str) -> Result<Option<AuditEvent>, StoreError> {
        todo!()
    }
    /// Events of one transaction (`txn`), oldest first.
    pub async fn events_of_transaction(&self, _txn: &str) -> Result<Vec<AuditEvent>, StoreError> {
        todo!()
    }
    /// Events, newest first.
    pub async fn list_events(&self, _filter: &EventFilter) -> Result<Vec<AuditEvent>, StoreError> {
        todo!()
    }
}

/// An event as it stands in the database; nothing in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Whose chain.
    pub writer_id: String,
    /// Its place.
    pub seq: i64,
    /// As stored.
    pub prev_hash: String,
    /// As stored.
    pub hash: String,
    /// As stored.
    pub body: String,
    /// The columns taken from the body, as stored: (name, value).
    pub columns: Vec<(&'static str, Option<String>)>,
}
