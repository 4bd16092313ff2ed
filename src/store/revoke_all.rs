//! The kill switch: all that a user, a client, a backend or a session at a provider holds, ended at one stroke.

use super::grant_families::{REVOKE_OF_SESSION, REVOKE_OF_USER};
use super::sql::{Step, Value, searchable};
use super::token_status::revoke_step;
use super::{Store, StoreError};
use crate::domain::change::RevocationTarget;
use crate::domain::token_status::{Support, session_id};
use crate::secrets::random_id;

/// Why grant families are revoked by it.
const BECAUSE: &str = "revoked_by_administrator";

/// For how long the end of a session is remembered, in seconds: 30 days, as that of one which its provider ended.
const SESSION_REMEMBERED_SECONDS: i64 = 30 * 86_400;

// What was agreed for everyone is declared in the registry file, and ends there.
const CONSENTS_OF_USER: &str = "UPDATE consent SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";
const CONSENTS_OF_CLIENT: &str =
    "UPDATE consent SET revoked_at = $2 WHERE client_id = $1 AND user_id IS NOT NULL AND revoked_at IS NULL";
const CONSENTS_OF_RESOURCE: &str =
    "UPDATE consent SET revoked_at = $2 WHERE resource_id = $1 AND user_id IS NOT NULL AND revoked_at IS NULL";
const FAMILIES_OF_CLIENT: &str = "UPDATE grant_family SET revoked_at = $2, revoked_because = $3
    WHERE client_id = $1 AND revoked_at IS NULL";
const FAMILIES_OF_RESOURCE: &str = "UPDATE grant_family SET revoked_at = $2, revoked_because = $3
    WHERE resource_id = $1 AND revoked_at IS NULL";
const SESSIONS_OF_USER: &str = "DELETE FROM browser_session WHERE user_id = $1";
const SESSIONS_OF_SESSION: &str = "DELETE FROM browser_session WHERE idp = $1 AND idp_session = $2";
const NOTE_SESSION: &str = "INSERT INTO ended_session (id, idp, idp_sub, idp_session, ended_at, ends_at)
    VALUES ($1, $2, NULL, $3, $4, $5)";

/// For each target: live consents, grant families that go on, sessions of browsers.
const COUNT_OF_USER: &str = "SELECT
    (SELECT COUNT(*) FROM consent WHERE user_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)),
    (SELECT COUNT(*) FROM grant_family WHERE user_id = $1 AND revoked_at IS NULL AND ends_at > $2),
    (SELECT COUNT(*) FROM browser_session WHERE user_id = $1 AND ends_at > $2)";
const COUNT_OF_CLIENT: &str = "SELECT
    (SELECT COUNT(*) FROM consent WHERE client_id = $1 AND user_id IS NOT NULL AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > $2)),
    (SELECT COUNT(*) FROM grant_family WHERE client_id = $1 AND revoked_at IS NULL AND ends_at > $2), CAST(0 AS BIGINT)";
const COUNT_OF_RESOURCE: &str = "SELECT
    (SELECT COUNT(*) FROM consent WHERE resource_id = $1 AND user_id IS NOT NULL AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > $2)),
    (SELECT COUNT(*) FROM grant_family WHERE resource_id = $1 AND revoked_at IS NULL AND ends_at > $2), CAST(0 AS BIGINT)";
const COUNT_OF_SESSION: &str = "SELECT CAST(0 AS BIGINT),
    (SELECT COUNT(*) FROM grant_family WHERE idp = $1 AND idp_session = $3 AND revoked_at IS NULL AND ends_at > $2),
    (SELECT COUNT(*) FROM browser_session WHERE idp = $1 AND idp_session = $3 AND ends_at > $2)";
const COUNT_OF_CONSENT: &str = "SELECT COUNT(*) FROM grant_family WHERE client_id = $1 AND resource_id = $2
    AND ($3 IS NULL OR user_id = $3) AND revoked_at IS NULL AND ends_at > $4";

