//! How a form is read at the endpoints for clients (RFC 6749 §3.2): in the body and nowhere else, within bounds.

use super::body::{self, BodyProblem};
use super::error::OAuthError;
use crate::app::App;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::grants::params::Params;
use crate::tokens::json::plain_object;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, header};
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

/// As [`posted`]; the members of one JSON object (`application/json`) are as good as a form.
pub(super) async fn posted_or_json(app: &App, request: Request<Body>) -> Result<Posted, OAuthError> {
    let (parts, body) = request.into_parts();
    let body = read_body(app, body).await?;
    let params = if media_type(&parts.headers).eq_ignore_ascii_case("application/json") {
        not_in_the_url(parts.uri.query()).and_then(|()| {
            let members = plain_object(&body).map_err(|_| {
                Refusal::new(ReasonCode::NotAForm, "the body is not one JSON object without repeated members")
            })?;
            Params::of_members(members)
        })
    } else {
        readable(&parts.headers, parts.uri.query(), &body)
    };
    Ok(Posted { headers: parts.headers, body, params })
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1), and of nowhere else.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A place among the requests that are worked on, if what comes of this one can be recorded.
pub(super) fn admit(app: &App) -> Result<SemaphorePermit<'_>, OAuthError> {
    body::admit(app).map_err(|cause| unavailable(&cause))
}

/// We could not decide, sign or record; the cause is for the log only.
pub(super) fn unavailable(cause: &str) -> OAuthError {
    tracing::error!(cause, "a request could not be answered");
    OAuthError::unavailable()
}

async fn read_body(app: &App, body: Body) -> Result<Bytes, OAuthError> {
    let most = match app.config.limits.body_bytes {
        0 => usize::MAX,
        bytes => bytes,
    };
    body::read(app, body, most).await.map_err(|problem| match problem {
        BodyProblem::TooLarge => OAuthError::too_large(),
        BodyProblem::TooSlow => OAuthError::too_slow(),
        BodyProblem::Incomplete => OAuthError::incomplete(),
    })
}

/// The form, if it is one, in the body and nowhere else.
fn readable(headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Result<Params, Refusal> {
    if !media_type(headers).eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::new(ReasonCode::NotAForm, "the Content-Type is not application/x-www-form-urlencoded"));
    }
    not_in_the_url(query)?;
    Params::parse(body)
}

fn media_type(headers: &HeaderMap) -> &str {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim()
}

/// A token or secret in a URL ends up in logs (rule OA-01).
fn not_in_the_url(query: Option<&str>) -> Result<(), Refusal> {
    if query.is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::new(ReasonCode::NotAForm, "parameters belong in the body, not in the URL"));
    }
    Ok(())
}
