//! A real OpenID provider on loopback, for every test that needs foreign tokens: discovery, JWKS, and whatever it is
//! told to sign, good or bad.
//!
//! ```ignore
//! let issuer = TestIssuer::start().await;
//! let idp = issuer.provider("corp");                       // for a registry; accepts ID tokens for "llm-app"
//! let token = issuer.id_token(now, json!({"sub": "alice"}));
//! issuer.rotate();                                         // another key, under another kid
//! issuer.fail(true);                                       // 500 from now on
//! assert_eq!(issuer.jwks_requests(), 1);
//! ```

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use procura::domain::identity_provider::IdentityProvider;
use procura::domain::resource::SigningAlgorithm;
use procura::tokens::signing_keys::LocalSigner;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Names the TLS provider once per process, as `main` does.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The provider. It stops when it is dropped.
pub(crate) struct TestIssuer {
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    issuer: String,
    state: Mutex<Published>,
    discoveries: AtomicU64,
    jwks_requests: AtomicU64,
}

struct Published {
    keys: Vec<Arc<LocalSigner>>,
    /// Put into the JWKS besides the keys, as they are.
    foreign_keys: Vec<Value>,
    is_failing: bool,
    cache_control: Option<String>,
    /// What discovery says the issuer is, if not the truth.
    claimed_issuer: Option<String>,
    /// Put into the discovery document besides what is always there; `null` takes a member away.
    more_metadata: Value,
    /// What each code is good for, once.
    codes: HashMap<String, Prepared>,
    /// What came to the token endpoint, newest last.
    redeemed: Vec<Redeemed>,
}

/// What a code is redeemed for.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) id_token: String,
    pub(crate) access_token: String,
    /// The `code_challenge` that the request had.
    pub(crate) challenge: String,
}

/// A request at the token endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redeemed {
    /// `Authorization`; empty if absent.
    pub(crate) authorization: String,
    pub(crate) form: HashMap<String, String>,
}

