//! Our own keys: make, open, choose, publish, rotate.

use super::jwk::{self, VerificationKey};
use super::signature::{Signing, before_the_first_key};
use super::{jose, seal};
use crate::domain::identity_provider::VerificationAlgorithm;
use crate::domain::resource::{SigningAlgorithm, TOKEN_LIFETIME_SECONDS};
use crate::domain::signing_key::SigningKeyRecord;
use crate::secrets::{self, SecretsKey};
use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::{Ed25519, Jwk, P_256};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The header `typ` of an access token (RFC 9068 §2.1).
pub const ACCESS_TOKEN_TYP: &str = "at+jwt";

/// RSA keys that we make. 2048 bits, since a signature of 3072 takes three times as long, and a key of ours is replaced
/// after months, not years.
const RSA_BITS: u32 = 2048;

/// How far clocks of backends may be behind: so much longer is an old key published.
const SKEW_SECONDS: i64 = 60;

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyProblem(pub String);

fn problem(error: impl std::fmt::Display) -> KeyProblem {
    KeyProblem(error.to_string())
}

/// A key pair, ready to sign and to verify.
pub struct LocalSigner {
    algorithm: SigningAlgorithm,
    kid: String,
    public: Map<String, Value>,
    signing: Signing,
    verifier: Arc<VerificationKey>,
    /// The encoded header of an access token: most signatures need just this one.
    access_token_header: String,
}

