//! Consents, and the requests for one that wait for a user.

use super::sql::{Search, Step, corrupt, searchable};
use super::{ConsentRequest, Store, StoreError};
use crate::domain::consent::{Consent, ConsentAnswer, ConsentSource, ConsentingUser};
use crate::domain::names::{ClientId, UserId};
use std::collections::HashSet;

// One statement, so that a consent which is taken back meanwhile is not seen both ways. Those of the user and those for
// everyone are looked for by themselves: with an OR, a planner without statistics reads the whole table.
const CONSENTS_OF: &str =
    "SELECT id, user_id, client_id, resource_id, scopes, source, granted_at, expires_at, revoked_at,
    paused_at, fingerprint, redirect_uri
    FROM consent WHERE user_id = $1 AND revoked_at IS NULL
    UNION ALL
    SELECT id, user_id, client_id, resource_id, scopes, source, granted_at, expires_at, revoked_at,
    paused_at, fingerprint, redirect_uri
    FROM consent WHERE user_id IS NULL AND revoked_at IS NULL
    UNION ALL
    SELECT id, user_id, client_id, resource_id, scopes, source, granted_at, expires_at, revoked_at,
    paused_at, fingerprint, redirect_uri FROM (
        SELECT id, user_id, client_id, resource_id, scopes, source, granted_at, expires_at, revoked_at,
    paused_at, fingerprint, redirect_uri
        FROM consent WHERE user_id = $1 AND revoked_at IS NOT NULL
        ORDER BY revoked_at DESC, id DESC LIMIT 100
    ) AS taken_back
    UNION ALL
    SELECT id, user_id, client_id, resource_id, scopes, source, granted_at, expires_at, revoked_at,
    paused_at, fingerprint, redirect_uri FROM (
        SELECT id, user_id, client_id, resource_id, scopes, source, granted_at, expires_at, revoked_at,
    paused_at, fingerprint, redirect_uri
        FROM consent WHERE user_id IS NULL AND revoked_at IS NOT NULL
        ORDER BY revoked_at DESC, id DESC LIMIT 100
    ) AS taken_back_for_everyone
    ORDER BY granted_at DESC, id DESC";
const LIST_CONSENTS: &str =
    "SELECT id, user_id, client_id, resource_id, scopes, source, granted_at, expires_at, revoked_at,
    paused_at, fingerprint, redirect_uri
    FROM consent WHERE TRUE";
const REVOKED_SINCE: &str = "SELECT id FROM consent WHERE revoked_at >= $1";
const FIND_CONSENT: &str =
    "SELECT id, user_id, client_id, resource_id, scopes, source, granted_at, expires_at, revoked_at,
    paused_at, fingerprint, redirect_uri
    FROM consent WHERE id = $1";
const INSERT_REQUEST: &str = "INSERT INTO consent_request
    (handle_digest, user_id, client_id, resource_id, scopes, created_at, expires_at, behind)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (handle_digest) DO NOTHING";
const FIND_REQUEST: &str = "SELECT user_id, client_id, resource_id, scopes, created_at, expires_at, outcome, behind
    FROM consent_request WHERE handle_digest = $1";

impl Store {
    /// Every consent of the user and every one for everyone that was not taken back, ended or not, and the newest
    /// hundred that were; newest first.
    pub async fn consents_of(&self, user: &UserId) -> Result<Vec<Consent>, StoreError> {
        let rows: Vec<ConsentRow> =
            on_db!(self, read db => sqlx::query_as(CONSENTS_OF).bind(user.as_str()).fetch_all(db))?;
        rows.into_iter().map(Consent::try_from).collect()
    }

    /// Consents, newest first; absent arguments do not restrict. With a user, those for everyone are not among them.
    pub async fn list_consents(
        &self,
        user: Option<&str>,
        client: Option<&str>,
        live_only: bool,
        now: i64,
    ) -> Result<Vec<Consent>, StoreError> {
        let mut search = Search::new(LIST_CONSENTS);
        search.narrow(" AND user_id = ", user.map(searchable).as_deref());
        search.narrow(" AND client_id = ", client.map(searchable).as_deref());
        if live_only {
            search.push_with(" AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ", now);
            search.push(")");
        }
        search.push(" ORDER BY granted_at DESC, id DESC");
        let (sql, values) = search.finish();
        let rows: Vec<ConsentRow> = on_db!(self, read db => bind_all!(sqlx::query_as(sql), values).fetch_all(db))?;
        rows.into_iter().map(Consent::try_from).collect()
    }

