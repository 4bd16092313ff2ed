//! `POST /token` (RFC 6749 §3.2): form to typed request, one call, answer. Answers are never cached.

use super::TOKEN;
use super::client_auth::{AuthenticationFailure, Credentials};
use super::form::{Posted, admit, posted, unavailable};
use super::refusal::{failed, refused, too_many};
use crate::app::App;
use crate::domain::client::GrantType;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::event::EventKind;
use crate::grants::params::Params;
use crate::grants::request::{GrantRequest, grant_type};
use crate::grants::{
    Caller, Failure, Issued, Received, authorization_code, client_credentials, refresh_token, refused_early,
    token_exchange, unproven,
};
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, Method, Request, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// The answer to a granted request (RFC 6749 §5.1, RFC 8693 §2.2.1).
#[derive(Serialize)]
struct TokenResponse {
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    token_type: &'static str,
    expires_in: i64,
    /// Left out when it is empty: a list of scopes has at least one (RFC 6749 §3.3).
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
}

/// Every method of `/token`.
pub async fn handle(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    request: Request<Body>,
) -> Response {
    let mut response = match *request.method() {
        Method::POST => post(&app, &received, request).await,
        Method::OPTIONS => return TOKEN.preflight(),
        _ => TOKEN.wrong_method(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    TOKEN.allow(headers);
    response
}

async fn post(app: &App, received: &Received, request: Request<Body>) -> Response {
    let started = Instant::now();
    let challenge = request.headers().contains_key(header::AUTHORIZATION);
    let Posted { headers, params, .. } = match posted(app, request).await {
        Ok(posted) => posted,
        Err(error) => return error.into_response(),
    };
    let _place = match admit(app) {
        Ok(place) => place,
        Err(error) => return error.into_response(),
    };
    let params = match params {
        Ok(params) => params,
        Err(refusal) => return stranger(app, received, None, None, refusal, challenge).await,
    };
    // Neither a grant nor a client: no request for a token at all, and no failed authentication (rule CL-04).
    if !challenge && ["grant_type", "client_id", "client_assertion"].iter().all(|name| params.get(name).is_none()) {
        let refusal = Refusal::new(ReasonCode::ParameterMissing, "grant_type is missing");
        return stranger(app, received, Some(&params), None, refusal, challenge).await;
    }
    let credentials = match Credentials::read(&headers, &params) {
        Ok(credentials) => credentials,
        Err(refusal) => return stranger(app, received, Some(&params), None, refusal, challenge).await,
    };
    let snapshot = app.snapshot();
    let caller = match credentials.authenticate(app, &snapshot, received.now()).await {
        Ok(caller) => caller,
        Err(AuthenticationFailure::Unavailable(error)) => return unavailable(&error.to_string()).into_response(),
        Err(AuthenticationFailure::Refused(refusal)) => {
            app.metrics.count_client_auth_failure(credentials.method().as_str(), refusal.reason.as_str());
            return stranger(app, received, Some(&params), Some(&credentials), refusal, challenge).await;
        }
    };
    match grant(app, received, &caller, &params, started).await {
        Ok(issued) => answer(issued),
        Err(failure) => failed(failure, challenge).into_response(),
    }
}

/// The story of an authenticated request.
async fn grant(
    app: &App,
    received: &Received,
    caller: &Caller,
    params: &Params,
    started: Instant,
) -> Result<Issued, Failure> {
    let parsed = grant_type(params).and_then(|grant| Ok((grant, GrantRequest::parse(grant, params)?)));
    let request = match parsed {
        Ok((_, request)) => request,
        Err(refusal) => {
            unproven(app, received, caller)?;
            let client = &caller.client.client.id;
            let event = refused_early(received, kind(params), Some(client), Some(caller.authentication), &refusal);
            app.audit.record(event, None).await?;
            log_refusal(received, Some(client.as_str()), &refusal);
            return Err(Failure::Refused { refusal, consent: None });
        }
    };
    let (grant, result) = match request {
        GrantRequest::TokenExchange(request) => {
            (GrantType::TokenExchange, token_exchange::exchange(app, received, caller, request).await)
        }
        GrantRequest::ClientCredentials(request) => {
            (GrantType::ClientCredentials, client_credentials::issue(app, received, caller, request).await)
        }
        GrantRequest::AuthorizationCode(request) => {
            (GrantType::AuthorizationCode, authorization_code::redeem(app, received, caller, request).await)
        }
        GrantRequest::RefreshToken(request) => {
            (GrantType::RefreshToken, refresh_token::renew(app, received, caller, request).await)
        }
    };
    note(app, received, caller, grant, &result, started);
    result
}

/// One log line and one count a decision.
fn note(
    app: &App,
    received: &Received,
    caller: &Caller,
    grant: GrantType,
    result: &Result<Issued, Failure>,
    started: Instant,
) {
    let took = started.elapsed();
    let (outcome, reason) = match result {
        Ok(issued) => {
            app.metrics.count_issued(issued.grant);
            ("granted", "granted")
        }
        Err(Failure::Refused { refusal, .. }) => ("refused", refusal.reason.as_str()),
        Err(Failure::TooMany(_)) => ("refused", "slow_down"),
        Err(Failure::Unavailable(_)) => ("unavailable", "unavailable"),
    };
    if grant == GrantType::TokenExchange {
        app.metrics.count_exchange(outcome, reason, took);
    }
    tracing::info!(
        request_id = received.request_id,
        client.id = caller.client.client.id.as_str(),
        grant = grant.as_str(),
        outcome,
        reason,
        duration_ms = took.as_secs_f64() * 1000.0,
        "decision"
    );
}

fn log_refusal(received: &Received, client: Option<&str>, refusal: &Refusal) {
    tracing::info!(
        request_id = received.request_id,
        client.id = client,
        outcome = "refused",
        reason = refusal.reason.as_str(),
        "decision"
    );
}

fn kind(params: &Params) -> EventKind {
    match grant_type(params) {
        Ok(GrantType::TokenExchange) => EventKind::TokenExchange,
        Ok(GrantType::ClientCredentials) => EventKind::ClientCredentials,
        Ok(GrantType::AuthorizationCode) => EventKind::AuthorizationCode,
        Ok(GrantType::RefreshToken) => EventKind::RefreshToken,
        Err(_) => EventKind::TokenRequest,
    }
}

/// A request whose client is not authenticated. It is recorded and answered, until there are too many from one address:
/// then a stranger can spend neither our disk nor our time.
async fn stranger(
    app: &App,
    received: &Received,
    params: Option<&Params>,
    credentials: Option<&Credentials>,
    refusal: Refusal,
    challenge: bool,
) -> Response {
    if let Some(answer) = too_many(app, received, &refusal) {
        return answer.into_response();
    }
    let claimed = credentials.and_then(Credentials::claimed);
    let kind = params.map_or(EventKind::TokenRequest, kind);
    let method = credentials.map(Credentials::method);
    log_refusal(received, claimed.as_ref().map(crate::domain::names::ClientId::as_str), &refusal);
    let event = refused_early(received, kind, claimed.as_ref(), method, &refusal);
    refused(app, event, &refusal, challenge).await.into_response()
}

fn answer(issued: Issued) -> Response {
    let body = TokenResponse {
        access_token: issued.access_token,
        issued_token_type: issued.issued_type.map(super::super::grants::request::RequestedType::uri),
        token_type: "Bearer",
        expires_in: issued.expires_in,
        scope: issued.scope.to_string(),
        refresh_token: issued.refresh_token,
        id_token: issued.id_token,
    };
    let body = serde_json::to_string(&body).expect("an answer has only texts and numbers");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
