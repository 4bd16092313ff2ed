//! Signatures over the audit trail: checkpoints and exports, each with a `typ` of its own (RFC 8725 §3.11).

use super::jose;
use super::json::plain_object;
use super::jwk::{self, Found, KeySet, thumbprint};
use super::seal;
use super::signing_keys::{KeyProblem, SigningKeys};
use crate::domain::checkpoint::{Checkpoint, ReadCheckpoint, SignedCheckpoint};
use crate::domain::identity_provider::VerificationAlgorithm;
use crate::domain::resource::SigningAlgorithm;
use crate::domain::signing_key::SigningKeyRecord;
use crate::secrets::SecretsKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The header `typ` of a checkpoint.
pub const CHECKPOINT_TYP: &str = "procura-checkpoint+jwt";
/// The header `typ` of the last line of an export.
pub const EXPORT_TYP: &str = "procura-audit-export+jwt";

/// How much longer than a key is published what it signed may say that it was made: clocks differ.
const SKEW_SECONDS: i64 = 300;

/// The largest JWS of these kinds, in bytes: a full checkpoint has some 10 KiB.
pub const MAX_BYTES: usize = jose::MAX_TOKEN_BYTES;

/// A public key that may have signed.
#[derive(Debug, Clone)]
struct Known {
    jwk: Map<String, Value>,
    key: Arc<KeySet>,
    vouched: bool,
    /// From when to when it may have signed.
    signs: (i64, i64),
}

/// The public keys that signed the trail, by their thumbprints: also those that no longer sign anything.
#[derive(Debug, Clone, Default)]
pub struct EvidenceKeys {
    known: BTreeMap<String, Known>,
    /// Why keys were left out, in words.
    pub skipped: Vec<String>,
}

/// What was signed, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// The claims.
    pub claims: T,
    /// The thumbprint of the key.
    pub kid: String,
    /// True if somebody who cannot be the database vouches for the key.
    pub vouched: bool,
}

impl EvidenceKeys {
    /// The keys of a database, removed ones too. With the `secrets_key` that sealed them, nobody who can only write to the
    /// database can have added one: those that it does not open are left out. Without it nobody vouches for them.
    pub fn of_records(records: &[SigningKeyRecord], secrets_key: Option<&SecretsKey>) -> Self {
        let mut keys = Self::default();
        for record in records {
            let signs = (record.signs_from, record.removed_at.unwrap_or(i64::MAX));
            let public = match secrets_key {
                None => plain_object(record.public_jwk.as_bytes()),
                Some(key) => opened(record, key),
            };
            keys.add(public, signs, secrets_key.is_some());
        }
        keys
    }

    /// The keys of a JWKS, for which nobody vouches unless they are [pinned](Self::pin).
    ///
    /// # Errors
    /// It is no JWKS.
    pub fn of_jwks(jwks: &Value) -> Result<Self, String> {
        let entries = jwks.get("keys").and_then(Value::as_array).ok_or("there is no array keys in it")?;
        let mut keys = Self::default();
        for entry in entries {
            let public = entry.as_object().cloned().ok_or_else(|| "is not an object".to_owned());
            keys.add(public, (i64::MIN, i64::MAX), false);
        }
        Ok(keys)
    }

    fn add(&mut self, public: Result<Map<String, Value>, String>, signs: (i64, i64), vouched: bool) {
        let added = public.and_then(|mut jwk| {
            // The name that a key has of itself, and no other.
            let kid = thumbprint(&jwk)?;
            jwk.insert("kid".to_owned(), json!(kid));
            let key = Arc::new(jwk::read(&json!({"keys": [jwk]}))?);
            self.known.entry(kid).or_insert(Known { jwk, key, vouched, signs });
            Ok(())
        });
        if let Err(problem) = added {
            self.skipped.push(problem);
        }
    }

    /// Takes in what another set knows. A key for which either vouches is vouched for.
    pub fn merge(&mut self, other: Self) {
        for (kid, known) in other.known {
            let entry = self.known.entry(kid).or_insert_with(|| known.clone());
            entry.vouched |= known.vouched;
        }
    }

    /// From now on just these keys are vouched for, by their thumbprints.
    pub fn pin(&mut self, kids: &BTreeSet<String>) {
        for (kid, known) in &mut self.known {
            known.vouched = kids.contains(kid);
        }
    }

