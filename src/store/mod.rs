//! WHAT WE REMEMBER: the only user of sqlx. One SQL text for SQLite and PostgreSQL.
//!
//! One method is one unit of work: a statement or a transaction. No statement is checked by the compiler;
//! `tests/it/store.rs` calls every method on both databases instead. Texts use `$1` placeholders and only what both
//! understand; the six places that differ (how to begin, where a migration waits, whether a table exists, who tells of a
//! change, how events are appended at one stroke, what is of which type) are in `connection`, `sql`, `watch`, `append` and
//! `walk`.
//!
//! Races are decided by the database: a primary key, or the row of `version`, which every change by an administrator
//! updates first, so that changes follow each other.

#[macro_use]
mod sql;

mod append;
mod audit;
mod changes;
mod checkpoints;
mod connection;
mod consents;
mod dynamic_clients;
mod events;
mod grant_families;
mod keys;
mod registry;
mod replay;
mod revoke_all;
mod sessions;
mod token_status;
mod users;
mod uses;
mod walk;
mod watch;

use crate::domain::change::StoredSecret;
use crate::domain::client::ClientEntry;
use crate::domain::consent::ConsentAnswer;
use crate::domain::identity_provider::IdentityProvider;
use crate::domain::names::{ClientId, ResourceId, UserId};
use crate::domain::policy::PolicyText;
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;
use std::collections::HashSet;

pub use checkpoints::{Link, StoredCheckpoint, StoredSegment, UnsignedChain};
pub use connection::ServerLock;
pub use revoke_all::Held;
pub use sessions::{ProviderLogout, WhatEnded};
pub use sql::searchable;
pub(crate) use token_status::LONGEST_LIFE_SECONDS;
pub use token_status::{DoubtfulConsent, EntryState};
pub use walk::{Misfit, StoredRow};

/// The writer of the chain that changes by administrators are in.
pub const ADMINISTRATION_WRITER: &str = "admin";

/// The provider of a user who was suspended before we ever saw a token of theirs.
pub const UNSEEN_IDP: &str = "unknown";

/// What went wrong in the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or server cannot be reached or used; in words.
    #[error("{0}")]
    Unavailable(String),
    /// PostgreSQL takes no writes in this session: a standby, or a database set to read-only; in words.
    #[error("{0}")]
    ReadOnly(String),
    /// Another server holds the SQLite file.
    #[error("{0}")]
    Locked(String),
    /// The schema is not the one this program needs.
    #[error("{0}")]
    Migration(String),
    /// A change that cannot be carried out as things stand; nothing was changed.
    #[error("{0}")]
    Rejected(String),
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

impl Versions {
    /// Those of a database that nothing was changed in.
    pub const FIRST: Self = Self { registry: 1, consents: 1, keys: 1 };
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
    pub resource: ResourceId,
    /// To what.
    pub scopes: ScopeSet,
    /// For which clients it asks, the nearest first.
    pub behind: Vec<ClientId>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub expires_at: i64,
    /// What the user said, if they did.
    pub answer: Option<ConsentAnswer>,
}

/// How often a client used a consent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsentUse {
    /// Tokens that were issued by it.
    pub uses: i64,
    /// When the last one was, Unix seconds.
    pub last_used_at: i64,
}

/// Events of one outcome on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayCount {
    /// Days since 1970, in UTC.
    pub day: i64,
    /// `granted`, `refused` or `done`.
    pub outcome: String,
    /// How many.
    pub count: i64,
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

/// The database. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Store {
    pools: connection::Pools,
    /// Whether what takes too long fails: see [`Store::limited`].
    is_limited: bool,
}

/// An event as it stands in the database; nothing in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
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
}
