//! For the tests of a backend: an issuer in memory that mints good tokens and bad ones, so that no server is needed.
//!
//! ```
//! use procura::verify::testing::TestIssuer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let issuer = TestIssuer::new("https://records.example.com/api");
//! let verifier = issuer.verifier();
//!
//! let token = issuer.token("corp|alice", "assistant").scopes("records.read").sign();
//! let caller = verifier.verify(&token).await.unwrap();
//! assert_eq!(caller.user.sub, "corp|alice");
//! assert!(caller.can("records.read"));
//!
//! // What your backend must not serve:
//! for (what, token) in issuer.bad_tokens("corp|alice", "assistant") {
//!     assert!(verifier.verify(&token).await.is_err(), "{what}");
//! }
//!
//! // A token lives five minutes, and the clock is yours.
//! issuer.clock().advance(std::time::Duration::from_secs(301));
//! assert!(verifier.verify(&token).await.is_err());
//! # }
//! ```

use super::fetch::{Document, Fetch, FetchProblem, FetchRequest, Fetched, Fetching};
use super::setup::VerifierBuilder;
use super::status_list::STATUS_LIST_TYP;
use super::verifier::Verifier;
use crate::clock::Clock;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the clock of a new issuer says, Unix seconds.
const NOW: i64 = 1_800_000_000;

const ISSUER: &str = "https://auth.test";

/// A place in its status list that says so from the start, behind all that a test will give.
const REVOKED: usize = 1023;

/// How often its status list is to be fetched, in seconds.
const TTL_SECONDS: i64 = 15;

/// An issuer in memory, with one backend. Each has keys of its own; nothing of it is secret or global.
#[derive(Clone)]
pub struct TestIssuer {
    shared: Arc<Shared>,
}

struct Shared {
    audience: String,
    clock: Clock,
    /// The last one signs; all are published.
    keys: Mutex<Vec<Arc<TestKey>>>,
    stranger: TestKey,
    tokens: AtomicU64,
    /// Two bits for each token, four to a byte.
    statuses: Mutex<Vec<u8>>,
    is_down: Mutex<bool>,
    fetches: Mutex<Vec<String>>,
}

struct TestKey {
    kid: String,
    pair: EcdsaKeyPair,
}