    /// The thumbprints of all.
    pub fn kids(&self) -> BTreeSet<String> {
        self.known.keys().cloned().collect()
    }

    /// The thumbprints of those that are vouched for.
    pub fn vouched_kids(&self) -> BTreeSet<String> {
        self.known.iter().filter(|(_, known)| known.vouched).map(|(kid, _)| kid.clone()).collect()
    }

    /// The public JWK of a key.
    pub fn jwk(&self, kid: &str) -> Option<&Map<String, Value>> {
        self.known.get(kid).map(|known| &known.jwk)
    }

    /// The claims of a JWS of this kind.
    ///
    /// # Errors
    /// Why it is none that one of the keys signed, in words.
    pub fn verify<T: DeserializeOwned>(&self, typ: &str, jws: &str) -> Result<Signed<T>, String> {
        let parsed = jose::parse(jws).map_err(|problem| format!("cannot be read: {problem}"))?;
        if parsed.header.len() != 3 || parsed.header.get("typ").and_then(Value::as_str) != Some(typ) {
            return Err(format!("its header is not that of {typ}"));
        }
        let kid = parsed.kid().ok_or("its header names no key")?.to_owned();
        let known = self.known.get(&kid).ok_or_else(|| format!("signed by key {kid:?}, which is not one of ours"))?;
        let algorithm = VerificationAlgorithm::from_header(parsed.alg()).ok_or("signed by no known algorithm")?;
        let Found::Key(key) = known.key.find(Some(&kid), algorithm) else {
            return Err(format!("key {kid} is not for the algorithm that its header names"));
        };
        if !key.verifies(parsed.signing_input.as_bytes(), &parsed.signature) {
            return Err(format!("its signature is not one of key {kid}: it was changed, or forged"));
        }
        let made_at = parsed.claims.get("iat").and_then(Value::as_i64).ok_or("it does not say when it was made")?;
        let (from, until) = known.signs;
        if made_at < from.saturating_sub(SKEW_SECONDS) || made_at > until.saturating_add(SKEW_SECONDS) {
            return Err(format!("signed by key {kid} when that key did not sign"));
        }
        let claims = serde_json::from_value(Value::Object(parsed.claims))
            .map_err(|problem| format!("its claims cannot be read: {problem}"))?;
        Ok(Signed { claims, kid, vouched: known.vouched })
    }
}

impl ReadCheckpoint for EvidenceKeys {
    fn read(&self, jws: &str) -> Result<SignedCheckpoint, String> {
        let Signed { claims, kid, vouched } = self.verify(CHECKPOINT_TYP, jws)?;
        Ok(SignedCheckpoint { checkpoint: claims, kid, vouched })
    }
}

/// The public half of what is sealed, which the database cannot make up.
fn opened(record: &SigningKeyRecord, key: &SecretsKey) -> Result<Map<String, Value>, String> {
    let kid = &record.kid;
    let private = seal::open(key, &record.sealed_private_jwk)
        .map(Zeroizing::new)
        .ok_or_else(|| format!("key {kid} was sealed under another secrets_key, or was altered"))?;
    let pair = super::signing_keys::LocalSigner::from_private_jwk(&private, record.algorithm)
        .map_err(|problem| problem.to_string())?;
    if pair.kid() == kid {
        Ok(pair.public_jwk().clone())
    } else {
        Err(format!("key {kid} is not the key of that name"))
    }
}

/// Signs with the key that signs ES256 now.
///
/// # Errors
/// There is none.
pub fn sign(keys: &SigningKeys, typ: &str, claims: &impl Serialize, now: i64) -> Result<String, KeyProblem> {
    let key = keys.signer(SigningAlgorithm::ES256, now);
    let key = key
        .ok_or_else(|| KeyProblem("there is no ES256 key that signs now: procura keys rotate makes one".to_owned()))?;
    let claims = serde_json::to_vec(claims).map_err(|problem| KeyProblem(problem.to_string()))?;
    key.sign(typ, &claims)
}

