//! The only place that chooses the status of an OAuth error (RFC 6749 §5.2, RFC 8693 §2.2.2).

use crate::domain::decision::{ErrorCode, Refusal};
use crate::grants::ConsentLink;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Seconds between two tries of a client that waits for the user.
const POLL_INTERVAL_SECONDS: i64 = 5;

/// An error answer of `/token`. The description is a fixed sentence; what exactly happened stays with us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthError {
    status: StatusCode,
    body: Box<Body>,
    retry_after_seconds: Option<u64>,
    challenge: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Body {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr_values: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u32>,
}

impl Body {
    fn new(error: &'static str, description: &'static str) -> Self {
        Self {
            error,
            error_description: Some(description),
            consent_uri: None,
            expires_in: None,
            interval: None,
            acr_values: None,
            max_age: None,
        }
    }
}

impl OAuthError {
    /// The answer to a refusal. `challenge`: the client tried with an `Authorization` header, so a 401 must name the
    /// scheme (RFC 6749 §5.2).
    pub fn refused(refusal: &Refusal, consent: Option<ConsentLink>, challenge: bool) -> Self {
        let code = refusal.error();
        let status = match code {
            ErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
            ErrorCode::SlowDown => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::InvalidRequest
            | ErrorCode::UnauthorizedClient
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::InvalidScope
            | ErrorCode::InvalidTarget
            | ErrorCode::ConsentRequired
            | ErrorCode::InvalidGrant
            | ErrorCode::InsufficientUserAuthentication
            | ErrorCode::UnsupportedResponseType
            | ErrorCode::LoginRequired
            | ErrorCode::InteractionRequired
            | ErrorCode::UnmetAuthenticationRequirements
            | ErrorCode::AccessDenied => StatusCode::BAD_REQUEST,
        };
        let mut body = Body::new(code.as_str(), refusal.description());
        if let Some(link) = consent {
            body.consent_uri = Some(link.uri);
            body.expires_in = Some(link.expires_in);
            body.interval = Some(POLL_INTERVAL_SECONDS);
        }
        if let (ErrorCode::InsufficientUserAuthentication, Some(needed)) = (code, &refusal.sign_in) {
            body.acr_values = Some(needed.acr_values.join(" ")).filter(|values| !values.is_empty());
            body.max_age = needed.max_age;
        }
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        Self {
            status,
            body: Box::new(body),
            retry_after_seconds: refusal.retry_after_seconds.or(unavailable.then_some(5)),
            challenge: challenge && status == StatusCode::UNAUTHORIZED,
        }
    }

    /// We could not decide, sign or record. Nothing of the cause is told.
    pub fn unavailable() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            body: Box::new(Body::new("temporarily_unavailable", "The server cannot answer at the moment; try again.")),
            retry_after_seconds: Some(1),
            challenge: false,
        }
    }

    /// Too many failed authentications from this address.
    pub fn slow_down(seconds: u64) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            body: Box::new(Body::new("slow_down", "Too many requests of this kind; try again later.")),
            retry_after_seconds: Some(seconds),
            challenge: false,
        }
    }

    /// The body is larger than the limit.
    pub fn too_large() -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            body: Box::new(Body::new("invalid_request", "The request body is too large.")),
            retry_after_seconds: None,
            challenge: false,
        }
    }

    /// The body did not arrive in time.
    pub fn too_slow() -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            body: Box::new(Body::new("invalid_request", "The request body did not arrive in time.")),
            retry_after_seconds: None,
            challenge: false,
        }
    }

    /// The body did not arrive whole.
    pub fn incomplete() -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            body: Box::new(Body::new("invalid_request", "The request body did not arrive whole.")),
            retry_after_seconds: None,
            challenge: false,
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = serde_json::to_string(&self.body).expect("an error has only texts and numbers");
        let json = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, json, body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.challenge {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"procura\", charset=\"UTF-8\""),
            );
        }
        response
    }
}
