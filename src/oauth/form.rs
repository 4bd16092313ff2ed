//! How a form is read at the endpoints for clients (RFC 6749 §3.2): in the body and nowhere else, within bounds.

use super::error::OAuthError;
use crate::app::App;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::grants::params::Params;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, header};
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// A request, read.
pub(super) struct Posted {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The form, or why it cannot be read.
    pub(super) params: Result<Params, Refusal>,
}

/// Reads a request whole.
///
/// # Errors
/// It is too large, too slow, or did not arrive whole.
pub(super) async fn posted(app: &App, request: Request<Body>) -> Result<Posted, OAuthError> {
    let (parts, body) = request.into_parts();
    let body = read_body(app, body).await?;
    let params = readable(&parts.headers, parts.uri.query(), &body);
    Ok(Posted { headers: parts.headers, body, params })
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1), and of nowhere else.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A place among the requests that are worked on, if what comes of this one can be recorded. It is taken only after the
/// body has come: a peer that sends slowly keeps nobody out.
pub(super) fn admit(app: &App) -> Result<SemaphorePermit<'_>, OAuthError> {
    let place = app.in_flight.try_acquire().map_err(|_| unavailable("too many requests at once"))?;
    // Nobody waits for a decision that cannot be recorded.
    app.audit.admit().map_err(|error| unavailable(&error.to_string()))?;
    if app.is_behind() {
        return Err(unavailable("what changed in the database could not be taken in"));
    }
    Ok(place)
}

/// We could not decide, sign or record; the cause is for the log only.
pub(super) fn unavailable(cause: &str) -> OAuthError {
    tracing::error!(cause, "a request could not be answered");
    OAuthError::unavailable()
}

async fn read_body(app: &App, body: Body) -> Result<Bytes, OAuthError> {
    let limit = app.config.limits.body_bytes;
    let limit = if limit == 0 { usize::MAX } else { limit };
    let Ok(read) = tokio::time::timeout(body_at_most(app), to_bytes(body, limit)).await else {
        return Err(OAuthError::too_slow());
    };
    read.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if too_large { OAuthError::too_large() } else { OAuthError::incomplete() }
    })
}

/// Half the time that a request has: what then still comes is too late for a decision, and whoever is slow hears so.
fn body_at_most(app: &App) -> Duration {
    match app.config.limits.request_seconds {
        0 => Duration::MAX,
        seconds => Duration::from_secs(u64::from(seconds)) / 2,
    }
}

/// The form, if it is one, in the body and nowhere else.
fn readable(headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Result<Params, Refusal> {
    let invalid = |detail: &str| Refusal::new(ReasonCode::ParameterInvalid, detail);
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(invalid("the Content-Type is not application/x-www-form-urlencoded"));
    }
    // A token or secret in a URL ends up in logs (rule OA-01).
    if query.is_some_and(|query| !query.is_empty()) {
        return Err(invalid("parameters belong in the body, not in the URL"));
    }
    Params::parse(body)
}
