//! The demo identity provider: a small OpenID Connect issuer on loopback, with two people and no passwords.
//!
//! It is a real one as far as it goes (OpenID Connect Core 1.0 §3.1, Discovery 1.0, PKCE, RFC 9207), so that Procura
//! treats it like any other: keys by discovery, nothing shared in memory.

use super::DemoFailure;
use super::http::{self, escape, page, parameter};
use super::people::{PEOPLE, Person};
use crate::clock::Clock;
use crate::domain::resource::SigningAlgorithm;
use crate::secrets;
use crate::tokens::signing_keys::LocalSigner;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// How long somebody may look at the login page, in seconds.
const LOGIN_SECONDS: i64 = 600;
/// How long a code may be traded, in seconds.
const CODE_SECONDS: i64 = 60;
/// How long an ID token lives, in seconds.
const TOKEN_SECONDS: i64 = 3600;
/// The most logins and codes that wait at once.
const MOST_WAITING: usize = 1000;

/// An app whose users may sign in here.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) client_id: String,
    pub(super) name: String,
    /// The only place a code is sent to, byte for byte.
    pub(super) redirect_uri: String,
    /// None: a public app, which proves itself by PKCE alone.
    pub(super) secret: Option<String>,
}

/// A request at `/authorize` that was found in order.
#[derive(Debug, Clone)]
struct Login {
    app: App,
    state: Option<String>,
    nonce: Option<String>,
    code_challenge: String,
    expires_at: i64,
}

/// What a code stands for. It is taken out when it is traded, so it works once.
#[derive(Debug)]
struct Code {
    login: Login,
    person: &'static Person,
    signed_in_at: i64,
    expires_at: i64,
}

#[derive(Debug, Default)]
struct Waiting {
    logins: HashMap<String, Login>,
    codes: HashMap<String, Code>,
}

struct Provider {
    issuer: String,
    signer: LocalSigner,
    clock: Clock,
    apps: Vec<App>,
    waiting: Mutex<Waiting>,
}

/// Starts the provider for these apps; returns its issuer.
///
/// # Errors
/// If the address is not a loopback one, or cannot be listened on.
pub(super) async fn start(
    address: SocketAddr,
    apps: Vec<App>,
    clock: Clock,
    ended: &CancellationToken,
) -> Result<String, DemoFailure> {
    let (listener, bound) = http::listen(address).await?;
    let signer = tokio::task::spawn_blocking(|| LocalSigner::generate(SigningAlgorithm::RS256))
        .await
        .map_err(|problem| DemoFailure(problem.to_string()))?
        .map_err(|problem| DemoFailure(format!("no key for the identity provider: {problem}")))?;
    let issuer = format!("http://{bound}");
    let provider = Provider { issuer: issuer.clone(), signer, clock, apps, waiting: Mutex::default() };
    http::serve(listener, router(Arc::new(provider)), ended);
    Ok(issuer)
}

fn router(provider: Arc<Provider>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/jwks", get(jwks))
        .route("/authorize", get(authorize))
        .route("/login", post(login))
        .route("/token", post(token))
        .with_state(provider)
}

/// The discovery document (OpenID Connect Discovery 1.0 §3).
async fn metadata(State(provider): State<Arc<Provider>>) -> Response {
    let issuer = &provider.issuer;
    axum::Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "scopes_supported": ["openid"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "name", "email", "roles"],
        "authorization_response_iss_parameter_supported": true,
    }))
    .into_response()
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Response {
    axum::Json(json!({ "keys": [provider.signer.public_jwk()] })).into_response()
}

