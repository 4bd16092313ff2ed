//! Revocation (RFC 7009): a client gives back what it got, and with it goes all that came of it.
//!
//! A refresh token, and an access token of the same sign-in, end the whole grant family. Any other access token ends
//! itself and every token that was exchanged for it, at whatever hop. What has ended already is not ended again: a client
//! that repeats itself writes nothing.

use super::standing::Held;
use super::{Caller, Failure, FamilyEnd, Received, ended_family, footing};
use crate::app::App;
use crate::domain::event::{AuditEvent, EventKind, EventOutcome, EventSubject};
use crate::domain::grant_family::GrantFamily;
use crate::domain::identity_provider::SubjectTokenType;
use crate::domain::names::ClientId;
use crate::domain::resource::canonical_uri;
use crate::domain::subject::{OwnToken, Subject, SubjectIssuer};
use crate::domain::token_status::Support;
use crate::secrets::random_id;

/// Ends what the token is of, if it is this client's. Nothing is done about any other text, and nothing is told of it
/// (RFC 7009 §2.2).
///
/// # Errors
/// The database cannot be asked; or the client has given back too much lately, and nothing was ended.
pub async fn revoke(app: &App, received: &Received, caller: &Caller, token: &str) -> Result<(), Failure> {
    let client = &caller.client.client.id;
    if let Some((id, _)) = app.grant_tokens.family_of_refresh_token(token) {
        let family = app.store.find_family(&id).await?;
        return match family.filter(|family| family.client == *client) {
            Some(family) => returned_family(app, received, &family).await,
            None => Ok(()),
        };
    }
    let Some((subject, own)) = own_access_token(app, received, caller, token).await else {
        return Ok(());
    };
    let family = match subject.family() {
        Some(id) => app.store.find_family(id).await?,
        None => None,
    };
    if let Some(family) = family.filter(|family| family.client == *client) {
        return returned_family(app, received, &family).await;
    }
    let held = Held::of(&subject, &own, &app.config.issuer);
    let user = match subject.sub.parse() {
        Ok(id) => app.users.find(&app.store, &id).await?,
        Err(_) => None,
    };
    if footing::ended(app.remembered(&app.snapshot()), &held, user.as_deref()).is_some() {
        return Ok(());
    }
    within_limit(app, client)?;
    ended_branch(app, received, caller, &subject, &own).await
}

async fn returned_family(app: &App, received: &Received, family: &GrantFamily) -> Result<(), Failure> {
    if family.revoked_at.is_some() {
        return Ok(());
    }
    within_limit(app, &family.client)?;
    ended_family(app, received, family, FamilyEnd::RevokedByClient).await
}

/// Every server takes in what was given back: one client must not keep all of them busy.
fn within_limit(app: &App, client: &ClientId) -> Result<(), Failure> {
    app.limits.count_revocation(client).map_or(Ok(()), |seconds| Err(Failure::TooMany(seconds)))
}

/// A live access token that this client got itself.
async fn own_access_token(app: &App, received: &Received, caller: &Caller, token: &str) -> Option<(Subject, OwnToken)> {
    let (snapshot, keys) = (app.snapshot(), app.signing_keys());
    let subject = app
        .verifier(&snapshot, &keys, received.now())
        .subject(token, SubjectTokenType::AccessToken.uri())
        .await
        .ok()?;
    match subject.issuer.clone() {
        SubjectIssuer::Own(own) if own.client_id == caller.client.client.id.as_str() => Some((subject, own)),
        SubjectIssuer::Own(_) | SubjectIssuer::Idp(_) | SubjectIssuer::SignIn(_) => None,
    }
}

/// Ends a token and what came of it, with an event of its own; this server goes by it at once.
///
/// A backend that verifies offline knows the token by its status entry. Others may have the same: they end there too, and
/// their client gets new ones.
async fn ended_branch(
    app: &App,
    received: &Received,
    caller: &Caller,
    subject: &Subject,
    own: &OwnToken,
) -> Result<(), Failure> {
    let ended: Vec<Support> =
        footing::branch(own, subject.act.as_ref()).into_iter().chain(own.status.map(Support::Entry)).collect();
    let event = received.event(EventKind::Consent, EventOutcome::Done, "token_returned");
    let mut event = AuditEvent { request_id: random_id("rev"), ..event };
    event.subject = Some(EventSubject::named(&subject.sub));
    event.client = Some(caller.client.client.id.clone());
    event.audience = subject.audiences.first().cloned();
    let backend = event.audience.as_deref().and_then(|audience| canonical_uri(audience).ok());
    let backend =
        backend.and_then(|uri| app.snapshot().registry.resource_by_audience(&uri).map(|known| known.id.clone()));
    event.resource = backend;
    event.txn.clone_from(&own.txn);
    event.subject_jti.clone_from(&subject.jti);
    event.grant_id.clone_from(&own.grant_id);
    event.detail = Some(format!(
        "token {} and all that came of it were ended: revoked_by_client, request {}",
        subject.jti.as_deref().unwrap_or("without a jti"),
        received.request_id
    ));
    app.store.revoke_tokens(&ended, event, received.now()).await?;
    if let Err(error) = app.refresh().await {
        tracing::warn!(%error, "what changed in the database could not be taken in");
    }
    Ok(())
}