impl std::fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSigner")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl LocalSigner {
    /// A new key pair. The demo identity provider and tests sign with such a key; ours are made by [`rotate`].
    pub fn generate(algorithm: SigningAlgorithm) -> Result<Self, KeyProblem> {
        Self::from_private_jwk(&generate_private_jwk(algorithm)?, algorithm)
    }

    pub(super) fn from_private_jwk(text: &str, algorithm: SigningAlgorithm) -> Result<Self, KeyProblem> {
        let jwk = Jwk::from_bytes(text).map_err(problem)?;
        let public = jwk::public_entry(jwk.as_ref(), algorithm.as_str()).map_err(KeyProblem)?;
        let signing = Signing::from_jwk(&jwk, algorithm).map_err(KeyProblem)?;
        let kid = public.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned();
        let set = jwk::read(&json!({"keys": [public]})).map_err(KeyProblem)?;
        let jwk::Found::Key(verifier) = set.find(Some(&kid), verification(algorithm)) else {
            return Err(KeyProblem(format!("key {kid} cannot verify what it signs: {}", set.skipped.join("; "))));
        };
        let access_token_header = encoded_header(algorithm, ACCESS_TOKEN_TYP, &kid);
        Ok(Self { algorithm, kid, public, signing, verifier, access_token_header })
    }

    /// Its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signs with.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Its entry in a JWKS: public members only, with `kid`, `use` and `alg`.
    pub fn public_jwk(&self) -> &Map<String, Value> {
        &self.public
    }

    /// A compact JWS over `claims` (JSON), with the header `{"alg","typ","kid"}`.
    pub fn sign(&self, typ: &str, claims: &[u8]) -> Result<String, KeyProblem> {
        if typ == ACCESS_TOKEN_TYP {
            return self.sign_under(&self.access_token_header, claims);
        }
        self.sign_under(&encoded_header(self.algorithm, typ, &self.kid), claims)
    }

    /// The signature over any bytes.
    pub fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, KeyProblem> {
        self.signing.sign(message).map_err(KeyProblem)
    }

    /// True if this key made the signature.
    pub fn verifies(&self, signing_input: &[u8], signature: &[u8]) -> bool {
        self.verifier.verifies(signing_input, signature)
    }

    fn sign_under(&self, header: &str, claims: &[u8]) -> Result<String, KeyProblem> {
        // Room for the header, the claims, an RSA signature and the dots.
        let mut token = String::with_capacity(header.len() + claims.len().div_ceil(3) * 4 + 346);
        token.push_str(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.sign_bytes(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

fn encoded_header(algorithm: SigningAlgorithm, typ: &str, kid: &str) -> String {
    URL_SAFE_NO_PAD.encode(json!({"alg": algorithm.as_str(), "typ": typ, "kid": kid}).to_string())
}

/// The same algorithm, as one that verifies.
pub(super) fn verification(algorithm: SigningAlgorithm) -> VerificationAlgorithm {
    match algorithm {
        SigningAlgorithm::ES256 => VerificationAlgorithm::ES256,
        SigningAlgorithm::EdDSA => VerificationAlgorithm::EdDSA,
        SigningAlgorithm::RS256 => VerificationAlgorithm::RS256,
        SigningAlgorithm::PS256 => VerificationAlgorithm::PS256,
    }
}

fn generate_private_jwk(algorithm: SigningAlgorithm) -> Result<Zeroizing<String>, KeyProblem> {
    before_the_first_key();
    let jwk = match algorithm {
        SigningAlgorithm::ES256 => Jwk::generate_ec_key(P_256),
        SigningAlgorithm::EdDSA => Jwk::generate_ed_key(Ed25519),
        SigningAlgorithm::RS256 | SigningAlgorithm::PS256 => Jwk::generate_rsa_key(RSA_BITS),
    };
    Ok(Zeroizing::new(jwk.map_err(problem)?.to_string()))
}

/// The JWKS document.
#[derive(Debug)]
pub struct Jwks {
    /// JSON.
    pub body: String,
    /// Its `ETag`, with quotes.
    pub etag: String,
}

/// One of our keys, with its phases.
#[derive(Debug)]
pub struct SigningKey {
    pair: LocalSigner,
    generation: i64,
    published_at: i64,
    signs_from: i64,
    removed_at: Option<i64>,
}

impl SigningKey {
    /// From when it signs, Unix seconds.
    pub fn signs_from(&self) -> i64 {
        self.signs_from
    }

    /// Its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        self.pair.kid()
    }

    /// What it signs with.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.pair.algorithm()
    }

    /// A compact JWS over `claims`, with the header `{"alg","typ","kid"}`.
    pub fn sign(&self, typ: &str, claims: &[u8]) -> Result<String, KeyProblem> {
        self.pair.sign(typ, claims)
    }

    /// True if this key made the signature.
    pub fn verifies(&self, signing_input: &[u8], signature: &[u8]) -> bool {
        self.pair.verifies(signing_input, signature)
    }

    fn is_published(&self, now: i64) -> bool {
        self.published_at <= now && self.removed_at.is_none_or(|end| now < end)
    }
}

/// A JWKS and how long it stays as it is: from `since` until just before `until`.
#[derive(Debug)]
struct Phase {
    since: i64,
    until: i64,
    jwks: Arc<Jwks>,
}

/// Every signing key that is or will be of use, parsed once.
#[derive(Debug, Default)]
pub struct SigningKeys {
    keys: Vec<SigningKey>,
    phase: ArcSwapOption<Phase>,
}

/// A key to be added, and what it does to the others.
#[derive(Debug)]
pub struct Rotation {
    /// The new key.
    pub key: SigningKeyRecord,
    /// `removed_at` of earlier keys, by `kid`.
    pub removals: Vec<(String, i64)>,
}

impl SigningKeys {
    /// Opens every key that is not removed by `now`.
    ///
    /// # Errors
    /// A key that was sealed under another `secrets_key`, by its `kid`.
    pub fn open(records: &[SigningKeyRecord], key: &SecretsKey, now: i64) -> Result<Self, KeyProblem> {
        let live = records.iter().filter(|record| record.removed_at.is_none_or(|end| now < end));
        let keys = live.map(|record| open_key(record, key)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { keys, phase: ArcSwapOption::empty() })
    }

    /// The key that signs with this algorithm at `now`: of those that may, the newest.
    pub fn signer(&self, algorithm: SigningAlgorithm, now: i64) -> Option<&SigningKey> {
        let may_sign =
            |key: &&SigningKey| key.algorithm() == algorithm && key.signs_from <= now && key.is_published(now);
        self.keys.iter().filter(may_sign).max_by_key(|key| key.generation)
    }

    /// The published key of this `kid`.
    pub fn published(&self, kid: &str, now: i64) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.kid() == kid && key.is_published(now))
    }

    /// The JWKS at `now`; made once per phase.
    pub fn jwks(&self, now: i64) -> Arc<Jwks> {
        if let Some(phase) = self.phase.load().as_deref()
            && (phase.since..phase.until).contains(&now)
        {
            return Arc::clone(&phase.jwks);
        }
        let phase = Arc::new(self.phase_at(now));
        let jwks = Arc::clone(&phase.jwks);
        self.phase.store(Some(phase));
        jwks
    }

    fn phase_at(&self, now: i64) -> Phase {
        let turns = || self.keys.iter().flat_map(|key| [Some(key.published_at), key.removed_at]).flatten();
        let mut published: Vec<&SigningKey> = self.keys.iter().filter(|key| key.is_published(now)).collect();
        published.sort_by_key(|key| (key.algorithm(), std::cmp::Reverse(key.generation)));
        let keys: Vec<_> = published.iter().map(|key| key.pair.public_jwk()).collect();
        let body = json!({"keys": keys}).to_string();
        let etag = format!("\"{}\"", secrets::digest(&body));
        Phase {
            since: turns().filter(|turn| *turn <= now).max().unwrap_or(i64::MIN),
            until: turns().filter(|turn| *turn > now).min().unwrap_or(i64::MAX),
            jwks: Arc::new(Jwks { body, etag }),
        }
    }
}

