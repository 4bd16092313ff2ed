//! How a refusal is put on record and answered, the same at every endpoint for clients.

use super::error::OAuthError;
use super::form::unavailable;
use crate::app::App;
use crate::domain::decision::{ErrorCode, Refusal};
use crate::domain::event::{AuditEvent, EventKind};
use crate::domain::names::ClientId;
use crate::grants::{Failure, Received, refused_early};

/// The answer, if there were too many such tries from one address. What fails with us is nobody's try.
pub(super) fn too_many(app: &App, received: &Received, refusal: &Refusal) -> Option<OAuthError> {
    let is_ours = refusal.error() == ErrorCode::TemporarilyUnavailable;
    app.limits.count_failure(received.source.filter(|_| !is_ours)).map(OAuthError::slow_down)
}

/// Puts a refusal on record, and answers it. `challenge`: the client tried with an `Authorization` header.
pub(super) async fn refused(app: &App, event: AuditEvent, refusal: &Refusal, challenge: bool) -> OAuthError {
    match app.audit.record(event, None).await {
        Ok(()) => OAuthError::refused(refusal, None, challenge),
        Err(error) => unavailable(&error.to_string()),
    }
}

/// Refuses whoever has not proved who they are: they can spend neither our disk nor our time.
pub(super) async fn stranger(
    app: &App,
    received: &Received,
    (kind, client): (EventKind, Option<&ClientId>),
    refusal: &Refusal,
    challenge: bool,
) -> OAuthError {
    match too_many(app, received, refusal) {
        Some(answer) => answer,
        None => refused(app, refused_early(received, kind, client, None, refusal), refusal, challenge).await,
    }
}

/// The answer to a request that came to nothing.
pub(super) fn failed(failure: Failure, challenge: bool) -> OAuthError {
    match failure {
        Failure::Refused { refusal, consent } => OAuthError::refused(&refusal, consent, challenge),
        Failure::TooMany(seconds) => OAuthError::slow_down(seconds),
        Failure::Unavailable(cause) => unavailable(&cause),
    }
}
