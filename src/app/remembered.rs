//! What is remembered beyond a token, wherever it is asked from: a running server's caches, or those of one command.

use super::{ClientDirectory, ConsentCache, Snapshot, StartError, StatusEntries, StatusLists, UserCache};
use crate::config::Config;
use crate::store::{Store, Versions};

/// Where to look.
#[derive(Debug, Clone, Copy)]
pub struct Remembered<'a> {
    /// The database.
    pub store: &'a Store,
    /// What is declared.
    pub snapshot: &'a Snapshot,
    /// Clients wherever they are known from.
    pub clients: &'a ClientDirectory,
    /// Consents, and what has ended.
    pub consents: &'a ConsentCache,
    /// Users.
    pub users: &'a UserCache,
    /// What was revoked.
    pub status_entries: &'a StatusEntries,
    /// How tokens stand by their status lists.
    pub status_lists: &'a StatusLists,
}

/// The memory of one command: empty, and filled from the database as it goes.
#[derive(Debug)]
pub struct Memory {
    store: Store,
    snapshot: Snapshot,
    clients: ClientDirectory,
    consents: ConsentCache,
    users: UserCache,
    status_entries: StatusEntries,
    status_lists: StatusLists,
}

impl Memory {
    /// Reads what is declared. The schema is up to date; nothing is unsealed.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be used.
    pub async fn read(store: Store, config: &Config, now: i64) -> Result<Self, StartError> {
        let (stored, versions) = store.load_registry().await?;
        let Versions { consents, .. } = versions;
        let snapshot = Snapshot::new(stored, versions, config.policy_default, &config.issuer)
            .map_err(|problems| StartError::Registry(problems.join("; ")))?;
        let revocations = store.revocations(now).await?;
        Ok(Self {
            store,
            snapshot,
            clients: ClientDirectory::new(config),
            consents: ConsentCache::new(consents),
            users: UserCache::new(),
            status_entries: StatusEntries::new(revocations, consents),
            status_lists: StatusLists::new(config.tokens.status_list_ttl_seconds),
        })
    }

    /// Where to look.
    pub fn remembered(&self) -> Remembered<'_> {
        let Self { store, snapshot, clients, consents, users, status_entries, status_lists } = self;
        Remembered { store, snapshot, clients, consents, users, status_entries, status_lists }
    }

    /// Ends its connections.
    pub async fn close(self) {
        self.store.close().await;
    }
}
