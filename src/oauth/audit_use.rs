//! `POST /audit/use`: a backend reports what a token was used for. From server to server, by a backend's own client.

use super::error::OAuthError;
use super::form::{Posted, posted_or_json};
use super::refusal::failed;
use super::token_state::{authenticated, refused_caller};
use crate::app::App;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::event::EventKind;
use crate::grants::Received;
use crate::grants::token_use::{UseFailure, report};
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// What refusals here are recorded as.
const KIND: EventKind = EventKind::Use;
/// `Allow`.
const ALLOW: &str = "POST";

/// Every method of `/audit/use`. There is nothing for other origins.
pub async fn handle(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    request: Request<Body>,
) -> Response {
    let mut response = match *request.method() {
        Method::POST => used(&app, &received, request).await.unwrap_or_else(IntoResponse::into_response),
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, ALLOW)]).into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The sentences of a form's refusals speak of forms alone.
fn of_report(refusal: Refusal) -> Refusal {
    let reason = if refusal.reason == ReasonCode::NotAForm {
        ReasonCode::UseReportUnreadable
    } else if refusal.reason == ReasonCode::ParameterInvalid {
        ReasonCode::UseReportInvalid
    } else {
        return refusal;
    };
    Refusal { reason, ..refusal }
}

/// 204 once the use is durable.
async fn used(app: &App, received: &Received, request: Request<Body>) -> Result<Response, OAuthError> {
    let challenge = request.headers().contains_key(header::AUTHORIZATION);
    let Posted { headers, body, params } = posted_or_json(app, request).await?;
    let posted = Posted { headers, body, params: params.map_err(of_report) };
    let (caller, params) = authenticated(app, received, posted, KIND, challenge).await?;
    if !caller.client.client.is_confidential() || caller.client.suspended_at.is_some() {
        let refusal =
            Refusal::new(ReasonCode::ClientCredentialsMissing, "only a client that proves who it is may report");
        return Err(refused_caller(app, received, &caller, KIND, refusal).await);
    }
    match report(app, received, &caller, &params).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(UseFailure::Failed(failure)) => Err(failed(failure, false)),
        Err(UseFailure::TooMany(refusal)) => Err(OAuthError::refused(&refusal, None, false)),
    }
}
