//! `POST /revoke` (RFC 7009) and `POST /introspect` (RFC 7662): how a token stands, and its end.

use super::client_auth::{AuthenticationFailure, Credentials};
use super::error::OAuthError;
use super::form::{Posted, admit, posted, unavailable};
use super::refusal::{failed, refused, stranger};
use super::{INTROSPECT, TOKEN};
use crate::app::App;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::event::EventKind;
use crate::grants::introspection::introspect as state_of;
use crate::grants::params::Params;
use crate::grants::{Caller, Received, refused_early, revocation, unproven};
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::sync::Arc;

/// What refusals here are recorded as.
const KIND: EventKind = EventKind::TokenRequest;

/// Every method of `/revoke`.
pub async fn revoke(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    request: Request<Body>,
) -> Response {
    let mut response = match *request.method() {
        Method::POST => revoked(&app, &received, request).await.unwrap_or_else(IntoResponse::into_response),
        Method::OPTIONS => return TOKEN.preflight(),
        _ => TOKEN.wrong_method(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    TOKEN.allow(response.headers_mut());
    response
}

/// Every method of `/introspect`. Servers ask here, not browsers: there is nothing for other origins.
pub async fn introspect(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    request: Request<Body>,
) -> Response {
    let mut response = match *request.method() {
        Method::POST => introspected(&app, &received, request).await.unwrap_or_else(IntoResponse::into_response),
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, INTROSPECT)]).into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 200 with nothing in it, whatever the token was (RFC 7009 §2.2).
async fn revoked(app: &App, received: &Received, request: Request<Body>) -> Result<Response, OAuthError> {
    let challenge = request.headers().contains_key(header::AUTHORIZATION);
    let (caller, params) = authenticated(app, received, posted(app, request).await?, KIND, challenge).await?;
    let token = match params.require("token") {
        Ok(token) => token,
        Err(refusal) => return Err(refused_caller(app, received, &caller, KIND, refusal).await),
    };
    revocation::revoke(app, received, &caller, token).await.map_err(|failure| failed(failure, false))?;
    Ok(StatusCode::OK.into_response())
}

async fn introspected(app: &App, received: &Received, request: Request<Body>) -> Result<Response, OAuthError> {
    let challenge = request.headers().contains_key(header::AUTHORIZATION);
    let (caller, params) = authenticated(app, received, posted(app, request).await?, KIND, challenge).await?;
    if !caller.client.client.is_confidential() || caller.client.suspended_at.is_some() {
        let refusal = Refusal::new(ReasonCode::ClientCredentialsMissing, "only a client that proves who it is may ask");
        return Err(refused_caller(app, received, &caller, KIND, refusal).await);
    }
    let token = match params.require("token") {
        Ok(token) => token,
        Err(refusal) => return Err(refused_caller(app, received, &caller, KIND, refusal).await),
    };
    let state = state_of(app, received, &caller, token).await.map_err(|failure| failed(failure, false))?;
    let body = state.map_or_else(|| r#"{"active":false}"#.to_owned(), |members| Value::Object(members).to_string());
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The client that a request of this kind proves to be from, and what it says. `challenge`: it tried with an
/// `Authorization` header.
pub(super) async fn authenticated(
    app: &App,
    received: &Received,
    Posted { headers, params, .. }: Posted,
    kind: EventKind,
    challenge: bool,
) -> Result<(Caller, Params), OAuthError> {
    let _place = admit(app)?;
    let read = params.and_then(|params| Ok((Credentials::read(&headers, &params)?, params)));
    let (credentials, params) = match read {
        Ok(read) => read,
        Err(refusal) => return Err(stranger(app, received, (kind, None), &refusal, challenge).await),
    };
    match credentials.authenticate(app, &app.snapshot(), received.now()).await {
        Ok(caller) => Ok((caller, params)),
        Err(AuthenticationFailure::Unavailable(error)) => Err(unavailable(&error.to_string())),
        Err(AuthenticationFailure::Refused(refusal)) => {
            Err(stranger(app, received, (kind, credentials.claimed().as_ref()), &refusal, challenge).await)
        }
    }
}

/// Refuses a client that named itself, or proved to be it.
pub(super) async fn refused_caller(
    app: &App,
    received: &Received,
    caller: &Caller,
    kind: EventKind,
    refusal: Refusal,
) -> OAuthError {
    match unproven(app, received, caller) {
        Ok(()) => {
            let event = refused_early(received, kind, Some(&caller.client.client.id), None, &refusal);
            refused(app, event, &refusal, false).await
        }
        Err(failure) => failed(failure, false),
    }
}