/// `GET /authorize` (OpenID Connect Core 1.0 §3.1.2): the page that asks who is there.
async fn authorize(State(provider): State<Arc<Provider>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    // Until the app and its redirect URI are known to belong together, nobody is sent anywhere (RFC 6749 §4.1.2.1).
    let app = parameter(&query, "client_id").and_then(|id| provider.apps.iter().find(|app| app.client_id == id));
    let Some(app) = app else {
        return problem_page("No app of this client_id is registered here.");
    };
    if parameter(&query, "redirect_uri").as_deref() != Some(app.redirect_uri.as_str()) {
        return problem_page("The redirect_uri is not the one this app is registered with.");
    }
    let now = provider.clock.now();
    match read_login(app, &query, now) {
        Ok(login) => {
            let handle = secrets::random_id("login");
            let buttons: String = PEOPLE.iter().map(|person| button(person)).collect();
            let body = format!(
                "<p>{} asks who you are.</p>\n<form method=\"post\" action=\"/login\">\n\
                 <input type=\"hidden\" name=\"login\" value=\"{handle}\">\n{buttons}</form>",
                escape(&app.name)
            );
            if !provider.remember(|waiting| insert(&mut waiting.logins, handle, login, now, |login| login.expires_at)) {
                return problem_page("Too many people are signing in.");
            }
            page(&format!("Sign in to {}", app.name), &body)
        }
        Err((error, description)) => {
            let state = parameter(&query, "state");
            provider.send_back(app, state.as_deref(), &[("error", error), ("error_description", description)])
        }
    }
}

fn button(person: &Person) -> String {
    format!(
        "<p><button name=\"user\" value=\"{}\">I am {}, a {}</button></p>\n",
        escape(person.sub),
        escape(person.name),
        escape(person.role)
    )
}

fn read_login(app: &App, query: &str, now: i64) -> Result<Login, (&'static str, &'static str)> {
    if parameter(query, "response_type").as_deref() != Some("code") {
        return Err(("unsupported_response_type", "only the code flow is offered"));
    }
    if !parameter(query, "scope").is_some_and(|scope| scope.split(' ').any(|scope| scope == "openid")) {
        return Err(("invalid_scope", "the scope openid is missing"));
    }
    if parameter(query, "code_challenge_method").as_deref() != Some("S256") {
        return Err(("invalid_request", "code_challenge_method must be S256"));
    }
    let code_challenge = parameter(query, "code_challenge")
        .filter(|challenge| challenge.len() == 43)
        .ok_or(("invalid_request", "code_challenge is missing or not a SHA-256 digest in base64url"))?;
    Ok(Login {
        app: app.clone(),
        state: parameter(query, "state"),
        nonce: parameter(query, "nonce"),
        code_challenge,
        expires_at: now.saturating_add(LOGIN_SECONDS),
    })
}

/// `POST /login`: somebody said who they are, and is sent back to the app with a code.
async fn login(State(provider): State<Arc<Provider>>, body: String) -> Response {
    let now = provider.clock.now();
    let handle = parameter(&body, "login").unwrap_or_default();
    let person = parameter(&body, "user").and_then(|sub| Person::find(&sub));
    let login = provider.remember(|waiting| waiting.logins.remove(&handle)).filter(|login| now < login.expires_at);
    let Some(login) = login else {
        return problem_page("This sign-in is over. Start again at the app.");
    };
    let (app, state) = (login.app.clone(), login.state.clone());
    let Some(person) = person else {
        let error = [("error", "access_denied"), ("error_description", "nobody was chosen")];
        return provider.send_back(&app, state.as_deref(), &error);
    };
    let code = secrets::random_id("code");
    let stands_for = Code { login, person, signed_in_at: now, expires_at: now.saturating_add(CODE_SECONDS) };
    if !provider.remember(|waiting| insert(&mut waiting.codes, code.clone(), stands_for, now, |code| code.expires_at)) {
        return problem_page("Too many people are signing in.");
    }
    provider.send_back(&app, state.as_deref(), &[("code", &code)])
}

