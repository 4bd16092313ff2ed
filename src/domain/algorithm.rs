//! The signature algorithms that are verified, of our own tokens and of those of others.

use serde::{Deserialize, Serialize};

/// Algorithms that a foreign signature may have. No HMAC, no `none` (RFC 8725 §3.1, §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VerificationAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256; keys of at least 2048 bits.
    RS256,
    /// RSASSA-PSS with SHA-256; keys of at least 2048 bits.
    PS256,
    /// ECDSA on P-256.
    ES256,
    /// ECDSA on P-384.
    ES384,
    /// Ed25519, under the header name `EdDSA` (RFC 8037) or `Ed25519` (RFC 9864).
    #[serde(alias = "Ed25519")]
    EdDSA,
}

impl VerificationAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::RS256, Self::PS256, Self::ES256, Self::ES384, Self::EdDSA];

    /// The algorithm of a JOSE header's `alg`; none for anything not on our list.
    pub fn from_header(alg: &str) -> Option<Self> {
        match alg {
            "RS256" => Some(Self::RS256),
            "PS256" => Some(Self::PS256),
            "ES256" => Some(Self::ES256),
            "ES384" => Some(Self::ES384),
            "EdDSA" | "Ed25519" => Some(Self::EdDSA),
            _ => None,
        }
    }

    /// The name in the registry file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}
