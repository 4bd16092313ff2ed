//! Why a call is not served, and what its answer says (RFC 6750 §3, RFC 9728 §5.1).

use http::{HeaderValue, StatusCode};
use serde_json::json;
use std::fmt;
use std::sync::Arc;

/// What every answer of one backend has in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Challenges {
    pub(super) realm: String,
    pub(super) resource_metadata: Option<String>,
    /// The scopes that a client without a token should ask for, separated by spaces.
    pub(super) scopes: Option<String>,
}

/// Why a call is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// 401: no token was sent.
    NoToken,
    /// 400: the request is wrong, not the token; why, in a fixed sentence.
    Malformed(&'static str),
    /// 401: the token is not good here.
    InvalidToken {
        /// The check that failed, for example `aud`.
        check: &'static str,
        /// Why, for logs. It may hold claims of the token, never the token.
        detail: String,
    },
    /// 403: the token is good, but not for this.
    InsufficientScope {
        /// Every scope that the call needs, separated by spaces.
        needed: String,
    },
    /// 401: the token is good, and its user did not sign in as this needs (RFC 9470).
    WeakLogin {
        /// How long ago they may have signed in, in seconds; none if that does not matter.
        max_age: Option<u64>,
        /// The values of `acr` of which the login must have one, separated by spaces; empty if that does not matter.
        acr_values: String,
    },
    /// 503: whether the token is good cannot be told now; why, for logs.
    Unavailable(String),
}

/// A refusal, and all that its answer needs.
///
/// `Display` is for logs. What the caller hears is in [`Refused::status`], [`Refused::www_authenticate`] and
/// [`Refused::body`], and holds nothing that was sent.
#[derive(Debug, Clone)]
pub struct Refused {
    reason: Reason,
    challenges: Arc<Challenges>,
}

impl Refused {
    pub(super) fn new(reason: Reason, challenges: &Arc<Challenges>) -> Self {
        Self { reason, challenges: Arc::clone(challenges) }
    }

    /// The same, where a client without a good token should also ask for these scopes.
    pub(super) fn asking_for(mut self, scopes: &[String]) -> Self {
        let asked = self.challenges.scopes.clone().unwrap_or_default();
        let mut all: Vec<&str> = asked.split_whitespace().collect();
        for scope in scopes {
            if !all.contains(&scope.as_str()) {
                all.push(scope);
            }
        }
        if !all.is_empty() {
            let scopes = Some(all.join(" "));
            self.challenges = Arc::new(Challenges { scopes, ..Challenges::clone(&self.challenges) });
        }
        self
    }

