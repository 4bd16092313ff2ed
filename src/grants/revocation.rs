//! Revocation (RFC 7009): a client gives back what it got. A refresh token, and an access token of the same grant, end the
//! whole grant family.

use super::{Caller, Failure, FamilyEnd, Received, ended_family};
use crate::app::App;
use crate::domain::identity_provider::SubjectTokenType;
use crate::domain::subject::SubjectIssuer;

/// Ends what the token is of, if it is this client's. Nothing is done about any other text, and nothing is told of it
/// (RFC 7009 §2.2).
pub async fn revoke(app: &App, received: &Received, caller: &Caller, token: &str) -> Result<(), Failure> {
    let family = match app.grant_tokens.family_of_refresh_token(token) {
        Some((family, _)) => Some(family),
        None => family_of_access_token(app, received, caller, token).await,
    };
    let family = match family {
        Some(id) => app.store.find_family(&id).await?,
        None => None,
    };
    match family.filter(|family| family.client == caller.client.client.id) {
        Some(family) => ended_family(app, received, &family, FamilyEnd::RevokedByClient).await,
        None => Ok(()),
    }
}

async fn family_of_access_token(app: &App, received: &Received, caller: &Caller, token: &str) -> Option<String> {
    let (snapshot, keys) = (app.snapshot(), app.signing_keys());
    let subject = app
        .verifier(&snapshot, &keys, received.now())
        .subject(token, SubjectTokenType::AccessToken.uri())
        .await
        .ok()?;
    match &subject.issuer {
        SubjectIssuer::Own(own) if own.client_id == caller.client.client.id.as_str() => subject.sid,
        SubjectIssuer::Own(_) | SubjectIssuer::Idp(_) | SubjectIssuer::SignIn(_) => None,
    }
}
