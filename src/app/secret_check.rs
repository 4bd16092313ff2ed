//! Checks client secrets. argon2id takes milliseconds, so each secret pays for it once: afterwards it is remembered
//! under a keyed digest. What a stranger sends never gets as far as argon2id.

use crate::domain::change::StoredSecret;
use crate::domain::names::ClientId;
use crate::secrets::{SecretsKey, is_own_client_secret, mac, random_bytes, verify_client_secret};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::sync::Semaphore;

/// Secrets remembered at most.
const REMEMBERED: u64 = 100_000;
/// Hashes computed at once, and requests that may wait for one.
const HASHING: usize = 1;
const WAITING: usize = 64;

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretVerdict {
    /// It is this live secret, by id.
    Right(String),
    /// It is none of the client's live secrets.
    Wrong,
    /// Too many checks are under way; it may be sent again.
    Busy,
}

/// Too many secrets are being hashed.
struct Busy;

/// Remembers verified secrets, and when each was last used.
pub struct SecretCheck {
    // Made anew by each process: a memory dump of one says nothing about another.
    key: [u8; 32],
    remembered: moka::future::Cache<[u8; 32], Option<String>>,
    hashing: Semaphore,
    admitted: Semaphore,
    last_used: Mutex<HashMap<String, i64>>,
}

impl std::fmt::Debug for SecretCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretCheck").finish_non_exhaustive()
    }
}

impl SecretCheck {
    pub(super) fn new() -> Self {
        Self {
            key: random_bytes(),
            remembered: moka::future::Cache::new(REMEMBERED),
            hashing: Semaphore::new(HASHING),
            admitted: Semaphore::new(WAITING),
            last_used: Mutex::default(),
        }
    }

    /// Checks what a client presents against its live secrets.
    pub async fn check(
        &self,
        secrets_key: &SecretsKey,
        client: &ClientId,
        live: &[StoredSecret],
        presented: &str,
        now: i64,
    ) -> SecretVerdict {
        if !is_own_client_secret(secrets_key, presented) {
            return SecretVerdict::Wrong;
        }
        // The ids of the live secrets are part of the key: when they change, what was remembered no longer counts.
        let mut parts = vec![client.as_str().as_bytes(), presented.as_bytes()];
        parts.extend(live.iter().map(|secret| secret.id.as_bytes()));
        let digest = mac(&self.key, &parts);
        // However many requests present a secret at once, it is hashed once.
        let Ok(id) = self.remembered.try_get_with(digest, self.hash(live, presented)).await else {
            return SecretVerdict::Busy;
        };
        match id {
            Some(id) => {
                self.note_use(&id, now);
                SecretVerdict::Right(id)
            }
            None => SecretVerdict::Wrong,
        }
    }

    /// Takes as long as [`Self::check`] of a guess: for a client that there is not, so that the time does not tell.
    pub fn pretend(&self, secrets_key: &SecretsKey, presented: &str) {
        std::hint::black_box(is_own_client_secret(secrets_key, presented));
    }

    async fn hash(&self, live: &[StoredSecret], presented: &str) -> Result<Option<String>, Busy> {
        let _admitted = self.admitted.try_acquire().map_err(|_| Busy)?;
        let _hashing = self.hashing.acquire().await.map_err(|_| Busy)?;
        let (live, presented) = (live.to_vec(), SecretString::from(presented));
        let hashed = tokio::task::spawn_blocking(move || {
            let is_it = |secret: &StoredSecret| verify_client_secret(&secret.hash, presented.expose_secret());
            // The newest first: it is the one that a client uses from its rotation on.
            live.into_iter().rev().find(is_it).map(|secret| secret.id)
        });
        hashed.await.map_err(|_| Busy)
    }

    fn note_use(&self, id: &str, now: i64) {
        let minute = now.saturating_sub(now.rem_euclid(60));
        if let Ok(mut last_used) = self.last_used.lock()
            && last_used.get(id) != Some(&minute)
        {
            last_used.insert(id.to_owned(), minute);
        }
    }

    /// Secrets used since the last call, with the minute of their last use.
    pub(super) fn take_uses(&self) -> HashMap<String, i64> {
        self.last_used.lock().map(|mut uses| std::mem::take(&mut *uses)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{hash_client_secret, new_client_secret};

    fn stored(id: &str, secret: &SecretString) -> StoredSecret {
        StoredSecret {
            id: id.to_owned(),
            client: "assistant".parse().unwrap(),
            hash: hash_client_secret(secret),
            created_at: 0,
            last_used_at: None,
        }
    }

    #[tokio::test]
    async fn a_secret_counts_only_while_it_is_live() {
        let key = SecretsKey::generate();
        let (old, new) = (new_client_secret(&key), new_client_secret(&key));
        let client = "assistant".parse().unwrap();
        let (first, second) = (stored("s1", &old), stored("s2", &new));
        let check = SecretCheck::new();
        let ask = async |live: &[StoredSecret], secret: &SecretString| {
            check.check(&key, &client, live, secret.expose_secret(), 90).await
        };
        let both = [first.clone(), second.clone()];
        for _ in 0..2 {
            assert_eq!(ask(&both, &old).await, SecretVerdict::Right("s1".to_owned()));
            assert_eq!(ask(&both, &new).await, SecretVerdict::Right("s2".to_owned()));
        }
        assert_eq!(ask(std::slice::from_ref(&second), &old).await, SecretVerdict::Wrong);
        assert_eq!(check.take_uses(), HashMap::from([("s1".to_owned(), 60), ("s2".to_owned(), 60)]));
    }

    #[tokio::test]
    async fn a_secret_of_one_client_is_not_another_clients() {
        let key = SecretsKey::generate();
        let secret = new_client_secret(&key);
        let check = SecretCheck::new();
        let live = [stored("s1", &secret)];
        let presented = secret.expose_secret();
        let owner = "assistant".parse().unwrap();
        assert_eq!(check.check(&key, &owner, &live, presented, 0).await, SecretVerdict::Right("s1".to_owned()));
        let other = "stranger".parse().unwrap();
        assert_eq!(check.check(&key, &other, &[], presented, 0).await, SecretVerdict::Wrong);
    }

    #[tokio::test]
    async fn a_secret_that_many_requests_present_at_once_is_hashed_once() {
        let key = SecretsKey::generate();
        let secret = new_client_secret(&key);
        let (live, client) = ([stored("s1", &secret)], "assistant".parse().unwrap());
        let check = SecretCheck::new();
        let asked = (0..4 * WAITING).map(|_| check.check(&key, &client, &live, secret.expose_secret(), 0));
        let verdicts = futures_util::future::join_all(asked).await;
        assert!(verdicts.iter().all(|verdict| *verdict == SecretVerdict::Right("s1".to_owned())));
    }

    #[tokio::test]
    async fn many_different_secrets_at_once_are_busy_and_not_a_queue_without_end() {
        let key = SecretsKey::generate();
        let (live, client) = ([stored("s1", &new_client_secret(&key))], "assistant".parse().unwrap());
        let check = SecretCheck::new();
        let wrong: Vec<_> = (0..2 * WAITING).map(|_| new_client_secret(&key)).collect();
        let asked = wrong.iter().map(|secret| check.check(&key, &client, &live, secret.expose_secret(), 0));
        let verdicts = futures_util::future::join_all(asked).await;
        let busy = verdicts.iter().filter(|verdict| **verdict == SecretVerdict::Busy).count();
        assert_eq!((busy, verdicts.len()), (WAITING, 2 * WAITING));
    }
}
