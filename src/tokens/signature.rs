//! Signatures: ECDSA on P-256 and Ed25519 by ring, RSA and P-384 by josekit's OpenSSL.
//!
//! Each request pays for one verification and one signature, most of its time. For these two curves ring takes a quarter
//! to a half less than OpenSSL; for RSA it does not. Keys are read, checked and made by josekit alone.

use crate::domain::identity_provider::VerificationAlgorithm;
use crate::domain::resource::SigningAlgorithm;
use crate::verify::jwk::Verifies;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jws::{ES256, ES384, EdDSA, JwsSigner, JwsVerifier, PS256, RS256};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, UnparsedPublicKey,
};
use serde_json::{Map, Value};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// The first byte of an uncompressed point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// OpenSSL 3.0 sometimes cannot decode a key ("X509_PUBKEY_get0: decode error") while another thread decodes the first one
/// of the process. So the first of each kind is one thread's: the public keys of RFC 7517 appendix A.1 and RFC 8037
/// appendix A.2.
static FIRST_KEYS: LazyLock<()> = LazyLock::new(|| {
    let keys = [
        (ES256_KEY, VerificationAlgorithm::ES256),
        (RS256_KEY, VerificationAlgorithm::RS256),
        (EDDSA_KEY, VerificationAlgorithm::EdDSA),
    ];
    for (jwk, algorithm) in keys {
        // If OpenSSL cannot read even these, the keys that are meant say so.
        let _ = Jwk::from_bytes(jwk).map(|jwk| josekit_verifier(&jwk, algorithm));
    }
});
const ES256_KEY: &str = r#"{"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
const RS256_KEY: &str = r#"{"kty": "RSA", "e": "AQAB", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;
const EDDSA_KEY: &str = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// To be called before a key is made or read by josekit.
pub(super) fn before_the_first_key() {
    LazyLock::force(&FIRST_KEYS);
}

fn josekit_verifier(jwk: &Jwk, algorithm: VerificationAlgorithm) -> Result<Box<dyn JwsVerifier>, josekit::JoseError> {
    match algorithm {
        VerificationAlgorithm::RS256 => RS256.verifier_from_jwk(jwk).map(|verifier| Box::new(verifier) as _),
        VerificationAlgorithm::PS256 => PS256.verifier_from_jwk(jwk).map(|verifier| Box::new(verifier) as _),
        VerificationAlgorithm::ES256 => ES256.verifier_from_jwk(jwk).map(|verifier| Box::new(verifier) as _),
        VerificationAlgorithm::ES384 => ES384.verifier_from_jwk(jwk).map(|verifier| Box::new(verifier) as _),
        VerificationAlgorithm::EdDSA => EdDSA.verifier_from_jwk(jwk).map(|verifier| Box::new(verifier) as _),
    }
}

/// Verifies signatures in the form of RFC 7518 §3 and RFC 8037 §3.1.
pub(super) enum Verifying {
    Ring(UnparsedPublicKey<Vec<u8>>),
    Josekit(Box<dyn JwsVerifier>),
}

impl Verifying {
    /// For the members that make a public key, and one algorithm.
    ///
    /// # Errors
    /// The key is not one of the algorithm's; a point off the curve is none.
    pub(super) fn from_parameters(jwk: &Map<String, Value>, algorithm: VerificationAlgorithm) -> Result<Self, String> {
        Self::from_jwk(&Jwk::from_map(jwk.clone()).map_err(|problem| problem.to_string())?, algorithm)
    }

    fn from_jwk(jwk: &Jwk, algorithm: VerificationAlgorithm) -> Result<Self, String> {
        before_the_first_key();
        // ring looks at a point only when it verifies, so josekit reads these keys too.
        let josekit = josekit_verifier(jwk, algorithm).map_err(|problem| problem.to_string())?;
        Ok(match algorithm {
            VerificationAlgorithm::ES256 => {
                Self::Ring(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, p256_point(jwk)?))
            }
            VerificationAlgorithm::EdDSA => Self::Ring(UnparsedPublicKey::new(&ED25519, member(jwk, "x")?.to_vec())),
            VerificationAlgorithm::RS256 | VerificationAlgorithm::PS256 | VerificationAlgorithm::ES384 => {
                Self::Josekit(josekit)
            }
        })
    }
}

