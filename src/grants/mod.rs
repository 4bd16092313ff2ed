//! HOW A TOKEN IS EARNED: one file a `grant_type`, each reading like its RFC.

pub mod authorization_code;
pub mod authorization_request;
pub mod authorize;
pub mod client_credentials;
pub mod consent;
pub mod dry_run;
mod event;
mod facts;
mod footing;
pub mod forward_auth;
pub mod inspection;
pub mod introspection;
pub mod params;
pub mod refresh_token;
pub mod request;
pub mod revocation;
mod standing;
mod stored_grant;
pub mod token_exchange;
pub mod token_use;
pub mod userinfo;

pub use event::refused_early;
pub use standing::Ended;

use crate::app::App;
use crate::audit::writer::AuditUnavailable;
use crate::domain::client::{Assurance, ClientAuthentication, ClientEntry, GrantType};
use crate::domain::decision::Refusal;
use crate::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};
use crate::domain::grant_family::GrantFamily;
use crate::domain::scope::ScopeSet;
use crate::secrets::random_id;
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

impl Caller {
    /// True if anybody could be it: it has no secret, or registered itself.
    pub fn is_anybody(&self) -> bool {
        self.authentication == ClientAuthentication::None || self.client.assurance == Assurance::SelfAsserted
    }
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
    /// The refresh token. Never logged.
    pub refresh_token: Option<String>,
    /// The ID token (OpenID Connect Core §3.1.3.3). Never logged.
    pub id_token: Option<String>,
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
    /// Too many tries of somebody who has proved nothing, or too much that was given back; seconds to wait. Nothing is on
    /// record.
    TooMany(u64),
    /// We could not decide, sign or record; in words for the log.
    Unavailable(String),
}

/// A refusal of a client that has proved nothing is counted before it is recorded: whoever names a client without a secret,
/// or registers one, can spend neither our disk nor our time (A60).
pub fn unproven(app: &App, received: &Received, caller: &Caller) -> Result<(), Failure> {
    match app.limits.count_failure(received.source.filter(|_| caller.is_anybody())) {
        Some(seconds) => Err(Failure::TooMany(seconds)),
        None => Ok(()),
    }
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

/// Why a grant family is ended by what a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FamilyEnd {
    /// Its code was used twice (RFC 6749 §4.1.2).
    CodeReplayed,
    /// A refresh token was used long after it was replaced (OAuth 2.1 §4.3.1).
    RefreshTokenReused,
    /// The client gave it back (RFC 7009).
    RevokedByClient,
}

impl FamilyEnd {
    fn as_str(self) -> &'static str {
        match self {
            Self::CodeReplayed => "code_replayed",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::RevokedByClient => "revoked_by_client",
        }
    }

    /// The reason of the event.
    fn reason(self) -> &'static str {
        match self {
            Self::CodeReplayed | Self::RefreshTokenReused => "grant_family_ended",
            Self::RevokedByClient => "grant_family_returned",
        }
    }
}

/// Ends a grant family, with an event of its own; this server goes by it at once.
async fn ended_family(app: &App, received: &Received, family: &GrantFamily, because: FamilyEnd) -> Result<(), Failure> {
    // Not the request's own event, which says what came of it.
    let event = received.event(EventKind::Consent, EventOutcome::Done, because.reason());
    let mut event = AuditEvent { request_id: random_id("fev"), ..event };
    event.subject =
        Some(EventSubject::user(&family.user, &family.idp, &family.idp_sub).in_session(family.idp_session.clone()));
    event.client = Some(family.client.clone());
    event.resource = Some(family.resource.clone());
    event.detail =
        Some(format!("grant family {} was ended: {}, request {}", family.id, because.as_str(), received.request_id));
    app.store.revoke_family(&family.id, because.as_str(), event, received.now()).await?;
    if let Err(error) = app.refresh().await {
        tracing::warn!(%error, "what changed in the database could not be taken in");
    }
    Ok(())
}