fn open_key(record: &SigningKeyRecord, key: &SecretsKey) -> Result<SigningKey, KeyProblem> {
    let kid = &record.kid;
    let private = seal::open(key, &record.sealed_private_jwk)
        .map(Zeroizing::new)
        .ok_or_else(|| KeyProblem(format!("signing key {kid} was sealed under another secrets_key, or was altered")))?;
    let pair = LocalSigner::from_private_jwk(&private, record.algorithm)?;
    if pair.kid() != kid {
        return Err(KeyProblem(format!("signing key {kid} is not the key of that thumbprint")));
    }
    Ok(SigningKey {
        pair,
        generation: record.generation,
        published_at: record.published_at,
        signs_from: record.signs_from,
        removed_at: record.removed_at,
    })
}

/// A new key for the algorithm, behind those of `records`.
///
/// The first key of an algorithm signs at once. A later one is published now, signs after `publish_before_use_seconds`,
/// and earlier keys are removed once no token of theirs can be alive. In an emergency it signs at once and the earlier
/// ones are removed at once.
pub fn rotate(
    records: &[SigningKeyRecord],
    algorithm: SigningAlgorithm,
    publish_before_use_seconds: u32,
    emergency: bool,
    secrets_key: &SecretsKey,
    now: i64,
) -> Result<Rotation, KeyProblem> {
    let earlier = || records.iter().filter(|record| record.algorithm == algorithm);
    let private = generate_private_jwk(algorithm)?;
    let pair = LocalSigner::from_private_jwk(&private, algorithm)?;
    let has_signer = earlier().any(|record| record.may_sign(now));
    let signs_from =
        if has_signer && !emergency { now.saturating_add(i64::from(publish_before_use_seconds)) } else { now };
    let longest_life = i64::from(*TOKEN_LIFETIME_SECONDS.end());
    let removed_at = if emergency { now } else { signs_from.saturating_add(longest_life).saturating_add(SKEW_SECONDS) };
    let stays_longer = |record: &&SigningKeyRecord| record.removed_at.is_none_or(|end| end > removed_at);
    Ok(Rotation {
        removals: earlier().filter(stays_longer).map(|record| (record.kid.clone(), removed_at)).collect(),
        key: SigningKeyRecord {
            kid: pair.kid().to_owned(),
            algorithm,
            generation: earlier().map(|record| record.generation).max().unwrap_or(0).saturating_add(1),
            public_jwk: Value::Object(pair.public_jwk().clone()).to_string(),
            sealed_private_jwk: seal::seal(secrets_key, &private),
            published_at: now,
            signs_from,
            removed_at: None,
        },
    })
}

/// The algorithm of a token that says it is ours; none for one that we do not sign with.
pub(super) fn own_algorithm(token: &jose::Unverified) -> Option<SigningAlgorithm> {
    SigningAlgorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == token.alg())
}
