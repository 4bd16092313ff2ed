//! Public keys as JWK (RFC 7517, RFC 7518 §6, RFC 8037): read leniently as a set, strictly one by one.

use crate::domain::algorithm::VerificationAlgorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// A JWKS with more keys than this is read only so far.
const MAX_KEYS: usize = 100;

/// RSA keys below are too weak (RFC 7518 §3.3); above, one verification takes too long.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Verifies signatures with one key and one algorithm, in the form of RFC 7518 §3 and RFC 8037 §3.1.
pub(crate) trait Verifies: Send + Sync {
    /// True if the signature is right.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool;
}

/// Makes a verifier of the members that make a public key, in canonical form. The reader has checked their form; a point
/// off the curve may be found only later, by a signature that is not right.
pub(crate) type MakeVerifier<'a> =
    &'a dyn Fn(&Map<String, Value>, VerificationAlgorithm) -> Result<Box<dyn Verifies>, String>;

/// A public key with its one algorithm, ready to verify (rule JW-01).
pub struct VerificationKey {
    algorithm: VerificationAlgorithm,
    verifying: Box<dyn Verifies>,
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerificationKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl VerificationKey {
    /// What it verifies.
    #[cfg(feature = "server")]
    pub fn algorithm(&self) -> VerificationAlgorithm {
        self.algorithm
    }

    /// True if the signature is right.
    pub fn verifies(&self, signing_input: &[u8], signature: &[u8]) -> bool {
        self.verifying.verifies(signing_input, signature)
    }
}

/// What a look-up in a set came to.
pub(crate) enum Found {
    /// The key.
    Key(Arc<VerificationKey>),
    /// There is a key of this `kid`, for another algorithm.
    OtherAlgorithm,
    /// No key, or without `kid` not exactly one.
    Nothing,
}

/// The usable keys of one JWKS.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    by_kid: HashMap<String, Vec<Arc<VerificationKey>>>,
    all: Vec<Arc<VerificationKey>>,
    /// Why keys were left out, for operators.
    pub(crate) skipped: Vec<String>,
}

impl KeySet {
    /// Reads a JWKS. Keys that cannot be used are left out and do no harm (RFC 7517 §5, rule JO-03).
    ///
    /// # Errors
    /// Only if there is no array `keys`.
    pub(crate) fn read_with(jwks: &Value, make: MakeVerifier<'_>) -> Result<Self, String> {
        let keys = jwks.get("keys").and_then(Value::as_array).ok_or("the JWKS has no array keys")?;
        let mut set = Self::default();
        for (index, jwk) in keys.iter().take(MAX_KEYS).enumerate() {
            if let Err(problem) = set.add(jwk, make) {
                set.skipped.push(format!("key {index}: {problem}"));
            }
        }
        Ok(set)
    }

    /// True if there is no usable key.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn add(&mut self, jwk: &Value, make: MakeVerifier<'_>) -> Result<(), String> {
        let jwk = jwk.as_object().ok_or("is not an object")?;
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= super::jose::MAX_KID_BYTES => Some(kid),
            Some(_) => return Err("kid is not a text of at most 256 bytes".to_owned()),
        };
        for algorithm in algorithms(jwk)? {
            if kid.is_some_and(|kid| self.of_kid(kid).any(|key| key.algorithm == algorithm)) {
                return Err("a key of the same kid and algorithm came before".to_owned());
            }
            let verifying =
                make(&parameters(jwk)?, algorithm).map_err(|problem| format!("cannot be used: {problem}"))?;
            let key = Arc::new(VerificationKey { algorithm, verifying });
            if let Some(kid) = kid {
                self.by_kid.entry(kid.clone()).or_default().push(Arc::clone(&key));
            }
            self.all.push(key);
        }
        Ok(())
    }

    fn of_kid(&self, kid: &str) -> impl Iterator<Item = &Arc<VerificationKey>> {
        self.by_kid.get(kid).into_iter().flatten()
    }

    /// The key of this `kid` for this algorithm. Without `kid`: the only key for the algorithm.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: VerificationAlgorithm) -> Found {
        if let Some(kid) = kid {
            return match self.of_kid(kid).find(|key| key.algorithm == algorithm) {
                Some(key) => Found::Key(Arc::clone(key)),
                None if self.by_kid.contains_key(kid) => Found::OtherAlgorithm,
                None => Found::Nothing,
            };
        }
        let mut fitting = self.all.iter().filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Found::Key(Arc::clone(only)),
            (_, _) => Found::Nothing,
        }
    }
}

