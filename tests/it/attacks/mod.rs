//! The attack table: each test carries the id of its attack, sends it through the real router (or a real socket),
//! and asserts the stated answer, the one audit event with its reason, and that neither holds a token.
//!
//! "Backend" cases show the same forgery to the offline verifier: whoever verifies our tokens must not be fooled either.

mod actor;
mod claims;
mod client;
mod hops;
mod http;
mod jose;
mod kinds;
mod login;
mod registration;
mod secrecy;
mod sockets;
mod splicing;
mod target_scope;

use crate::database::Kind;
use crate::issuer::{sign_text, with};
use crate::server::{Answer, ID_TOKEN, ISSUER, NOW, TestServer};
use crate::world::World;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use procura::domain::change::Change;
use procura::domain::decision::ReasonCode;
use procura::domain::identity_provider::{IdentityProvider, VerificationAlgorithm};
use procura::domain::resource::SigningAlgorithm;
use procura::tokens::offline::{OfflineVerifier, VerifiedAccessToken};
use procura::tokens::signing_keys::LocalSigner;
use serde_json::{Value, json};
use std::sync::Arc;

/// The backend of most attacks, as a client names it, and its audience.
const RECORDS: (&str, &str) = ("resource", RECORDS_AUDIENCE);
const RECORDS_AUDIENCE: &str = "https://records.example.com/api";
const MODELS_AUDIENCE: &str = "https://models.example.com";

/// The world on SQLite; what rests on storage runs on both databases instead.
async fn world() -> World {
    World::new(Kind::Sqlite).await
}

/// Asserts the answer that the attack table states, the one event with its reason, and that nothing of what was sent is
/// in either.
async fn refused(world: &World, answer: &Answer, stated: (u16, &str), reason: ReasonCode, sent: &[&str]) {
    let (status, error) = stated;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (status, &json!(error)), "{}", answer.text);
    world.assert_refused(answer, reason).await;
    holds_nothing_of(&world.server, answer, sent).await;
}

/// What the table states of most tokens: 400 `invalid_request`.
const INVALID_REQUEST: (u16, &str) = (400, "invalid_request");
const INVALID_TARGET: (u16, &str) = (400, "invalid_target");
const INVALID_SCOPE: (u16, &str) = (400, "invalid_scope");
const INVALID_CLIENT: (u16, &str) = (401, "invalid_client");

/// Asserts that no segment of a token, and no secret, is in the answer or in its events.
async fn holds_nothing_of(server: &TestServer, answer: &Answer, sent: &[&str]) {
    let events = server.app.store.events_of_request(answer.request_id()).await.unwrap();
    assert_eq!(events.len(), 1, "one event");
    let written = format!("{:?} {} {}", answer.headers, answer.text, serde_json::to_string(&events).unwrap());
    for piece in sent.iter().flat_map(|token| pieces(token)) {
        assert!(!written.contains(piece), "{piece} is in {written}");
    }
}

/// The parts of a token or secret by which it would be recognised.
fn pieces(token: &str) -> impl Iterator<Item = &str> {
    token.split('.').filter(|piece| piece.len() >= 12)
}

/// What an attacker starts from, at his best: the claims that a receiver takes, and even the key that signs them.
#[derive(Clone)]
struct Genuine {
    key: Arc<LocalSigner>,
    typ: &'static str,
    claims: Value,
}

impl Genuine {
    fn header(&self) -> Value {
        json!({"alg": self.key.algorithm().as_str(), "kid": self.key.kid(), "typ": self.typ})
    }

    fn token(&self) -> String {
        self.with_header(json!({}))
    }

    /// Rightly signed, under a changed header.
    fn with_header(&self, change: Value) -> String {
        sign_text(&self.key, &with(self.header(), change).to_string(), &self.claims.to_string())
    }

    /// Rightly signed, with changed claims; a null takes one away.
    fn with_claims(&self, change: Value) -> String {
        sign_text(&self.key, &self.header().to_string(), &with(self.claims.clone(), change).to_string())
    }

