//! Sessions of browsers, and what identity providers said has ended.

use super::grant_families::{REVOKE_OF_NO_SESSION, REVOKE_OF_SESSION, REVOKE_OF_USER};
use super::sql::{Step, Value, searchable};
use super::token_status::revoke_step;
use super::{Store, StoreError, Versions};
use crate::domain::event::AuditEvent;
use crate::domain::names::IdpId;
use crate::domain::sign_in::SignIn;
use crate::domain::token_status::{Support, session_id};
use crate::secrets::random_id;

const CREATE: &str = "INSERT INTO browser_session (digest, document, idp, idp_sub, idp_session, user_id, ends_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (digest) DO NOTHING";
// Never an INSERT: a request that began before a sign-out must not bring the session back.
const SAVE: &str = "UPDATE browser_session SET document = $2, idp = $3, idp_sub = $4, idp_session = $5, user_id = $6
    WHERE digest = $1";
const FIND: &str = "SELECT document FROM browser_session WHERE digest = $1 AND ends_at > $2";
const DELETE: &str = "DELETE FROM browser_session WHERE digest = $1";

// A sign-in whose ID token named no session may be the one that is meant.
const END_SESSION: &str = "DELETE FROM browser_session WHERE idp = $1 AND idp_sub = $2
    AND (idp_session = $3 OR idp_session IS NULL)";
const END_USER: &str = "DELETE FROM browser_session WHERE idp = $1 AND idp_sub = $2";
/// The sign-ins at a provider that is removed.
pub(super) const END_OF_PROVIDER: &str = "DELETE FROM browser_session WHERE idp = $1";
const NOTE_END: &str = "INSERT INTO ended_session (id, idp, idp_sub, idp_session, ended_at, ends_at)
    VALUES ($1, $2, $3, $4, $5, $6)";
const OWNER_OF_SESSION: &str = "SELECT idp_sub FROM browser_session WHERE idp = $1 AND idp_session = $2
    UNION SELECT idp_sub FROM grant_family WHERE idp = $1 AND idp_session = $2 LIMIT 1";
// One question for each index: a planner without statistics reads the whole table for an OR.
const WHAT_ENDED: &str = "SELECT
    (SELECT COUNT(*) FROM ended_session WHERE idp = $1 AND idp_session = $3),
    (SELECT MAX(ended_at) FROM ended_session WHERE idp = $1 AND idp_sub = $2 AND idp_session IS NULL),
    (SELECT MAX(ended_at) FROM ended_session WHERE idp = $1 AND idp_sub = $2 AND $3 IS NULL)";
const ANY_ENDED: &str = "SELECT COUNT(*) FROM (SELECT id FROM ended_session LIMIT 1) AS one";

/// Why the families of a session, or of a user, are revoked.
const BECAUSE: &str = "backchannel_logout";

/// For how long it is remembered that something ended, in seconds: 30 days, longer than any token we take lives.
const REMEMBERED_SECONDS: i64 = 30 * 86_400;

/// What a provider says has ended (OpenID Connect Back-Channel Logout 1.0 §2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderLogout {
    /// The provider.
    pub idp: IdpId,
    /// The user there; none if the message names a session only, and nobody here knows whose it is.
    pub idp_sub: Option<String>,
    /// The `sub` of our tokens for that user.
    pub user: Option<String>,
    /// The session there; none if all of the user's have ended.
    pub idp_session: Option<String>,
    /// `jti` of the message: it counts once.
    pub jti: String,
    /// When the message ends, Unix seconds.
    pub expires_at: i64,
}

/// What a provider said has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WhatEnded {
    /// The session that was asked for.
    pub session: bool,
    /// When all that the user had begun was ended last, Unix seconds.
    pub all_at: Option<i64>,
    /// When any session of the user was ended last, if none was asked for: it may have been the one.
    pub any_at: Option<i64>,
}

impl WhatEnded {
    /// True for what was issued then (Unix seconds). What was issued in the very second of a logout counts as from
    /// before, and so does what does not say when.
    pub fn covers(self, issued_at: Option<i64>) -> bool {
        let latest = self.all_at.max(self.any_at);
        self.session || latest.is_some_and(|ended_at| issued_at.is_none_or(|issued_at| issued_at <= ended_at))
    }
}

impl Store {
    /// Stores a new session until `ends_at`; false if there is one under this digest.
    pub async fn create_session(
        &self,
        digest: &str,
        document: &str,
        sign_in: Option<&SignIn>,
        ends_at: i64,
    ) -> Result<bool, StoreError> {
        let [idp, idp_sub, idp_session, user] = columns(sign_in);
        let values = [digest.into(), document.into(), idp, idp_sub, idp_session, user, ends_at.into()];
        self.commit(vec![Step::new(CREATE, values).or_yield()]).await
    }

    /// Replaces what a session holds; false if it has been ended meanwhile. Its end stays.
    pub async fn save_session(
        &self,
        digest: &str,
        document: &str,
        sign_in: Option<&SignIn>,
    ) -> Result<bool, StoreError> {
        let [idp, idp_sub, idp_session, user] = columns(sign_in);
        let values = [digest.into(), document.into(), idp, idp_sub, idp_session, user];
        self.commit(vec![Step::new(SAVE, values).or_yield()]).await
    }