impl std::fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestIssuer").field("audience", &self.shared.audience).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestKey {
    fn generate(kid: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .expect("a system without randomness runs no tests");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
            .expect("it is the key that was just made");
        Self { kid: kid.to_owned(), pair }
    }

    fn public_jwk(&self) -> Value {
        // The point is 0x04, then 32 bytes each of x and y (SEC 1 §2.3.3).
        let (_, point) = self.pair.public_key().as_ref().split_at(1);
        let (x, y) = point.split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "alg": "ES256", "x": encode(x), "y": encode(y),
        })
    }

    fn sign(&self, header: &Map<String, Value>, claims: &Map<String, Value>) -> String {
        let segment = |part: &Map<String, Value>| URL_SAFE_NO_PAD.encode(json!(part).to_string());
        let input = format!("{}.{}", segment(header), segment(claims));
        let signature =
            self.pair.sign(&SystemRandom::new(), input.as_bytes()).expect("a system without randomness runs no tests");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl TestIssuer {
    /// An issuer whose tokens are for `audience`. Its clock stands still until it is moved.
    pub fn new(audience: &str) -> Self {
        Self {
            shared: Arc::new(Shared {
                audience: audience.to_owned(),
                clock: Clock::set_to(NOW),
                keys: Mutex::new(vec![Arc::new(TestKey::generate("test-1"))]),
                stranger: TestKey::generate("test-1"),
                tokens: AtomicU64::default(),
                statuses: Mutex::default(),
                is_down: Mutex::default(),
                fetches: Mutex::default(),
            }),
        }
    }

    /// Its `iss`.
    pub fn issuer(&self) -> &str {
        ISSUER
    }

    /// The clock of the issuer and of its verifiers.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// A verifier of its tokens, which fetches from it in memory.
    pub fn verifier(&self) -> Verifier {
        self.builder().build().expect("the set-up is a right one")
    }

    /// The same, to be set up further: the clock and the fetch are those of this issuer.
    pub fn builder(&self) -> VerifierBuilder {
        Verifier::builder(ISSUER, &self.shared.audience).clock(self.shared.clock.clone()).fetch(self.clone())
    }

    /// Its JWKS as JSON.
    pub fn jwks(&self) -> String {
        let keys: Vec<Value> = lock(&self.shared.keys).iter().map(|key| key.public_jwk()).collect();
        json!({ "keys": keys }).to_string()
    }

    /// A good token for `user`, in the hands of `agent`: sign it, or change it before.
    pub fn token(&self, user: &str, agent: &str) -> TestToken {
        let now = self.shared.clock.now();
        let number = self.shared.tokens.fetch_add(1, Ordering::Relaxed);
        let key = self.signing_key();
        let claims = json!({
            "iss": ISSUER, "sub": user, "aud": self.shared.audience, "iat": now, "exp": now.saturating_add(300),
            "jti": format!("dtk_test_{number}"), "client_id": agent, "act": {"iss": ISSUER, "sub": agent},
            "grant_id": "gnt_test", "txn": format!("txn_test_{number}"),
        });
        let header = json!({"alg": "ES256", "kid": key.kid, "typ": "at+jwt"});
        TestToken { issuer: self.clone(), key: Signer::Issuer(key), header: members(header), claims: members(claims) }
    }

    /// A client's own token, without a user (`client_credentials`).
    pub fn own_token(&self, client: &str) -> TestToken {
        self.token(client, client).without("act").without("grant_id")
    }

    /// Tokens that no backend may serve, each with what is wrong with it.
    pub fn bad_tokens(&self, user: &str, agent: &str) -> Vec<(&'static str, String)> {
        let now = self.shared.clock.now();
        let token = || self.token(user, agent);
        let good = token().sign();
        let (unsigned, _) = good.rsplit_once('.').unwrap_or_default();
        vec![
            ("no token at all", "not-a-token".to_owned()),
            ("expired", token().claim("iat", json!(now - 600)).claim("exp", json!(now - 300)).sign()),
            ("without an end", token().without("exp").sign()),
            ("for another backend", token().claim("aud", json!("https://elsewhere.test")).sign()),
            ("for nobody in particular", token().without("aud").sign()),
            ("of another issuer", token().claim("iss", json!("https://elsewhere.test")).sign()),
            ("signed by somebody else", token().signed_by_somebody_else().sign()),
            ("without a signature", format!("{unsigned}.")),
            ("alg none", token().header("alg", json!("none")).sign()),
            ("an ID token", token().header("typ", json!("JWT")).sign()),
            ("nobody acts, though it is for a user", token().claim("client_id", json!("x")).without("act").sign()),
            ("bound to a key", token().claim("cnf", json!({"jkt": "x"})).sign()),
            ("from the future", token().claim("iat", json!(now + 120)).claim("exp", json!(now + 300)).sign()),
            ("not valid yet", token().claim("nbf", json!(now + 120)).sign()),
            ("lives for a day", token().claim("exp", json!(now + 86_400)).sign()),
            ("its actor has no name", token().claim("act", json!({"iss": ISSUER})).sign()),
            ("without an id", token().without("jti").sign()),
            ("revoked", token().with_status(REVOKED).sign()),
        ]
    }

    /// Signs with a new key from now on. The earlier ones stay published.
    pub fn rotate(&self) {
        let mut keys = lock(&self.shared.keys);
        let kid = format!("test-{}", keys.len().saturating_add(1));
        keys.push(Arc::new(TestKey::generate(&kid)));
    }

    /// Answers nothing from now on, or answers again.
    pub fn set_down(&self, is_down: bool) {
        *lock(&self.shared.is_down) = is_down;
    }

    /// The URLs that were fetched, oldest first.
    pub fn fetches(&self) -> Vec<String> {
        lock(&self.shared.fetches).clone()
    }

    /// Says in its status list that the token of this index was revoked ([`TestToken::with_status`]).
    pub fn revoke(&self, index: usize) {
        self.set_status(index, 1);
    }

    /// Says in its status list that the token of this index is suspended.
    pub fn suspend(&self, index: usize) {
        self.set_status(index, 2);
    }

    fn set_status(&self, index: usize, status: u8) {
        let mut statuses = lock(&self.shared.statuses);
        let (byte, shift) = (index / 4, (index % 4) * 2);
        if statuses.len() <= byte {
            statuses.resize(byte.saturating_add(1), 0);
        }
        if let Some(byte) = statuses.get_mut(byte) {
            *byte = (*byte & !(3 << shift)) | (status << shift);
        }
    }

    fn signing_key(&self) -> Arc<TestKey> {
        lock(&self.shared.keys).last().cloned().expect("an issuer begins with a key, and none is taken away")
    }

    fn status_uri() -> String {
        format!("{ISSUER}/status/1")
    }

    fn status_list(&self) -> String {
        let now = self.shared.clock.now();
        let mut statuses = lock(&self.shared.statuses).clone();
        statuses.resize(statuses.len().max(256), 0);
        if let Some(byte) = statuses.get_mut(REVOKED / 4) {
            *byte |= 1 << (REVOKED % 4 * 2);
        }
        let lst = URL_SAFE_NO_PAD.encode(miniz_oxide::deflate::compress_to_vec_zlib(&statuses, 6));
        let claims = json!({
            "iss": ISSUER, "sub": Self::status_uri(), "iat": now, "exp": now.saturating_add(3600), "ttl": TTL_SECONDS,
            "status_list": {"bits": 2, "lst": lst},
        });
        let key = self.signing_key();
        key.sign(&members(json!({"alg": "ES256", "kid": key.kid, "typ": STATUS_LIST_TYP})), &members(claims))
    }
}

impl Fetch for TestIssuer {
    fn get<'a>(&'a self, request: FetchRequest<'a>) -> Fetching<'a> {
        lock(&self.shared.fetches).push(request.url.to_owned());
        let answer = if *lock(&self.shared.is_down) {
            Err(FetchProblem(format!("{} does not answer", request.url)))
        } else if request.url == format!("{ISSUER}/.well-known/jwks.json") {
            Ok(self.jwks())
        } else if request.url == Self::status_uri() {
            Ok(self.status_list())
        } else {
            Err(FetchProblem(format!("{} answered 404", request.url)))
        };
        let document =
            answer.map(|text| Fetched::Document(Document { body: text.into_bytes(), ..Document::default() }));
        Box::pin(std::future::ready(document))
    }
}

/// Who signs a token.
enum Signer {
    Issuer(Arc<TestKey>),
    Somebody,
}

/// A token before it is signed.
#[must_use = "a token is none before sign()"]
pub struct TestToken {
    issuer: TestIssuer,
    key: Signer,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl TestToken {
    /// With these scopes, separated by spaces.
    pub fn scopes(self, scopes: &str) -> Self {
        self.claim("scope", json!(scopes))
    }

    /// The agent was asked by this client: one more `act` inside.
    pub fn asked_by(mut self, client: &str) -> Self {
        let mut innermost = self.claims.entry("act").or_insert_with(|| json!({}));
        while innermost.get("act").is_some() {
            innermost = &mut innermost["act"];
        }
        innermost["act"] = json!({"iss": ISSUER, "sub": client});
        self
    }

    /// With a place in the issuer's status list.
    pub fn with_status(self, index: usize) -> Self {
        self.claim("status", json!({"status_list": {"idx": index, "uri": TestIssuer::status_uri()}}))
    }

    /// With any claim.
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Without a claim.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// With any member of the header.
    pub fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    /// Under the issuer's `kid`, but not by its key.
    pub fn signed_by_somebody_else(mut self) -> Self {
        self.key = Signer::Somebody;
        self
    }

    /// The compact JWS.
    pub fn sign(self) -> String {
        let key = match &self.key {
            Signer::Issuer(key) => key,
            Signer::Somebody => &self.issuer.shared.stranger,
        };
        key.sign(&self.header, &self.claims)
    }
}

/// The members of an object.
fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
