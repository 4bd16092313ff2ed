//! Grant families, and pushed authorization requests. What happens once is decided by the database.

use super::sql::{Step, corrupt, document, read_document, searchable};
use super::{Store, StoreError, Versions};
use crate::domain::event::AuditEvent;
use crate::domain::grant_family::{GrantFamily, Rotations};
use crate::domain::names::{ClientId, UserId};
use std::collections::HashSet;

const INSERT_FAMILY: &str = "INSERT INTO grant_family (id, user_id, client_id, resource_id, idp, idp_sub, idp_session,
    terms, created_at, code_ends_at, redeemed_at, generation, rotations, used_at, ends_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, 0, '[]', $9, $11)";
const FIND_FAMILY: &str = "SELECT id, user_id, client_id, resource_id, idp, idp_sub, idp_session, terms, created_at,
    code_ends_at, redeemed_at, generation, rotations, used_at, ends_at, revoked_at, revoked_because
    FROM grant_family WHERE id = $1";
const FAMILIES_OF_USER: &str =
    "SELECT id, user_id, client_id, resource_id, idp, idp_sub, idp_session, terms, created_at,
    code_ends_at, redeemed_at, generation, rotations, used_at, ends_at, revoked_at, revoked_because
    FROM grant_family WHERE user_id = $1 AND revoked_at IS NULL AND redeemed_at IS NOT NULL AND ends_at > $2
    ORDER BY created_at DESC, id LIMIT 1000";
const REDEEM: &str = "UPDATE grant_family SET redeemed_at = $2, used_at = $2, ends_at = $3
    WHERE id = $1 AND redeemed_at IS NULL AND revoked_at IS NULL";
const ROTATE: &str = "UPDATE grant_family SET generation = generation + 1, rotations = $3, used_at = $4, ends_at = $5
    WHERE id = $1 AND generation = $2 AND revoked_at IS NULL";
const REVOKED_SINCE: &str = "SELECT id FROM grant_family WHERE revoked_at >= $1";
const REVOKE: &str = "UPDATE grant_family SET revoked_at = $2, revoked_because = $3
    WHERE id = $1 AND revoked_at IS NULL";
pub(super) const REVOKE_OF_SESSION: &str = "UPDATE grant_family SET revoked_at = $3, revoked_because = $4
    WHERE idp = $1 AND idp_session = $2 AND revoked_at IS NULL";
/// Those of a user whose sign-in named no session: each may be of the one that is meant.
pub(super) const REVOKE_OF_NO_SESSION: &str = "UPDATE grant_family SET revoked_at = $2, revoked_because = $3
    WHERE user_id = $1 AND idp_session IS NULL AND revoked_at IS NULL";
pub(super) const REVOKE_OF_PROVIDER: &str = "UPDATE grant_family SET revoked_at = $2, revoked_because = $3
    WHERE idp = $1 AND revoked_at IS NULL";
pub(super) const REVOKE_OF_USER: &str = "UPDATE grant_family SET revoked_at = $2, revoked_because = $3
    WHERE user_id = $1 AND revoked_at IS NULL";
pub(super) const REVOKE_OF_CLIENT: &str = "UPDATE grant_family SET revoked_at = $2, revoked_because = 'client_removed'
    WHERE client_id = $1 AND revoked_at IS NULL";
pub(super) const REVOKE_OF_RESOURCE: &str =
    "UPDATE grant_family SET revoked_at = $2, revoked_because = 'resource_removed'
    WHERE resource_id = $1 AND revoked_at IS NULL";
/// Those of the user, client and backend of a consent; of everyone's for a consent that is for everyone.
pub(super) const REVOKE_OF_CONSENT: &str =
    "UPDATE grant_family SET revoked_at = $2, revoked_because = 'consent_revoked'
    WHERE revoked_at IS NULL AND EXISTS (SELECT 1 FROM consent WHERE consent.id = $1
    AND consent.client_id = grant_family.client_id AND consent.resource_id = grant_family.resource_id
    AND (consent.user_id IS NULL OR consent.user_id = grant_family.user_id))";

const PUSH: &str = "INSERT INTO pushed_request (digest, client_id, form, expires_at) VALUES ($1, $2, $3, $4)";
const FIND_PUSHED: &str = "SELECT form FROM pushed_request WHERE digest = $1 AND client_id = $2 AND expires_at > $3";
const TAKE_PUSHED: &str = "DELETE FROM pushed_request WHERE digest = $1 AND client_id = $2 AND expires_at > $3";

impl Store {
    /// Keeps a new family, whose code is not used yet.
    pub async fn insert_family(&self, family: &GrantFamily) -> Result<(), StoreError> {
        let values = [
            family.id.as_str().into(),
            family.user.as_str().into(),
            family.client.as_str().into(),
            family.resource.as_str().into(),
            family.idp.as_str().into(),
            family.idp_sub.as_str().into(),
            family.idp_session.clone().into(),
            document(&family.terms).into(),
            family.created_at.into(),
            family.code_ends_at.into(),
            family.ends_at.into(),
        ];
        self.commit(vec![Step::new(INSERT_FAMILY, values)]).await.map(|_| ())
    }

