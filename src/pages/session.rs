//! The browser's session: who is signed in here, and what only this browser may go on with.
//!
//! tower-sessions handles the cookie and what is in memory during a request. Where sessions are, when they end and that
//! an ended one never comes back is decided here and in `store/sessions.rs`.

use super::error::{too_many, unavailable};
use crate::app::App;
use crate::domain::names::IdpId;
use crate::domain::sign_in::SignIn;
use crate::grants::Received;
use crate::secrets::{digest, equal, random_bytes, random_id};
use crate::tokens::seal::{open_for, seal_for};
use async_trait::async_trait;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use time::OffsetDateTime;
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result as StoreResult};
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

/// Members of a session.
const SIGN_IN: &str = "sign_in";
const ID_TOKEN: &str = "id_token";
const KEY: &str = "key";
const ATTEMPTS: &str = "attempts";
const SAID: &str = "said";
const ANSWERED: &str = "answered";

/// What the ID token is sealed for.
const ID_TOKEN_PURPOSE: &str = "seal ID tokens";

/// How long a session lasts in which nobody is signed in: as long as a form may be open, and then some. In seconds.
const NOBODYS_SECONDS: i64 = 3600;

/// For how long a sign-in may take (rule OC-03), in seconds.
pub(super) const ATTEMPT_SECONDS: i64 = 600;
/// The most sign-ins that are under way in one browser; the newest count.
const ATTEMPTS_AT_MOST: usize = 8;

/// The session of the browser that sent the request.
#[derive(Debug, Clone)]
pub(super) struct Browser {
    session: Session,
    /// The address that the request came from.
    source: Option<IpAddr>,
}

/// A sign-in that was begun: all that the way back from the provider must fit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// Where the browser was sent.
    pub(super) idp: IdpId,
    /// What the ID token must have.
    pub(super) nonce: String,
    /// The PKCE verifier, sealed.
    pub(super) verifier: String,
    /// Where the browser goes afterwards.
    pub(super) return_to: String,
    /// The oldest proof that counts, in seconds.
    pub(super) max_age: Option<u32>,
    /// Only a proof since `begun_at` counts (`prompt=login`).
    #[serde(default)]
    pub(super) again: bool,
    /// Unix seconds.
    pub(super) begun_at: i64,
}

impl Attempt {
    fn is_live(&self, now: i64) -> bool {
        now < self.begun_at.saturating_add(ATTEMPT_SECONDS)
    }
}

impl Browser {
    /// Who is signed in; none if nobody is, or the sign-in has ended. An error is a page that says so.
    pub(super) async fn signed_in(&self, app: &App) -> Result<Option<SignIn>, Response> {
        let user: Option<SignIn> = self.get(app, SIGN_IN).await?;
        let snapshot = app.snapshot();
        // Who was suspended, or whose provider is no longer trusted, is not signed in any more.
        let counts = |user: &SignIn| {
            let signs_in = snapshot.registry.idp(&user.idp).is_some_and(|idp| idp.login.is_some());
            signs_in && !snapshot.registry.is_suspended(&user.user)
        };
        let Some(user) = user.filter(counts) else { return Ok(None) };
        // A sign-in that was stored while its session was being ended was not ended with it.
        let ended = app.consents.ended_by_provider(&app.store, &user.idp, &user.idp_sub, user.idp_session.as_deref());
        let ended = ended.await.map_err(|cause| unavailable(app, &cause.to_string()))?;
        Ok(Some(user).filter(|user| !ended.covers(Some(user.signed_in_at))))
    }

    /// What tells this browser from any other: stable while the session lives, secret to nobody else's page. A session
    /// begins if there is none.
    pub(super) async fn key(&self, app: &App) -> Result<String, Response> {
        if let Some(key) = self.known_key(app).await? {
            return Ok(key);
        }
        let key = random_id("brw");
        self.put(app, KEY, &key).await?;
        self.save(app).await?;
        Ok(key)
    }

    /// The key, if there is a session.
    pub(super) async fn known_key(&self, app: &App) -> Result<Option<String>, Response> {
        self.get(app, KEY).await
    }

