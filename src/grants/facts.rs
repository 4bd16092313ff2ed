//! What a decision needs to know of a subject beyond its token: the remembered user, the consents, the clients of an
//! earlier chain, and whether its session goes on.

use super::footing;
use super::standing::Held;
use crate::app::{App, Snapshot};
use crate::domain::client::ClientEntry;
use crate::domain::consent::Consent;
use crate::domain::delegation::ActChain;
use crate::domain::names::{ClientId, UserId};
use crate::domain::registry::Registry;
use crate::domain::subject::{Subject, SubjectIssuer};
use crate::domain::token_status::TokenStatus;
use crate::domain::user::User;
use crate::store::StoreError;
use std::sync::Arc;

/// The facts. Empty for a subject that is not a user.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) known_user: Option<Arc<User>>,
    pub(super) consents: Arc<[Consent]>,
    pub(super) other_clients: Vec<Arc<ClientEntry>>,
    pub(super) session_ended: Option<String>,
    /// True if its entry in a status list has ended.
    pub(super) is_ended_in_list: bool,
}

/// Looks the facts up, from the caches where they are there.
pub(super) async fn about(app: &App, snapshot: &Snapshot, subject: &Subject, now: i64) -> Result<Facts, StoreError> {
    // What comes of a token that has ended would outlive it: whether it has, is not left to the last look at the database.
    if subject.own().is_some() {
        app.hear_of_ends().await?;
    }
    let other_clients = other_clients(app, snapshot, subject).await?;
    let user = user_of(&snapshot.registry, subject);
    let known_user = match (&subject.issuer, &user) {
        (SubjectIssuer::Own(_) | SubjectIssuer::SignIn(_), Some(user)) => app.users.find(&app.store, user).await?,
        (SubjectIssuer::Idp(_), _) | (_, None) => None,
    };
    let session_ended = session_ended(app, snapshot, subject, known_user.as_deref()).await?;
    let is_ended_in_list = is_ended_in_list(app, snapshot, subject, now).await?;
    let Some(user) = user else {
        return Ok(Facts { other_clients, session_ended, is_ended_in_list, ..Facts::default() });
    };
    let consents = app.consents.of(&app.store, &user).await?;
    Ok(Facts { known_user, consents, other_clients, session_ended, is_ended_in_list })
}

/// Clients that acted before, or hold the token, and are not in the registry: they registered themselves.
async fn other_clients(app: &App, snapshot: &Snapshot, subject: &Subject) -> Result<Vec<Arc<ClientEntry>>, StoreError> {
    let SubjectIssuer::Own(own) = &subject.issuer else {
        return Ok(Vec::new());
    };
    let actors = subject.act.iter().flat_map(ActChain::actors).map(|actor| actor.sub.as_str());
    let mut found: Vec<Arc<ClientEntry>> = Vec::new();
    for name in actors.chain([own.client_id.as_str()]) {
        let known = snapshot.registry.client_by_name(name).is_some()
            || found.iter().any(|entry| entry.client.id.as_str() == name);
        if let (false, Ok(id)) = (known, name.parse::<ClientId>()) {
            found.extend(app.clients.find(&app.store, snapshot, &id).await?);
        }
    }
    Ok(found)
}

async fn session_ended(
    app: &App,
    snapshot: &Snapshot,
    subject: &Subject,
    known_user: Option<&User>,
) -> Result<Option<String>, StoreError> {
    if let SubjectIssuer::Own(own) = &subject.issuer
        && let Some(ended) =
            footing::ended(app.remembered(snapshot), &Held::of(subject, own, &app.config.issuer), known_user)
    {
        return Ok(Some(ended));
    }
    if let Some(family) = subject.family() {
        return app.consents.family_ended(&app.store, family).await;
    }
    let SubjectIssuer::Idp(idp) = &subject.issuer else {
        return Ok(None);
    };
    let ended = app.consents.ended_by_provider(&app.store, idp, &subject.sub, subject.sid.as_deref()).await?;
    Ok(ended.covers(subject.issued_at).then(|| format!("identity provider {idp} ended the session of the token")))
}

/// What backends refuse is not exchanged either. What only waits is for the decision to name.
async fn is_ended_in_list(app: &App, snapshot: &Snapshot, subject: &Subject, now: i64) -> Result<bool, StoreError> {
    match subject.own().and_then(|own| own.status) {
        Some(index) => Ok(app.status_lists.status(app.remembered(snapshot), index, now).await? == TokenStatus::Invalid),
        None => Ok(false),
    }
}

/// The `sub` of our tokens for this subject, if it is a user: `decide` makes the same of it.
pub(super) fn user_of(registry: &Registry, subject: &Subject) -> Option<UserId> {
    match &subject.issuer {
        SubjectIssuer::Idp(idp) | SubjectIssuer::SignIn(idp) => {
            format!("{}{}", registry.idp(idp)?.prefix(), subject.sub).parse().ok()
        }
        SubjectIssuer::Own(own) => own.grant_id.as_ref().and_then(|_| subject.sub.parse().ok()),
    }
}