impl Shared {
    fn below(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.trim_end_matches('/'))
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl TestIssuer {
    /// Starts with one ES256 key. RSA keys take a moment to make: [`Self::add_key`] only where needed.
    pub(crate) async fn start() -> Self {
        Self::start_below("").await
    }

    /// As providers do that have a path, or only a slash, behind the host in their issuer.
    pub(crate) async fn start_below(path: &str) -> Self {
        install_tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}{path}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            issuer,
            state: Mutex::new(Published {
                keys: vec![Arc::new(LocalSigner::generate(SigningAlgorithm::ES256).unwrap())],
                foreign_keys: Vec::new(),
                is_failing: false,
                cache_control: None,
                claimed_issuer: None,
                more_metadata: json!({}),
                codes: HashMap::new(),
                redeemed: Vec::new(),
            }),
            discoveries: AtomicU64::new(0),
            jwks_requests: AtomicU64::new(0),
        });
        let below = path.trim_end_matches('/');
        let router = Router::new()
            .route(&format!("{below}/.well-known/openid-configuration"), get(discovery))
            .route(&format!("{below}/jwks"), get(jwks))
            .route(&format!("{below}/token"), post(token))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, server }
    }

    /// Its `iss`.
    pub(crate) fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// Its `jwks_uri`.
    pub(crate) fn jwks_uri(&self) -> String {
        self.shared.below("/jwks")
    }

    /// Says more in its discovery document; `null` takes a member away.
    pub(crate) fn also_say(&self, metadata: Value) {
        self.shared.state.lock().unwrap().more_metadata = metadata;
    }

    /// Lets a code be redeemed, once.
    pub(crate) fn prepare_code(&self, code: &str, prepared: Prepared) {
        self.shared.state.lock().unwrap().codes.insert(code.to_owned(), prepared);
    }

    /// What came to the token endpoint.
    pub(crate) fn redeemed(&self) -> Vec<Redeemed> {
        self.shared.state.lock().unwrap().redeemed.clone()
    }

    /// As a registry declares it: keys by discovery, roles at `/roles`, groups at `/groups`, and one rule: the client
    /// `assistant` may present ID tokens, access tokens and JWTs for the audience `llm-app`.
    pub(crate) fn provider(&self, id: &str) -> IdentityProvider {
        let rule = |kind: &str| json!({"type": kind, "audiences": ["llm-app"], "clients": ["assistant"]});
        serde_json::from_value(json!({
            "id": id,
            "issuer": self.shared.issuer,
            "name": "Test provider",
            "algorithms": ["ES256", "RS256", "EdDSA"],
            "allow_private_addresses": true,
            "claims": {"roles": "/roles", "groups": "/groups", "email": "/email", "name": "/name"},
            "subject_token": [rule("id_token"), rule("access_token"), rule("jwt")],
        }))
        .unwrap()
    }

    /// A good ID token at `now`, for the audience `llm-app`; `claims` are put on top, and `null` takes one away.
    pub(crate) fn id_token(&self, now: i64, claims: Value) -> String {
        sign(&self.key(), Some("JWT"), &with(self.standard_claims(now), claims))
    }

    /// A good access token at `now` (`at+jwt`), for the audience `llm-app`; `claims` as in [`Self::id_token`].
    pub(crate) fn access_token(&self, now: i64, claims: Value) -> String {
        let claims = with(json!({"client_id": "llm-app"}), claims);
        sign(&self.key(), Some("at+jwt"), &with(self.standard_claims(now), claims))
    }

    /// `iss`, `sub` (`alice`), `aud` (`llm-app`), `iat` and `exp` (ten minutes later).
    pub(crate) fn standard_claims(&self, now: i64) -> Value {
        json!({"iss": self.issuer(), "sub": "alice", "aud": "llm-app", "iat": now, "exp": now + 600})
    }

    /// The newest key.
    pub(crate) fn key(&self) -> Arc<LocalSigner> {
        Arc::clone(self.shared.state.lock().unwrap().keys.last().unwrap())
    }

    /// Publishes one more key, and signs with it from now on.
    pub(crate) fn add_key(&self, algorithm: SigningAlgorithm) -> Arc<LocalSigner> {
        let key = Arc::new(LocalSigner::generate(algorithm).unwrap());
        self.shared.state.lock().unwrap().keys.push(Arc::clone(&key));
        key
    }

    /// Publishes a new ES256 key instead of all earlier ones.
    pub(crate) fn rotate(&self) -> Arc<LocalSigner> {
        self.shared.state.lock().unwrap().keys.clear();
        self.add_key(SigningAlgorithm::ES256)
    }

    /// Puts any value into the JWKS.
    pub(crate) fn publish_foreign_key(&self, jwk: Value) {
        self.shared.state.lock().unwrap().foreign_keys.push(jwk);
    }

    /// Answers everything with 500 from now on, or no longer.
    pub(crate) fn fail(&self, is_failing: bool) {
        self.shared.state.lock().unwrap().is_failing = is_failing;
    }

    /// Sends this `Cache-Control` with the JWKS.
    pub(crate) fn cache_control(&self, value: &str) {
        self.shared.state.lock().unwrap().cache_control = Some(value.to_owned());
    }

    /// Lets discovery speak in the name of another issuer.
    pub(crate) fn claim_issuer(&self, issuer: &str) {
        self.shared.state.lock().unwrap().claimed_issuer = Some(issuer.to_owned());
    }

    /// How often discovery was asked for.
    pub(crate) fn discoveries(&self) -> u64 {
        self.shared.discoveries.load(Ordering::SeqCst)
    }

    /// How often the JWKS was asked for.
    pub(crate) fn jwks_requests(&self) -> u64 {
        self.shared.jwks_requests.load(Ordering::SeqCst)
    }
}

/// Signs claims with a key, under its own `alg` and `kid`.
pub(crate) fn sign(key: &LocalSigner, typ: Option<&str>, claims: &Value) -> String {
    let header = with(json!({"alg": key.algorithm().as_str(), "kid": key.kid()}), json!({ "typ": typ }));
    sign_with_header(key, &header, claims)
}

