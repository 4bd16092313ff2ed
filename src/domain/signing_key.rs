//! Our signing keys as records: when each is published, signs, and goes. The key material itself stays sealed.

use super::resource::SigningAlgorithm;
use serde::{Deserialize, Serialize};

/// One signing key.
///
/// Phases by time: published from `published_at`, signs from `signs_from` until a newer key of the same algorithm
/// does, leaves the JWKS at `removed_at`. All times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyRecord {
    /// RFC 7638 SHA-256 thumbprint.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// 1 for the first key of an algorithm, then 2, and so on: two servers cannot add the same successor.
    pub generation: i64,
    /// The public JWK, as JSON.
    pub public_jwk: String,
    /// The private JWK, sealed as a JWE under `secrets_key`.
    #[serde(skip_serializing)]
    pub sealed_private_jwk: String,
    /// From when it is in the JWKS.
    pub published_at: i64,
    /// From when it signs.
    pub signs_from: i64,
    /// From when it is out of the JWKS, and its tokens no longer verify; no end set if absent.
    pub removed_at: Option<i64>,
}

impl SigningKeyRecord {
    /// True while it is in the JWKS.
    pub fn is_published(&self, now: i64) -> bool {
        self.published_at <= now && self.removed_at.is_none_or(|end| now < end)
    }

    /// True if it may sign; the newest of those does.
    pub fn may_sign(&self, now: i64) -> bool {
        self.signs_from <= now && self.is_published(now)
    }
}
