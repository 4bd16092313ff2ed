//! `POST /register` (RFC 7591) and `/register/{id}` (RFC 7592): clients that register themselves. Whatever they say, they
//! are strangers: each user is asked, and only backends that are open to them can be reached (rules RG-01 to RG-13).

mod answer;
mod request;

use super::cors::Cors;
use super::form::bearer;
use crate::app::App;
use crate::config::DynamicRegistration;
use crate::domain::client::{Assurance, ClientAuthentication};
use crate::domain::client_metadata::{Described, MetadataProblem, registration};
use crate::domain::dynamic_client::{DynamicClient, OWN_ID_START, is_own_id};
use crate::domain::event::{AuditEvent, EventKind, EventOutcome};
use crate::domain::names::ClientId;
use crate::domain::redirect_uri;
use crate::domain::sent::repeatable;
use crate::grants::Received;
use crate::secrets::{digest, equal, new_client_secret, random_id, random_token};
use answer::{Problem, Registered};
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What browsers are told about `/register`: MCP clients that run in one register there.
const REGISTER: Cors = Cors { methods: "POST, OPTIONS" };
/// `/register/{id}` is not for browsers of other origins.
const MANAGE: &str = "GET, PUT, DELETE";

/// Every method of `/register`.
pub async fn handle(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    request: Request<Body>,
) -> Response {
    if !app.clients.offers_registration() {
        return Problem::off().into_response();
    }
    let mut response = match *request.method() {
        Method::POST => register(&app, &received, request).await.unwrap_or_else(Problem::into_response),
        Method::OPTIONS => return REGISTER.preflight(),
        _ => REGISTER.wrong_method(),
    };
    not_cached(response.headers_mut());
    REGISTER.allow(response.headers_mut());
    response
}

/// Every method of `/register/{id}`.
pub async fn manage(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let mut response = match *request.method() {
        Method::GET => show(&app, &received, &id, request.headers()).await,
        Method::PUT => replace(&app, &received, &id, request).await,
        Method::DELETE => end(&app, &received, &id, request.headers()).await,
        _ => Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, MANAGE)]).into_response()),
    }
    .unwrap_or_else(Problem::into_response);
    not_cached(response.headers_mut());
    response
}

fn not_cached(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}

async fn register(app: &App, received: &Received, request: Request<Body>) -> Result<Response, Problem> {
    if let Some(seconds) = app.limits.count_registration(received.source) {
        app.metrics.count_registration("dynamic", "limited");
        return Err(Problem::slow_down(seconds));
    }
    let (parts, body) = request.into_parts();
    let body = request::read(app, body).await?;
    let _place = request::admit(app)?;
    let described = match permitted(app, &parts.headers) {
        Ok(()) => {
            let id = ClientId::try_from(random_id(OWN_ID_START.trim_end_matches('_'))).map_err(Problem::unavailable)?;
            described(app, id, &parts.headers, &body)
        }
        Err(problem) => Err(problem),
    };
    let described = match described {
        Ok(described) => described,
        Err(problem) => return Err(refused(app, received, None, problem).await),
    };
    let secret = new_secret(app, &described).await?;
    let token = random_token("prt");
    let client = DynamicClient {
        assurance: Assurance::SelfAsserted,
        other_authentication: described.other_authentication,
        metadata: Value::Object(described.metadata).to_string(),
        secret_hash: secret.as_ref().map(|(_, hash)| hash.clone()),
        registration_token_digest: Some(digest(token.expose_secret())),
        created_at: received.now(),
        last_used_at: None,
        fetched_at: None,
        fresh_until: None,
        suspended_at: None,
        client: described.client,
    };
    if !app.store.insert_dynamic_client(&client).await.map_err(Problem::unavailable)? {
        return Err(Problem::unavailable("a new client id was taken"));
    }
    // If this fails the id is told to nobody, and the row is removed as one that was never used.
    let mut event = event(received, EventOutcome::Done, "registered", client.id());
    event.detail = Some(in_words(app, &client));
    app.audit.record(event, None).await.map_err(Problem::unavailable)?;
    app.metrics.count_registration("dynamic", "ok");
    let secret = secret.map(|(secret, _)| secret);
    Ok(Registered { app, client: &client, secret, token }.answer(StatusCode::CREATED))
}

