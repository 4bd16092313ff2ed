//! Forged headers, keys and signatures (A01 to A09, A69).

use super::{
    Backend, Genuine, INVALID_REQUEST, RECORDS, backend_refuses, change_corp, every_algorithm, forgery,
    genuine_id_token, refused, server_refuses, world,
};
use crate::issuer::sign_text;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use procura::domain::decision::ReasonCode;
use procura::domain::identity_provider::VerificationAlgorithm;
use procura::domain::resource::SigningAlgorithm;
use procura::tokens::signing_keys::LocalSigner;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn a01_alg_none_in_any_spelling() {
    let forge = |genuine: &Genuine| {
        ["none", "None", "nOnE", "NONE"]
            .map(|alg| {
                let token = genuine.signed_by(json!({"alg": alg}), |_| Vec::new());
                forgery(alg, token, ReasonCode::SubjectTokenAlgorithmRefused, "alg")
            })
            .into()
    };
    server_refuses(&world().await, forge).await;
    backend_refuses(&Backend::new(SigningAlgorithm::ES256), forge);
}

#[tokio::test]
async fn a02_hmac_with_the_public_key_as_secret() {
    let forge = |genuine: &Genuine| {
        public_key_bytes(genuine)
            .map(|(form, secret)| {
                let token = genuine.signed_by(json!({"alg": "HS256"}), |input| hmac(&secret, input));
                forgery(form, token, ReasonCode::SubjectTokenAlgorithmRefused, "alg")
            })
            .into()
    };
    for algorithm in [SigningAlgorithm::ES256, SigningAlgorithm::RS256] {
        let world = world().await;
        world.corp.add_key(algorithm);
        server_refuses(&world, forge).await;
        backend_refuses(&Backend::new(algorithm), forge);
    }
}

/// The key in every form that a confused verifier may take for a secret.
fn public_key_bytes(genuine: &Genuine) -> [(&'static str, Vec<u8>); 4] {
    let jwk = genuine.key.public_jwk();
    let number = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        openssl::bn::BigNum::from_slice(&bytes).unwrap()
    };
    let key = if jwk["kty"] == "RSA" {
        PKey::from_rsa(Rsa::from_public_components(number("n"), number("e")).unwrap()).unwrap()
    } else {
        let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
        let key = openssl::ec::EcKey::from_public_key_affine_coordinates(&group, &number("x"), &number("y")).unwrap();
        PKey::from_ec_key(key).unwrap()
    };
    let modulus = jwk.get("n").or_else(|| jwk.get("x")).unwrap().as_str().unwrap();
    [
        ("PEM", key.public_key_to_pem().unwrap()),
        ("DER", key.public_key_to_der().unwrap()),
        ("JWK", serde_json::to_vec(jwk).unwrap()),
        ("its number", URL_SAFE_NO_PAD.decode(modulus).unwrap()),
    ]
}

fn hmac(secret: &[u8], input: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(secret).unwrap();
    Signer::new(MessageDigest::sha256(), &key).unwrap().sign_oneshot_to_vec(input).unwrap()
}

/// The attacker's signature is right for PS256: only that the key is for RS256 stands in its way.
#[tokio::test]
async fn a03_an_algorithm_swapped_within_its_family() {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let jwk = rs256_jwk(&key);
    let forge = |genuine: &Genuine| {
        let pss =
            genuine.signed_by(json!({"alg": "PS256", "kid": "rsa"}), |input| rsa(&key, input, Padding::PKCS1_PSS));
        vec![forgery("PS256", pss, ReasonCode::SubjectTokenAlgorithmRefused, "signature")]
    };
    let rightly = |genuine: &Genuine| {
        genuine.signed_by(json!({"alg": "RS256", "kid": "rsa"}), |input| rsa(&key, input, Padding::PKCS1))
    };
    let world = world().await;
    every_algorithm(&world).await;
    world.corp.publish_foreign_key(jwk.clone());
    server_refuses(&world, forge).await;
    let control = world.exchange_as("assistant", &rightly(&genuine_id_token(&world)), &[RECORDS]).await;
    world.assert_granted(&control).await;
    let backend = Backend { foreign_keys: vec![jwk], ..Backend::new(SigningAlgorithm::ES256) };
    backend_refuses(&backend, forge);
    backend.verify(&rightly(&backend.genuine())).unwrap();
}

fn rs256_jwk(key: &PKey<Private>) -> Value {
    let rsa = key.rsa().unwrap();
    let encode = |number: &openssl::bn::BigNumRef| URL_SAFE_NO_PAD.encode(number.to_vec());
    json!({"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": encode(rsa.n()), "e": encode(rsa.e())})
}