    /// What a signature is made over, under a changed header.
    fn signing_input(&self, change: Value) -> String {
        let header = with(self.header(), change).to_string();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(self.claims.to_string()))
    }

    /// Under a changed header, with any signature.
    fn signed_by(&self, change: Value, signature: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let input = self.signing_input(change);
        let signature = signature(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A forged token, and what it meets: the reason at `/token`, and the check that fails at a backend.
struct Forgery {
    what: String,
    token: String,
    reason: ReasonCode,
    check: &'static str,
}

fn forgery(what: impl Into<String>, token: String, reason: ReasonCode, check: &'static str) -> Forgery {
    Forgery { what: what.into(), token, reason, check }
}

/// A backend that trusts one issuer key, which the test holds: the claims are those of a delegation token for it.
struct Backend {
    key: Arc<LocalSigner>,
    foreign_keys: Vec<Value>,
}

impl Backend {
    fn new(algorithm: SigningAlgorithm) -> Self {
        Self { key: Arc::new(LocalSigner::generate(algorithm).unwrap()), foreign_keys: Vec::new() }
    }

    fn genuine(&self) -> Genuine {
        let claims = json!({
            "iss": ISSUER, "sub": "corp|alice", "aud": RECORDS_AUDIENCE, "iat": NOW, "exp": NOW + 300, "jti": "dtk_1",
            "client_id": "assistant", "act": {"iss": ISSUER, "sub": "assistant"}, "scope": "records.read",
        });
        Genuine { key: Arc::clone(&self.key), typ: "at+jwt", claims }
    }

    /// The token, or the name of the check that refused it.
    fn verify(&self, token: &str) -> Result<VerifiedAccessToken, String> {
        let own = std::iter::once(json!(self.key.public_jwk()));
        let keys: Vec<Value> = self.foreign_keys.iter().cloned().chain(own).collect();
        let verifier = OfflineVerifier::new(ISSUER, RECORDS_AUDIENCE, &json!({ "keys": keys }).to_string()).unwrap();
        verifier.verify(token, NOW).map_err(|problem| problem.split(':').next().unwrap_or_default().to_owned())
    }
}

/// A backend with the keys that our server really publishes, asked at `now`.
async fn verify_at_backend(
    server: &TestServer,
    audience: &str,
    token: &str,
    now: i64,
) -> Result<VerifiedAccessToken, String> {
    let jwks = server.get("/.well-known/jwks.json").await.text;
    OfflineVerifier::new(ISSUER, audience, &jwks).unwrap().verify(token, now)
}

/// Alice's ID token, rightly made.
fn genuine_id_token(world: &World) -> Genuine {
    Genuine { key: world.corp.key(), typ: "JWT", claims: world.alice(json!({})) }
}

/// Shows each forgery to `/token` as a subject token; first that the genuine one is granted.
async fn server_refuses(world: &World, forge: impl Fn(&Genuine) -> Vec<Forgery>) {
    let genuine = genuine_id_token(world);
    let granted = world.exchange_as("assistant", &genuine.token(), &[RECORDS]).await;
    world.assert_granted(&granted).await;
    for forgery in forge(&genuine) {
        let answer = world.exchange_as("assistant", &forgery.token, &[RECORDS]).await;
        assert_eq!(answer.status, 400, "{}: {}", forgery.what, answer.text);
        refused(world, &answer, INVALID_REQUEST, forgery.reason, &[&forgery.token]).await;
    }
}

/// Shows each forgery to a backend; first that the genuine token passes.
fn backend_refuses(backend: &Backend, forge: impl Fn(&Genuine) -> Vec<Forgery>) {
    let genuine = backend.genuine();
    backend.verify(&genuine.token()).unwrap();
    for forgery in forge(&genuine) {
        assert_eq!(backend.verify(&forgery.token).unwrap_err(), forgery.check, "{}", forgery.what);
    }
}

/// Changes how the provider "corp" is declared.
async fn change_corp(world: &World, change: impl FnOnce(&mut IdentityProvider)) {
    let mut idp = (**world.server.app.snapshot().registry.idp(&"corp".parse().unwrap()).unwrap()).clone();
    change(&mut idp);
    world.server.change(&[Change::PutIdentityProvider(idp)]).await;
}

/// Lets "corp" sign with everything that we verify.
async fn every_algorithm(world: &World) {
    change_corp(world, |idp| idp.algorithms = VerificationAlgorithm::ALL.to_vec()).await;
}

/// Presents a subject token of Alice with changed claims.
async fn exchange_changed(world: &World, changes: Value) -> (Answer, String) {
    let token = world.id_token(changes);
    (world.exchange_typed("assistant", &token, ID_TOKEN, &[RECORDS]).await, token)
}
