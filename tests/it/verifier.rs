//! `procura::verify` where the network is: keys that come late, change or cannot be had, and status lists.
//!
//! The issuer is in memory: what is fetched, and when it is answered, is said by the test; the clock is set.

mod answers;
mod keys;
mod status;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use procura::clock::Clock;
use procura::domain::resource::SigningAlgorithm;
use procura::tokens::signing_keys::LocalSigner;
use procura::verify::{
    Document, Fetch, FetchProblem, FetchRequest, Fetched, Fetching, Reason, Verifier, VerifierBuilder,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://records.example.com/api";
const JWKS: &str = "https://auth.example.com/.well-known/jwks.json";
const LIST: &str = "https://auth.example.com/status/1";

/// What the issuer publishes, answered as the test says.
#[derive(Clone)]
struct Net(Arc<Published>);

struct Published {
    documents: Mutex<HashMap<String, Result<Fetched, FetchProblem>>>,
    /// URL and `If-None-Match` of each fetch.
    asked: Mutex<Vec<(String, Option<String>)>>,
    /// Each answer takes one.
    permits: Semaphore,
}

impl Net {
    /// Answers at once.
    fn new() -> Self {
        Self::with_permits(Semaphore::MAX_PERMITS)
    }

    /// Answers so many, and the others when the test says so.
    fn with_permits(permits: usize) -> Self {
        let permits = Semaphore::new(permits);
        Self(Arc::new(Published { documents: Mutex::default(), asked: Mutex::default(), permits }))
    }

    fn say(&self, url: &str, body: impl Into<Vec<u8>>) {
        let document = Document { body: body.into(), etag: Some("\"1\"".to_owned()), max_age: None };
        self.answer(url, Ok(Fetched::Document(document)));
    }

    fn answer(&self, url: &str, answer: Result<Fetched, FetchProblem>) {
        self.0.documents.lock().unwrap().insert(url.to_owned(), answer);
    }

    fn fail(&self, url: &str) {
        self.answer(url, Err(FetchProblem(format!("{url} cannot be reached"))));
    }

    /// How often the URL was asked for.
    fn asked(&self, url: &str) -> usize {
        self.0.asked.lock().unwrap().iter().filter(|(asked, _)| asked == url).count()
    }

    fn last_condition(&self) -> Option<String> {
        self.0.asked.lock().unwrap().last().unwrap().1.clone()
    }

    /// Waits until nothing is being fetched in the background.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

impl Fetch for Net {
    fn get<'a>(&'a self, request: FetchRequest<'a>) -> Fetching<'a> {
        let condition = request.if_none_match.map(str::to_owned);
        self.0.asked.lock().unwrap().push((request.url.to_owned(), condition));
        Box::pin(async move {
            self.0.permits.acquire().await.unwrap().forget();
            let answer = self.0.documents.lock().unwrap().get(request.url).cloned();
            answer.unwrap_or_else(|| Err(FetchProblem(format!("{} answered 404", request.url))))
        })
    }
}

/// An issuer with keys of its own, what it publishes, and a clock.
struct Bench {
    net: Net,
    clock: Clock,
    signer: LocalSigner,
}

fn signer() -> LocalSigner {
    LocalSigner::generate(SigningAlgorithm::ES256).unwrap()
}

fn jwks(signers: &[&LocalSigner]) -> String {
    let keys: Vec<Value> = signers.iter().map(|signer| json!(signer.public_jwk())).collect();
    json!({ "keys": keys }).to_string()
}

impl Bench {
    fn new() -> Self {
        Self::on(Net::new())
    }

    fn on(net: Net) -> Self {
        let bench = Self { net, clock: Clock::set_to(NOW), signer: signer() };
        bench.net.say(JWKS, jwks(&[&bench.signer]));
        bench
    }

    fn builder(&self) -> VerifierBuilder {
        Verifier::builder(ISSUER, AUDIENCE).clock(self.clock.clone()).fetch(self.net.clone())
    }

    fn verifier(&self) -> Verifier {
        self.builder().build().unwrap()
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }

    fn token(&self) -> String {
        self.token_by(&self.signer, json!({}))
    }

    /// Alice's token of now, with more or other claims.
    fn token_by(&self, signer: &LocalSigner, change: Value) -> String {
        let now = self.clock.now();
        let claims = json!({
            "iss": ISSUER, "sub": "corp|alice", "aud": AUDIENCE, "iat": now, "exp": now + 300, "jti": "dtk_1",
            "client_id": "assistant", "act": {"iss": ISSUER, "sub": "assistant"}, "scope": "records.read",
        });
        signer.sign("at+jwt", crate::issuer::with(claims, change).to_string().as_bytes()).unwrap()
    }

    /// A token under a `kid` that nobody has.
    fn with_kid(&self, kid: &str) -> String {
        let token = self.token();
        let (_, rest) = token.split_once('.').unwrap();
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid}).to_string();
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
    }
}

/// The check that refused the token; `unavailable` if it could not be told.
async fn verdict(verifier: &Verifier, token: &str) -> Result<(), &'static str> {
    let Err(refused) = verifier.verify(token).await else { return Ok(()) };
    if let Reason::InvalidToken { check, .. } = refused.reason() {
        return Err(*check);
    }
    assert!(matches!(refused.reason(), Reason::Unavailable(_)), "a token alone is not refused so: {refused}");
    Err("unavailable")
}