fn rsa(key: &PKey<Private>, input: &[u8], padding: Padding) -> Vec<u8> {
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    signer.set_rsa_padding(padding).unwrap();
    if padding == Padding::PKCS1_PSS {
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
    }
    signer.sign_oneshot_to_vec(input).unwrap()
}

#[tokio::test]
async fn a04_a_kid_that_is_a_path_a_query_or_a_flood() {
    let forge = |genuine: &Genuine| {
        let short = ["../../etc/passwd", "/dev/null", "'; DROP TABLE audit_event; --", "a\0b", "a\nb", "\u{1b}[2J", ""];
        let unknown = short.map(|kid| {
            let token = genuine.with_header(json!({ "kid": kid }));
            forgery(kid, token, ReasonCode::SubjectTokenKeyUnknown, "signature")
        });
        let flood = genuine.with_header(json!({"kid": "k".repeat(10_000)}));
        let flood = forgery("10 KB", flood, ReasonCode::SubjectTokenHeaderRefused, "form");
        unknown.into_iter().chain([flood]).collect::<Vec<_>>()
    };
    let world = world().await;
    server_refuses(&world, forge).await;
    backend_refuses(&Backend::new(SigningAlgorithm::ES256), forge);
    assert_eq!(world.corp.jwks_requests(), 1, "a flood of unknown keys asks the provider nothing");
    let answer = world
        .exchange_as("assistant", &genuine_id_token(&world).with_header(json!({"kid": "a\n\0b"})), &[RECORDS])
        .await;
    let detail = world.server.event(&answer).await.detail.unwrap();
    assert!(!detail.contains(char::is_control), "no line of its own in a log: {detail:?}");
}