    /// Keeps an attempt in this browser's session under the digest of its `state`; the newest eight, for ten minutes.
    pub(super) async fn keep_attempt(&self, app: &App, state: &str, attempt: Attempt) -> Result<(), Response> {
        let now = app.clock.now();
        let mut attempts: BTreeMap<String, Attempt> = self.get(app, ATTEMPTS).await?.unwrap_or_default();
        attempts.retain(|_, attempt| attempt.is_live(now));
        attempts.insert(digest(state), attempt);
        while attempts.len() > ATTEMPTS_AT_MOST {
            let oldest = attempts.iter().min_by_key(|(_, attempt)| attempt.begun_at).map(|(state, _)| state.clone());
            attempts.remove(&oldest.unwrap_or_default());
        }
        self.put(app, ATTEMPTS, &attempts).await?;
        self.save(app).await
    }

    /// Takes it out: a state counts once, also for two requests at the same moment; the database decides. None if it is
    /// not one of this browser's, or took longer than ten minutes.
    pub(super) async fn take_attempt(&self, app: &App, state: &str) -> Result<Option<Attempt>, Response> {
        let now = app.clock.now();
        let mut attempts: BTreeMap<String, Attempt> = self.get(app, ATTEMPTS).await?.unwrap_or_default();
        let Some(attempt) = attempts.remove(&digest(state)).filter(|attempt| attempt.is_live(now)) else {
            return Ok(None);
        };
        // Before the session is saved: whoever comes second may find that it has ended, by the sign-in of the first.
        let ends_at = attempt.begun_at.saturating_add(ATTEMPT_SECONDS);
        let is_first = app.store.use_login_state(&digest(state), ends_at).await;
        if !is_first.map_err(|error| unavailable(app, &error.to_string()))? {
            return Ok(None);
        }
        self.put(app, ATTEMPTS, &attempts).await?;
        self.save(app).await?;
        Ok(Some(attempt))
    }

    /// Keeps what was done until the next page says it.
    pub(super) async fn keep_said(&self, app: &App, done: &str) -> Result<(), Response> {
        self.put(app, SAID, &done).await?;
        self.save(app).await
    }

    /// What was done and not said yet.
    pub(super) async fn take_said(&self, app: &App) -> Result<Option<String>, Response> {
        let Some(done) = self.get(app, SAID).await? else { return Ok(None) };
        let gone = self.session.remove_value(SAID).await;
        gone.map_err(|error| unavailable(app, &error.to_string()))?;
        self.save(app).await?;
        Ok(Some(done))
    }

    /// The user came back: everything of the session before goes, and it gets a new id, so that whoever knew the old one
    /// has nothing (A55). What stays are the sign-ins that were begun in other windows. `id_token` is kept sealed, for the
    /// provider's logout; `return_to` is the page that this sign-in is the answer to.
    pub(super) async fn sign_in(
        &self,
        app: &App,
        user: &SignIn,
        id_token: &str,
        return_to: &str,
    ) -> Result<(), Response> {
        let attempts: BTreeMap<String, Attempt> = self.get(app, ATTEMPTS).await?.unwrap_or_default();
        self.session.clear().await;
        self.session.cycle_id().await.map_err(|error| unavailable(app, &error.to_string()))?;
        self.put(app, KEY, &random_id("brw")).await?;
        self.put(app, ID_TOKEN, &seal_for(&app.secrets_key, ID_TOKEN_PURPOSE, id_token)).await?;
        self.put(app, SIGN_IN, user).await?;
        self.put(app, ATTEMPTS, &attempts).await?;
        self.put(app, ANSWERED, &digest(return_to)).await?;
        self.save(app).await
    }

    /// True if the user signed in for this very page, and for no other since.
    pub(super) async fn signed_in_for(&self, app: &App, return_to: &str) -> Result<bool, Response> {
        let answered: Option<String> = self.get(app, ANSWERED).await?;
        Ok(answered.is_some_and(|answered| equal(answered.as_bytes(), digest(return_to).as_bytes())))
    }

    /// Ends the session. Who was signed in, and the ID token.
    pub(super) async fn sign_out(&self, app: &App) -> Result<Option<(SignIn, Option<String>)>, Response> {
        let user: Option<SignIn> = self.get(app, SIGN_IN).await?;
        let sealed: Option<String> = self.get(app, ID_TOKEN).await?;
        self.session.flush().await.map_err(|error| unavailable(app, &error.to_string()))?;
        let id_token = sealed.and_then(|sealed| open_for(&app.secrets_key, ID_TOKEN_PURPOSE, &sealed));
        Ok(user.map(|user| (user, id_token)))
    }

    async fn get<T: DeserializeOwned>(&self, app: &App, name: &str) -> Result<Option<T>, Response> {
        self.session.get(name).await.map_err(|error| unavailable(app, &error.to_string()))
    }

