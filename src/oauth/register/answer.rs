//! What is answered at `/register` (RFC 7591 §3.2, RFC 7592 §3).

use crate::app::App;
use crate::domain::client_metadata::MetadataProblem;
use crate::domain::dynamic_client::DynamicClient;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

/// A client as it is registered, for whoever registered it.
pub(super) struct Registered<'a> {
    pub(super) app: &'a App,
    pub(super) client: &'a DynamicClient,
    /// Only when it is new: it is shown this once.
    pub(super) secret: Option<SecretString>,
    /// The registration access token.
    pub(super) token: SecretString,
}

impl Registered<'_> {
    pub(super) fn answer(self, status: StatusCode) -> Response {
        let id = self.client.id().as_str();
        let mut body: Map<String, Value> = serde_json::from_str(&self.client.metadata).unwrap_or_default();
        body.insert("client_id".to_owned(), json!(id));
        body.insert("client_id_issued_at".to_owned(), json!(self.client.created_at));
        if let Some(secret) = &self.secret {
            body.insert("client_secret".to_owned(), json!(secret.expose_secret()));
            body.insert("client_secret_expires_at".to_owned(), json!(0));
        }
        let uri = format!("{}/register/{id}", self.app.config.issuer);
        body.insert("registration_client_uri".to_owned(), json!(uri));
        body.insert("registration_access_token".to_owned(), json!(self.token.expose_secret()));
        (status, [(header::CONTENT_TYPE, "application/json")], Value::Object(body).to_string()).into_response()
    }
}

/// Why nothing was registered (RFC 7591 §3.2.2). The description names members, and repeats nothing that was sent.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: &'static str,
    description: String,
    retry_after_seconds: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into(), retry_after_seconds: None }
    }

    pub(super) fn metadata(problem: &MetadataProblem) -> Self {
        Self::new(StatusCode::BAD_REQUEST, problem.error(), problem.to_string())
    }

    pub(super) fn body(why: impl Into<String>) -> Self {
        Self::metadata(&MetadataProblem::Metadata(why.into()))
    }

    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_client_metadata", "The request body is too large.")
    }

    pub(super) fn too_slow() -> Self {
        let description = "The request body did not arrive in time.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_client_metadata", description)
    }

    /// No token, another one, or no such client: it is not told which.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "The access token is missing or not the right one.")
    }

    pub(super) fn slow_down(seconds: u64) -> Self {
        let description = "Too many requests from this address; try again later.";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "slow_down", description);
        Self { retry_after_seconds: Some(seconds), ..problem }
    }

    /// We could not store or record. Nothing of the cause is told.
    pub(super) fn unavailable(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request at /register could not be answered");
        let description = "The server cannot answer at the moment; try again.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
        Self { retry_after_seconds: Some(1), ..problem }
    }

    /// Registration is turned off: as any other path that there is not.
    pub(super) fn off() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is no such path.")
    }

    pub(super) fn error(&self) -> &'static str {
        self.error
    }

    pub(super) fn description(&self) -> &str {
        &self.description
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description }).to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3.
            let challenge = HeaderValue::from_static("Bearer realm=\"procura\", error=\"invalid_token\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
