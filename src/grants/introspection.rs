//! Introspection (RFC 7662): what a backend's own client may know of a token for that backend.

use super::{Caller, Failure, Received, facts};
use crate::app::App;
use crate::domain::consent::Consent;
use crate::domain::delegation::ActChain;
use crate::domain::resource::canonical_uri;
use crate::domain::subject::{Subject, SubjectIssuer};
use serde_json::{Map, Value, json};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The members of an active token; none if it is not active, or not for a backend of this client (rules IN-02, IN-04).
pub async fn introspect(
    app: &App,
    received: &Received,
    caller: &Caller,
    token: &str,
) -> Result<Option<Map<String, Value>>, Failure> {
    let (snapshot, keys) = (app.snapshot(), app.signing_keys());
    let verifier = app.verifier(&snapshot, &keys, received.now());
    let Ok(subject) = verifier.subject(token, ACCESS_TOKEN).await else {
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
    let facts = facts::about(app, &snapshot, &subject).await?;
    let user_goes_on = facts.session_ended.is_none()
        && !facts::user_of(&snapshot.registry, &subject).is_some_and(|user| snapshot.registry.is_suspended(&user));
    let holder = own.client_id.parse().ok();
    let holder = match &holder {
        Some(holder) => app.clients.find(&app.store, &snapshot, holder).await?,
        None => None,
    };
    let client_goes_on = holder.is_some_and(|entry| entry.suspended_at.is_none());
    let agreed = own.grant_id.as_ref().is_none_or(|id| is_agreed(&facts.consents, id, received.now()));
    if !(user_goes_on && client_goes_on && agreed) {
        return Ok(None);
    }
    let mut members = members(&subject, &own.client_id, &app.config.issuer);
    members.insert("aud".to_owned(), json!(resource.audience.as_str()));
    Ok(Some(members))
}

/// The consent holds, or one that replaced it does.
fn is_agreed(consents: &[Consent], id: &str, now: i64) -> bool {
    let Some(consent) = consents.iter().find(|consent| consent.id == id) else {
        return false;
    };
    let same = |other: &Consent| other.client == consent.client && other.resource == consent.resource;
    consents.iter().any(|other| other.is_live(now) && same(other))
}

fn members(subject: &Subject, client_id: &str, issuer: &str) -> Map<String, Value> {
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
    put("scope", subject.scope.as_ref().filter(|scope| !scope.is_empty()).map(|scope| json!(scope.to_string())));
    put("act", subject.act.as_ref().map(ActChain::to_claim));
    put("auth_time", subject.auth_time.map(|at| json!(at)));
    put("acr", subject.acr.as_ref().map(|acr| json!(acr)));
    members
}
