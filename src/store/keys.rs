//! Our signing keys; the private part is sealed before it comes here.

use super::sql::{Step, corrupt};
use super::{Store, StoreError, Versions};
use crate::domain::event::AuditEvent;
use crate::domain::resource::SigningAlgorithm;
use crate::domain::signing_key::SigningKeyRecord;

const LIST_KEYS: &str =
    "SELECT kid, algorithm, generation, public_jwk, sealed_private_jwk, published_at, signs_from, removed_at
    FROM signing_key ORDER BY published_at, algorithm, generation";
const ADD_KEY: &str = "INSERT INTO signing_key
    (kid, algorithm, generation, public_jwk, sealed_private_jwk, published_at, signs_from, removed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (algorithm, generation) DO NOTHING";
// A key that is to go earlier, or is gone, does not come back.
const REMOVE_KEY: &str = "UPDATE signing_key
    SET removed_at = CASE WHEN removed_at IS NULL OR removed_at > $2 THEN $2 ELSE removed_at END WHERE kid = $1";

const CLAIM_SECRETS_KEY: &str = "INSERT INTO secrets_key (id, fingerprint) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
const FIND_SECRETS_KEY: &str = "SELECT fingerprint FROM secrets_key WHERE id = 1";

impl Store {
    /// True once the database holds something that was made with a `secrets_key`.
    pub async fn has_secrets_key(&self) -> Result<bool, StoreError> {
        let known: Option<String> = on_db!(self, read db => sqlx::query_scalar(FIND_SECRETS_KEY).fetch_optional(db))?;
        Ok(known.is_some())
    }

    /// Ties the database to the `secrets_key` of this fingerprint, the first time; later makes sure that it is the one.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] if it is another one.
    pub async fn claim_secrets_key(&self, fingerprint: &str) -> Result<(), StoreError> {
        self.commit(vec![Step::new(CLAIM_SECRETS_KEY, [fingerprint.into()])]).await?;
        let known: Option<String> = on_db!(self, read db => sqlx::query_scalar(FIND_SECRETS_KEY).fetch_optional(db))?;
        if known.as_deref() == Some(fingerprint) {
            return Ok(());
        }
        Err(StoreError::Rejected(
            "this secrets_key is not the one that the database was made with: with another one, neither the signing keys \
             nor the client secrets in it can be used"
                .to_owned(),
        ))
    }

    /// Signing keys, oldest first, removed ones too.
    pub async fn list_signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError> {
        let rows: Vec<KeyRow> = on_db!(self, read db => sqlx::query_as(LIST_KEYS).fetch_all(db))?;
        rows.into_iter().map(SigningKeyRecord::try_from).collect()
    }

    /// Adds a key and sets `removed_at` of others (kid, time), with an event of administration; false, and nothing
    /// changed, if another server added this generation first. A removal is never put off.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] if a key to be removed is not there.
    pub async fn add_signing_key(
        &self,
        key: &SigningKeyRecord,
        removals: &[(String, i64)],
        event: AuditEvent,
    ) -> Result<bool, StoreError> {
        let values = [
            key.kid.as_str().into(),
            key.algorithm.as_str().into(),
            key.generation.into(),
            key.public_jwk.as_str().into(),
            key.sealed_private_jwk.as_str().into(),
            key.published_at.into(),
            key.signs_from.into(),
            key.removed_at.into(),
        ];
        let mut steps = vec![Step::new(ADD_KEY, values).or_yield()];
        steps.extend(removals.iter().map(|(kid, at)| {
            Step::new(REMOVE_KEY, [kid.as_str().into(), (*at).into()])
                .or_reject(format!("there is no signing key {kid}"))
        }));
        self.administer(Versions { keys: 1, ..Versions::default() }, steps, event).await
    }
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    kid: String,
    algorithm: String,
    generation: i64,
    public_jwk: String,
    sealed_private_jwk: String,
    published_at: i64,
    signs_from: i64,
    removed_at: Option<i64>,
}

impl TryFrom<KeyRow> for SigningKeyRecord {
    type Error = StoreError;
    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let algorithm = SigningAlgorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == row.algorithm);
        Ok(Self {
            kid: row.kid,
            algorithm: algorithm.ok_or("an unknown algorithm").map_err(corrupt("signing key"))?,
            generation: row.generation,
            public_jwk: row.public_jwk,
            sealed_private_jwk: row.sealed_private_jwk,
            published_at: row.published_at,
            signs_from: row.signs_from,
            removed_at: row.removed_at,
        })
    }
}
