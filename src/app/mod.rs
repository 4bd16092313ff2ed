//! App: all that a request may use. Snapshots are replaced as a whole; nothing here is global.

mod caches;
mod client_documents;
mod clients;
mod consent_handles;
mod copies;
mod evidence;
mod grant_tokens;
mod limits;
pub mod metrics;
mod remembered;
mod secret_check;
mod snapshot;
mod status_entries;
mod status_lists;
mod upkeep;
mod use_reports;
mod uses;

pub use caches::{ConsentCache, UserCache};
pub use client_documents::ResolveError;
pub use clients::ClientDirectory;
pub use consent_handles::ConsentHandles;
pub use copies::outside_line;
pub use grant_tokens::GrantTokens;
pub use limits::Limits;
pub use remembered::{Memory, Remembered};
pub use secret_check::{SecretCheck, SecretVerdict};
pub use snapshot::Snapshot;
pub use status_entries::{GivenEntry, StatusEntries};
pub use status_lists::StatusLists;
pub use use_reports::UseReports;
pub use uses::ConsentUses;

use crate::audit::checkpoint::{CheckpointProblem, Made};
use crate::audit::prune::PruneProblem;
use crate::audit::seen::Seen;
use crate::audit::writer::AuditWriter;
use crate::clock::Clock;
use crate::config::{Config, LimitSettings};
use crate::secrets::SecretsKey;
use crate::store::{Store, StoreError};
use crate::tokens::issuer_keys::IssuerKeys;
use crate::tokens::signing_keys::SigningKeys;
use crate::tokens::verify::Verifier;
use crate::upstream::fetch::Fetcher;
use crate::upstream::login::LoginProviders;
use arc_swap::ArcSwap;
use metrics::Metrics;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A foreign document that takes longer is given up.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest foreign document that is read.
const FETCH_BYTES: usize = 256 * 1024;

/// A look for changes that takes longer may never end.
const REFRESHED_WITHIN: Duration = Duration::from_millis(500);
/// For how long a change in the database may fail to be taken in before nothing is issued any more.
const BEHIND_AT_MOST_MS: i64 = 2000;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing keys.
    #[error("signing keys: {0}")]
    Keys(String),
    /// What is declared cannot be used.
    #[error("{0}")]
    Registry(String),
}

/// All that a request may use.
#[derive(Debug)]
pub struct App {
    /// The configuration in force.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// The database.
    pub store: Store,
    /// The key that seals, and that other keys are derived from.
    pub secrets_key: SecretsKey,
    /// The keys of providers and clients.
    pub issuer_keys: IssuerKeys,
    /// Where users sign in.
    pub login_providers: LoginProviders,
    /// Where events are handed in.
    pub audit: AuditWriter,
    /// The newest checkpoint that this server saw.
    seen_checkpoint: Seen,
    /// What is counted.
    pub metrics: Metrics,
    /// Consents of users seen lately.
    pub consents: ConsentCache,
    /// How often consents are used.
    pub uses: ConsentUses,
    /// Clients wherever they are known from.
    pub clients: ClientDirectory,
    /// Users seen lately.
    pub users: UserCache,
    /// Handles of consent pages.
    pub consent_handles: ConsentHandles,
    /// Codes and refresh tokens.
    pub grant_tokens: GrantTokens,
    /// The status entries of tokens, and what was revoked.
    pub status_entries: StatusEntries,
    /// Status lists.
    pub status_lists: StatusLists,
    /// How often a user may be acted for.
    pub limits: Limits,
    /// How often backends report uses of tokens.
    pub use_reports: UseReports,
    /// Checks client secrets.
    pub secret_check: SecretCheck,
    /// Requests that may be worked on at once.
    pub in_flight: Semaphore,
    snapshot: ArcSwap<Snapshot>,
    signing_keys: ArcSwap<SigningKeys>,
    keys_version: AtomicI64,
    behind_since_ms: Mutex<Option<i64>>,
    draining: AtomicBool,
}