impl Verifies for Verifying {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ring(key) => key.verify(message, signature).is_ok(),
            Self::Josekit(verifier) => verifier.verify(message, signature).is_ok(),
        }
    }
}

/// Makes signatures in the form of RFC 7518 §3 and RFC 8037 §3.1.
pub(super) enum Signing {
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
    Josekit(Box<dyn JwsSigner>),
}

impl Signing {
    /// For a private JWK and one algorithm.
    ///
    /// # Errors
    /// The key is not one of the algorithm's, or its two halves do not belong together.
    pub(super) fn from_jwk(jwk: &Jwk, algorithm: SigningAlgorithm) -> Result<Self, String> {
        before_the_first_key();
        let rsa = |signer: Result<Box<dyn JwsSigner>, _>| {
            signer.map(Self::Josekit).map_err(|problem: josekit::JoseError| problem.to_string())
        };
        match algorithm {
            SigningAlgorithm::ES256 => {
                let (private, public) = (member(jwk, "d")?, p256_point(jwk)?);
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, &public, &SystemRandom::new())
                    .map(|pair| Self::P256(Box::new(pair)))
                    .map_err(|problem| problem.to_string())
            }
            SigningAlgorithm::EdDSA => {
                let (private, public) = (member(jwk, "d")?, member(jwk, "x")?);
                Ed25519KeyPair::from_seed_and_public_key(&private, &public)
                    .map(|pair| Self::Ed25519(Box::new(pair)))
                    .map_err(|problem| problem.to_string())
            }
            SigningAlgorithm::RS256 => rsa(RS256.signer_from_jwk(jwk).map(|signer| Box::new(signer) as _)),
            SigningAlgorithm::PS256 => rsa(PS256.signer_from_jwk(jwk).map(|signer| Box::new(signer) as _)),
        }
    }

    /// The signature over any bytes.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            // The nonce is made of fresh randomness, the key and the message: a weak random number does not give the
            // key away.
            Self::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| "the system gave no randomness".to_owned()),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Josekit(signer) => signer.sign(message).map_err(|problem| problem.to_string()),
        }
    }
}

/// A member of a JWK that holds bytes.
fn member(jwk: &Jwk, name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = jwk.parameter(name).and_then(|value| value.as_str()).ok_or_else(|| format!("{name} is not a text"))?;
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| format!("{name} is not base64url"))
}

