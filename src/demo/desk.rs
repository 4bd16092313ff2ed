//! Desk, an MCP-style client of the demo: nobody registered it. It is known by a document at its own address, asks in the
//! browser for leave to act (authorization code with PKCE), and reads the records of whoever allowed it.

use super::DemoFailure;
use super::http::{self, Credentials, Http, escape, page, parameter};
use super::registry::Addresses;
use crate::secrets;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The most visits that wait for an answer.
const MOST_WAITING: usize = 1000;

struct Desk {
    http: Http,
    addresses: Addresses,
    url: String,
    /// The PKCE verifier of each visit that was begun, by `state`.
    waiting: Mutex<HashMap<String, String>>,
}

/// Serves it at `url`, the address of the listener.
pub(super) fn serve(listener: TcpListener, url: &str, http: Http, addresses: Addresses, ended: &CancellationToken) {
    let desk = Desk { http, addresses, url: url.to_owned(), waiting: Mutex::default() };
    let router = Router::new()
        .route("/", get(front))
        .route("/client.json", get(document))
        .route("/connect", get(connect))
        .route("/callback", get(callback))
        .with_state(Arc::new(desk));
    http::serve(listener, router, ended);
}

impl Desk {
    /// Its `client_id` is the address of its document.
    fn client_id(&self) -> String {
        format!("{}/client.json", self.url)
    }

    fn redirect_uri(&self) -> String {
        format!("{}/callback", self.url)
    }
}

async fn front() -> Response {
    let body = "<p>Desk is an app that nobody registered at Procura. It is known by a document at its own address, as MCP \
                clients are.</p>\n<p><a href=\"/connect\">Connect Desk to your health records</a></p>";
    page("Desk", body)
}

/// Its client ID metadata document.
async fn document(State(desk): State<Arc<Desk>>) -> Response {
    axum::Json(json!({
        "client_id": desk.client_id(),
        "client_name": "Desk",
        "redirect_uris": [desk.redirect_uri()],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }))
    .into_response()
}

/// Asks Procura, in the browser (RFC 6749 §4.1.1, RFC 7636, RFC 8707).
async fn connect(State(desk): State<Arc<Desk>>) -> Response {
    let metadata = format!("{}/.well-known/oauth-authorization-server", desk.addresses.procura);
    let authorize = match desk.http.get(&metadata, Credentials::Nothing).await {
        Ok(answer) => answer.text("authorization_endpoint"),
        Err(problem) => return failed(&problem.0),
    };
    let random = || URL_SAFE_NO_PAD.encode(secrets::random_bytes::<32>());
    let (state, code_verifier) = (random(), random());
    let (client_id, redirect_uri, challenge) = (desk.client_id(), desk.redirect_uri(), secrets::digest(&code_verifier));
    {
        let mut waiting = desk.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST_WAITING {
            waiting.clear();
        }
        waiting.insert(state.clone(), code_verifier);
    }
    let query = http::encode(&[
        ("response_type", "code"),
        ("client_id", &client_id),
        ("redirect_uri", &redirect_uri),
        ("resource", &desk.addresses.records),
        ("scope", "records.read"),
        ("state", &state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("{authorize}?{query}"))]).into_response()
}

/// Back from Procura, with a code or an error.
async fn callback(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let state = parameter(&query, "state").unwrap_or_default();
    let verifier = desk.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&state);
    let Some(verifier) = verifier else {
        return failed("this answer is to no request of this app, or came before");
    };
    if parameter(&query, "iss").as_ref() != Some(&desk.addresses.procura) {
        return failed("the answer is of another server (RFC 9207)");
    }
    let Some(code) = parameter(&query, "code") else {
        let error = parameter(&query, "error").unwrap_or_else(|| "no code and no error".to_owned());
        return page(
            "Desk may not",
            &format!("<p>Procura answered <code>{}</code>. Desk got nothing.</p>", escape(&error)),
        );
    };
    match desk.rows(&code, &verifier).await {
        Ok(body) => page("Desk got in", &body),
        Err(problem) => failed(&problem.0),
    }
}

impl Desk {
    /// The code becomes a token, and the token opens the records of whoever allowed it.
    async fn rows(&self, code: &str, verifier: &str) -> Result<String, DemoFailure> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", verifier),
            ("client_id", &self.client_id()),
            ("redirect_uri", &self.redirect_uri()),
        ];
        let url = format!("{}/token", self.addresses.procura);
        let answer = self.http.post(&url, Credentials::Nothing, &form).await?;
        let token = answer.text("access_token");
        if token.is_empty() {
            return Err(DemoFailure(format!("the code became no token: {}", answer.in_short())));
        }
        let records = self.http.get(&self.addresses.records, Credentials::Bearer(&token)).await?;
        let rows = records.json().get("rows").and_then(|rows| rows.as_array().cloned()).unwrap_or_default();
        let mut body = format!("<p>The records backend gave Desk {} rows:</p>\n<ul>\n", rows.len());
        for row in &rows {
            let text = |name: &str| row.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
            let _ =
                writeln!(body, "<li>{}: {}, {}</li>", escape(text("owner")), escape(text("day")), escape(text("text")));
        }
        let claims = super::story::claims(&token)?;
        let claims = serde_json::to_string_pretty(&claims).unwrap_or_default();
        let account = escape(&format!("{}/account", self.addresses.procura));
        let _ = write!(
            body,
            "</ul>\n<p>The token that opened them says for whom (<code>sub</code>), and who acts (<code>act</code>):</p>\n\
             <pre>{}</pre>\n<p><a href=\"{account}\">See and end what Desk may do for you</a></p>",
            escape(&claims)
        );
        Ok(body)
    }
}

fn failed(problem: &str) -> Response {
    (StatusCode::BAD_REQUEST, page("Desk got nothing", &format!("<p>{}.</p>", escape(problem)))).into_response()
}
