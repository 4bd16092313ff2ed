//! Assistant, the LLM app of the demo: it signs people in at the identity provider, trades their ID token at Procura,
//! and calls the backends for them. The story drives it, and it has a page to try by hand.

use super::DemoFailure;
use super::http::{self, Answer, Credentials, Http, escape, page, parameter};
use super::registry::{ASSISTANT, Addresses};
use crate::clock::Clock;
use crate::secrets;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The token type of an ID token (RFC 8693 §3).
pub(super) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// The grant type of a token exchange (RFC 8693 §2.1).
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const STATE_COOKIE: &str = "assistant_state";
/// The most sign-ins that wait for an answer.
const MOST_WAITING: usize = 1000;

/// Assistant, with its two registrations: at the identity provider and at Procura.
pub(super) struct Assistant {
    pub(super) http: Http,
    pub(super) addresses: Addresses,
    /// Its secret at the identity provider.
    pub(super) idp_secret: String,
    /// Its secret at Procura.
    pub(super) client_secret: String,
    pub(super) clock: Clock,
    /// Sign-ins that were begun in a browser, by `state`.
    waiting: Mutex<HashMap<String, SignIn>>,
}

/// A sign-in that was begun.
#[derive(Debug)]
pub(super) struct SignIn {
    /// Where the user is sent.
    pub(super) url: String,
    /// What `url` asks for.
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) state: String,
    nonce: String,
    pub(super) code_verifier: String,
}

impl Assistant {
    pub(super) fn new(
        http: Http,
        addresses: Addresses,
        idp_secret: String,
        client_secret: String,
        clock: Clock,
    ) -> Self {
        Self { http, addresses, idp_secret, client_secret, clock, waiting: Mutex::default() }
    }

    pub(super) fn redirect_uri(&self) -> String {
        format!("{}/callback", self.addresses.assistant)
    }

    /// Procura's token endpoint.
    pub(super) fn token_endpoint(&self) -> String {
        format!("{}/token", self.addresses.procura)
    }

    /// Begins a sign-in: code flow with PKCE, state and nonce (OpenID Connect Core 1.0 §3.1, RFC 7636).
    pub(super) fn begin_sign_in(&self) -> SignIn {
        let random = || URL_SAFE_NO_PAD.encode(secrets::random_bytes::<32>());
        let (state, nonce, code_verifier) = (random(), random(), random());
        let query = vec![
            ("response_type", "code".to_owned()),
            ("client_id", ASSISTANT.to_owned()),
            ("redirect_uri", self.redirect_uri()),
            ("scope", "openid".to_owned()),
            ("state", state.clone()),
            ("nonce", nonce.clone()),
            ("code_challenge", secrets::digest(&code_verifier)),
            ("code_challenge_method", "S256".to_owned()),
        ];
        let encoded: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let url = format!("{}/authorize?{}", self.addresses.identity_provider, http::encode(&encoded));
        SignIn { url, query, state, nonce, code_verifier }
    }

    /// Takes the answer of the identity provider (the query of the redirect), and trades the code for an ID token.
    ///
    /// # Errors
    /// If the answer is not the one to this sign-in, or the ID token is not for this app and this sign-in.
    pub(super) async fn finish_sign_in(&self, sign_in: &SignIn, query: &str) -> Result<String, DemoFailure> {
        let issuer = &self.addresses.identity_provider;
        if parameter(query, "state").as_ref() != Some(&sign_in.state) {
            return Err(DemoFailure::new("the sign-in came back with another state"));
        }
        if parameter(query, "iss").as_ref() != Some(issuer) {
            return Err(DemoFailure::new("the sign-in came back from another issuer"));
        }
        let code = parameter(query, "code").ok_or_else(|| {
            let error = parameter(query, "error").unwrap_or_default();
            DemoFailure(format!("the sign-in came back without a code: {error}"))
        })?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", &self.redirect_uri()),
            ("code_verifier", sign_in.code_verifier.as_str()),
        ];
        let credentials = Credentials::Basic(ASSISTANT, &self.idp_secret);
        let answer = self.http.post(&format!("{issuer}/token"), credentials, &form).await?;
        let id_token = answer.text("id_token");
        // It came over a direct connection to its issuer, so its signature needs no check here (OpenID Connect Core 1.0
        // §3.1.3.7, 6); Procura checks it, for Procura had it from somebody else.
        let claims = super::story::claims(&id_token)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let expires_at = claims.get("exp").and_then(Value::as_i64).unwrap_or(0);
        let in_order = text("iss") == issuer
            && text("aud") == ASSISTANT
            && text("nonce") == sign_in.nonce
            && self.clock.now() < expires_at;
        if in_order { Ok(id_token) } else { Err(DemoFailure::new("the ID token is not the one that was asked for")) }
    }

    /// Trades an ID token for a token for one backend (RFC 8693), as Assistant.
    pub(super) async fn exchange(&self, id_token: &str, resource: &str, scope: &str) -> Result<Answer, DemoFailure> {
        let credentials = Credentials::Basic(ASSISTANT, &self.client_secret);
        let form = exchange_form(id_token, resource, scope);
        self.http.post(&self.token_endpoint(), credentials, &form).await
    }
}