/// What the key may verify: its `alg`, or every algorithm of its type (rule JO-04).
fn algorithms(jwk: &Map<String, Value>) -> Result<Vec<VerificationAlgorithm>, String> {
    if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
        return Err("use is not sig".to_owned());
    }
    if let Some(operations) = jwk.get("key_ops") {
        let verifies = operations.as_array().is_some_and(|all| all.iter().any(|operation| operation == "verify"));
        if !verifies {
            return Err("key_ops does not have verify".to_owned());
        }
    }
    let of_type = match (jwk.get("kty").and_then(Value::as_str), jwk.get("crv").and_then(Value::as_str)) {
        (Some("RSA"), _) => vec![VerificationAlgorithm::RS256, VerificationAlgorithm::PS256],
        (Some("EC"), Some("P-256")) => vec![VerificationAlgorithm::ES256],
        (Some("EC"), Some("P-384")) => vec![VerificationAlgorithm::ES384],
        (Some("OKP"), Some("Ed25519")) => vec![VerificationAlgorithm::EdDSA],
        (_, _) => return Err("kty or crv is not one that is used".to_owned()),
    };
    match jwk.get("alg") {
        None => Ok(of_type),
        Some(alg) => {
            let alg = alg.as_str().and_then(VerificationAlgorithm::from_header);
            let alg = alg.filter(|alg| of_type.contains(alg));
            alg.map(|alg| vec![alg]).ok_or_else(|| "alg is not one that is used with this kty".to_owned())
        }
    }
}

/// The members that make the key, checked and in canonical form: what RFC 7638 §3.2 calls required members.
pub(crate) fn parameters(jwk: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let bytes = |name: &str| {
        let text = jwk.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} is not a text"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("{name} is not base64url"))
    };
    let exactly = |name: &str, length: usize| {
        let bytes = bytes(name)?;
        if bytes.len() == length { Ok(bytes) } else { Err(format!("{name} is not {length} bytes long")) }
    };
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let value = match jwk.get("kty").and_then(Value::as_str) {
        Some("RSA") => {
            let (n, e) = (without_zeros(&bytes("n")?), without_zeros(&bytes("e")?));
            check_rsa(&n, &e)?;
            json!({"e": encode(&e), "kty": "RSA", "n": encode(&n)})
        }
        Some("EC") => {
            let (crv, length) = match jwk.get("crv").and_then(Value::as_str) {
                Some("P-256") => ("P-256", 32),
                Some("P-384") => ("P-384", 48),
                Some(_) | None => return Err("crv is not P-256 or P-384".to_owned()),
            };
            json!({"crv": crv, "kty": "EC", "x": encode(&exactly("x", length)?), "y": encode(&exactly("y", length)?)})
        }
        Some("OKP") => {
            if jwk.get("crv").is_none_or(|crv| crv != "Ed25519") {
                return Err("crv is not Ed25519".to_owned());
            }
            let x = exactly("x", 32)?;
            if is_small_order(&x) {
                return Err("x is a point of small order".to_owned());
            }
            json!({"crv": "Ed25519", "kty": "OKP", "x": encode(&x)})
        }
        Some(_) | None => return Err("kty is not RSA, EC or OKP".to_owned()),
    };
    match value {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err("is not an object".to_owned())
        }
    }
}

/// Some publishers write a leading zero byte, which the standard forbids but which changes nothing.
fn without_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), String> {
    let unused_bits = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = (n.len() * 8).saturating_sub(unused_bits);
    if !RSA_BITS.contains(&bits) {
        return Err(format!("an RSA key of {bits} bits; {} to {} are accepted", RSA_BITS.start(), RSA_BITS.end()));
    }
    if n.last().is_none_or(|byte| byte % 2 == 0) {
        return Err("the modulus is even".to_owned());
    }
    let is_odd = e.last().is_some_and(|byte| byte % 2 == 1);
    if !is_odd || e.len() > 8 || e == [1] {
        return Err("the public exponent is not odd, at least 3 and below 2^64".to_owned());
    }
    Ok(())
}

