//! HOW A TOKEN IS EARNED: one file a `grant_type`, each reading like its RFC.

pub mod client_credentials;
pub mod consent;
pub mod dry_run;
mod event;
mod facts;
pub mod params;
pub mod request;
pub mod token_exchange;

pub use event::refused_early;

use crate::audit::writer::AuditUnavailable;
use crate::domain::client::{ClientAuthentication, ClientEntry, GrantType};
use crate::domain::decision::Refusal;
use crate::domain::scope::ScopeSet;
use crate::store::StoreError;
use crate::tokens::signing_keys::KeyProblem;
use std::net::IpAddr;
use std::sync::Arc;

/// One request at `/token`, before anything in it is believed.
#[derive(Debug, Clone)]
pub struct Received {
    /// The `X-Request-Id` of the answer, and the key of the audit event.
    pub request_id: String,
    /// Where it came from.
    pub source: Option<IpAddr>,
    /// The W3C trace id, if it had one.
    pub trace_id: Option<String>,
    /// Unix milliseconds. Every rule of the request uses this one time.
    pub at_ms: i64,
}

impl Received {
    /// Unix seconds.
    pub fn now(&self) -> i64 {
        self.at_ms.div_euclid(1000)
    }
}

/// The authenticated client of a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The client.
    pub client: Arc<ClientEntry>,
    /// How it proved who it is.
    pub authentication: ClientAuthentication,
}

/// An issued token: the answer of a grant (RFC 6749 §5.1, RFC 8693 §2.2.1).
pub struct Issued {
    /// The compact JWS. Never logged.
    pub access_token: String,
    /// The grant.
    pub grant: GrantType,
    /// `issued_token_type`; none outside of token exchange.
    pub issued_type: Option<request::RequestedType>,
    /// Seconds.
    pub expires_in: i64,
    /// What it is good for.
    pub scope: ScopeSet,
}

/// Where the user can agree (PRODUCT: `consent_required`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentLink {
    /// The page to show to the user.
    pub uri: String,
    /// For how many seconds at least it leads somewhere.
    pub expires_in: i64,
}

/// Why no token was issued.
#[derive(Debug)]
pub enum Failure {
    /// It was refused, and the refusal is on record.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Where the user can agree, if that is what is missing.
        consent: Option<ConsentLink>,
    },
    /// We could not decide, sign or record; in words for the log.
    Unavailable(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<AuditUnavailable> for Failure {
    fn from(error: AuditUnavailable) -> Self {
        Self::Unavailable(format!("audit: {error}"))
    }
}

impl From<KeyProblem> for Failure {
    fn from(error: KeyProblem) -> Self {
        Self::Unavailable(format!("signing key: {error}"))
    }
}