/// RFC 7591 §3: the initial access token, if one is asked for.
fn permitted(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let settings = app.clients.settings();
    match (settings.dynamic, &settings.initial_access_token) {
        (DynamicRegistration::On, _) => Ok(()),
        (DynamicRegistration::Token, Some(token)) => {
            let sent = bearer(headers).unwrap_or_default();
            // Digests, so that the length does not tell either.
            let is_it = equal(digest(sent).as_bytes(), digest(token.expose_secret()).as_bytes());
            if is_it { Ok(()) } else { Err(Problem::unauthorized()) }
        }
        (DynamicRegistration::Token, None) | (DynamicRegistration::Off, _) => Err(Problem::unauthorized()),
    }
}

/// What the body says, as far as it may count.
fn described(app: &App, id: ClientId, headers: &HeaderMap, body: &[u8]) -> Result<Described, Problem> {
    let members = request::members(headers, body)?;
    read(app, id, &members).map_err(|problem| Problem::metadata(&problem))
}

fn read(app: &App, id: ClientId, members: &Map<String, Value>) -> Result<Described, MetadataProblem> {
    let settings = app.clients.settings();
    let described = registration(id, members, &settings.private_use_redirect_uris)?;
    let denied = described.client.redirect_uris.iter().position(|uri| !settings.lets_codes_go_to(uri));
    if let Some(index) = denied {
        let why = format!("redirect_uris[{index}] leads to a host that this server sends no codes to");
        return Err(MetadataProblem::RedirectUri(why));
    }
    if let Some(jwks_uri) = &described.client.jwks_uri {
        let may = app.clients.may_have_keys_at(jwks_uri);
        may.map_err(|_| MetadataProblem::Metadata("jwks_uri is not a https URL on the public internet".to_owned()))?;
    }
    Ok(described)
}

/// A secret and its hash, if the client authenticates by one: none for a public client (rule RG-04).
async fn new_secret(app: &App, described: &Described) -> Result<Option<(SecretString, String)>, Problem> {
    if !has_secret(described.client.authentication) {
        return Ok(None);
    }
    let secret = new_client_secret(&app.secrets_key);
    let hash = app.clients.hash_secret(&secret).await;
    let hash = hash.ok_or_else(|| Problem::unavailable("a client secret could not be hashed"))?;
    Ok(Some((secret, hash)))
}

fn has_secret(method: ClientAuthentication) -> bool {
    match method {
        ClientAuthentication::ClientSecretBasic | ClientAuthentication::ClientSecretPost => true,
        ClientAuthentication::PrivateKeyJwt | ClientAuthentication::None => false,
    }
}

/// The client that the request holds the registration access token of. Nobody learns which ids there are.
async fn held(
    app: &App,
    received: &Received,
    id: &str,
    headers: &HeaderMap,
) -> Result<(DynamicClient, SecretString), Problem> {
    if app.is_behind() {
        return Err(Problem::unavailable("what changed in the database could not be taken in"));
    }
    let token = bearer(headers).unwrap_or_default();
    let known = match id.parse::<ClientId>() {
        Ok(id) if is_own_id(id.as_str()) => app.store.find_dynamic_client(&id).await.map_err(Problem::unavailable)?,
        Ok(_) | Err(_) => None,
    };
    let sent = digest(token);
    let is_it = |client: &DynamicClient| {
        client.registration_token_digest.as_ref().is_some_and(|stored| equal(stored.as_bytes(), sent.as_bytes()))
    };
    match known.filter(is_it) {
        Some(client) => Ok((client, token.into())),
        None => Err(match app.limits.count_failure(received.source) {
            Some(seconds) => Problem::slow_down(seconds),
            None => Problem::unauthorized(),
        }),
    }
}

async fn show(app: &App, received: &Received, id: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let (client, token) = held(app, received, id, headers).await?;
    Ok(Registered { app, client: &client, secret: None, token }.answer(StatusCode::OK))
}