/// Signs under any header, also one that lies.
pub(crate) fn sign_with_header(key: &LocalSigner, header: &Value, claims: &Value) -> String {
    sign_text(key, &header.to_string(), &claims.to_string())
}

/// Signs any texts, also such that no JSON library would write.
pub(crate) fn sign_text(key: &LocalSigner, header: &str, claims: &str) -> String {
    let input = signing_input(header, claims);
    let signature = URL_SAFE_NO_PAD.encode(key.sign_bytes(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

/// Header and claims without a signature (`alg: none`).
pub(crate) fn unsigned(alg: &str, claims: &Value) -> String {
    format!("{}.", signing_input(&json!({"alg": alg, "typ": "JWT"}).to_string(), &claims.to_string()))
}

/// HS256 with any bytes as the secret, for example a public key.
pub(crate) fn sign_hs256(secret: &[u8], kid: &str, claims: &Value) -> String {
    let input = signing_input(&json!({"alg": "HS256", "kid": kid, "typ": "JWT"}).to_string(), &claims.to_string());
    let key = openssl::pkey::PKey::hmac(secret).unwrap();
    let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &key).unwrap();
    let signature = signer.sign_oneshot_to_vec(input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The token with other claims and the old signature.
pub(crate) fn tampered(token: &str, claims: &Value) -> String {
    let segments: Vec<&str> = token.split('.').collect();
    format!("{}.{}.{}", segments[0], URL_SAFE_NO_PAD.encode(claims.to_string()), segments[2])
}

/// The token with another signature.
pub(crate) fn with_signature(token: &str, signature: &[u8]) -> String {
    format!("{}.{}", token.rsplit_once('.').unwrap().0, URL_SAFE_NO_PAD.encode(signature))
}

/// `extra` on top of `claims`; `null` takes a claim away.
pub(crate) fn with(mut claims: Value, extra: Value) -> Value {
    let Value::Object(extra) = extra else { panic!("not an object: {extra}") };
    for (name, value) in extra {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(&name);
        } else {
            claims[name] = value;
        }
    }
    claims
}

/// The claims of a token, unverified.
pub(crate) fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn signing_input(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    shared.discoveries.fetch_add(1, Ordering::SeqCst);
    let state = shared.state.lock().unwrap();
    if state.is_failing {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let issuer = state.claimed_issuer.as_ref().unwrap_or(&shared.issuer);
    let metadata = json!({
        "issuer": issuer, "jwks_uri": shared.below("/jwks"),
        "authorization_endpoint": shared.below("/authorize"), "token_endpoint": shared.below("/token"),
    });
    axum::Json(with(metadata, state.more_metadata.clone())).into_response()
}

/// Hands out what a test has prepared, to whoever proves that they began (RFC 7636 section 4.6).
async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let authorization = headers.get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap()).to_owned();
    let mut state = shared.state.lock().unwrap();
    let prepared = state.codes.remove(&form["code"]);
    let challenge = procura::secrets::digest(&form["code_verifier"]);
    state.redeemed.push(Redeemed { authorization, form });
    match prepared.filter(|prepared| prepared.challenge == challenge) {
        Some(prepared) => axum::Json(json!({
            "token_type": "Bearer", "expires_in": 300,
            "access_token": prepared.access_token, "id_token": prepared.id_token,
        }))
        .into_response(),
        None => (StatusCode::BAD_REQUEST, axum::Json(json!({"error": "invalid_grant"}))).into_response(),
    }
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Response {
    shared.jwks_requests.fetch_add(1, Ordering::SeqCst);
    let state = shared.state.lock().unwrap();
    if state.is_failing {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let own = state.keys.iter().map(|key| json!(key.public_jwk()));
    let keys: Vec<Value> = state.foreign_keys.iter().cloned().chain(own).collect();
    let mut response = axum::Json(json!({ "keys": keys })).into_response();
    if let Some(value) = &state.cache_control {
        response.headers_mut().insert(header::CACHE_CONTROL, value.parse().unwrap());
    }
    response
}
