//! Keys as JWK, with josekit behind them: those of others to verify with, and ours as they are published.

pub use crate::verify::jwk::VerificationKey;
pub(super) use crate::verify::jwk::{Found, KeySet};

use super::signature::Verifying;
use crate::verify::jwk::parameters;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Reads a JWKS. Keys that cannot be used are left out and do no harm (RFC 7517 §5, rule JO-03).
///
/// # Errors
/// Only if there is no array `keys`.
pub(super) fn read(jwks: &Value) -> Result<KeySet, String> {
    KeySet::read_with(jwks, &|jwk, algorithm| Ok(Box::new(Verifying::from_parameters(jwk, algorithm)?)))
}

/// The RFC 7638 SHA-256 thumbprint of a public JWK, in base64url.
///
/// # Errors
/// The key is not one that this server could use.
pub fn thumbprint(jwk: &Map<String, Value>) -> Result<String, String> {
    // `parameters` writes the required members in lexicographic order, as RFC 7638 §3.3 wants.
    let canonical = serde_json::to_vec(&parameters(jwk)?).map_err(|problem| problem.to_string())?;
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)))
}

/// The public JWK of a key as it stands in a JWKS: `kty` and its members, `kid`, `use`, `alg`; never a private one.
pub(super) fn public_entry(jwk: &Map<String, Value>, alg: &str) -> Result<Map<String, Value>, String> {
    let mut entry = parameters(jwk)?;
    entry.insert("kid".to_owned(), json!(thumbprint(jwk)?));
    entry.insert("use".to_owned(), json!("sig"));
    entry.insert("alg".to_owned(), json!(alg));
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    /// RFC 7638 §3.1.
    fn rfc_7638_key() -> Value {
        json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29"
        })
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        assert_eq!(thumbprint(&map(rfc_7638_key())).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn the_thumbprint_of_an_ed25519_key_is_that_of_rfc_8037() {
        let key = json!({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(thumbprint(&map(key)).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_point_off_the_curve_is_left_out() {
        let good = json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        assert!(!read(&json!({"keys": [good.clone()]})).unwrap().is_empty());
        let mut off = good;
        off["y"] = off["x"].clone();
        let set = read(&json!({"keys": [off]})).unwrap();
        assert!(set.is_empty() && set.skipped.join("; ").contains("cannot be used"));
    }

    #[test]
    fn a_public_entry_has_no_private_member() {
        let mut key = map(rfc_7638_key());
        key.insert("d".to_owned(), json!("secret"));
        let entry = public_entry(&key, "RS256").unwrap();
        let names: Vec<&str> = entry.keys().map(String::as_str).collect();
        assert_eq!(names, ["e", "kty", "n", "kid", "use", "alg"]);
    }
}