/// True for the encodings of the eight points of small order, the sign bit left out: with such a key, signatures that
/// nobody made would verify (RFC 8725 §3.4).
fn is_small_order(x: &[u8]) -> bool {
    const P: [u8; 32] = {
        let mut p = [0xff; 32];
        p[0] = 0xed;
        p[31] = 0x7f;
        p
    };
    const ORDER_EIGHT: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = x.to_vec();
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    let Some((low, rest)) = y.split_first() else { return true };
    // 0, 1, and p - 1, p, p + 1, of which the last two are second encodings of 0 and 1.
    let is_near_zero = *low <= 1 && rest.iter().all(|byte| *byte == 0);
    let is_near_p = (0xec..=0xee).contains(low) && P.split_first().is_some_and(|(_, of_p)| rest == of_p);
    is_near_zero || is_near_p || ORDER_EIGHT.iter().any(|point| y == point)
}

#[cfg(test)]
mod tests {
    use super::*;
    use VerificationAlgorithm as Alg;

    fn read(jwks: &Value) -> Result<KeySet, String> {
        KeySet::read_with(jwks, &crate::verify::signature::by_ring)
    }

    fn skipped(jwk: Value) -> String {
        let set = read(&json!({"keys": Value::Array(vec![jwk])})).unwrap();
        assert!(set.all.is_empty());
        set.skipped.join("; ")
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
    fn a_key_verifies_with_its_alg_only_and_without_alg_with_those_of_its_type() {
        let bound = read(&json!({"keys": [rfc_7638_key()]})).unwrap();
        assert!(matches!(bound.find(Some("2011-04-29"), Alg::RS256), Found::Key(_)));
        assert!(matches!(bound.find(Some("2011-04-29"), Alg::PS256), Found::OtherAlgorithm));
        assert!(matches!(bound.find(Some("other"), Alg::RS256), Found::Nothing));
        assert!(matches!(bound.find(None, Alg::RS256), Found::Key(_)));
        let mut key = rfc_7638_key();
        key.as_object_mut().unwrap().remove("alg");
        let free = read(&json!({"keys": [key]})).unwrap();
        assert!(matches!(free.find(Some("2011-04-29"), Alg::PS256), Found::Key(_)));
    }

    #[test]
    fn without_kid_two_keys_of_an_algorithm_are_one_too_many() {
        let mut second = rfc_7638_key();
        second["kid"] = json!("second");
        let set = read(&json!({"keys": [rfc_7638_key(), second]})).unwrap();
        assert!(matches!(set.find(None, Alg::RS256), Found::Nothing));
    }

    #[test]
    fn unknown_and_foreign_keys_do_no_harm() {
        let set = read(&json!({"keys": [
            {"kty": "oct", "k": "AAAA"}, {"kty": "XYZ"}, 1, {"kty": "OKP", "crv": "X25519", "x": "AA"},
            rfc_7638_key(), rfc_7638_key(),
        ]}))
        .unwrap();
        assert_eq!((set.all.len(), set.skipped.len()), (1, 5));
        assert!(read(&json!([])).is_err());
    }

    #[test]
    fn use_and_key_ops_are_honoured() {
        for (member, value) in [("use", json!("enc")), ("key_ops", json!(["encrypt"])), ("alg", json!("ES256"))] {
            let mut key = rfc_7638_key();
            key[member] = value;
            assert!(skipped(key).contains(member), "{member}");
        }
    }

    #[test]
    fn a_weak_or_odd_rsa_key_is_left_out() {
        let mut weak = vec![0xff; 128];
        weak[0] = 0xc0;
        let with = |name: &str, bytes: &[u8]| {
            let mut key = rfc_7638_key();
            key[name] = json!(URL_SAFE_NO_PAD.encode(bytes));
            key
        };
        assert!(skipped(with("n", &weak)).contains("1024 bits"));
        assert!(skipped(with("n", &[0xfe; 256])).contains("even"));
        for exponent in [&[1][..], &[2], &[], &[0xff; 9]] {
            assert!(skipped(with("e", exponent)).contains("exponent"), "{exponent:?}");
        }
    }

    #[test]
    fn a_point_of_wrong_length_is_left_out() {
        let good = json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        assert_eq!(read(&json!({"keys": [good.clone()]})).unwrap().all.len(), 1);
        let mut short = good;
        short["x"] = json!("AQ");
        assert!(skipped(short).contains("32 bytes"));
    }

    #[test]
    fn an_ed25519_point_of_small_order_is_left_out() {
        let jwk = |bytes: &[u8]| json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(bytes)});
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        let mut signed_zero = [0; 32];
        signed_zero[31] = 0x80;
        for point in [[0; 32], one, minus_one, signed_zero] {
            assert!(skipped(jwk(&point)).contains("small order"), "{point:?}");
        }
        assert!(skipped(jwk(&[1; 31])).contains("32 bytes"));
    }
}
