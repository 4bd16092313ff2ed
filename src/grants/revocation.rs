//! Revocation (RFC 7009): a client gives back what it got. A refresh token, and an access token of the same grant, end the
//! whole grant family.

use super::event::refused_early;
use super::{Caller, Failure, FamilyEnd, Received, ended_family, unproven};
use crate::app::App;
use crate::domain::decision::{ReasonCode, Refusal};
use crate::domain::event::EventKind;
use crate::domain::identity_provider::SubjectTokenType;
use crate::domain::subject::{Subject, SubjectIssuer};

/// Ends what the token is of, if it is this client's. Nothing is done about any other text, and nothing is told of it
/// (RFC 7009 §2.2).
///
/// # Errors
/// The token is a live access token of this client that no sign-in stands behind, so that nothing can end it: to say that
/// it ended would be untrue (RFC 7009 §2.2.1). Or the database cannot be asked.
pub async fn revoke(app: &App, received: &Received, caller: &Caller, token: &str) -> Result<(), Failure> {
    let client = &caller.client.client.id;
    let refresh_token = app.grant_tokens.family_of_refresh_token(token).map(|(family, _)| family);
    let (id, is_access_token) = match refresh_token {
        Some(family) => (Some(family), false),
        None => match own_access_token(app, received, caller, token).await {
            Some(token) => (token.sid, true),
            None => return Ok(()),
        },
    };
    let family = match id {
        Some(id) => app.store.find_family(&id).await?,
        None => None,
    };
    match family.filter(|family| family.client == *client) {
        Some(family) => ended_family(app, received, &family, FamilyEnd::RevokedByClient).await,
        None if is_access_token => {
            unproven(app, received, caller)?;
            let refusal = Refusal::new(ReasonCode::TokenNotRevocable, "");
            let authentication = Some(caller.authentication);
            let event = refused_early(received, EventKind::TokenRequest, Some(client), authentication, &refusal);
            app.audit.record(event, None).await?;
            Err(Failure::Refused { refusal, consent: None })
        }
        None => Ok(()),
    }
}

/// A live access token that this client got itself.
async fn own_access_token(app: &App, received: &Received, caller: &Caller, token: &str) -> Option<Subject> {
    let (snapshot, keys) = (app.snapshot(), app.signing_keys());
    let subject = app
        .verifier(&snapshot, &keys, received.now())
        .subject(token, SubjectTokenType::AccessToken.uri())
        .await
        .ok()?;
    match &subject.issuer {
        SubjectIssuer::Own(own) if own.client_id == caller.client.client.id.as_str() => Some(subject),
        SubjectIssuer::Own(_) | SubjectIssuer::Idp(_) | SubjectIssuer::SignIn(_) => None,
    }
}