/// Signs a checkpoint.
///
/// # Errors
/// There is no key to sign with.
pub fn sign_checkpoint(keys: &SigningKeys, checkpoint: &Checkpoint) -> Result<String, String> {
    sign(keys, CHECKPOINT_TYP, checkpoint, checkpoint.iat).map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::signing_keys::rotate;

    const NOW: i64 = 1_800_000_000;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            iss: "https://auth.example.com".to_owned(),
            iat: NOW,
            number: 1,
            previous: "0".repeat(64),
            events: 0,
            pruned: 0,
            segments: Vec::new(),
        }
    }

    fn record(key: &SecretsKey) -> SigningKeyRecord {
        rotate(&[], SigningAlgorithm::ES256, 0, false, key, NOW).unwrap().key
    }

    fn signed(record: &SigningKeyRecord, key: &SecretsKey) -> String {
        let keys = SigningKeys::open(std::slice::from_ref(record), key, NOW).unwrap();
        sign_checkpoint(&keys, &checkpoint()).unwrap()
    }

    #[test]
    fn a_checkpoint_is_read_after_its_key_was_removed() {
        let key = SecretsKey::generate();
        let mut record = record(&key);
        let jws = signed(&record, &key);
        record.removed_at = Some(NOW + 10);
        let read = EvidenceKeys::of_records(std::slice::from_ref(&record), Some(&key)).read(&jws).unwrap();
        assert_eq!((read.checkpoint, read.kid, read.vouched), (checkpoint(), record.kid.clone(), true));
        let unvouched = EvidenceKeys::of_records(&[record], None).read(&jws).unwrap();
        assert!(!unvouched.vouched, "without the secrets key, the database alone speaks for its keys");
    }

    #[test]
    fn a_key_that_the_secrets_key_did_not_seal_signs_nothing() {
        let (key, stranger) = (SecretsKey::generate(), SecretsKey::generate());
        let forged = record(&stranger);
        let jws = signed(&forged, &stranger);
        let keys = EvidenceKeys::of_records(std::slice::from_ref(&forged), Some(&key));
        assert!(keys.read(&jws).unwrap_err().contains("not one of ours"));
        assert!(keys.skipped[0].contains("sealed under another secrets_key"), "{:?}", keys.skipped);
        // The sealed key of one and the name of another.
        let mut mixed = record(&key);
        mixed.kid = forged.kid;
        mixed.public_jwk = forged.public_jwk;
        assert!(EvidenceKeys::of_records(&[mixed], Some(&key)).read(&jws).is_err());
    }

    #[test]
    fn what_a_key_signs_before_its_time_or_after_its_removal_is_refused() {
        let key = SecretsKey::generate();
        let mut record = record(&key);
        let jws = signed(&record, &key);
        let mut early = record.clone();
        record.removed_at = Some(NOW - SKEW_SECONDS - 1);
        early.signs_from = NOW + SKEW_SECONDS + 1;
        for other in [record, early] {
            let keys = EvidenceKeys::of_records(&[other], Some(&key));
            assert!(keys.read(&jws).unwrap_err().contains("when that key did not sign"));
        }
    }

    #[test]
    fn only_a_checkpoint_is_a_checkpoint() {
        let key = SecretsKey::generate();
        let record = record(&key);
        let keys = EvidenceKeys::of_records(std::slice::from_ref(&record), Some(&key));
        let signing = SigningKeys::open(&[record], &key, NOW).unwrap();
        for typ in ["at+jwt", "JWT", EXPORT_TYP, "application/procura-checkpoint+jwt"] {
            let jws = sign(&signing, typ, &checkpoint(), NOW).unwrap();
            assert!(keys.read(&jws).unwrap_err().contains("its header is not that of"), "{typ}");
        }
        let more = sign(&signing, CHECKPOINT_TYP, &json!({"iat": NOW, "sub": "x"}), NOW).unwrap();
        assert!(keys.read(&more).unwrap_err().contains("claims cannot be read"));
    }

    #[test]
    fn a_pinned_key_is_vouched_for_by_the_name_it_has_of_itself() {
        let key = SecretsKey::generate();
        let record = record(&key);
        let jws = signed(&record, &key);
        let mut entry: Value = serde_json::from_str(&record.public_jwk).unwrap();
        entry["kid"] = json!("another name");
        let mut keys = EvidenceKeys::of_jwks(&json!({"keys": [entry]})).unwrap();
        assert!(!keys.read(&jws).unwrap().vouched);
        keys.pin(&BTreeSet::from(["another name".to_owned()]));
        assert!(!keys.read(&jws).unwrap().vouched);
        keys.pin(&BTreeSet::from([record.kid]));
        assert!(keys.read(&jws).unwrap().vouched);
        assert!(EvidenceKeys::of_jwks(&json!({})).is_err());
    }
}
