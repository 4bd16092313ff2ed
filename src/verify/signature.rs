//! Signatures by ring alone: nothing else has to be built to verify a token.

use super::jwk::Verifies;
use crate::domain::algorithm::VerificationAlgorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Map, Value};

/// The first byte of an uncompressed point (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// A key of any kind. ring looks at a point, and finds it off the curve, when it verifies.
enum Key {
    Point(UnparsedPublicKey<Vec<u8>>),
    Rsa { components: RsaPublicKeyComponents<Vec<u8>>, parameters: &'static RsaParameters },
}

impl Verifies for Key {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Point(key) => key.verify(message, signature).is_ok(),
            Self::Rsa { components, parameters } => components.verify(parameters, message, signature).is_ok(),
        }
    }
}

/// A verifier of the members that make a public key; their form and lengths were checked.
pub(crate) fn by_ring(jwk: &Map<String, Value>, algorithm: VerificationAlgorithm) -> Result<Box<dyn Verifies>, String> {
    let bytes = |name: &str| {
        let text = jwk.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} is not a text"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("{name} is not base64url"))
    };
    let point = || Ok::<_, String>([vec![UNCOMPRESSED], bytes("x")?, bytes("y")?].concat());
    let rsa = |parameters| {
        Ok::<_, String>(Key::Rsa { components: RsaPublicKeyComponents { n: bytes("n")?, e: bytes("e")? }, parameters })
    };
    let key = match algorithm {
        VerificationAlgorithm::ES256 => Key::Point(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point()?)),
        VerificationAlgorithm::ES384 => Key::Point(UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point()?)),
        VerificationAlgorithm::EdDSA => Key::Point(UnparsedPublicKey::new(&ED25519, bytes("x")?)),
        VerificationAlgorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256)?,
        VerificationAlgorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256)?,
    };
    Ok(Box::new(key))
}
