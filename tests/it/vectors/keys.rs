//! The keys behind the vectors. They are public, and sign nothing else.

use josekit::jwk::alg::ec::EcKeyPair;
use josekit::jwk::alg::rsa::RsaKeyPair;
use josekit::jwk::{Jwk, KeyPair};
use josekit::jws::{ES256, EdDSA, JwsSigner, JwsVerifier, PS256, RS256};
use procura::tokens::jwk::thumbprint;
use procura::tokens::offline::OfflineVerifier;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;

/// One key pair, as a private JWK.
pub(super) struct Key {
    jwk: Jwk,
    /// What it signs with, and the `alg` of its entry in the JWKS.
    pub(super) algorithm: &'static str,
    /// Its RFC 7638 thumbprint.
    pub(super) kid: String,
    /// Signatures of the file, by what they are over.
    known: HashMap<String, Vec<Vec<u8>>>,
}

/// Every key: one for each algorithm, and one that is not in the JWKS.
pub(super) struct Keys {
    pub(super) es256: Key,
    pub(super) eddsa: Key,
    pub(super) rs256: Key,
    pub(super) ps256: Key,
    pub(super) attacker: Key,
}

/// OpenSSL 3.0 sometimes fails to decode a key while another thread uses it for the first time. So its first use here, a
/// key of each kind read and used, is one thread's.
static OPENSSL_IS_AWAKE: LazyLock<()> = LazyLock::new(|| {
    let keys = Keys::parse();
    OfflineVerifier::new("https://issuer.example", "audience", &keys.jwks().to_string()).unwrap();
    for key in keys.published() {
        key.sign("input");
        key.verifier(key.algorithm).verify(b"input", b"no signature").unwrap_err();
    }
});

impl Keys {
    pub(super) fn read() -> Self {
        LazyLock::force(&OPENSSL_IS_AWAKE);
        Self::parse()
    }

    fn parse() -> Self {
        let file: Value = serde_json::from_str(include_str!("keys.json")).unwrap();
        let key = |name: &str, algorithm: &'static str| {
            let members = file[name].as_object().unwrap().clone();
            let kid = thumbprint(&members).unwrap();
            Key { jwk: Jwk::from_map(members).unwrap(), algorithm, kid, known: HashMap::new() }
        };
        Self {
            es256: key("es256", "ES256"),
            eddsa: key("eddsa", "EdDSA"),
            rs256: key("rs256", "RS256"),
            ps256: key("ps256", "PS256"),
            attacker: key("attacker", "ES256"),
        }
    }

    /// Signs what the vectors of `file` have signed already with the signature that is there, if it is right.
    pub(super) fn taking_over(mut self, file: &Value) -> Self {
        let mut known: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
        for vector in file["vectors"].as_array().unwrap() {
            let token = vector["token"].as_str().unwrap_or_default();
            if let Some((input, signature)) = token.rsplit_once('.')
                && let Ok(signature) = super::recipes::decode(signature)
            {
                known.entry(input.to_owned()).or_default().push(signature);
            }
        }
        for key in [&mut self.es256, &mut self.eddsa, &mut self.rs256, &mut self.ps256, &mut self.attacker] {
            key.known.clone_from(&known);
        }
        self
    }

    /// What the issuer publishes.
    pub(super) fn jwks(&self) -> Value {
        json!({ "keys": Value::from(self.published().map(Key::public).to_vec()) })
    }

    /// The keys that are published.
    pub(super) fn published(&self) -> [&Key; 4] {
        [&self.es256, &self.eddsa, &self.rs256, &self.ps256]
    }
}

impl Key {
    /// Its entry in a JWKS.
    pub(super) fn public(&self) -> Value {
        let private = self.jwk.as_ref();
        let mut entry: Map<String, Value> = ["kty", "crv", "x", "y", "n", "e"]
            .into_iter()
            .filter_map(|name| private.get(name).map(|value| (name.to_owned(), value.clone())))
            .collect();
        entry.extend(
            [("kid", &*self.kid), ("use", "sig"), ("alg", self.algorithm)].map(|(n, v)| (n.to_owned(), json!(v))),
        );
        Value::Object(entry)
    }

    /// The signature over a signing input, with the key's own algorithm.
    pub(super) fn sign(&self, input: &str) -> Vec<u8> {
        self.sign_as(self.algorithm, input)
    }

    /// With an algorithm that the key may not be meant for.
    pub(super) fn sign_as(&self, algorithm: &str, input: &str) -> Vec<u8> {
        let verifier = self.verifier(algorithm);
        let taken_over = self.known.get(input).into_iter().flatten();
        let mut right = taken_over.filter(|signature| verifier.verify(input.as_bytes(), signature).is_ok());
        right.next().cloned().unwrap_or_else(|| self.signer(algorithm).sign(input.as_bytes()).unwrap())
    }

    fn signer(&self, algorithm: &str) -> Box<dyn JwsSigner> {
        match algorithm {
            "ES256" => Box::new(ES256.signer_from_jwk(&self.jwk).unwrap()),
            "EdDSA" => Box::new(EdDSA.signer_from_jwk(&self.jwk).unwrap()),
            "RS256" => Box::new(RS256.signer_from_jwk(&self.jwk).unwrap()),
            "PS256" => Box::new(PS256.signer_from_jwk(&self.jwk).unwrap()),
            other => panic!("no vector is signed with {other}"),
        }
    }

    fn verifier(&self, algorithm: &str) -> Box<dyn JwsVerifier> {
        match algorithm {
            "ES256" => Box::new(ES256.verifier_from_jwk(&self.jwk).unwrap()),
            "EdDSA" => Box::new(EdDSA.verifier_from_jwk(&self.jwk).unwrap()),
            "RS256" => Box::new(RS256.verifier_from_jwk(&self.jwk).unwrap()),
            "PS256" => Box::new(PS256.verifier_from_jwk(&self.jwk).unwrap()),
            other => panic!("no vector is signed with {other}"),
        }
    }

    /// The public key in the forms that a confused verifier may take for an HMAC secret: PEM, DER and JWK.
    pub(super) fn public_bytes(&self) -> [Vec<u8>; 3] {
        let jwk = serde_json::to_vec(&self.public()).unwrap();
        if self.algorithm == "ES256" {
            let pair = EcKeyPair::from_jwk(&self.jwk).unwrap();
            [pair.to_pem_public_key(), pair.to_der_public_key(), jwk]
        } else {
            let pair = RsaKeyPair::from_jwk(&self.jwk).unwrap();
            [pair.to_pem_public_key(), pair.to_der_public_key(), jwk]
        }
    }
}