/// The form of an exchange.
pub(super) fn exchange_form<'a>(id_token: &'a str, resource: &'a str, scope: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", id_token),
        ("subject_token_type", ID_TOKEN),
        ("resource", resource),
        ("scope", scope),
    ]
}

/// Serves the page to try by hand.
pub(super) fn serve(listener: TcpListener, assistant: &Arc<Assistant>, ended: &CancellationToken) {
    let router = Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in))
        .route("/callback", get(callback))
        .with_state(Arc::clone(assistant));
    http::serve(listener, router, ended);
}

async fn home() -> Response {
    page(
        "Assistant",
        "<p>An LLM app. It reads your health records for you, and asks the medical model, if you may use it.</p>\n\
         <p><a href=\"/sign-in\">Sign in</a></p>",
    )
}

async fn sign_in(State(assistant): State<Arc<Assistant>>) -> Response {
    let sign_in = assistant.begin_sign_in();
    let (state, url) = (sign_in.state.clone(), sign_in.url.clone());
    {
        let mut waiting = assistant.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST_WAITING {
            waiting.clear();
        }
        waiting.insert(state.clone(), sign_in);
    }
    // The cookie ties the answer to this browser: a link with somebody else's code signs nobody in.
    let cookie = format!("{STATE_COOKIE}={state}; Path=/callback; HttpOnly; SameSite=Lax; Max-Age=600");
    (StatusCode::SEE_OTHER, [(header::LOCATION, url), (header::SET_COOKIE, cookie)]).into_response()
}

async fn callback(State(assistant): State<Arc<Assistant>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    let state = parameter(&query, "state").unwrap_or_default();
    let sign_in = {
        let mut waiting = assistant.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&state).filter(|_| has_cookie(&headers, &state))
    };
    let Some(sign_in) = sign_in else {
        let body = "<p>This sign-in is over. <a href=\"/\">Start again</a>.</p>";
        return (StatusCode::BAD_REQUEST, page("Sign-in lost", body)).into_response();
    };
    let shown = match assistant.finish_sign_in(&sign_in, &query).await {
        Ok(id_token) => show(&assistant, &id_token).await,
        Err(problem) => Err(problem),
    };
    match shown {
        Ok(body) => page("Assistant", &body),
        Err(problem) => page("That did not work", &format!("<p>{}</p>", escape(&problem.0))),
    }
}

fn has_cookie(headers: &HeaderMap, state: &str) -> bool {
    let wanted = format!("{STATE_COOKIE}={state}");
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    sent.flat_map(|value| value.split(';')).any(|cookie| cookie.trim() == wanted)
}

/// What Assistant can do for the user, as a page.
async fn show(assistant: &Assistant, id_token: &str) -> Result<String, DemoFailure> {
    let name = super::story::claims(id_token)?.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut body = format!("<p>Signed in as {}.</p>\n", escape(&name));
    for (title, resource, scope, method) in [
        ("Your health records", &assistant.addresses.records, "records.read", "GET"),
        ("The medical model", &assistant.addresses.models, "model.medical", "POST"),
    ] {
        let exchanged = assistant.exchange(id_token, resource, scope).await?;
        let _ = writeln!(body, "<h2>{title}</h2>");
        if exchanged.status != 200 {
            let said = format!("{} {}", exchanged.text("error"), exchanged.text("error_description"));
            let _ = writeln!(body, "<p>Procura gave no token: {}</p>", escape(&said));
            let consent_uri = exchanged.text("consent_uri");
            if !consent_uri.is_empty() {
                let link = escape(&consent_uri);
                let _ = writeln!(body, "<p>What you would have to agree to: <a href=\"{link}\">{link}</a></p>");
            }
            continue;
        }
        let token = exchanged.text("access_token");
        let credentials = Credentials::Bearer(&token);
        let answer = if method == "GET" {
            assistant.http.get(resource, credentials).await?
        } else {
            assistant.http.post(&format!("{resource}/medical"), credentials, &[]).await?
        };
        let answer = serde_json::to_string_pretty(&answer.json()).unwrap_or_default();
        let claims = serde_json::to_string_pretty(&super::story::claims(&token)?).unwrap_or_default();
        let _ = writeln!(body, "<pre>{}</pre>", escape(&answer));
        let _ = writeln!(body, "<p>By a delegation token that says:</p>\n<pre>{}</pre>", escape(&claims));
    }
    body.push_str("<p><a href=\"/\">Again, as somebody else</a></p>");
    Ok(body)
}
