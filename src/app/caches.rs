//! Bounded memories that spare the hot path a database read. What they hold is never older than the last refresh.

use crate::domain::consent::Consent;
use crate::domain::names::{IdpId, UserId};
use crate::domain::user::User;
use crate::store::{Store, StoreError, WhatEnded};
use moka::future::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Users whose consents are remembered.
const USERS: u64 = 100_000;
/// How long another server's news of a user may take to be seen here.
const USER_AGE: Duration = Duration::from_secs(1);

/// Consents by user. An entry is good only for the version of all consents that it was read at.
///
/// Whether a grant family was ended, or a session at a provider, is remembered in the same way: ending one counts as a
/// change of consents.
#[derive(Debug)]
pub struct ConsentCache {
    version: AtomicI64,
    entries: Cache<(UserId, i64), Arc<[Consent]>>,
    families: Cache<(String, i64), Option<String>>,
    /// By provider, `sub` and `sid` there.
    ended: Cache<(SessionThere, i64), WhatEnded>,
    /// Whether there is anything to look for at all: mostly there is not.
    any_ended: Cache<i64, bool>,
}

/// Provider, `sub` there and `sid`.
type SessionThere = (IdpId, String, Option<String>);

impl ConsentCache {
    pub(super) fn new(version: i64) -> Self {
        Self {
            version: AtomicI64::new(version),
            entries: Cache::new(USERS),
            families: Cache::new(USERS),
            ended: Cache::new(USERS),
            any_ended: Cache::new(1),
        }
    }

    /// Consents have changed somewhere: what was read at an earlier version is not used again.
    pub(super) fn is_at(&self, version: i64) {
        if self.version.swap(version, Ordering::SeqCst) != version {
            self.entries.invalidate_all();
            self.families.invalidate_all();
            self.ended.invalidate_all();
            self.any_ended.invalidate_all();
        }
    }

    /// Every consent of the user, and every one for everyone.
    pub async fn of(&self, store: &Store, user: &UserId) -> Result<Arc<[Consent]>, StoreError> {
        // The version is read first: a change while the rows are read makes the entry one of the past.
        let key = (user.clone(), self.version.load(Ordering::SeqCst));
        if let Some(consents) = self.entries.get(&key).await {
            return Ok(consents);
        }
        let consents: Arc<[Consent]> = store.consents_of(user).await?.into();
        self.entries.insert(key, Arc::clone(&consents)).await;
        Ok(consents)
    }

    /// Why tokens of this grant family count no more, in words; none while they do.
    pub async fn family_ended(&self, store: &Store, family: &str) -> Result<Option<String>, StoreError> {
        let key = (family.to_owned(), self.version.load(Ordering::SeqCst));
        if let Some(ended) = self.families.get(&key).await {
            return Ok(ended);
        }
        let ended = match store.find_family(family).await? {
            Some(family) if family.revoked_at.is_some() => {
                Some(format!("grant family {} was ended: {}", family.id, family.revoked_because.unwrap_or_default()))
            }
            // One that was stored while its session was being ended is not among those that were ended with it.
            Some(family) => self
                .ended_by_provider(store, &family.idp, &family.idp_sub, family.idp_session.as_deref())
                .await?
                .covers(Some(family.created_at))
                .then(|| format!("identity provider {} ended the session of grant family {}", family.idp, family.id)),
            None => Some(format!("there is no grant family {family}")),
        };
        self.families.insert(key, ended.clone()).await;
        Ok(ended)
    }

    /// What the provider said has ended of this user there, and of this session (attack A67).
    pub async fn ended_by_provider(
        &self,
        store: &Store,
        idp: &IdpId,
        idp_sub: &str,
        idp_session: Option<&str>,
    ) -> Result<WhatEnded, StoreError> {
        let version = self.version.load(Ordering::SeqCst);
        let any = if let Some(any) = self.any_ended.get(&version).await {
            any
        } else {
            let any = store.has_ended_sessions().await?;
            self.any_ended.insert(version, any).await;
            any
        };
        if !any {
            return Ok(WhatEnded::default());
        }
        let key = ((idp.clone(), idp_sub.to_owned(), idp_session.map(str::to_owned)), version);
        if let Some(ended) = self.ended.get(&key).await {
            return Ok(ended);
        }
        let ended = store.what_ended(idp, idp_sub, idp_session).await?;
        self.ended.insert(key, ended).await;
        Ok(ended)
    }
}

/// Users by id, for our own subject tokens, which do not carry the user's attributes.
#[derive(Debug)]
pub struct UserCache {
    entries: Cache<UserId, Arc<User>>,
    told: moka::sync::Cache<UserId, i64>,
}

impl UserCache {
    pub(super) fn new() -> Self {
        Self {
            entries: Cache::builder().max_capacity(USERS).time_to_live(USER_AGE).build(),
            told: moka::sync::Cache::new(USERS),
        }
    }

    /// The user, if one was ever acted for.
    pub async fn find(&self, store: &Store, id: &UserId) -> Result<Option<Arc<User>>, StoreError> {
        if let Some(user) = self.entries.get(id).await {
            return Ok(Some(user));
        }
        let user = store.find_user(id).await?.map(Arc::new);
        if let Some(user) = &user {
            self.entries.insert(id.clone(), Arc::clone(user)).await;
        }
        Ok(user)
    }

    /// True unless the database was told of the user by a token of this time or a later one: it keeps the newest.
    ///
    /// What another server told it meanwhile can only be of a later token, so it is never needed to ask.
    pub fn is_news(&self, user: &User) -> bool {
        self.told.get(&user.id).is_none_or(|told| user.attributes_at > told)
    }

    /// The database knows this of the user now.
    pub fn told(&self, user: &User) {
        self.told.insert(user.id.clone(), user.attributes_at);
    }
}