    async fn put(&self, app: &App, name: &str, value: &impl Serialize) -> Result<(), Response> {
        self.session.insert(name, value).await.map_err(|error| unavailable(app, &error.to_string()))
    }

    /// At once, since what is done next rests on it, and a failure has a page of its own here.
    async fn save(&self, app: &App) -> Result<(), Response> {
        // Nobody can fill the database by asking for sessions (decision 0028).
        if self.session.id().is_none()
            && let Some(seconds) = app.limits.count_session(self.source)
        {
            return Err(too_many(app, seconds));
        }
        self.session.save().await.map_err(|error| unavailable(app, &error.to_string()))
    }
}

impl FromRequestParts<Arc<App>> for Browser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let session = Session::from_request_parts(parts, app).await;
        let source = parts.extensions.get::<Received>().and_then(|received| received.source);
        session.map(|session| Self { session, source }).map_err(|(_, problem)| unavailable(app, problem))
    }
}

/// The layer that gives each request its session.
///
/// The cookie goes when the browser is closed; until when it is good is decided by the database. `Lax`, since `Strict`
/// would lose the session on the way back from the provider.
pub(super) fn layer(app: &Arc<App>) -> SessionManagerLayer<Sessions> {
    // With the prefix `__Host-` no other host of the domain can set it, but then browsers demand `Secure`, which some
    // of them refuse on http even from loopback: there, for trying things out, it has another name.
    let is_https = app.config.issuer.starts_with("https:");
    let name = if is_https { "__Host-procura" } else { "procura" };
    SessionManagerLayer::new(Sessions { app: Arc::clone(app) })
        .with_name(name)
        .with_secure(is_https)
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_path("/")
        .with_expiry(Expiry::OnSessionEnd)
}

/// Sessions in the database, by the digest of their id.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    app: Arc<App>,
}

impl Sessions {
    /// A session ends so long after it began, or after its user signed in, whatever happens in it.
    fn ends_at(&self, sign_in: Option<&SignIn>) -> i64 {
        let lifetime = i64::from(self.app.config.session_lifetime_seconds);
        let seconds = if sign_in.is_some() { lifetime } else { lifetime.min(NOBODYS_SECONDS) };
        self.app.clock.now().saturating_add(seconds)
    }
}

/// 128 bits that nobody can guess, so a plain digest keeps them.
fn stored_as(id: Id) -> String {
    digest(&id.to_string())
}

fn document(record: &Record) -> StoreResult<(String, Option<SignIn>)> {
    let encode = |error: serde_json::Error| Error::Encode(error.to_string());
    let sign_in = record.data.get(SIGN_IN).map(SignIn::deserialize).transpose().map_err(encode)?;
    Ok((serde_json::to_string(&record.data).map_err(encode)?, sign_in))
}

fn backend(error: impl std::fmt::Display) -> Error {
    Error::Backend(error.to_string())
}

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> StoreResult<()> {
        let (document, sign_in) = document(record)?;
        let ends_at = self.ends_at(sign_in.as_ref());
        loop {
            record.id = Id(i128::from_be_bytes(random_bytes()));
            let digest = stored_as(record.id);
            let store = &self.app.store;
            if store.create_session(&digest, &document, sign_in.as_ref(), ends_at).await.map_err(backend)? {
                return Ok(());
            }
        }
    }

    async fn save(&self, record: &Record) -> StoreResult<()> {
        let (document, sign_in) = document(record)?;
        let digest = stored_as(record.id);
        // An error, so that no cookie brings the old id back to a browser that has a new one by now.
        let saved = self.app.store.save_session(&digest, &document, sign_in.as_ref()).await.map_err(backend)?;
        if saved { Ok(()) } else { Err(Error::Backend("the session was ended meanwhile".to_owned())) }
    }

    async fn load(&self, id: &Id) -> StoreResult<Option<Record>> {
        let found = self.app.store.find_session(&stored_as(*id), self.app.clock.now()).await.map_err(backend)?;
        let Some(document) = found else {
            return Ok(None);
        };
        let data: HashMap<String, serde_json::Value> =
            serde_json::from_str(&document).map_err(|error| Error::Decode(error.to_string()))?;
        // Its end is known to the database; this member would be for a store that asks for it.
        Ok(Some(Record { id: *id, data, expiry_date: OffsetDateTime::UNIX_EPOCH }))
    }

    async fn delete(&self, id: &Id) -> StoreResult<()> {
        self.app.store.delete_session(&stored_as(*id)).await.map_err(backend)
    }
}
