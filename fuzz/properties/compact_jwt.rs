//! What must hold of any bytes as a compact JWT: read in one way or not at all, and never believed without the key.
//!
//! Base64 hides the claims from a fuzzer, so that bytes with a line end are also read as `header JSON`, a line end and
//! `payload JSON`, under a signature that nobody made.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use procura::domain::delegation::ActChain;
use procura::tokens::jose;
use procura::tokens::offline::{Expectations, OfflineVerifier, Outcome};
use procura::tokens::verify::claimed_client;
use serde_json::{Map, Value};

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://records.example.com/api";
const NOW: i64 = 1_800_000_000;
/// A key whose private half was thrown away, and the one token that it signed; the token is also in the corpus.
const JWKS: &str = include_str!("jwks.json");
const TOKEN: &str = include_str!("token.txt");

pub(crate) fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    as_sent(text);
    if let Some((header, payload)) = text.split_once('\n') {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        as_sent(&format!("{}.{}.{}", encode(header), encode(payload), encode(&"s".repeat(64))));
    }
}

fn as_sent(token: &str) {
    let verified = OfflineVerifier::new(ISSUER, AUDIENCE, JWKS).expect("a key set").verify(token, NOW);
    let claims_only = Expectations::new(Some(ISSUER), Some(AUDIENCE), None).expect("no keys").examine(token, NOW);
    let believed = claims_only.checks.iter().all(|check| check.outcome != Outcome::Fail);
    let Ok(parsed) = jose::parse(token) else {
        assert!(verified.is_err() && !believed && claimed_client(token).is_none());
        return;
    };
    // One spelling: what is verified is what was sent, to the last bit.
    assert_eq!(format!("{}.{}", parsed.signing_input, URL_SAFE_NO_PAD.encode(&parsed.signature)), token);
    let (header, payload) = parsed.signing_input.split_once('.').expect("two segments");
    for (segment, object) in [(header, &parsed.header), (payload, &parsed.claims)] {
        let json = URL_SAFE_NO_PAD.decode(segment).expect("canonical base64url");
        assert_eq!(&serde_json::from_slice::<Map<String, Value>>(&json).expect("an object"), object);
        assert_eq!(members(object), colons(&json), "a member for each colon: none was repeated");
    }
    assert!(!parsed.alg().is_empty());
    for refused in ["crit", "b64", "jwk", "jku", "x5u", "x5c"] {
        assert!(!parsed.header.contains_key(refused));
    }
    if let Ok(verified) = &verified {
        let (signed, _) = TOKEN.trim().rsplit_once('.').expect("three segments");
        assert_eq!(parsed.signing_input, signed, "only what the key signed is believed");
        assert_eq!(verified.claims, parsed.claims);
        assert!(believed);
    }
    if believed {
        in_order(&parsed.claims);
    }
}

/// What a backend relies on, told in other words than the verifier's.
fn in_order(claims: &Map<String, Value>) {
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    assert_eq!(claims["iss"], ISSUER);
    let for_us = |aud: &Value| aud == AUDIENCE;
    assert!(for_us(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(for_us)));
    let (exp, iat) = (seconds("exp").expect("exp"), seconds("iat").expect("iat"));
    let now = f64::from(i32::try_from(NOW).expect("before 2038"));
    assert!(exp > now && exp - iat < 3602.0 && iat < now + 31.0);
    assert!(seconds("nbf").is_none_or(|nbf| nbf < now + 31.0));
    for name in ["sub", "client_id", "jti"] {
        assert!(claims[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    assert!(!claims.contains_key("cnf"), "a bound token is not a bearer token");
    if let Some(act) = claims.get("act") {
        let chain = ActChain::parse(act, ActChain::MAX_DEPTH).expect("a chain");
        let again = ActChain::parse(&chain.to_claim(), ActChain::MAX_DEPTH).expect("what was read can be read again");
        assert_eq!(again.actors(), chain.actors());
        let depth = std::iter::successors(Some(act), |act| act.get("act")).count();
        assert_eq!(chain.actors().len(), depth, "no actor is left out");
    }
}

/// Members of all objects in it.
fn members(object: &Map<String, Value>) -> usize {
    fn within(value: &Value) -> usize {
        match value {
            Value::Object(object) => members(object),
            Value::Array(items) => items.iter().map(within).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    object.len() + object.values().map(within).sum::<usize>()
}

/// Colons outside texts.
fn colons(json: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b':' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}
