//! `POST /backchannel-logout/{idp}`: a provider says that a session of a user has ended (OpenID Connect Back-Channel
//! Logout 1.0 §2.5 to §2.8; rule SS-01).

use super::posted::Posted;
use crate::app::App;
use crate::domain::decision::ReasonCode;
use crate::domain::event::{EventKind, EventOutcome, EventSubject};
use crate::domain::identity_provider::IdentityProvider;
use crate::domain::names::IdpId;
use crate::grants::Received;
use crate::store::{ProviderLogout, StoreError};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

/// The largest message: a token of 16 KiB, form-encoded, and a name.
const MAX_BYTES: usize = 20 * 1024;

/// Why the message had no effect.
enum Unheard {
    /// It is not right; in words for the event.
    Invalid(String),
    /// We cannot tell, or not do it; in words for the log. The provider may send it again.
    Unavailable(String),
}

impl From<StoreError> for Unheard {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The endpoint.
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    Extension(received): Extension<Received>,
    Path(idp): Path<String>,
    body: Bytes,
) -> Response {
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    match hear(&app, &received, &idp, &body).await {
        Ok(()) => (StatusCode::OK, no_store).into_response(),
        Err(Unheard::Invalid(detail)) => {
            // Then a stranger can spend neither our disk nor our time.
            if let Some(seconds) = app.limits.count_failure(received.source) {
                let wait = [(header::CACHE_CONTROL, "no-store".to_owned()), (header::RETRY_AFTER, seconds.to_string())];
                return (StatusCode::TOO_MANY_REQUESTS, wait).into_response();
            }
            let mut event = received.event(EventKind::SignOut, EventOutcome::Refused, "logout_token_refused");
            event.detail = Some(detail);
            if let Err(problem) = app.audit.record(event, None).await {
                return unavailable(&problem.to_string());
            }
            let body = json!({
                "error": "invalid_request",
                "error_description": "The logout token is not acceptable.",
            });
            (StatusCode::BAD_REQUEST, no_store, axum::Json(body)).into_response()
        }
        Err(Unheard::Unavailable(cause)) => unavailable(&cause),
    }
}

fn unavailable(cause: &str) -> Response {
    tracing::error!(cause, "a provider's logout could not be carried out");
    let fields = [(header::CACHE_CONTROL, "no-store"), (header::RETRY_AFTER, "5")];
    let body = json!({
        "error": "temporarily_unavailable",
        "error_description": "The server cannot do this at the moment.",
    });
    (StatusCode::SERVICE_UNAVAILABLE, fields, axum::Json(body)).into_response()
}

async fn hear(app: &App, received: &Received, idp: &str, body: &[u8]) -> Result<(), Unheard> {
    let invalid = |detail: &str| Unheard::Invalid(detail.to_owned());
    let snapshot = app.snapshot();
    let known = idp.parse().ok().and_then(|id: IdpId| snapshot.registry.idp(&id));
    let idp = known.ok_or_else(|| invalid("there is no identity provider of this id"))?;
    let login = idp.login.as_ref().ok_or_else(|| invalid("nobody signs in at this identity provider"))?;
    let posted = Some(body).filter(|body| body.len() <= MAX_BYTES).and_then(Posted::parse);
    let posted = posted.ok_or_else(|| invalid("the body is not a form, or too large"))?;
    let token = posted.one("logout_token").ok_or_else(|| invalid("logout_token is missing, or there twice"))?;

    let now = received.now();
    let keys = app.signing_keys();
    let verified = app.verifier(&snapshot, &keys, now).logout_token(idp, login, token).await;
    let token = verified.map_err(|refusal| {
        if refusal.reason == ReasonCode::IssuerKeysUnavailable {
            Unheard::Unavailable(refusal.detail)
        } else {
            Unheard::Invalid(format!("the logout token of identity provider {}: {}", idp.id, refusal.detail))
        }
    })?;
    let idp_sub = match (token.sub, &token.sid) {
        (Some(sub), _) => Some(sub),
        (None, Some(sid)) => app.store.owner_of_session(&idp.id, sid).await?,
        (None, None) => None,
    };
    let user = idp_sub.as_ref().map(|sub| format!("{}{sub}", idp.prefix()));
    let mut event = received.event(EventKind::SignOut, EventOutcome::Done, "backchannel_logout");
    event.detail = Some(told(idp, token.sid.is_some()));
    event.subject = user.as_ref().map(|sub| EventSubject {
        sub: sub.clone(),
        idp: Some(idp.id.clone()),
        idp_sub: idp_sub.clone(),
        idp_session: token.sid.clone(),
    });
    let logout = ProviderLogout {
        idp: idp.id.clone(),
        idp_sub,
        user,
        idp_session: token.sid,
        jti: token.jti,
        expires_at: token.expires_at,
    };
    if !app.store.end_by_provider(&logout, event, now).await? {
        return Err(invalid("the logout token was received before"));
    }
    // It is durable. Should taking it in fail here, background work does it, as on every other server.
    if let Err(problem) = app.refresh().await {
        tracing::warn!(%problem, "a provider's logout is stored, and not in force here yet");
    }
    Ok(())
}

fn told(idp: &IdentityProvider, is_one_session: bool) -> String {
    let what = if is_one_session { "one session of the user" } else { "every session of the user" };
    format!("identity provider {} ended {what}", idp.id)
}
