//! Whom an answer to an authorization request goes to, and how an error gets there; a page where that is not known.

use super::super::error::{error, failed, too_many, unavailable};
use super::super::layout::see_other;
use super::super::leave::stay;
use super::{Way, too_late};
use crate::app::{App, ResolveError};
use crate::domain::client::Assurance;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::names::ClientId;
use crate::grants::Received;
use crate::grants::authorization_request::{ReturnAddress, single};
use crate::grants::authorize::refused_before_sign_in;
use crate::secrets::digest;
use axum::http::StatusCode;
use axum::response::Response;

impl Way<'_> {
    pub(super) async fn address(&self, form: &[u8]) -> Result<ReturnAddress, Response> {
        let id = single(form, "client_id").and_then(|id| {
            let id = id.ok_or_else(|| Refusal::new(ReasonCode::ParameterMissing, "client_id is missing"))?;
            id.parse::<ClientId>().map_err(|problem| Refusal::new(ReasonCode::ClientUnknown, problem.to_string()))
        });
        let id = match id {
            Ok(id) => id,
            Err(refusal) => return Err(self.page_of(None, &refusal).await),
        };
        let snapshot = self.app.snapshot();
        let found = self.app.clients.resolve(self.app, &snapshot, &id, self.received.source, self.received.now()).await;
        let entry = match found {
            Ok(Some(entry)) if entry.suspended_at.is_none() => entry,
            Ok(Some(_)) => {
                let refusal = Refusal::new(ReasonCode::ClientSuspended, format!("client {id} is suspended"));
                return Err(self.page_of(Some(&id), &refusal).await);
            }
            Ok(None) => {
                let refusal = Refusal::new(ReasonCode::ClientUnknown, format!("no client {id} is registered"));
                return Err(self.page_of(Some(&id), &refusal).await);
            }
            Err(ResolveError::Refused(refusal)) => return Err(self.page_of(Some(&id), &refusal).await),
            Err(ResolveError::Unavailable(cause)) => return Err(unavailable(self.app, &cause.to_string())),
        };
        match ReturnAddress::read(&entry, form, &self.app.config.registration) {
            Ok(address) => Ok(address),
            Err(refusal) => Err(self.page_of(Some(&id), &refusal).await),
        }
    }

    /// Whom to answer is not known, so the user is told and nothing is sent anywhere (rule OA-03).
    async fn page_of(&self, client: Option<&ClientId>, refusal: &Refusal) -> Response {
        if let Err(page) = recorded(self.app, self.received, client, refusal).await {
            return page;
        }
        if let Some(seconds) = refusal.retry_after_seconds {
            return too_many(self.app, seconds);
        }
        let (title, text) = in_words(refusal.reason);
        error(self.app, StatusCode::BAD_REQUEST, title, text)
    }

    pub(super) async fn answer_early(&self, address: &ReturnAddress, refusal: Refusal) -> Response {
        match recorded(self.app, self.received, Some(&address.client.client.id), &refusal).await {
            Ok(()) => self.back_with_error(address, &refusal),
            Err(page) => page,
        }
    }

    /// An error for the client. Without the user's doing, only a client that an administrator vetted is redirected to: any
    /// other could use us to lead people to a place of its own (RFC 9700 §4.11.2; rules SB-15, MC-12).
    pub(super) fn back_with_error(&self, address: &ReturnAddress, refusal: &Refusal) -> Response {
        let parameters = [("error", refusal.error().as_str()), ("error_description", refusal.description())];
        let target = address.with(&self.app.config.issuer, &parameters);
        match address.client.assurance {
            // Only the user can mend that, and not at the app.
            Assurance::Vetted if refusal.reason == ReasonCode::ConsentPaused && !self.is_silent() => {
                stay(self.app, &target, refusal)
            }
            Assurance::Vetted if self.after_form => self.leave(&address.client, &target, None),
            Assurance::Vetted => see_other(&target),
            Assurance::Domain | Assurance::SelfAsserted => stay(self.app, &target, refusal),
        }
    }

    /// `prompt=none`: the client asks in a frame that nobody sees, and waits for the answer.
    fn is_silent(&self) -> bool {
        single(self.ticket.form.as_bytes(), "prompt").is_ok_and(|prompt| prompt.as_deref() == Some("none"))
    }
}

/// Puts a refusal on record before anybody signed in, until there are too many from one address.
///
/// # Errors
/// A page: too many, or it cannot be recorded.
async fn recorded(
    app: &App,
    received: &Received,
    client: Option<&ClientId>,
    refusal: &Refusal,
) -> Result<(), Response> {
    // `prompt=none` is asked again and again by clients that do all right, so no failure is counted, but a visitor who is
    // new each time.
    let over = if refusal.reason == ReasonCode::SignInRequired {
        app.limits.count_session(received.source)
    } else {
        app.limits.count_failure(received.source)
    };
    if let Some(seconds) = over {
        return Err(too_many(app, seconds));
    }
    refused_before_sign_in(app, received, client, refusal).await.map_err(|failure| failed(app, &failure))
}

/// What is wrong, and what the user can do, where nobody can be answered.
fn in_words(reason: ReasonCode) -> (&'static str, &'static str) {
    const DOCUMENT: [ReasonCode; 2] = [ReasonCode::ClientDocumentInvalid, ReasonCode::ClientDocumentUnavailable];
    if reason == ReasonCode::RedirectUriInvalid {
        (
            "This app cannot be answered",
            "The app wants the answer to be sent to an address that is not registered for it, so nothing was sent. \
                 If you trust the app, tell the people who make it: its redirect_uri is not registered here.",
        )
    } else if reason == ReasonCode::ClientSuspended {
        (
            "This app is stopped",
            "The administrator of this service stopped the app that sent you here. Nothing can be allowed to it at \
                 the moment.",
        )
    } else if reason == ReasonCode::ClientUnknown {
        (
            "This app is not known here",
            "The app that sent you here is not registered with this service, or not any more, so nothing was sent. If \
                 it worked before: remove the connection in the app and connect it again, so that it registers anew. If \
                 not, and you trust the app, tell the people who make it (invalid_client).",
        )
    } else if DOCUMENT.contains(&reason) {
        (
            "This app cannot be checked",
            "What the app says of itself at its own address cannot be read, or is not accepted here, so nothing was \
                 sent. Try again in a minute. If it stays so, and you trust the app, tell the people who make it \
                 (invalid_client).",
        )
    } else {
        (
            "This request cannot be read",
            "The app sent you here with a request that cannot be read, so nothing was sent anywhere. Go back to the app \
                 and start again. If it stays so, tell the people who make it (invalid_request).",
        )
    }
}

/// The request that a `request_uri` stands for (RFC 9126 §4); the request itself if it has none.
pub(super) async fn pushed(app: &App, received: &Received, form: String) -> Result<String, Response> {
    let Ok(Some(uri)) = single(form.as_bytes(), "request_uri") else {
        return Ok(form);
    };
    let client = single(form.as_bytes(), "client_id").ok().flatten().and_then(|id| id.parse::<ClientId>().ok());
    let found = match &client {
        Some(client) => app.store.take_pushed_request(&digest(&uri), client, received.now()).await,
        None => Ok(None),
    };
    match found {
        Ok(Some(form)) => Ok(form),
        Ok(None) => {
            let refusal = Refusal::new(ReasonCode::RequestUriInvalid, "no such request_uri of this client waits");
            recorded(app, received, client.as_ref(), &refusal).await?;
            Err(too_late(app))
        }
        Err(cause) => Err(unavailable(app, &cause.to_string())),
    }
}
