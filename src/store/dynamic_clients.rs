//! Clients that no administrator registered. What other servers have in memory of them is at most a second old, so only
//! what ends consents, or is an administrator's, bumps a version.

use super::sql::{Step, Value, corrupt, document, read_document, searchable};
use super::{Store, StoreError, Versions};
use crate::domain::client::{Assurance, ClientAuthentication};
use crate::domain::dynamic_client::DynamicClient;
use crate::domain::event::AuditEvent;
use crate::domain::names::ClientId;

const INSERT: &str = "INSERT INTO dynamic_client (id, assurance, document, other_authentication, metadata, secret_hash,
    registration_token_digest, created_at, last_used_at, fetched_at, fresh_until, suspended_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
    WHERE NOT EXISTS (SELECT 1 FROM client WHERE id = $1)
    ON CONFLICT (id) DO NOTHING";
/// Of two servers that fetched a document, the later fetch counts. What an administrator or a use noted stays.
const PUT_DOCUMENT: &str = "UPDATE dynamic_client SET document = $2, other_authentication = $3, metadata = $4,
    fetched_at = $5, fresh_until = $6
    WHERE id = $1 AND assurance = 'domain' AND (fetched_at IS NULL OR fetched_at <= COALESCE($5, 0))";
const FIND: &str = "SELECT id, assurance, document, other_authentication, metadata, secret_hash,
    registration_token_digest, created_at, last_used_at, fetched_at, fresh_until, suspended_at
    FROM dynamic_client WHERE id = $1";
const LIST: &str = "SELECT id, assurance, document, other_authentication, metadata, secret_hash,
    registration_token_digest, created_at, last_used_at, fetched_at, fresh_until, suspended_at
    FROM dynamic_client ORDER BY created_at DESC, id LIMIT $1";
const REPLACE: &str = "UPDATE dynamic_client SET document = $3, other_authentication = $4, metadata = $5,
    secret_hash = $6 WHERE id = $1 AND registration_token_digest = $2";
const END: &str = "DELETE FROM dynamic_client WHERE id = $1 AND registration_token_digest = $2";
const REVOKE_CONSENTS: &str = "UPDATE consent SET revoked_at = $2 WHERE client_id = $1 AND revoked_at IS NULL";
const TOUCH: &str = "UPDATE dynamic_client SET last_used_at = $2
    WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";

/// Removes clients that are dead by a condition, but never one with a live consent or grant at `$3`, whose user would
/// have to be asked again, nor a suspended one, which could come back unsuspended.
macro_rules! reap {
    ($is_dead:literal) => {
        concat!(
            "DELETE FROM dynamic_client WHERE id IN (SELECT id FROM dynamic_client AS dead WHERE ",
            $is_dead,
            " AND suspended_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM consent WHERE consent.client_id = dead.id AND consent.revoked_at IS NULL
                AND (consent.expires_at IS NULL OR consent.expires_at > $3))
            AND NOT EXISTS (SELECT 1 FROM grant_family WHERE grant_family.client_id = dead.id
                AND grant_family.revoked_at IS NULL AND grant_family.ends_at > $3)
            LIMIT $4)"
        )
    };
}
/// Never used since `$1`; known by a document, which can be read again, and not used since `$1`; not used since `$2`.
/// Each names all values, since PostgreSQL wants to know the type of each.
const REAP: [&str; 3] = [
    reap!("last_used_at IS NULL AND created_at <= $1 AND $2 < $3"),
    reap!("last_used_at <= $1 AND $2 < $3 AND assurance = 'domain'"),
    reap!("last_used_at <= $2 AND $1 < $3"),
];
/// How many rows go in one transaction, and how many at one call, so that nobody waits.
const REAP_BATCH: u64 = 500;
const REAP_BATCHES: u64 = 40;

/// What ends a consent at the same time on every server.
const CONSENTS: Versions = Versions { registry: 0, consents: 1, keys: 0 };

impl Store {
    /// Stores a client that is new; false if there is one of this id, here or in the registry.
    pub async fn insert_dynamic_client(&self, client: &DynamicClient) -> Result<bool, StoreError> {
        let values = [
            client.id().as_str().into(),
            client.assurance.as_str().into(),
            document(&client.client).into(),
            methods(client),
            client.metadata.as_str().into(),
            client.secret_hash.clone().into(),
            client.registration_token_digest.clone().into(),
            client.created_at.into(),
            client.last_used_at.into(),
            client.fetched_at.into(),
            client.fresh_until.into(),
            client.suspended_at.into(),
        ];
        self.commit(vec![Step::new(INSERT, values).or_yield()]).await
    }

    /// Stores what a client's document says now, unless another server fetched it later.
    pub async fn put_client_document(&self, client: &DynamicClient) -> Result<(), StoreError> {
        let values = [
            client.id().as_str().into(),
            document(&client.client).into(),
            methods(client),
            client.metadata.as_str().into(),
            client.fetched_at.into(),
            client.fresh_until.into(),
        ];
        self.commit(vec![Step::new(PUT_DOCUMENT, values)]).await.map(|_| ())
    }