fn p256_point(jwk: &Jwk) -> Result<Vec<u8>, String> {
    Ok([&[UNCOMPRESSED], member(jwk, "x")?.as_slice(), member(jwk, "y")?.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use josekit::jwk::{Ed25519, P_256};

    const MESSAGE: &[u8] = b"header.claims";

    struct Pair {
        jwk: Jwk,
        ours: (Signing, Verifying),
        josekit: (Box<dyn JwsSigner>, Box<dyn JwsVerifier>),
    }

    fn pairs() -> [Pair; 2] {
        before_the_first_key();
        let (p256, ed25519) = (Jwk::generate_ec_key(P_256).unwrap(), Jwk::generate_ed_key(Ed25519).unwrap());
        [
            Pair {
                ours: (
                    Signing::from_jwk(&p256, SigningAlgorithm::ES256).unwrap(),
                    Verifying::from_jwk(&p256, VerificationAlgorithm::ES256).unwrap(),
                ),
                josekit: (
                    Box::new(ES256.signer_from_jwk(&p256).unwrap()),
                    Box::new(ES256.verifier_from_jwk(&p256).unwrap()),
                ),
                jwk: p256,
            },
            Pair {
                ours: (
                    Signing::from_jwk(&ed25519, SigningAlgorithm::EdDSA).unwrap(),
                    Verifying::from_jwk(&ed25519, VerificationAlgorithm::EdDSA).unwrap(),
                ),
                josekit: (
                    Box::new(EdDSA.signer_from_jwk(&ed25519).unwrap()),
                    Box::new(EdDSA.verifier_from_jwk(&ed25519).unwrap()),
                ),
                jwk: ed25519,
            },
        ]
    }

    #[test]
    fn the_first_keys_can_be_read() {
        for (jwk, algorithm) in [
            (ES256_KEY, VerificationAlgorithm::ES256),
            (RS256_KEY, VerificationAlgorithm::RS256),
            (EDDSA_KEY, VerificationAlgorithm::EdDSA),
        ] {
            Verifying::from_jwk(&Jwk::from_bytes(jwk).unwrap(), algorithm).unwrap();
        }
    }

    #[test]
    fn ring_and_josekit_verify_what_the_other_signed() {
        for Pair { ours: (signing, verifying), josekit: (signer, verifier), .. } in pairs() {
            for _ in 0..32 {
                let (ours, theirs) = (signing.sign(MESSAGE).unwrap(), signer.sign(MESSAGE).unwrap());
                assert_eq!((ours.len(), theirs.len()), (64, 64));
                assert!(verifier.verify(MESSAGE, &ours).is_ok());
                assert!(verifying.verifies(MESSAGE, &theirs));
                assert!(verifying.verifies(MESSAGE, &ours));
            }
        }
    }

    /// The signatures of `MESSAGE` by a key that are none: what of each kind is wrong is in the first member.
    fn bad_signatures(good: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut bad = vec![
            ("empty".to_owned(), Vec::new()),
            ("zeros".to_owned(), vec![0; 64]),
            ("r is zero".to_owned(), [&[0; 32], &good[32..]].concat()),
            ("s is zero".to_owned(), [&good[..32], &[0; 32]].concat()),
            ("all ones".to_owned(), vec![0xff; 64]),
            ("s too large".to_owned(), [&good[..32], &[0xff; 32]].concat()),
            ("a byte short".to_owned(), good[..63].to_vec()),
            ("a byte long".to_owned(), [good, &[0]].concat()),
            ("halves exchanged".to_owned(), [&good[32..], &good[..32]].concat()),
            // What X.509 and TLS use, and JWS does not.
            ("in DER".to_owned(), [&[0x30, 68, 2, 32], &good[..32], &[2, 32], &good[32..]].concat()),
        ];
        for bit in 0..good.len() * 8 {
            let mut signature = good.to_vec();
            signature[bit / 8] ^= 1 << (bit % 8);
            bad.push((format!("bit {bit} turned"), signature));
        }
        bad
    }

    #[test]
    fn ring_and_josekit_refuse_the_same_signatures() {
        for Pair { ours: (signing, verifying), josekit: (_, verifier), .. } in pairs() {
            let good = signing.sign(MESSAGE).unwrap();
            for (what, signature) in bad_signatures(&good) {
                assert!(!verifying.verifies(MESSAGE, &signature), "{what}");
                assert!(verifier.verify(MESSAGE, &signature).is_err(), "{what}");
            }
            assert!(!verifying.verifies(b"header.claimz", &good));
            assert!(verifier.verify(b"header.claimz", &good).is_err());
        }
    }

    #[test]
    fn a_signature_of_another_key_is_refused() {
        for [one, other] in [pairs(), pairs()] {
            let [again, _] = pairs();
            let signature = again.ours.0.sign(MESSAGE).unwrap();
            assert!(!one.ours.1.verifies(MESSAGE, &signature));
            assert!(!other.ours.1.verifies(MESSAGE, &signature));
        }
    }

    #[test]
    fn halves_of_different_keys_are_no_pair() {
        for (pair, stranger) in pairs().into_iter().zip(pairs()) {
            let algorithm = match pair.ours.0 {
                Signing::P256(_) => SigningAlgorithm::ES256,
                Signing::Ed25519(_) => SigningAlgorithm::EdDSA,
                Signing::Josekit(_) => unreachable!("neither is RSA"),
            };
            let mut mixed = pair.jwk.clone();
            mixed.set_parameter("d", stranger.jwk.parameter("d").cloned()).unwrap();
            assert!(Signing::from_jwk(&mixed, algorithm).is_err());
        }
    }
}
