//! What is declared: read as a whole, changed in transactions of administration.

use super::changes::{steps_of, touched_by};
use super::sql::{Step, corrupt, read_document};
use super::{ADMINISTRATION_WRITER, Store, StoreError, StoredRegistry, Versions};
use crate::domain::change::{Change, StoredSecret};
use crate::domain::client::{Assurance, ClientEntry};
use crate::domain::event::{AuditEvent, ChainHead, ChainedEvent};
use crate::domain::names::UserId;
use crate::domain::policy::PolicyText;

const VERSIONS: &str = "SELECT registry, consents, keys FROM version WHERE id = 1";
const LIST_IDENTITY_PROVIDERS: &str = "SELECT document FROM identity_provider ORDER BY id";
const LIST_RESOURCES: &str = "SELECT document FROM resource ORDER BY id";
const LIST_CLIENTS: &str = "SELECT document, assurance, suspended_at FROM client ORDER BY id";
const LIST_SECRETS: &str =
    "SELECT id, client_id, hash, created_at, last_used_at FROM client_secret ORDER BY client_id, place";
const LIST_POLICIES: &str = "SELECT id, cedar FROM policy ORDER BY id";
const LIST_SUSPENDED_USERS: &str = "SELECT id FROM known_user WHERE suspended_at IS NOT NULL";

/// Locks the row until the transaction ends, so that administrators wait for each other, whatever they change.
const BUMP_VERSIONS: &str =
    "UPDATE version SET registry = registry + $1, consents = consents + $2, keys = keys + $3 WHERE id = 1";
const IS_AT_VERSION: &str = "UPDATE version SET registry = registry WHERE id = 1 AND registry = $1";
const TOUCH_SECRET: &str =
    "UPDATE client_secret SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";

type VersionsRow = (i64, i64, i64);

impl Store {
    /// See [`Versions`].
    pub async fn versions(&self) -> Result<Versions, StoreError> {
        let row: VersionsRow = on_db!(self, read db => sqlx::query_as(VERSIONS).fetch_one(db))?;
        Ok(Versions::from(row))
    }

    /// Everything declared, with the versions it has, as of one moment.
    pub async fn load_registry(&self) -> Result<(StoredRegistry, Versions), StoreError> {
        let rows = in_snapshot!(self, tx => RegistryRows {
            versions: sqlx::query_as(VERSIONS).fetch_one(&mut *tx).await?,
            identity_providers: sqlx::query_scalar(LIST_IDENTITY_PROVIDERS).fetch_all(&mut *tx).await?,
            resources: sqlx::query_scalar(LIST_RESOURCES).fetch_all(&mut *tx).await?,
            clients: sqlx::query_as(LIST_CLIENTS).fetch_all(&mut *tx).await?,
            secrets: sqlx::query_as(LIST_SECRETS).fetch_all(&mut *tx).await?,
            policies: sqlx::query_as(LIST_POLICIES).fetch_all(&mut *tx).await?,
            suspended_users: sqlx::query_scalar(LIST_SUSPENDED_USERS).fetch_all(&mut *tx).await?,
        })?;
        let versions = Versions::from(rows.versions);
        Ok((StoredRegistry::try_from(rows)?, versions))
    }

    /// Carries out the changes at `now`, in order, bumps the versions they touch and appends `event` to the chain of
    /// administration: all in one transaction. Changes wait for each other.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] if a change names what is not there; then nothing is changed.
    pub async fn change(&self, changes: &[Change], event: AuditEvent, now: i64) -> Result<(), StoreError> {
        let steps = changes.iter().flat_map(|change| steps_of(change, now)).collect();
        self.administer(touched_by(changes), steps, event).await.map(|_| ())
    }

    /// As [`Store::change`], if the registry is still at the version that the changes were checked against: two
    /// administrators at once cannot each make a change that only the other's makes wrong.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] if somebody changed the registry meanwhile; nothing was changed then.
    pub async fn change_since(
        &self,
        registry_version: i64,
        changes: &[Change],
        event: AuditEvent,
        now: i64,
    ) -> Result<(), StoreError> {
        let touched = touched_by(changes);
        // Our own bump comes first, in the same transaction.
        let expected = registry_version.saturating_add(touched.registry);
        let unchanged = Step::new(IS_AT_VERSION, [expected.into()])
            .or_reject("somebody else changed the registry at the same time; nothing was changed, please try again");
        let steps = changes.iter().flat_map(|change| steps_of(change, now));
        self.administer(touched, std::iter::once(unchanged).chain(steps).collect(), event).await.map(|_| ())
    }

