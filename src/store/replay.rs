//! Tokens that may be used once, and the broom for what has ended.

use super::sql::Step;
use super::{Store, StoreError};
use crate::domain::names::{ClientId, IdpId};
use crate::secrets;

const USE_TOKEN: &str = "INSERT INTO used_token (digest, kind, expires_at) VALUES ($1, $2, $3)
    ON CONFLICT (digest) DO NOTHING";

/// A use is remembered so much longer than the token lives, in seconds: a clock that is set back must not make a token
/// live again whose use is forgotten.
const CLOCK_MAY_JUMP_BACK_SECONDS: i64 = 600;

/// How many rows go in one transaction: few enough that nobody waits for it.
const PURGE_BATCH: u64 = 500;
/// The tables that are swept, each with the statement that deletes a batch.
const PURGES: [(&str, &str); 9] = [
    (
        "used_token",
        "DELETE FROM used_token WHERE digest IN
        (SELECT digest FROM used_token WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
    ),
    (
        "consent_request",
        "DELETE FROM consent_request WHERE handle_digest IN
        (SELECT handle_digest FROM consent_request WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
    ),
    (
        "pushed_request",
        "DELETE FROM pushed_request WHERE digest IN
        (SELECT digest FROM pushed_request WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
    ),
    (
        "grant_family",
        "DELETE FROM grant_family WHERE id IN
        (SELECT id FROM grant_family WHERE ends_at <= $1 - 86400 ORDER BY ends_at LIMIT $2)",
    ),
    (
        "browser_session",
        "DELETE FROM browser_session WHERE digest IN
        (SELECT digest FROM browser_session WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2)",
    ),
    (
        "ended_session",
        "DELETE FROM ended_session WHERE id IN
        (SELECT id FROM ended_session WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2)",
    ),
    (
        "revocation",
        "DELETE FROM revocation WHERE id IN
        (SELECT id FROM revocation WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2)",
    ),
    // Before the entries, by which they are found.
    (
        "status_support",
        "DELETE FROM status_support WHERE idx IN (SELECT status_support.idx FROM status_support
        JOIN status_entry ON status_entry.idx = status_support.idx
        WHERE status_entry.ends_at <= $1 ORDER BY status_entry.ends_at LIMIT $2)",
    ),
    (
        "status_entry",
        "DELETE FROM status_entry WHERE idx IN
        (SELECT idx FROM status_entry WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2)",
    ),
];

impl Store {
    /// Remembers the `jti` of a client assertion (RFC 7523 §3) until past `expires_at`; false if it was used before.
    /// Decided by the database.
    pub async fn use_assertion(&self, client: &ClientId, jti: &str, expires_at: i64) -> Result<bool, StoreError> {
        self.use_token("client_assertion", &[client.as_str()], jti, expires_at).await
    }

    /// Remembers that a client presented a subject token of a provider, by its `jti`; false if it did so before.
    /// Decided by the database.
    pub async fn use_subject_token(
        &self,
        idp: &IdpId,
        client: &ClientId,
        jti: &str,
        expires_at: i64,
    ) -> Result<bool, StoreError> {
        self.use_token("subject_token", &[idp.as_str(), client.as_str()], jti, expires_at).await
    }

    /// Remembers that a form was sent, by the random id in it; false if it was sent before. Decided by the database.
    pub async fn use_form(&self, id: &str, expires_at: i64) -> Result<bool, StoreError> {
        self.use_token("form", &[], id, expires_at).await
    }

    /// Remembers that somebody came back from a provider with this `state`; false if somebody did before. Decided by the
    /// database.
    pub async fn use_login_state(&self, state: &str, expires_at: i64) -> Result<bool, StoreError> {
        self.use_token("login_state", &[], state, expires_at).await
    }

    async fn use_token(
        &self,
        kind: &'static str,
        presented_by: &[&str],
        jti: &str,
        expires_at: i64,
    ) -> Result<bool, StoreError> {
        self.commit(vec![use_step(kind, presented_by, jti, expires_at)]).await
    }

    /// Deletes what has ended: used tokens, consent requests, sessions and the like. Returns how many rows went, by table.
    pub async fn purge(&self, now: i64) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let mut gone = Vec::new();
        for (table, sql) in PURGES {
            let mut total: u64 = 0;
            loop {
                let limit = PURGE_BATCH.cast_signed();
                let batch = in_tx!(self, tx =>
                    sqlx::query(sql).bind(now).bind(limit).execute(&mut *tx).await?.rows_affected())?;
                total = total.saturating_add(batch);
                if batch < PURGE_BATCH {
                    break;
                }
            }
            gone.push((table, total));
        }
        Ok(gone)
    }
}

/// The step that yields if the token was used before.
pub(super) fn use_step(kind: &'static str, presented_by: &[&str], jti: &str, expires_at: i64) -> Step {
    // Only the jti may hold a line break, and it is last: two different uses have different texts.
    let digest = secrets::digest(&format!("{kind}\n{}\n{jti}", presented_by.join("\n")));
    let remembered_until = expires_at.saturating_add(CLOCK_MAY_JUMP_BACK_SECONDS);
    Step::new(USE_TOKEN, [digest.into(), kind.into(), remembered_until.into()]).or_yield()
}