impl App {
    /// Loads what is declared and begins a chain of events. The schema is up to date.
    pub async fn start(
        config: Config,
        clock: Clock,
        store: Store,
        secrets_key: SecretsKey,
    ) -> Result<Arc<Self>, StartError> {
        store.claim_secrets_key(&secrets_key.fingerprint()).await?;
        let (stored, versions) = store.load_registry().await?;
        let snapshot = Snapshot::new(stored, versions, config.policy_default, &config.issuer)
            .map_err(|problems| StartError::Registry(problems.join("; ")))?;
        upkeep::ensure_signing_keys(&store, &snapshot.registry, &config.keys, &secrets_key, clock.now_ms()).await?;
        // Read before the keys: a change in between is then taken in at the next refresh.
        let keys_version = store.versions().await?.keys;
        let signing_keys = upkeep::open_signing_keys(&store, &secrets_key, clock.now()).await?;
        let revocations = store.revocations(clock.now()).await?;
        let store = store.limited();
        let clients = ClientDirectory::new(&config);
        let audit = AuditWriter::start(store.clone(), &config.audit, clock.clone()).await?;
        Ok(Arc::new(Self {
            issuer_keys: IssuerKeys::new(Fetcher::new(FETCH_TIMEOUT, FETCH_BYTES))
                .with_loopback_clients(clients.allows_loopback()),
            login_providers: LoginProviders::new(Fetcher::new(FETCH_TIMEOUT, FETCH_BYTES)),
            clients,
            metrics: Metrics::default(),
            consents: ConsentCache::new(versions.consents),
            uses: ConsentUses::default(),
            users: UserCache::new(),
            consent_handles: ConsentHandles::new(&secrets_key),
            grant_tokens: GrantTokens::new(&secrets_key),
            status_entries: StatusEntries::new(revocations, versions.consents),
            status_lists: StatusLists::new(config.tokens.status_list_ttl_seconds),
            limits: Limits::new(&config.limits, config.registration.per_minute),
            use_reports: UseReports::new(&config.evidence),
            seen_checkpoint: Seen::kept_in(config.evidence.checkpoint_file.clone()),
            secret_check: SecretCheck::new(),
            snapshot: ArcSwap::from_pointee(snapshot),
            signing_keys: ArcSwap::from_pointee(signing_keys),
            keys_version: AtomicI64::new(keys_version),
            behind_since_ms: Mutex::new(None),
            in_flight: Semaphore::new(in_flight(&config.limits)),
            draining: AtomicBool::new(false),
            config,
            clock,
            store,
            secrets_key,
            audit,
        }))
    }

    /// What is declared, as of now. A request keeps the one it began with.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Our keys, as of now.
    pub fn signing_keys(&self) -> Arc<SigningKeys> {
        self.signing_keys.load_full()
    }