/// How much there is to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Live consents of users.
    pub consents: i64,
    /// What came of sign-ins and goes on: grant families.
    pub families: i64,
    /// Sessions of browsers.
    pub sessions: i64,
}

impl Store {
    /// How much would end.
    pub async fn held_by(&self, target: &RevocationTarget, now: i64) -> Result<Held, StoreError> {
        let counts = |sql: &'static str, values: Vec<Value>| async move {
            let row: (i64, i64, i64) = on_db!(self, read db => bind_all!(sqlx::query_as(sql), values).fetch_one(db))?;
            Ok::<_, StoreError>(Held { consents: row.0, families: row.1, sessions: row.2 })
        };
        match target {
            RevocationTarget::User(id) => counts(COUNT_OF_USER, vec![id.as_str().into(), now.into()]).await,
            RevocationTarget::Client(id) => counts(COUNT_OF_CLIENT, vec![id.as_str().into(), now.into()]).await,
            RevocationTarget::Resource(id) => counts(COUNT_OF_RESOURCE, vec![id.as_str().into(), now.into()]).await,
            RevocationTarget::Session { idp, session } => {
                let session = searchable(session).into_owned();
                counts(COUNT_OF_SESSION, vec![idp.as_str().into(), now.into(), session.into()]).await
            }
        }
    }

    /// How many grant families would end with a consent of this user, or of everyone if there is none.
    pub async fn families_on_consent(
        &self,
        client: &str,
        resource: &str,
        user: Option<&str>,
        now: i64,
    ) -> Result<i64, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_scalar(COUNT_OF_CONSENT)
            .bind(client).bind(resource).bind(user).bind(now).fetch_one(db))?)
    }
}

/// The steps that end it all. `consents`: the agreements of users too.
pub(super) fn revoke_all(target: &RevocationTarget, consents: bool, now: i64) -> Vec<Step> {
    let because = || Value::from(BECAUSE);
    let mut steps = Vec::new();
    match target {
        RevocationTarget::User(id) => {
            let id_value = || Value::from(id.as_str());
            steps.extend(consents.then(|| Step::new(CONSENTS_OF_USER, [id_value(), now.into()])));
            steps.push(Step::new(REVOKE_OF_USER, [id_value(), now.into(), because()]));
            steps.push(Step::new(SESSIONS_OF_USER, [id_value()]));
            steps.push(revoke_step(&Support::User(id.clone()), now));
        }
        RevocationTarget::Client(id) => {
            let id_value = || Value::from(id.as_str());
            steps.extend(consents.then(|| Step::new(CONSENTS_OF_CLIENT, [id_value(), now.into()])));
            steps.push(Step::new(FAMILIES_OF_CLIENT, [id_value(), now.into(), because()]));
            steps.push(revoke_step(&Support::Client(id.clone()), now));
        }
        RevocationTarget::Resource(id) => {
            let id_value = || Value::from(id.as_str());
            steps.extend(consents.then(|| Step::new(CONSENTS_OF_RESOURCE, [id_value(), now.into()])));
            steps.push(Step::new(FAMILIES_OF_RESOURCE, [id_value(), now.into(), because()]));
            steps.push(revoke_step(&Support::Resource(id.clone()), now));
        }
        RevocationTarget::Session { idp, session } => {
            let text = || Value::from(searchable(session).into_owned());
            let idp_value = || Value::from(idp.as_str());
            steps.push(Step::new(SESSIONS_OF_SESSION, [idp_value(), text()]));
            steps.push(Step::new(REVOKE_OF_SESSION, [idp_value(), text(), now.into(), because()]));
            let until = now.saturating_add(SESSION_REMEMBERED_SECONDS);
            let values = [random_id("end").into(), idp_value(), text(), now.into(), until.into()];
            steps.push(Step::new(NOTE_SESSION, values));
            steps.push(revoke_step(&Support::Session(session_id(idp, session)), now));
        }
    }
    steps
}