/// `POST /token` (OpenID Connect Core 1.0 §3.1.3): a code becomes an ID token and an access token.
async fn token(State(provider): State<Arc<Provider>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(form) = std::str::from_utf8(&body) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request");
    };
    let Some(app) = provider.authenticate(&headers, form) else {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    };
    if parameter(form, "grant_type").as_deref() != Some("authorization_code") {
        return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    }
    let now = provider.clock.now();
    // Taken out before it is looked at: a code that was sent with a wrong verifier is gone too.
    let code = parameter(form, "code").and_then(|code| provider.remember(|waiting| waiting.codes.remove(&code)));
    let verifier = parameter(form, "code_verifier").filter(|verifier| (43..=128).contains(&verifier.len()));
    let (Some(code), Some(verifier)) = (code, verifier) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    let in_order = now < code.expires_at
        && code.login.app.client_id == app.client_id
        && parameter(form, "redirect_uri").as_deref() == Some(app.redirect_uri.as_str())
        && secrets::equal(secrets::digest(&verifier).as_bytes(), code.login.code_challenge.as_bytes());
    if !in_order {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    }
    match provider.tokens(&code, now) {
        Ok(answer) => ([(header::CACHE_CONTROL, "no-store")], axum::Json(answer)).into_response(),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
    }
}

impl Provider {
    fn remember<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Back to the app, with `state` and with our own name (RFC 9207).
    fn send_back(&self, app: &App, state: Option<&str>, parameters: &[(&str, &str)]) -> Response {
        let mut all = parameters.to_vec();
        all.extend(state.map(|state| ("state", state)));
        all.push(("iss", &self.issuer));
        let location = format!("{}?{}", app.redirect_uri, http::encode(&all));
        (StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".to_owned())])
            .into_response()
    }

    /// `client_secret_basic` for an app with a secret, `none` for one without (RFC 6749 §2.3).
    fn authenticate(&self, headers: &HeaderMap, form: &str) -> Option<&App> {
        let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        let (id, secret) = match authorization {
            Some(value) => {
                let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
                let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
                // Both halves are form-encoded; as one form they are decoded together.
                let both = format!("id={id}&secret={secret}");
                (parameter(&both, "id")?, parameter(&both, "secret"))
            }
            None => (parameter(form, "client_id")?, None),
        };
        let app = self.apps.iter().find(|app| app.client_id == id)?;
        let proved = match (&app.secret, &secret) {
            (Some(right), Some(sent)) => secrets::equal(right.as_bytes(), sent.as_bytes()),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        proved.then_some(app)
    }

    fn tokens(&self, code: &Code, now: i64) -> Result<Value, DemoFailure> {
        let expires_at = now.saturating_add(TOKEN_SECONDS);
        let person = code.person;
        let mut id_token = json!({
            "iss": self.issuer,
            "sub": person.sub,
            "aud": code.login.app.client_id,
            "exp": expires_at,
            "iat": now,
            "auth_time": code.signed_in_at,
            "name": person.name,
            "email": person.email,
            "roles": [person.role],
        });
        if let (Some(nonce), Some(claims)) = (&code.login.nonce, id_token.as_object_mut()) {
            claims.insert("nonce".to_owned(), json!(nonce));
        }
        let access_token = json!({
            "iss": self.issuer,
            "sub": person.sub,
            "aud": self.issuer,
            "exp": expires_at,
            "iat": now,
            "jti": secrets::random_id("at"),
            "client_id": code.login.app.client_id,
            "scope": "openid",
        });
        let sign = |typ: &str, claims: &Value| {
            self.signer.sign(typ, claims.to_string().as_bytes()).map_err(|problem| DemoFailure(problem.to_string()))
        };
        Ok(json!({
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": "openid",
            "id_token": sign("JWT", &id_token)?,
            "access_token": sign("at+jwt", &access_token)?,
        }))
    }
}

/// Puts something that waits into its place, after what has ended was swept out; false if there is no room.
fn insert<T>(waiting: &mut HashMap<String, T>, key: String, value: T, now: i64, ends: impl Fn(&T) -> i64) -> bool {
    waiting.retain(|_, value| now < ends(value));
    let has_room = waiting.len() < MOST_WAITING;
    if has_room {
        waiting.insert(key, value);
    }
    has_room
}

fn problem_page(problem: &str) -> Response {
    (StatusCode::BAD_REQUEST, page("You cannot sign in", &format!("<p>{}</p>", escape(problem)))).into_response()
}

fn refuse(status: StatusCode, error: &str) -> Response {
    let mut response = (status, axum::Json(json!({ "error": error }))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"demo\""));
    }
    response
}

#[cfg(test)]
mod tests;