    /// Notes that secrets were used, by id, to the minute. What is unknown by now is passed over.
    ///
    /// No version is bumped: nobody decides anything by it.
    pub async fn touch_secrets(&self, ids: &[String], now: i64) -> Result<(), StoreError> {
        let minute = now - now.rem_euclid(60);
        let steps = ids.iter().map(|id| Step::new(TOUCH_SECRET, [id.as_str().into(), minute.into()]));
        self.commit(steps.collect()).await.map(|_| ())
    }

    /// Runs steps in one transaction; false, and nothing done, if one yielded.
    pub(super) async fn commit(&self, steps: Vec<Step>) -> Result<bool, StoreError> {
        in_tx!(self, tx => {
            if !run_steps!(tx, steps) {
                return Ok(false);
            }
            true
        })
    }

    /// Runs steps together with an event of administration; false, and nothing done, if one yielded.
    pub(super) async fn administer(
        &self,
        touched: Versions,
        steps: Vec<Step>,
        event: AuditEvent,
    ) -> Result<bool, StoreError> {
        let bump = Step::new(BUMP_VERSIONS, [touched.registry.into(), touched.consents.into(), touched.keys.into()])
            .or_reject("the database has no row of versions: it was not made by procura migrate");
        in_tx!(self, tx => {
            run_steps!(tx, std::iter::once(bump).chain(self.notice()));
            if !run_steps!(tx, steps) {
                return Ok(false);
            }
            let row: Option<(i64, String)> =
                sqlx::query_as(super::audit::FIND_HEAD).bind(ADMINISTRATION_WRITER).fetch_optional(&mut *tx).await?;
            let mut head = ChainHead::empty(ADMINISTRATION_WRITER);
            if let Some((seq, hash)) = row {
                head = ChainHead { seq, hash, ..head };
            }
            let chained = ChainedEvent::append(&mut head, event);
            run_steps!(tx, super::audit::append_steps(&[chained])?)
        })
    }
}

impl From<VersionsRow> for Versions {
    fn from((registry, consents, keys): VersionsRow) -> Self {
        Self { registry, consents, keys }
    }
}

struct RegistryRows {
    versions: VersionsRow,
    identity_providers: Vec<String>,
    resources: Vec<String>,
    clients: Vec<ClientRow>,
    secrets: Vec<SecretRow>,
    policies: Vec<(String, String)>,
    suspended_users: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct ClientRow {
    document: String,
    assurance: String,
    suspended_at: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct SecretRow {
    id: String,
    client_id: String,
    hash: String,
    created_at: i64,
    last_used_at: Option<i64>,
}

impl TryFrom<RegistryRows> for StoredRegistry {
    type Error = StoreError;
    fn try_from(rows: RegistryRows) -> Result<Self, StoreError> {
        let idps = rows.identity_providers.iter().map(|text| read_document("identity provider", text));
        let resources = rows.resources.iter().map(|text| read_document("resource", text));
        let policy = |(id, cedar): (String, String)| {
            Ok::<_, StoreError>(PolicyText { id: id.try_into().map_err(corrupt("policy"))?, cedar })
        };
        let user = |id: String| UserId::try_from(id).map_err(corrupt("user"));
        Ok(Self {
            identity_providers: idps.collect::<Result<_, _>>()?,
            resources: resources.collect::<Result<_, _>>()?,
            clients: rows.clients.into_iter().map(ClientEntry::try_from).collect::<Result<_, _>>()?,
            policies: rows.policies.into_iter().map(policy).collect::<Result<_, _>>()?,
            suspended_users: rows.suspended_users.into_iter().map(user).collect::<Result<_, _>>()?,
            secrets: rows.secrets.into_iter().map(StoredSecret::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<ClientRow> for ClientEntry {
    type Error = StoreError;
    fn try_from(row: ClientRow) -> Result<Self, StoreError> {
        let known = [Assurance::Vetted, Assurance::Domain, Assurance::SelfAsserted];
        let assurance = known.into_iter().find(|assurance| assurance.as_str() == row.assurance);
        Ok(Self {
            client: read_document("client", &row.document)?,
            assurance: assurance.ok_or("an unknown assurance").map_err(corrupt("client"))?,
            suspended_at: row.suspended_at,
            other_authentication: Vec::new(),
        })
    }
}

impl TryFrom<SecretRow> for StoredSecret {
    type Error = StoreError;
    fn try_from(row: SecretRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            client: row.client_id.try_into().map_err(corrupt("client secret"))?,
            hash: row.hash,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        })
    }
}
