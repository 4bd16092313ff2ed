//! `POST /par` (RFC 9126): a client hands in its authorization request itself, and gets a name for it that counts once.

use super::TOKEN;
use super::client_auth::{AuthenticationFailure, Credentials};
use super::error::OAuthError;
use super::form::{Posted, admit, posted, unavailable};
use super::refusal::{failed, refused, stranger};
use crate::app::App;
use crate::domain::decision::{ErrorCode, ReasonCode, Refusal};
use crate::domain::event::EventKind;
use crate::domain::names::ClientId;
use crate::grants::authorization_request::{ReturnAddress, read};
use crate::grants::{Received, refused_early, unproven};
use crate::secrets::{digest, random_bytes};
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::sync::Arc;

/// How long a pushed request waits, in seconds.
const WAITS_SECONDS: i64 = 90;
/// What refusals here are recorded as.
const KIND: EventKind = EventKind::Authorization;
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// Every method of `/par`.
pub async fn handle(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    request: Request<Body>,
) -> Response {
    let mut response = match *request.method() {
        Method::POST => push(&app, &received, request).await.unwrap_or_else(IntoResponse::into_response),
        Method::OPTIONS => return TOKEN.preflight(),
        _ => TOKEN.wrong_method(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    TOKEN.allow(response.headers_mut());
    response
}

async fn push(app: &App, received: &Received, request: Request<Body>) -> Result<Response, OAuthError> {
    let challenge = request.headers().contains_key(header::AUTHORIZATION);
    let Posted { headers, body, params } = posted(app, request).await?;
    let _place = admit(app)?;
    let stranger = async |client: Option<&ClientId>, refusal: Refusal| {
        stranger(app, received, (KIND, client), &refusal, challenge).await
    };
    let params = match params {
        Ok(params) => params,
        Err(refusal) => return Err(stranger(None, refusal).await),
    };
    if params.get("request_uri").is_some() {
        let refusal = Refusal::new(ReasonCode::ParameterInvalid, "request_uri cannot be pushed (RFC 9126 section 2.1)");
        return Err(stranger(None, refusal).await);
    }
    let snapshot = app.snapshot();
    // A client that is known by its document may come here first, before /authorize.
    let named = params.get("client_id").and_then(|id| id.parse::<ClientId>().ok());
    if let Some(id) = &named
        && let Err(crate::app::ResolveError::Refused(refusal)) =
            app.clients.resolve(app, &snapshot, id, received.source, received.now()).await
    {
        let refusal = Refusal { error: Some(ErrorCode::InvalidClient), ..refusal };
        return Err(stranger(Some(id), refusal).await);
    }
    let credentials = match Credentials::read(&headers, &params) {
        Ok(credentials) => credentials,
        Err(refusal) => return Err(stranger(None, refusal).await),
    };
    let caller = match credentials.authenticate(app, &snapshot, received.now()).await {
        Ok(caller) => caller,
        Err(AuthenticationFailure::Unavailable(error)) => return Err(unavailable(&error.to_string())),
        Err(AuthenticationFailure::Refused(refusal)) => {
            return Err(stranger(credentials.claimed().as_ref(), refusal).await);
        }
    };
    let id = &caller.client.client.id;
    // The same checks as at /authorize, so that the client hears of a mistake itself.
    let checked = ReturnAddress::read(&caller.client, &body, &app.config.registration)
        .and_then(|address| read(&address, &body, &snapshot.registry, &app.config.issuer));
    if let Err(refusal) = checked {
        unproven(app, received, &caller).map_err(|failure| failed(failure, false))?;
        return Err(refused(app, refused_early(received, KIND, Some(id), None, &refusal), &refusal, challenge).await);
    }
    if caller.is_anybody()
        && let Some(seconds) = app.limits.count_session(received.source)
    {
        return Err(OAuthError::slow_down(seconds));
    }
    let request_uri = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()));
    let expires_at = received.now().saturating_add(WAITS_SECONDS);
    let form = without_secrets(&body, id);
    app.store
        .push_request(&digest(&request_uri), id, &form, expires_at)
        .await
        .map_err(|error| unavailable(&error.to_string()))?;
    let answer = json!({"request_uri": request_uri, "expires_in": WAITS_SECONDS});
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::CREATED, json, answer.to_string()).into_response())
}

/// The request without what proved the client, and with its id.
fn without_secrets(body: &[u8], id: &ClientId) -> String {
    const PROOFS: [&str; 4] = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];
    let pairs = url::form_urlencoded::parse(body).filter(|(name, _)| !PROOFS.contains(&name.as_ref()));
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", id.as_str()).extend_pairs(pairs);
    form.finish()
}
