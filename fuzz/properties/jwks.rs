//! What must hold of any bytes as a JWK set: a key is used only for what it says, and nothing verifies by accident.

use procura::domain::client::Client;
use procura::domain::identity_provider::VerificationAlgorithm;
use procura::tokens::issuer_keys::{IssuerKeys, VerificationKey};
use procura::tokens::jwk::thumbprint;
use procura::tokens::offline::Expectations;
use procura::upstream::fetch::Fetcher;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const ALGORITHMS: [VerificationAlgorithm; 5] = [
    VerificationAlgorithm::RS256,
    VerificationAlgorithm::PS256,
    VerificationAlgorithm::ES256,
    VerificationAlgorithm::ES384,
    VerificationAlgorithm::EdDSA,
];
/// Keys past these are not read.
const MOST_KEYS: usize = 100;

pub(crate) fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = Expectations::new(None, None, Some(text));
    let set: Value = serde_json::from_str(text).unwrap_or_default();
    let keys = set.get("keys").and_then(Value::as_array);
    assert_eq!(read.is_ok(), keys.is_some(), "one bad key does not spoil the set");
    let Some(keys) = keys else { return };
    let keys: Vec<&Map<String, Value>> = keys.iter().take(MOST_KEYS).filter_map(Value::as_object).collect();
    for key in &keys {
        canonical(key);
    }
    let lookup = Lookup::new(&set);
    let kids: BTreeSet<Option<&str>> = keys.iter().map(|key| key.get("kid").and_then(Value::as_str)).collect();
    for kid in kids.into_iter().chain([Some("no such kid")]).take(12) {
        for algorithm in ALGORITHMS {
            if let Some(key) = lookup.find(kid, algorithm) {
                is_as_declared(&keys, kid, algorithm, &key);
            }
        }
    }
}

/// A thumbprint is of what makes the key, and of nothing else.
fn canonical(key: &Map<String, Value>) {
    let Ok(print) = thumbprint(key) else { return };
    assert_eq!(print.len(), 43);
    let mut dressed = key.clone();
    for (name, value) in [("d", json!("AA")), ("use", json!("enc")), ("kid", json!(7)), ("x5c", json!([]))] {
        dressed.insert(name.to_owned(), value);
    }
    assert_eq!(thumbprint(&dressed), Ok(print));
}

/// The only way in that the product has: by `kid` and algorithm, of a client that declares its keys itself.
struct Lookup {
    keys: IssuerKeys,
    client: Client,
}

impl Lookup {
    fn new(set: &Value) -> Self {
        let client = serde_json::from_value(json!({
            "id": "signer", "name": "Signer", "authentication": "private_key_jwt", "grants": [], "jwks": set,
        }));
        let fetcher = Fetcher::new(Duration::from_millis(1), 1);
        Self { keys: IssuerKeys::new(fetcher), client: client.expect("a client") }
    }

    fn find(&self, kid: Option<&str>, algorithm: VerificationAlgorithm) -> Option<Arc<VerificationKey>> {
        let found = pin!(self.keys.of_client(&self.client, kid, algorithm, 1_800_000_000));
        match found.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(found) => found.ok(),
            Poll::Pending => panic!("keys that are at hand are not waited for"),
        }
    }
}

fn is_as_declared(
    keys: &[&Map<String, Value>],
    kid: Option<&str>,
    algorithm: VerificationAlgorithm,
    found: &VerificationKey,
) {
    assert_eq!(found.algorithm(), algorithm);
    let text = |key: &Map<String, Value>, name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
    let fits = |key: &&&Map<String, Value>| {
        let (kty, crv) = match algorithm {
            VerificationAlgorithm::RS256 | VerificationAlgorithm::PS256 => ("RSA", None),
            VerificationAlgorithm::ES256 => ("EC", Some("P-256")),
            VerificationAlgorithm::ES384 => ("EC", Some("P-384")),
            VerificationAlgorithm::EdDSA => ("OKP", Some("Ed25519")),
        };
        text(key, "kty").as_deref() == Some(kty)
            && crv.is_none_or(|crv| text(key, "crv").as_deref() == Some(crv))
            && key.get("alg").is_none_or(|alg| alg == algorithm.as_str())
            && key.get("use").is_none_or(|purpose| purpose == "sig")
            && key.get("key_ops").is_none_or(|all| all.as_array().is_some_and(|all| all.contains(&json!("verify"))))
            && thumbprint(key).is_ok()
    };
    let named = |key: &&&Map<String, Value>| kid.is_none() || text(key, "kid").as_deref() == kid;
    assert!(keys.iter().filter(named).any(|key| fits(&key)), "a key of the set that is for {algorithm:?}");
    // Signatures that nobody made: zeros, and for Ed25519 the neutral element, which verifies under a weak key.
    let neutral = |length: usize| -> Vec<u8> { (0..length).map(|at| u8::from(at == 0)).collect() };
    for length in [0, 64, 96, 256, 512] {
        for message in 0..8_u8 {
            assert!(!found.verifies(&[message], &vec![0; length]));
            assert!(!found.verifies(&[message], &neutral(length)));
        }
    }
}