    /// The family of this id, ended or not.
    pub async fn find_family(&self, id: &str) -> Result<Option<GrantFamily>, StoreError> {
        let row: Option<FamilyRow> =
            on_db!(self, read db => sqlx::query_as(FIND_FAMILY).bind(searchable(id)).fetch_optional(db))?;
        row.map(GrantFamily::try_from).transpose()
    }

    /// The live families of a user, newest first.
    pub async fn families_of(&self, user: &UserId, now: i64) -> Result<Vec<GrantFamily>, StoreError> {
        let rows: Vec<FamilyRow> =
            on_db!(self, read db => sqlx::query_as(FAMILIES_OF_USER).bind(user.as_str()).bind(now).fetch_all(db))?;
        rows.into_iter().map(GrantFamily::try_from).collect()
    }

    /// Uses the code of a family; false if it was used before, or the family was ended. Decided by the database.
    pub async fn redeem_code(&self, family: &str, now: i64, ends_at: i64) -> Result<bool, StoreError> {
        self.commit(vec![Step::new(REDEEM, [family.into(), now.into(), ends_at.into()]).or_yield()]).await
    }

    /// Replaces the refresh token of this generation; false if another request did so first, or the family was ended.
    /// Decided by the database.
    pub async fn rotate_refresh_token(
        &self,
        family: &str,
        generation: i64,
        rotations: &Rotations,
        now: i64,
        ends_at: i64,
    ) -> Result<bool, StoreError> {
        let values = [family.into(), generation.into(), document(rotations).into(), now.into(), ends_at.into()];
        self.commit(vec![Step::new(ROTATE, values).or_yield()]).await
    }

    /// Ends a family, with its event; nothing if it was ended before. Every server knows within a second.
    pub async fn revoke_family(
        &self,
        family: &str,
        because: &'static str,
        event: AuditEvent,
        now: i64,
    ) -> Result<bool, StoreError> {
        let touched = Versions { consents: 1, ..Versions::default() };
        let step = Step::new(REVOKE, [family.into(), now.into(), because.into()]).or_yield();
        self.administer(touched, vec![step], event).await
    }

    /// The families that ended at this moment or later, before their time.
    pub async fn families_revoked_since(&self, at: i64) -> Result<HashSet<String>, StoreError> {
        let ids: Vec<String> = on_db!(self, read db => sqlx::query_scalar(REVOKED_SINCE).bind(at).fetch_all(db))?;
        Ok(ids.into_iter().collect())
    }

    /// Keeps a pushed authorization request (RFC 9126) under the digest of its `request_uri`.
    pub async fn push_request(
        &self,
        digest: &str,
        client: &ClientId,
        form: &str,
        expires_at: i64,
    ) -> Result<(), StoreError> {
        let values = [digest.into(), client.as_str().into(), form.into(), expires_at.into()];
        self.commit(vec![Step::new(PUSH, values)]).await.map(|_| ())
    }

    /// Takes a pushed request of this client out; none if there is none, it has ended, or it was taken before. Decided by
    /// the database.
    pub async fn take_pushed_request(
        &self,
        digest: &str,
        client: &ClientId,
        now: i64,
    ) -> Result<Option<String>, StoreError> {
        let form: Option<String> = on_db!(self, read db =>
            sqlx::query_scalar(FIND_PUSHED).bind(digest).bind(client.as_str()).bind(now).fetch_optional(db))?;
        let Some(form) = form else {
            return Ok(None);
        };
        let step = Step::new(TAKE_PUSHED, [digest.into(), client.as_str().into(), now.into()]).or_yield();
        Ok(self.commit(vec![step]).await?.then_some(form))
    }
}

#[derive(sqlx::FromRow)]
struct FamilyRow {
    id: String,
    user_id: String,
    client_id: String,
    resource_id: String,
    idp: String,
    idp_sub: String,
    idp_session: Option<String>,
    terms: String,
    created_at: i64,
    code_ends_at: i64,
    redeemed_at: Option<i64>,
    generation: i64,
    rotations: String,
    used_at: i64,
    ends_at: i64,
    revoked_at: Option<i64>,
    revoked_because: Option<String>,
}

impl TryFrom<FamilyRow> for GrantFamily {
    type Error = StoreError;
    fn try_from(row: FamilyRow) -> Result<Self, StoreError> {
        const WHAT: &str = "grant family";
        Ok(Self {
            id: row.id,
            user: row.user_id.try_into().map_err(corrupt(WHAT))?,
            client: row.client_id.try_into().map_err(corrupt(WHAT))?,
            resource: row.resource_id.try_into().map_err(corrupt(WHAT))?,
            idp: row.idp.try_into().map_err(corrupt(WHAT))?,
            idp_sub: row.idp_sub,
            idp_session: row.idp_session,
            terms: read_document(WHAT, &row.terms)?,
            created_at: row.created_at,
            code_ends_at: row.code_ends_at,
            redeemed_at: row.redeemed_at,
            generation: row.generation,
            rotations: read_document(WHAT, &row.rotations)?,
            used_at: row.used_at,
            ends_at: row.ends_at,
            revoked_at: row.revoked_at,
            revoked_because: row.revoked_because,
        })
    }
}
