//! Who the user is, for a client that the user let know (OpenID Connect Core §5.3).

use super::standing::{Held, still_good_for};
use super::{Failure, Received};
use crate::app::App;
use crate::domain::identity_provider::SubjectTokenType;
use crate::domain::subject::SubjectIssuer;
use crate::tokens::id_token::user_claims;
use serde_json::{Map, Value};

/// Why nothing is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The token is none of ours, has ended, or its grant has.
    Invalid,
    /// The user did not let the client have `openid`.
    NoOpenid,
}

/// The claims that go with an access token which a client got by a code or a refresh token.
///
/// The token is for a backend; what the user let the client know of them stands with the grant that it is of.
pub async fn claims(
    app: &App,
    received: &Received,
    token: &str,
) -> Result<Result<Map<String, Value>, Unknown>, Failure> {
    let (snapshot, keys) = (app.snapshot(), app.signing_keys());
    let verifier = app.verifier(&snapshot, &keys, received.now());
    let Ok(subject) = verifier.subject(token, SubjectTokenType::AccessToken.uri()).await else {
        return Ok(Err(Unknown::Invalid));
    };
    let SubjectIssuer::Own(own) = &subject.issuer else {
        return Ok(Err(Unknown::Invalid));
    };
    let held = Held::of(&subject, own, &app.config.issuer);
    if still_good_for(app.remembered(&snapshot), received.now(), &held).await?.is_err() {
        return Ok(Err(Unknown::Invalid));
    }
    let Some(id) = subject.family() else {
        return Ok(Err(Unknown::NoOpenid));
    };
    let family = app.store.find_family(id).await?;
    let Some(family) = family.filter(|family| family.user.as_str() == subject.sub) else {
        return Ok(Err(Unknown::Invalid));
    };
    // A later hop's token is of the same family, but for another client: that one was told nothing of.
    let is_openid = family.terms.identity.iter().any(|scope| scope.as_str() == "openid");
    if !is_openid || own.client_id != family.client.as_str() {
        return Ok(Err(Unknown::NoOpenid));
    }
    let user = app.users.find(&app.store, &family.user).await?;
    Ok(Ok(user_claims(&subject.sub, &family.terms.identity, user.as_ref().map(|user| &user.attributes))))
}