    /// The consents that were taken back at this moment or later.
    pub async fn consents_revoked_since(&self, at: i64) -> Result<HashSet<String>, StoreError> {
        let ids: Vec<String> = on_db!(self, read db => sqlx::query_scalar(REVOKED_SINCE).bind(at).fetch_all(db))?;
        Ok(ids.into_iter().collect())
    }

    /// One consent.
    pub async fn find_consent(&self, id: &str) -> Result<Option<Consent>, StoreError> {
        let row: Option<ConsentRow> =
            on_db!(self, read db => sqlx::query_as(FIND_CONSENT).bind(searchable(id)).fetch_optional(db))?;
        row.map(Consent::try_from).transpose()
    }

    /// Stores a consent request under the digest of its handle; an existing one of this digest stays as it is.
    pub async fn insert_consent_request(
        &self,
        handle_digest: &str,
        request: &ConsentRequest,
    ) -> Result<(), StoreError> {
        let values = [
            handle_digest.into(),
            request.user.as_str().into(),
            request.client.as_str().into(),
            request.resource.as_str().into(),
            request.scopes.to_string().into(),
            request.created_at.into(),
            request.expires_at.into(),
            request.behind.iter().map(ClientId::as_str).collect::<Vec<_>>().join(" ").into(),
        ];
        self.commit(vec![Step::new(INSERT_REQUEST, values)]).await.map(|_| ())
    }

    /// The consent request under this digest, ended or not.
    pub async fn find_consent_request(&self, handle_digest: &str) -> Result<Option<ConsentRequest>, StoreError> {
        let digest = searchable(handle_digest);
        let row: Option<ConsentRequestRow> =
            on_db!(self, read db => sqlx::query_as(FIND_REQUEST).bind(digest).fetch_optional(db))?;
        row.map(ConsentRequest::try_from).transpose()
    }
}

/// The name of a source in the column.
pub(super) fn source_name(source: ConsentSource) -> &'static str {
    match source {
        ConsentSource::User => "user",
        ConsentSource::Admin => "admin",
    }
}

#[derive(sqlx::FromRow)]
struct ConsentRow {
    id: String,
    user_id: Option<String>,
    client_id: String,
    resource_id: String,
    scopes: String,
    source: String,
    granted_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    paused_at: Option<i64>,
    fingerprint: Option<String>,
    redirect_uri: Option<String>,
}

impl TryFrom<ConsentRow> for Consent {
    type Error = StoreError;
    fn try_from(row: ConsentRow) -> Result<Self, StoreError> {
        let user = row.user_id.map(UserId::try_from).transpose().map_err(corrupt("consent"))?;
        let source = [ConsentSource::User, ConsentSource::Admin].into_iter().find(|s| source_name(*s) == row.source);
        Ok(Self {
            id: row.id,
            user: user.map_or(ConsentingUser::Everyone, ConsentingUser::One),
            client: row.client_id.try_into().map_err(corrupt("consent"))?,
            resource: row.resource_id.try_into().map_err(corrupt("consent"))?,
            scopes: row.scopes.try_into().map_err(corrupt("consent"))?,
            source: source.ok_or("an unknown source").map_err(corrupt("consent"))?,
            granted_at: row.granted_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            paused_at: row.paused_at,
            fingerprint: row.fingerprint,
            redirect_uri: row.redirect_uri,
        })
    }
}

#[derive(sqlx::FromRow)]
struct ConsentRequestRow {
    user_id: String,
    client_id: String,
    resource_id: String,
    scopes: String,
    created_at: i64,
    expires_at: i64,
    outcome: Option<String>,
    behind: Option<String>,
}

impl TryFrom<ConsentRequestRow> for ConsentRequest {
    type Error = StoreError;
    fn try_from(row: ConsentRequestRow) -> Result<Self, StoreError> {
        let answer = |text: String| {
            let known = [ConsentAnswer::Allowed, ConsentAnswer::Denied].into_iter().find(|one| one.as_str() == text);
            known.ok_or("an unknown outcome").map_err(corrupt("consent request"))
        };
        let behind = row.behind.iter().flat_map(|ids| ids.split(' ')).filter(|id| !id.is_empty());
        let behind = behind.map(|id| ClientId::try_from(id.to_owned()).map_err(corrupt("consent request")));
        Ok(Self {
            behind: behind.collect::<Result<_, _>>()?,
            user: row.user_id.try_into().map_err(corrupt("consent request"))?,
            client: row.client_id.try_into().map_err(corrupt("consent request"))?,
            resource: row.resource_id.try_into().map_err(corrupt("consent request"))?,
            scopes: row.scopes.try_into().map_err(corrupt("consent request"))?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            answer: row.outcome.map(answer).transpose()?,
        })
    }
}