/// RFC 7592 §2.2: what is sent replaces all that was registered.
async fn replace(app: &App, received: &Received, id: &str, request: Request<Body>) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (before, token) = held(app, received, id, &parts.headers).await?;
    if let Some(seconds) = app.limits.count_registration(received.source) {
        app.metrics.count_registration("dynamic", "limited");
        return Err(Problem::slow_down(seconds));
    }
    let body = request::read(app, body).await?;
    let _place = request::admit(app)?;
    let new = request::members(&parts.headers, &body).and_then(|members| {
        if members.get("client_id").and_then(Value::as_str) != Some(id) {
            return Err(Problem::body("client_id is not that of the URL"));
        }
        let described = read(app, before.client.id.clone(), &members);
        let described = described.map_err(|problem| Problem::metadata(&problem))?;
        Ok((described, members))
    });
    let (described, members) = match new {
        Ok(new) => new,
        Err(problem) => return Err(refused(app, received, Some(before.id()), problem).await),
    };
    request::same_secret(app, &before, &members, received.now()).await?;
    let (secret, hash) = match (&before.secret_hash, has_secret(described.client.authentication)) {
        (Some(hash), true) => (None, Some(hash.clone())),
        (None, true) => {
            new_secret(app, &described).await?.map_or((None, None), |(secret, hash)| (Some(secret), Some(hash)))
        }
        (_, false) => (None, None),
    };
    let after = DynamicClient {
        client: described.client,
        other_authentication: described.other_authentication,
        metadata: Value::Object(described.metadata).to_string(),
        secret_hash: hash,
        ..before
    };
    let mut event = event(received, EventOutcome::Done, "updated", after.id());
    event.detail = Some(in_words(app, &after));
    let replaced = app.store.replace_registration(&after, &digest(token.expose_secret()), event).await;
    if !replaced.map_err(Problem::unavailable)? {
        return Err(Problem::unauthorized());
    }
    app.clients.forget(&app.snapshot(), after.id()).await;
    Ok(Registered { app, client: &after, secret, token }.answer(StatusCode::OK))
}

/// RFC 7592 §2.3. Every consent and every grant of the client ends with it.
async fn end(app: &App, received: &Received, id: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let (client, token) = held(app, received, id, headers).await?;
    let event = event(received, EventOutcome::Done, "removed", client.id());
    let ended = app.store.end_registration(client.id(), &digest(token.expose_secret()), event, received.now()).await;
    if !ended.map_err(Problem::unavailable)? {
        return Err(Problem::unauthorized());
    }
    app.clients.forget(&app.snapshot(), client.id()).await;
    // Otherwise the consents that have just ended would count here for half a second more.
    if let Err(error) = app.refresh().await {
        tracing::warn!(%error, "what changed in the database could not be taken in");
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn event(received: &Received, outcome: EventOutcome, reason: &str, client: &ClientId) -> AuditEvent {
    let mut event = received.event(EventKind::Registration, outcome, reason);
    event.client = Some(client.clone());
    event
}

/// Who it says it is, where codes would go, and whom its name looks like.
fn in_words(app: &App, client: &DynamicClient) -> String {
    let hosts: Vec<String> = client.client.redirect_uris.iter().filter_map(|uri| redirect_uri::host(uri)).collect();
    let name = repeatable(&client.client.name);
    let mut words = format!("it calls itself {name}; codes go to {}", hosts.join(", "));
    let snapshot = app.snapshot();
    if let Some(other) = snapshot.registry.imitated_by(&client.client, client.assurance, &app.config.organisation.name)
    {
        words = format!("{words}; its name looks like that of {other}, which it need not be");
    }
    words
}

/// Puts a refusal on record.
async fn refused(app: &App, received: &Received, client: Option<&ClientId>, problem: Problem) -> Problem {
    app.metrics.count_registration("dynamic", "refused");
    let mut event = received.event(EventKind::Registration, EventOutcome::Refused, "registration_refused");
    event.client = client.cloned();
    event.error = Some(problem.error().to_owned());
    event.detail = Some(problem.description().to_owned());
    match app.audit.record(event, None).await {
        Ok(()) => problem,
        Err(error) => Problem::unavailable(error),
    }
}
