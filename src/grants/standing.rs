//! Whether one of our own tokens still counts: what a backend hears at `/introspect`, and whether `/userinfo` answers.

use super::{Failure, Received, facts};
use crate::app::{App, Snapshot};
use crate::domain::decision::carries_on;
use crate::domain::names::ClientId;
use crate::domain::scope::ScopeSet;
use crate::domain::subject::{OwnToken, Subject};
use crate::domain::token_status::TokenStatus;

/// Which of its scopes the token is still good for; none if it counts no more. The session, the user, the client that got
/// it and every consent on the way must go on, by the same rules by which it would be taken as a subject token.
pub(super) async fn still_good_for(
    app: &App,
    snapshot: &Snapshot,
    received: &Received,
    subject: &Subject,
    own: &OwnToken,
) -> Result<Option<ScopeSet>, Failure> {
    let holder: Option<ClientId> = own.client_id.parse().ok();
    let holder = match &holder {
        Some(id) => app.clients.find(&app.store, snapshot, id).await?,
        None => None,
    };
    if holder.is_none_or(|entry| entry.suspended_at.is_some()) {
        return Ok(None);
    }
    let facts = facts::about(app, snapshot, subject).await?;
    if facts.session_ended.is_some() {
        return Ok(None);
    }
    // What a backend sees offline is not contradicted here.
    if let Some(index) = own.status
        && app.status_lists.status(app, index).await.map_err(|problem| Failure::Unavailable(problem.to_string()))?
            != TokenStatus::Valid
    {
        return Ok(None);
    }
    let mut scopes = subject.scope.clone().unwrap_or_default();
    // The token of a client that acts for itself rests on no consent.
    if let Some(user) = facts::user_of(&snapshot.registry, subject) {
        let goes_on = |id: &String| carries_on(&snapshot.registry, &facts.consents, &user, id, received.now());
        let agreed = own.earlier_grants.iter().chain(&own.grant_id).all(goes_on);
        if !agreed || snapshot.registry.is_suspended(&user) {
            return Ok(None);
        }
        // A consent that was narrowed is the same consent, with fewer scopes.
        let kept = facts.consents.iter().find(|consent| Some(&consent.id) == own.grant_id.as_ref());
        if let Some(consent) = kept.filter(|consent| consent.is_live(received.now())) {
            scopes = scopes.iter().filter(|scope| consent.scopes.contains(scope)).cloned().collect();
            if scopes.is_empty() {
                return Ok(None);
            }
        }
    }
    Ok(Some(scopes))
}