    /// What a session holds, unless it has ended by `now`.
    pub async fn find_session(&self, digest: &str, now: i64) -> Result<Option<String>, StoreError> {
        Ok(on_db!(self, read db => sqlx::query_scalar(FIND).bind(digest).bind(now).fetch_optional(db))?)
    }

    /// Ends a session.
    pub async fn delete_session(&self, digest: &str) -> Result<(), StoreError> {
        self.commit(vec![Step::new(DELETE, [digest.into()])]).await.map(|_| ())
    }

    /// Whose session at a provider this is, if it was seen here: the `sub` there.
    pub async fn owner_of_session(&self, idp: &IdpId, idp_session: &str) -> Result<Option<String>, StoreError> {
        let session = searchable(idp_session);
        Ok(on_db!(self, read db =>
            sqlx::query_scalar(OWNER_OF_SESSION).bind(idp.as_str()).bind(session).fetch_optional(db))?)
    }

    /// Ends what rests on a session at a provider, or on all of a user's there, with its event: sessions of browsers
    /// here, and what clients got by them. Every server takes it in like a consent that was taken back. False, and
    /// nothing done, if the message was received before; the database decides.
    pub async fn end_by_provider(
        &self,
        logout: &ProviderLogout,
        event: AuditEvent,
        now: i64,
    ) -> Result<bool, StoreError> {
        let idp = logout.idp.as_str();
        let mut steps = vec![super::replay::use_step("logout_token", &[idp], &logout.jti, logout.expires_at)];
        match (&logout.idp_session, &logout.idp_sub) {
            (Some(session), sub) => {
                if let Some(sub) = sub {
                    steps.push(Step::new(END_SESSION, [idp.into(), text(sub), text(session)]));
                }
                let values = [idp.into(), text(session), now.into(), BECAUSE.into()];
                steps.push(Step::new(REVOKE_OF_SESSION, values));
            }
            (None, Some(sub)) => steps.push(Step::new(END_USER, [idp.into(), text(sub)])),
            (None, None) => {}
        }
        if let Some(user) = &logout.user {
            let revoke = if logout.idp_session.is_some() { REVOKE_OF_NO_SESSION } else { REVOKE_OF_USER };
            steps.push(Step::new(revoke, [text(user), now.into(), BECAUSE.into()]));
        }
        // Tokens that were exchanged meanwhile: those of the session, those of the user that name none, or all.
        let idp_sub = logout.idp_sub.clone();
        let ended = match (&logout.idp_session, idp_sub) {
            (Some(session), Some(sub)) => vec![
                Support::Session(session_id(&logout.idp, session)),
                Support::UnnamedSession(logout.idp.clone(), sub),
            ],
            (Some(session), None) => vec![Support::Session(session_id(&logout.idp, session))],
            (None, Some(sub)) => vec![Support::Login(logout.idp.clone(), sub)],
            (None, None) => Vec::new(),
        };
        steps.extend(ended.iter().map(|support| revoke_step(support, now)));
        steps.push(Step::new(
            NOTE_END,
            [
                random_id("end").into(),
                idp.into(),
                optional(logout.idp_sub.as_deref()),
                optional(logout.idp_session.as_deref()),
                now.into(),
                now.saturating_add(REMEMBERED_SECONDS).into(),
            ],
        ));
        self.administer(Versions { consents: 1, ..Versions::default() }, steps, event).await
    }

    /// What a provider said has ended of a user there, and of one session.
    pub async fn what_ended(
        &self,
        idp: &IdpId,
        idp_sub: &str,
        idp_session: Option<&str>,
    ) -> Result<WhatEnded, StoreError> {
        let (sub, session) = (searchable(idp_sub), idp_session.map(searchable));
        let (sessions, all_at, any_at): (i64, Option<i64>, Option<i64>) = on_db!(self, read db => sqlx::query_as(WHAT_ENDED)
            .bind(idp.as_str()).bind(sub).bind(session).fetch_one(db))?;
        Ok(WhatEnded { session: sessions > 0, all_at, any_at })
    }

    /// True if there is anything that a provider said has ended.
    pub async fn has_ended_sessions(&self) -> Result<bool, StoreError> {
        let any: i64 = on_db!(self, read db => sqlx::query_scalar(ANY_ENDED).fetch_one(db))?;
        Ok(any > 0)
    }
}

fn columns(sign_in: Option<&SignIn>) -> [Value; 4] {
    let Some(user) = sign_in else {
        return [const { Value::Text(None) }; 4];
    };
    let session = optional(user.idp_session.as_deref());
    [user.idp.as_str().into(), text(&user.idp_sub), session, user.user.as_str().into()]
}

fn text(text: &str) -> Value {
    searchable(text).into_owned().into()
}

fn optional(text: Option<&str>) -> Value {
    Value::Text(text.map(|text| searchable(text).into_owned()))
}
