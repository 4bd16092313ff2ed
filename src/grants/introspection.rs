//! Introspection (RFC 7662): what a backend's own client may know of a token for that backend.

use super::standing::still_good_for;
use super::{Caller, Failure, Received};
use crate::app::App;
use crate::domain::delegation::ActChain;
use crate::domain::identity_provider::SubjectTokenType;
use crate::domain::resource::canonical_uri;
use crate::domain::scope::ScopeSet;
use crate::domain::subject::{Subject, SubjectIssuer};
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
    let Some(resource) = resource.filter(|resource| resource.clients.contains(client)) else {
        return Ok(None);
    };
    let Some(scopes) = still_good_for(app, &snapshot, received, &subject, own).await? else {
        return Ok(None);
    };
    let mut members = members(&subject, &scopes, &own.client_id, &app.config.issuer);
    members.insert("aud".to_owned(), json!(resource.audience.as_str()));
    Ok(Some(members))
}

fn members(subject: &Subject, scopes: &ScopeSet, client_id: &str, issuer: &str) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    put("active", Some(json!(true)));
    put("iss", Some(json!(issuer)));
    put("sub", Some(json!(subject.sub)));
    put("client_id", Some(json!(client_id)));
    put("token_type", Some(json!("Bearer")));
    put("exp", Some(json!(subject.expires_at)));
    put("iat", subject.issued_at.map(|at| json!(at)));
    put("jti", subject.jti.as_ref().map(|jti| json!(jti)));
    put("scope", Some(scopes).filter(|scopes| !scopes.is_empty()).map(|scopes| json!(scopes.to_string())));
    put("act", subject.act.as_ref().map(ActChain::to_claim));
    put("auth_time", subject.auth_time.map(|at| json!(at)));
    put("acr", subject.acr.as_ref().map(|acr| json!(acr)));
    members
}