#[tokio::test]
async fn a05_a_header_that_brings_its_own_key_makes_no_connection() {
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", trap.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let counting = tokio::spawn(async move {
        loop {
            trap.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let attacker = LocalSigner::generate(SigningAlgorithm::ES256).unwrap();
    let forge = |genuine: &Genuine| {
        [("jku", json!(url)), ("x5u", json!(url)), ("jwk", json!(attacker.public_jwk())), ("x5c", json!(["MIIB"]))]
            .map(|(name, value)| {
                let change = json!({name: value, "kid": attacker.kid()});
                let token = genuine.signed_by(change, |input| attacker.sign_bytes(input).unwrap());
                forgery(name, token, ReasonCode::SubjectTokenHeaderRefused, "form")
            })
            .into()
    };
    server_refuses(&world().await, forge).await;
    backend_refuses(&Backend::new(SigningAlgorithm::ES256), forge);
    // The listener works: its first connection is our own, so no other one came before.
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/jwks").unwrap();
    tokio::net::TcpStream::connect(address).await.unwrap();
    while connections.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    counting.abort();
}

#[tokio::test]
async fn a06_crit_and_b64() {
    let forge = |genuine: &Genuine| {
        [
            json!({"crit": ["exp"]}),
            json!({"crit": ["unknown"], "unknown": 1}),
            json!({"crit": []}),
            json!({"b64": false}),
        ]
        .map(|change| {
            let what = change.to_string();
            forgery(what, genuine.with_header(change), ReasonCode::SubjectTokenHeaderRefused, "form")
        })
        .into()
    };
    server_refuses(&world().await, forge).await;
    backend_refuses(&Backend::new(SigningAlgorithm::ES256), forge);
}

#[tokio::test]
async fn a07_members_that_are_there_twice() {
    let forge = |genuine: &Genuine| {
        let (header, claims) = (genuine.header().to_string(), genuine.claims.to_string());
        let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
        [
            ("sub", header.clone(), twice(&claims, r#""sub":"bob""#)),
            ("sub, escaped", header.clone(), twice(&claims, r#""\u0073ub":"bob""#)),
            ("exp", header.clone(), twice(&claims, r#""exp":9999999999"#)),
            ("a member of a member", header.clone(), twice(&claims, r#""x":{"y":1,"y":2}"#)),
            ("alg", twice(&header, r#""alg":"none""#), claims.clone()),
            ("kid", twice(&header, r#""kid":"other""#), claims.clone()),
        ]
        .map(|(what, header, claims)| {
            let token = sign_text(&genuine.key, &header, &claims);
            forgery(what, token, ReasonCode::SubjectTokenMalformed, "form")
        })
        .into()
    };
    server_refuses(&world().await, forge).await;
    backend_refuses(&Backend::new(SigningAlgorithm::ES256), forge);
}

#[tokio::test]
async fn a08_spellings_that_are_not_the_canonical_compact_form() {
    let forge = |genuine: &Genuine| {
        let token = genuine.token();
        let parts: Vec<&str> = token.split('.').collect();
        let (header, claims, signature) = (parts[0], parts[1], parts[2]);
        let bits_that_do_not_count = {
            const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let (start, last) = signature.split_at(signature.len() - 1);
            let next = ALPHABET.find(last).unwrap() + 1;
            format!("{header}.{claims}.{start}{}", &ALPHABET[next..=next])
        };
        let malformed = ReasonCode::SubjectTokenMalformed;
        vec![
            forgery("padding", format!("{token}=="), malformed, "form"),
            forgery("white space within", format!("{header}. {claims}.{signature}"), malformed, "form"),
            forgery("a line break behind", format!("{token}\n"), malformed, "form"),
            forgery("bits that do not count", bits_that_do_not_count, malformed, "form"),
            forgery("the other alphabet", format!("{header}.{claims}.+/{}", &signature[2..]), malformed, "form"),
            forgery("one dot", format!("{header}.{claims}"), ReasonCode::SubjectTokenOpaque, "form"),
            forgery("three dots", format!("{token}.{signature}"), ReasonCode::SubjectTokenOpaque, "form"),
            forgery("a JWE", format!("{token}.{signature}.{signature}"), malformed, "form"),
            forgery(
                "JSON serialization",
                json!({"protected": header, "payload": claims, "signature": signature}).to_string(),
                malformed,
                "form",
            ),
        ]
    };
    server_refuses(&world().await, forge).await;
    backend_refuses(&Backend::new(SigningAlgorithm::ES256), forge);
}

#[tokio::test]
async fn a09_signatures_and_keys_that_only_a_careless_library_takes() {
    let off_curve = |genuine: &Genuine| {
        let mut jwk = json!(genuine.key.public_jwk());
        jwk["kid"] = json!("off-curve");
        jwk["y"] = jwk["x"].clone();
        jwk
    };
    let small_order =
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "small-order", "x": URL_SAFE_NO_PAD.encode([0_u8; 32])});
    let forge = |genuine: &Genuine| {
        let invalid = ReasonCode::SubjectTokenSignatureInvalid;
        let sign = |input: &[u8]| genuine.key.sign_bytes(input).unwrap();
        let of = |what: &str, make: &dyn Fn(&[u8]) -> Vec<u8>| {
            forgery(what, genuine.signed_by(json!({}), make), invalid, "signature")
        };
        let unknown = |what: &str, change: Value, make: &dyn Fn(&[u8]) -> Vec<u8>| {
            forgery(what, genuine.signed_by(change, make), ReasonCode::SubjectTokenKeyUnknown, "signature")
        };
        vec![
            of("none", &|_| Vec::new()),
            of("all zeros", &|_| vec![0; 64]),
            of("all ones", &|_| vec![0xff; 64]),
            of("DER", &|input| der(&sign(input))),
            of("too short", &|input| sign(input)[..63].to_vec()),
            of("too long", &|input| [sign(input), vec![0]].concat()),
            of("of other claims", &|input| sign(&input[1..])),
            unknown("a key off the curve", json!({"kid": "off-curve"}), &sign),
            unknown("a key of small order", json!({"alg": "EdDSA", "kid": "small-order"}), &|_| vec![0; 64]),
        ]
    };
    let world = world().await;
    every_algorithm(&world).await;
    world.corp.publish_foreign_key(off_curve(&genuine_id_token(&world)));
    world.corp.publish_foreign_key(small_order.clone());
    server_refuses(&world, forge).await;
    let mut backend = Backend::new(SigningAlgorithm::ES256);
    backend.foreign_keys = vec![off_curve(&backend.genuine()), small_order];
    backend_refuses(&backend, forge);
}

fn der(raw: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| openssl::bn::BigNum::from_slice(bytes).unwrap();
    let (r, s) = raw.split_at(32);
    openssl::ecdsa::EcdsaSig::from_private_components(number(r), number(s)).unwrap().to_der().unwrap()
}

#[tokio::test]
async fn a69_an_algorithm_that_the_provider_may_no_longer_use() {
    let world = world().await;
    world.corp.add_key(SigningAlgorithm::RS256);
    let token = genuine_id_token(&world).token();
    world.assert_granted(&world.exchange_as("assistant", &token, &[RECORDS]).await).await;
    change_corp(&world, |idp| idp.algorithms = vec![VerificationAlgorithm::ES256]).await;
    let answer = world.exchange_as("assistant", &token, &[RECORDS]).await;
    refused(&world, &answer, INVALID_REQUEST, ReasonCode::SubjectTokenAlgorithmRefused, &[&token]).await;
}
