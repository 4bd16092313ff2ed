//! Introspection (RFC 7662): what a backend's own client may know of a token for that backend.

use super::standing::{Held, still_good_for};
use super::{Caller, Failure, Received};
use crate::app::App;
use crate::domain::identity_provider::SubjectTokenType;
use crate::domain::resource::canonical_uri;
use crate::domain::subject::SubjectIssuer;
use crate::tokens::jose;
use serde_json::{Map, Value, json};

/// The members of an active token; none if it is not active, or not for a backend of this client (rules IN-02, IN-04).
pub async fn introspect(
    app: &App,
    received: &Received,
    caller: &Caller,
    token: &str,
) -> Result<Option<Map<String, Value>>, Failure> {
    let (snapshot, keys) = (app.snapshot(), app.signing_keys());
    let verifier = app.verifier(&snapshot, &keys, received.now());
    let Ok(subject) = verifier.subject(token, SubjectTokenType::AccessToken.uri()).await else {
        return Ok(None);
    };
    let SubjectIssuer::Own(own) = &subject.issuer else {
        return Ok(None);
    };
    let resource = match subject.audiences.as_slice() {
        [audience] => canonical_uri(audience).ok().and_then(|uri| snapshot.registry.resource_by_audience(&uri)),
        _ => None,
    };
    let client = &caller.client.client.id;
    if !resource.is_some_and(|resource| resource.clients.contains(client)) {
        return Ok(None);
    }
    let held = Held::of(&subject, own, &app.config.issuer);
    let Ok(scopes) = still_good_for(app.remembered(&snapshot), received.now(), &held).await? else {
        return Ok(None);
    };
    // What the backend would read in the token itself, with what the user still agrees to as scope.
    let mut members = jose::parse(token).map(|token| token.claims).unwrap_or_default();
    members.insert("active".to_owned(), json!(true));
    members.insert("token_type".to_owned(), json!("Bearer"));
    members.remove("scope");
    if !scopes.is_empty() {
        members.insert("scope".to_owned(), json!(scopes.to_string()));
    }
    Ok(Some(members))
}
