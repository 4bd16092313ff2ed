//! Who is calling, for a backend behind a proxy: what a proxy puts in the place of the bearer token it let through.

use super::signing_keys::{KeyProblem, SigningKeys};
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;
use serde_json::{Map, Value, json};

/// The header `typ`: not that of an access token, so that neither passes for the other.
pub const CALLER_TYP: &str = "procura-caller+jwt";

/// How long it is good for at the most, in seconds: a proxy asks for each request, so it only has to reach the backend.
pub const CALLER_SECONDS: i64 = 60;

/// What is told of the token and not of the caller: where the token's own state is looked up, and by which policies it was
/// granted.
const OF_THE_TOKEN: [&str; 3] = ["status", "policy", "nbf"];

/// Signs what the token says of its caller, by the backend's algorithm: the claims of a verified token of that backend, with
/// the scopes that still count. It never outlives the token.
///
/// # Errors
/// No key signs with the backend's algorithm at `now`.
pub fn sign_caller(
    mut claims: Map<String, Value>,
    (scopes, expires_at): (&ScopeSet, i64),
    resource: &Resource,
    keys: &SigningKeys,
    now: i64,
) -> Result<String, KeyProblem> {
    let algorithm = resource.signing_algorithm;
    let key = keys
        .signer(algorithm, now)
        .ok_or_else(|| KeyProblem(format!("there is no {} key that signs yet", algorithm.as_str())))?;
    for name in OF_THE_TOKEN {
        claims.remove(name);
    }
    claims.insert("aud".to_owned(), json!(resource.audience.as_str()));
    claims.insert("scope".to_owned(), json!(scopes.to_string()));
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("exp".to_owned(), json!(expires_at.min(now.saturating_add(CALLER_SECONDS))));
    key.sign(CALLER_TYP, Value::Object(claims).to_string().as_bytes())
}