    /// What verifies tokens.
    pub fn verifier<'a>(&'a self, snapshot: &'a Snapshot, keys: &'a SigningKeys, now: i64) -> Verifier<'a> {
        Verifier {
            issuer: &self.config.issuer,
            registry: &snapshot.registry,
            signing_keys: keys,
            issuer_keys: &self.issuer_keys,
            max_chain_depth: self.config.tokens.max_chain_depth,
            clock_skew_seconds: self.config.tokens.clock_skew_seconds,
            now,
        }
    }

    /// What is remembered, beside a snapshot that the request keeps.
    pub fn remembered<'a>(&'a self, snapshot: &'a Snapshot) -> Remembered<'a> {
        let Self { store, clients, consents, users, status_entries, status_lists, .. } = self;
        Remembered { store, snapshot, clients, consents, users, status_entries, status_lists }
    }

    /// The URL of the token endpoint.
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.config.issuer)
    }

    /// Takes in what another server, or a command, changed in the database.
    ///
    /// Each kind of change by itself: a registry that cannot be used keeps neither a revoked consent nor a removed key
    /// in force.
    ///
    /// # Errors
    /// The database does not answer, or holds what cannot be used; see [`App::is_behind`].
    pub async fn refresh(&self) -> Result<(), StartError> {
        let mut refreshing = pin!(self.refresh_each());
        let refreshed = if let Ok(refreshed) = timeout(REFRESHED_WITHIN, &mut refreshing).await {
            refreshed
        } else {
            // A database that does not answer is as bad as one that says no.
            self.falls_behind();
            refreshing.await
        };
        match refreshed {
            Ok(()) => *self.behind_since_ms.lock().unwrap_or_else(PoisonError::into_inner) = None,
            Err(_) => self.falls_behind(),
        }
        refreshed
    }

    fn falls_behind(&self) {
        let mut since = self.behind_since_ms.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(|| self.clock.now_ms());
    }

    /// Takes in what ended until now, wherever that was done.
    pub async fn hear_of_ends(&self) -> Result<(), StoreError> {
        let version = self.store.versions().await?.consents;
        self.consents.is_at(version);
        self.status_entries.is_at(version, &self.store, self.clock.now()).await
    }

    async fn refresh_each(&self) -> Result<(), StartError> {
        let versions = self.store.versions().await?;
        self.consents.is_at(versions.consents);
        self.status_entries.is_at(versions.consents, &self.store, self.clock.now()).await?;
        let registry = if versions.registry == self.snapshot.load().versions.registry {
            Ok(())
        } else {
            self.refresh_registry().await
        };
        // Read again: keys may just have been made for a new algorithm.
        let keys_version = self.store.versions().await?.keys;
        if keys_version != self.keys_version.load(Ordering::SeqCst) {
            let keys = upkeep::open_signing_keys(&self.store, &self.secrets_key, self.clock.now()).await?;
            self.signing_keys.store(Arc::new(keys));
            self.keys_version.store(keys_version, Ordering::SeqCst);
        }
        registry
    }

    async fn refresh_registry(&self) -> Result<(), StartError> {
        let (stored, loaded) = self.store.load_registry().await?;
        let snapshot = Snapshot::new(stored, loaded, self.config.policy_default, &self.config.issuer)
            .map_err(|problems| StartError::Registry(problems.join("; ")))?;
        let now_ms = self.clock.now_ms();
        upkeep::ensure_signing_keys(&self.store, &snapshot.registry, &self.config.keys, &self.secrets_key, now_ms)
            .await?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// True once what changed in the database could not be taken in for longer than a change may take. Then nothing is
    /// issued: what is in force here may be what somebody took back.
    pub fn is_behind(&self) -> bool {
        let since = *self.behind_since_ms.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back says nothing of how long it has been.
        since.is_some_and(|since| !(0..BEHIND_AT_MOST_MS).contains(&self.clock.now_ms().saturating_sub(since)))
    }

    /// From now on `/readyz` says no, so that load balancers stop sending.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// True once the server is on its way down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Signs what is new in the audit trail, as [`crate::audit::checkpoint`] says.
    ///
    /// # Errors
    /// The database or a key fails, or the newest checkpoint is not whole.
    pub async fn make_checkpoints(&self) -> Result<Made, CheckpointProblem> {
        evidence::make(self).await
    }

    /// Removes events that were kept for `audit.keep_days`, if that is a day's worth; how many went.
    ///
    /// # Errors
    /// As [`App::make_checkpoints`], or what is to go is not whole.
    pub async fn remove_old_events(&self) -> Result<u64, PruneProblem> {
        evidence::remove_old(self).await
    }

    /// Background work: see `upkeep`. Ends when `stop` is cancelled.
    pub async fn run_upkeep(self: Arc<Self>, stop: tokio_util::sync::CancellationToken) {
        upkeep::run(self, stop).await;
    }
}

/// A bound of 0 is no bound.
fn in_flight(limits: &LimitSettings) -> usize {
    if limits.requests_in_flight == 0 { Semaphore::MAX_PERMITS } else { limits.requests_in_flight }
}