    /// The client of this id, suspended or not.
    pub async fn find_dynamic_client(&self, id: &ClientId) -> Result<Option<DynamicClient>, StoreError> {
        let id = searchable(id.as_str());
        let row: Option<Row> = on_db!(self, read db => sqlx::query_as(FIND).bind(id).fetch_optional(db))?;
        row.map(DynamicClient::try_from).transpose()
    }

    /// The newest clients.
    pub async fn list_dynamic_clients(&self, limit: i64) -> Result<Vec<DynamicClient>, StoreError> {
        let rows: Vec<Row> = on_db!(self, read db => sqlx::query_as(LIST).bind(limit.max(0)).fetch_all(db))?;
        rows.into_iter().map(DynamicClient::try_from).collect()
    }

    /// Replaces a registration by the holder of its token (RFC 7592 §2.2), with its event; false, and nothing done, if
    /// the token is not that of the client.
    pub async fn replace_registration(
        &self,
        client: &DynamicClient,
        token_digest: &str,
        event: AuditEvent,
    ) -> Result<bool, StoreError> {
        let values = [
            client.id().as_str().into(),
            token_digest.into(),
            document(&client.client).into(),
            methods(client),
            client.metadata.as_str().into(),
            client.secret_hash.clone().into(),
        ];
        self.administer(Versions::default(), vec![Step::new(REPLACE, values).or_yield()], event).await
    }

    /// Ends a registration by the holder of its token (RFC 7592 §2.3), with its event, and every consent and grant of the
    /// client; false, and nothing done, if the token is not that of the client.
    pub async fn end_registration(
        &self,
        id: &ClientId,
        token_digest: &str,
        event: AuditEvent,
        now: i64,
    ) -> Result<bool, StoreError> {
        let steps = vec![
            Step::new(END, [id.as_str().into(), token_digest.into()]).or_yield(),
            Step::new(REVOKE_CONSENTS, [id.as_str().into(), now.into()]),
            Step::new(super::grant_families::REVOKE_OF_CLIENT, [id.as_str().into(), now.into()]),
        ];
        self.administer(CONSENTS, steps, event).await
    }

    /// Notes when clients were last used. What is unknown by now is passed over.
    pub async fn touch_dynamic_clients(&self, uses: &[(ClientId, i64)]) -> Result<(), StoreError> {
        for uses in uses.chunks(256) {
            let steps = uses.iter().map(|(id, at)| Step::new(TOUCH, [id.as_str().into(), (*at).into()]));
            self.commit(steps.collect()).await?;
        }
        Ok(())
    }

    /// Removes clients that were never used since `unused_since`, and those that were not used since `idle_since`; of
    /// those with a document, which is read again when they come back, also the ones not used since `unused_since`.
    /// One with a live consent or grant stays, and so does a suspended one. Returns how many went.
    pub async fn reap_dynamic_clients(&self, unused_since: i64, idle_since: i64, now: i64) -> Result<u64, StoreError> {
        let mut total: u64 = 0;
        for sql in REAP {
            for _ in 0..REAP_BATCHES {
                let limit = REAP_BATCH.cast_signed();
                let batch = in_tx!(self, tx => {
                    let query = sqlx::query(sql).bind(unused_since).bind(idle_since).bind(now).bind(limit);
                    query.execute(&mut *tx).await?.rows_affected()
                })?;
                total = total.saturating_add(batch);
                if batch < REAP_BATCH {
                    break;
                }
            }
        }
        Ok(total)
    }
}

fn methods(client: &DynamicClient) -> Value {
    let names: Vec<&str> = client.other_authentication.iter().map(|method| method.as_str()).collect();
    names.join(" ").into()
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    assurance: String,
    document: String,
    other_authentication: String,
    metadata: String,
    secret_hash: Option<String>,
    registration_token_digest: Option<String>,
    created_at: i64,
    last_used_at: Option<i64>,
    fetched_at: Option<i64>,
    fresh_until: Option<i64>,
    suspended_at: Option<i64>,
}

impl TryFrom<Row> for DynamicClient {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        const WHAT: &str = "registered client";
        let assurance = [Assurance::Domain, Assurance::SelfAsserted].into_iter().find(|a| a.as_str() == row.assurance);
        let known = [
            ClientAuthentication::None,
            ClientAuthentication::PrivateKeyJwt,
            ClientAuthentication::ClientSecretBasic,
            ClientAuthentication::ClientSecretPost,
        ];
        let names = row.other_authentication.split(' ').filter(|name| !name.is_empty());
        let others: Option<Vec<_>> =
            names.map(|name| known.into_iter().find(|method| method.as_str() == name)).collect();
        let client: crate::domain::client::Client = read_document(WHAT, &row.document)?;
        if client.id.as_str() != row.id {
            return Err(corrupt(WHAT)("its document has another id"));
        }
        Ok(Self {
            client,
            assurance: assurance.ok_or("an unknown assurance").map_err(corrupt(WHAT))?,
            other_authentication: others.ok_or("an unknown authentication").map_err(corrupt(WHAT))?,
            metadata: row.metadata,
            secret_hash: row.secret_hash,
            registration_token_digest: row.registration_token_digest,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            fetched_at: row.fetched_at,
            fresh_until: row.fresh_until,
            suspended_at: row.suspended_at,
        })
    }
}
