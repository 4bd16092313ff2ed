//! Clients wherever they are known from: the registry, their own registration, or a document under their own domain.

use super::Snapshot;
use crate::config::{Config, DynamicRegistration, RegistrationSettings, is_loopback};
use crate::domain::change::StoredSecret;
use crate::domain::client::ClientEntry;
use crate::domain::dynamic_client::{DynamicClient, is_document_id, is_own_id};
use crate::domain::names::ClientId;
use crate::secrets::{digest, hash_client_secret};
use crate::store::{Store, StoreError};
use crate::upstream::client_metadata::ClientDocuments;
use moka::future::Cache;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

/// Clients outside of the registry that are remembered.
const CLIENTS: u64 = 10_000;
/// How long another server's news of one may take to be seen here.
const CLIENT_AGE: Duration = Duration::from_secs(1);
/// Uses that are remembered until they are written down; those of more clients are not.
const USES: usize = 100_000;
/// Secrets hashed at once for new registrations.
const HASHING: usize = 1;

/// Finds clients.
#[derive(Debug)]
pub struct ClientDirectory {
    pub(super) settings: RegistrationSettings,
    /// We are on this machine ourselves, so clients may be too (rule CM-06).
    pub(super) allow_loopback: bool,
    pub(super) documents: ClientDocuments,
    /// By the version of the registry too: it says what they may reach. What there is not is not remembered, so that a
    /// new registration counts at once on every server.
    known: Cache<(ClientId, i64), Arc<Known>>,
    uses: Mutex<HashMap<ClientId, i64>>,
    hashing: Semaphore,
}

/// A client outside of the registry.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) stored: DynamicClient,
    pub(super) entry: Arc<ClientEntry>,
    secrets: Arc<[StoredSecret]>,
}

impl ClientDirectory {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            settings: config.registration.clone(),
            allow_loopback: Url::parse(&config.issuer).is_ok_and(|issuer| is_loopback(&issuer)),
            documents: ClientDocuments::default(),
            known: Cache::builder().max_capacity(CLIENTS).time_to_live(CLIENT_AGE).build(),
            uses: Mutex::default(),
            hashing: Semaphore::new(HASHING),
        }
    }

    /// The client of this id, suspended or not: from the registry, else one that registered itself or whose metadata
    /// document was read at `/authorize`. Never fetches anything (rule CM-11). What another server changed is seen
    /// within a second.
    pub async fn find(
        &self,
        store: &Store,
        snapshot: &Snapshot,
        id: &ClientId,
    ) -> Result<Option<Arc<ClientEntry>>, StoreError> {
        if let Some(entry) = snapshot.registry.client(id) {
            return Ok(Some(Arc::clone(entry)));
        }
        Ok(self.known(store, snapshot, id).await?.map(|known| Arc::clone(&known.entry)))
    }

    /// The live secrets of a client, wherever it is known from.
    pub async fn secrets_of(
        &self,
        store: &Store,
        snapshot: &Snapshot,
        id: &ClientId,
    ) -> Result<Arc<[StoredSecret]>, StoreError> {
        if snapshot.registry.client(id).is_some() {
            return Ok(snapshot.secrets_of(id));
        }
        let known = self.known(store, snapshot, id).await?;
        Ok(known.map_or_else(|| Arc::from([]), |known| Arc::clone(&known.secrets)))
    }

    pub(super) async fn known(
        &self,
        store: &Store,
        snapshot: &Snapshot,
        id: &ClientId,
    ) -> Result<Option<Arc<Known>>, StoreError> {
        // Nobody can have us look for what cannot be there.
        let may_be = if is_document_id(id.as_str()) {
            Url::parse(id.as_str()).is_ok_and(|url| self.settings.lets_in(&url))
        } else {
            is_own_id(id.as_str())
        };
        if !may_be {
            return Ok(None);
        }
        let key = (id.clone(), snapshot.versions.registry);
        if let Some(known) = self.known.get(&key).await {
            return Ok(Some(known));
        }
        let Some(stored) = store.find_dynamic_client(id).await? else { return Ok(None) };
        let known = Arc::new(self.describe(snapshot, stored));
        self.known.insert(key, Arc::clone(&known)).await;
        Ok(Some(known))
    }

    pub(super) fn describe(&self, snapshot: &Snapshot, stored: DynamicClient) -> Known {
        let mut entry = stored.entry(snapshot.registry.resources());
        entry.client.redirect_uris.retain(|uri| self.settings.lets_codes_go_to(uri));
        let secret = stored.secret_hash.as_ref().map(|hash| StoredSecret {
            // Another secret has another id, so that what was remembered of the earlier one no longer counts.
            id: format!("own_{}", digest(hash)),
            client: stored.client.id.clone(),
            hash: hash.clone(),
            created_at: stored.created_at,
            last_used_at: None,
        });
        Known { entry: Arc::new(entry), secrets: secret.into_iter().collect(), stored }
    }

    /// What is remembered of a client is not used again here; other servers follow within a second.
    pub async fn forget(&self, snapshot: &Snapshot, id: &ClientId) {
        self.known.invalidate(&(id.clone(), snapshot.versions.registry)).await;
    }

    /// Notes that a client came to `/authorize` or got something at `/token`: one that is used is not removed. Written
    /// down once a minute.
    pub fn used(&self, id: &ClientId, now: i64) {
        if !is_document_id(id.as_str()) && !is_own_id(id.as_str()) {
            return;
        }
        let minute = now.saturating_sub(now.rem_euclid(60));
        if let Ok(mut uses) = self.uses.lock()
            && (uses.len() < USES || uses.contains_key(id))
        {
            uses.insert(id.clone(), minute);
        }
    }

    pub(super) fn take_uses(&self) -> Vec<(ClientId, i64)> {
        self.uses.lock().map(|mut uses| std::mem::take(&mut *uses).into_iter().collect()).unwrap_or_default()
    }

    /// The hash of a new secret. One after the other: strangers who register clients must not take every core.
    pub async fn hash_secret(&self, secret: &SecretString) -> Option<String> {
        let _one = self.hashing.acquire().await.ok()?;
        let secret = secret.clone();
        tokio::task::spawn_blocking(move || hash_client_secret(&secret)).await.ok()
    }

    /// True if `/register` is there, for whomever: then the metadata has `registration_endpoint`.
    pub fn offers_registration(&self) -> bool {
        self.settings.dynamic != DynamicRegistration::Off
    }

    /// True if metadata documents are read: then the metadata has `client_id_metadata_document_supported`.
    pub fn reads_documents(&self) -> bool {
        self.settings.metadata_documents
    }

    /// The settings by which clients come.
    pub fn settings(&self) -> &RegistrationSettings {
        &self.settings
    }

    /// True if clients with keys on this machine are let in, since this server is on it too.
    pub fn allows_loopback(&self) -> bool {
        self.allow_loopback
    }
}