    /// Why.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self.reason {
            Reason::NoToken | Reason::InvalidToken { .. } | Reason::WeakLogin { .. } => StatusCode::UNAUTHORIZED,
            Reason::Malformed(_) => StatusCode::BAD_REQUEST,
            Reason::InsufficientScope { .. } => StatusCode::FORBIDDEN,
            Reason::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The error code of RFC 6750 or RFC 9470, or of the body alone where that has none.
    fn error(&self) -> &'static str {
        match self.reason {
            Reason::NoToken => "unauthorized",
            Reason::Malformed(_) => "invalid_request",
            Reason::InvalidToken { .. } => "invalid_token",
            Reason::InsufficientScope { .. } => "insufficient_scope",
            Reason::WeakLogin { .. } => "insufficient_user_authentication",
            Reason::Unavailable(_) => "temporarily_unavailable",
        }
    }

    /// What the caller hears: a fixed sentence.
    fn description(&self) -> &'static str {
        match &self.reason {
            Reason::NoToken => "Send an access token.",
            Reason::Malformed(problem) => problem,
            Reason::InvalidToken { check, .. } => sentence(check),
            Reason::InsufficientScope { .. } => "The token does not have every scope that this needs.",
            Reason::WeakLogin { .. } => "The user has to sign in again, or more strongly, for this.",
            Reason::Unavailable(_) => "Tokens cannot be checked at the moment. Try again.",
        }
    }

    /// The `WWW-Authenticate` header; none with 503, where another token would not help.
    pub fn www_authenticate(&self) -> Option<HeaderValue> {
        let mut parameters = vec![("realm", self.challenges.realm.as_str())];
        match &self.reason {
            // Nothing was tried, so there is no error (RFC 6750 §3.1).
            Reason::NoToken => {}
            Reason::Malformed(_)
            | Reason::InvalidToken { .. }
            | Reason::InsufficientScope { .. }
            | Reason::WeakLogin { .. } => {
                parameters.extend([("error", self.error()), ("error_description", self.description())]);
            }
            Reason::Unavailable(_) => return None,
        }
        let scopes = match &self.reason {
            Reason::InsufficientScope { needed } => Some(needed),
            Reason::NoToken | Reason::InvalidToken { .. } => self.challenges.scopes.as_ref(),
            Reason::Malformed(_) | Reason::WeakLogin { .. } | Reason::Unavailable(_) => None,
        };
        let (acr_values, max_age) = match &self.reason {
            Reason::WeakLogin { max_age, acr_values } => {
                (Some(acr_values.as_str()).filter(|values| !values.is_empty()), max_age.map(|age| age.to_string()))
            }
            Reason::NoToken
            | Reason::Malformed(_)
            | Reason::InvalidToken { .. }
            | Reason::InsufficientScope { .. }
            | Reason::Unavailable(_) => (None, None),
        };
        parameters.extend(acr_values.map(|values| ("acr_values", values)));
        parameters.extend(max_age.as_deref().map(|age| ("max_age", age)));
        parameters.extend(scopes.map(|scopes| ("scope", scopes.as_str())));
        parameters.extend(self.challenges.resource_metadata.as_deref().map(|url| ("resource_metadata", url)));
        let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        HeaderValue::try_from(format!("Bearer {}", parameters.join(", "))).ok()
    }

    /// Seconds for `Retry-After`, with 503.
    pub fn retry_after(&self) -> Option<HeaderValue> {
        matches!(self.reason, Reason::Unavailable(_)).then(|| HeaderValue::from_static("5"))
    }

    /// The JSON body.
    pub fn body(&self) -> String {
        json!({"error": self.error(), "error_description": self.description()}).to_string()
    }

    /// The answer, with any type of body.
    pub fn response<B: From<String>>(&self) -> http::Response<B> {
        let mut response = http::Response::new(B::from(self.body()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in
            [(http::header::WWW_AUTHENTICATE, self.www_authenticate()), (http::header::RETRY_AFTER, self.retry_after())]
        {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::NoToken => f.write_str("no token was sent"),
            Reason::Malformed(problem) => f.write_str(problem),
            Reason::InvalidToken { check, detail } => write!(f, "{check}: {detail}"),
            Reason::InsufficientScope { needed } => write!(f, "the token does not have every scope of: {needed}"),
            Reason::WeakLogin { max_age, acr_values } => {
                f.write_str("the user's login is not enough: wanted")?;
                if let Some(seconds) = max_age {
                    write!(f, " one of the last {seconds} seconds")?;
                }
                if acr_values.is_empty() { Ok(()) } else { write!(f, " one of acr {acr_values}") }
            }
            Reason::Unavailable(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Refused {}

/// What a caller hears of a check that failed.
fn sentence(check: &str) -> &'static str {
    match check {
        "form" => "This is not an access token that can be read.",
        "typ" => "This is not an access token.",
        "alg" => "The signature algorithm is not accepted here.",
        "signature" => "The signature is not right.",
        "iss" => "The token is from another issuer.",
        "aud" => "The token is for another backend.",
        "exp" => "The token has ended, or lives too long.",
        "iat" => "The token is not valid yet.",
        "act" => "The token does not say who acts.",
        "cnf" => "The token is bound to a key.",
        "status" => "The token was taken back, or does not say where that would be seen.",
        _ => "A claim of the token is missing or wrong.",
    }
}
